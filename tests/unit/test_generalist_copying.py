"""What begins like a name or an object of a retrieved row goes on as one, or as the user's words do."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers")

import torch
from transformers import AutoTokenizer

from clarify.agent.generalist.copying import Copying
from clarify.agent.generalist.loading import load
from clarify.agent.generalist.profiles import nano_folder
from clarify.graph_schema.protocol import FactRow, SourceRef
from clarify.tools.render import render_rows
from clarify.training.generalist.dialogues import DialogueMaker
from clarify.training.generalist.encode import segments
from clarify.training.generalist.world import load_names

TOKENIZER = AutoTokenizer.from_pretrained(nano_folder())
ROWS = (
    "[a] melanoma | first-line treatment | wide excision without delay of 4 weeks\n"
    "[b] melanoma | further treatment | wide local excision\n"
    "[c] melanoma | avoid | the sun\n"
    "[d] basal cell carcinoma | differs from actinic keratosis | a pearly edge"
)


def tokens(text):
    return TOKENIZER(text, add_special_tokens=False).input_ids


def after(text, results=(ROWS,), asked=()):
    """What may and what must come after a text."""
    copying, said = Copying(TOKENIZER, results, asked), tokens(text)
    for i, token in enumerate(said):
        copying.accept(token, lambda upto=i: TOKENIZER.decode(said[: upto + 1]))
    return {TOKENIZER.decode(t) for t in copying.allowed()}, TOKENIZER.decode(copying.forced())


@pytest.mark.parametrize(
    ("text", "may", "must"),
    [
        (" The first treatment of melanoma is", set(), ""),
        (" The first treatment of melanoma is wide excision", {" without"}, " without delay of 4 weeks"),
        (" The first treatment of melanoma is wide excision without delay of 4", {" weeks"}, " weeks"),
        (" The first treatment of melanoma is wide excision without delay of 4 weeks", set(), ""),
        (" The first treatment of melanoma is wide excision\n It is", set(), ""),
        (" A further treatment of melanoma is wide local", {" excision"}, " excision"),
        (" Treatment of melanoma should avoid the", set(), ""),  # one word may be chance
        (" What speaks for basal cell", {" car"}, " carcinoma"),
        (" What speaks for basal cell carcinoma rather than", set(), ""),
    ],
)
def test_a_copy_goes_on_to_its_end(text, may, must):
    allowed, forced = after(text)
    assert forced == must
    assert {piece[: len(min(may, default=""))] for piece in allowed} == may or not may and not allowed


def test_what_the_user_wrote_may_go_on_as_it_did():
    """Or an unknown disease would be told of under a known one's name."""
    said = " I do not know of basal cell"
    assert after(said)[0] and not any("ad" in piece for piece in after(said)[0])
    for results, asked in (
        ((ROWS,), ("What is basal cell adenoma?",)),
        ((ROWS, "no disease found: basal cell adenoma"), ()),
        ((ROWS, "img1: basal cell adenoma 71 %, melanoma 9 %; sure; shortlist basal cell adenoma"), ()),
    ):
        allowed, forced = after(said, results, asked)
        assert any(" ad".startswith(piece[:3]) for piece in allowed) and len(allowed) == 2 and forced == ""


def test_where_the_user_stopped_the_answer_may_stop():
    assert after(" I do not know of basal cell", asked=("and basal cell",)) == (set(), "")


def test_citations_come_before_copies():
    allowed, forced = after(" One is wide local excision. [")
    assert (allowed, forced) == ({"b"}, "b]")


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_answer_that_was_taught_may_be_written(split):
    labels = ["melanoma", "melanocytic nevus"]
    maker = DialogueMaker(split, load_names(None), [], labels, None)
    limited = 0
    for number in range(60):
        script = maker.make(random.Random(f"copying/{number}"))
        for at, message in enumerate(script):
            if not message.target:
                continue
            *_, (said, _) = segments([message], "")
            read = ([m.text for m in script[:at] if m.role == role] for role in ("tool", "user"))
            copying, so_far = Copying(TOKENIZER, *read), ""
            for token in tokens(said):
                if allowed := copying.allowed():
                    assert token in allowed, so_far
                    limited += 1
                so_far += TOKENIZER.decode(token)
                copying.accept(token, lambda: so_far)  # noqa: B023  (called at once)
    assert limited > 800


words = st.lists(st.sampled_from("a the of red sign Ödem 4 mg. (new) skin-".split()), min_size=1, max_size=6)


@given(st.lists(words, min_size=1, max_size=5), words, st.integers(0, 9))
def test_a_copy_that_was_begun_ends_like_one(objects, asked, seed):
    """Whatever allowed token is chosen: nothing is left of the two texts that began alike but their ends."""
    source = SourceRef(id="x", title="x")
    said = [" ".join(o) for o in objects]
    rows = [
        FactRow(fact_id=f"f{i}", statement="s", source=source, subject="zzz", predicate="cause", object=o)
        for i, o in enumerate(said)
    ]
    copying, rng = Copying(TOKENIZER, [render_rows(rows)], [" ".join(asked)]), random.Random(seed)
    start = rng.choice(said)
    for token in tokens(f" It is {start}")[: 2 + rng.randint(1, 8)]:
        copying.accept(token, lambda: "")
    written = []
    while (allowed := copying.allowed()) and len(written) < 40:
        forced = copying.forced()
        written.append(rng.choice(allowed))
        assert not forced or written[-1] == forced[0]
        copying.accept(written[-1], lambda: "")
    assert len(written) < 40
    if written:
        whole = TOKENIZER.decode(tokens(f" It is {start}")[:2] + [t for t in copying._written[2:]])
        assert any(text in whole for text in [*said, "zzz"]) or whole[len(" It is ") :] in " ".join(asked)


def test_in_a_call_a_copy_goes_on_where_the_grammar_lets_it():
    tool = {
        "type": "function",
        "function": {
            "name": "query_knowledge",
            "parameters": {
                "properties": {"diseases": {"type": "array", "items": {"type": "string", "maxLength": 40}}},
                "required": ["diseases"],
            },
        },
    }
    rows = len(TOKENIZER)
    guides = load(str(nano_folder()), True, None, "cpu", local=True, warm=False).guides
    guide = guides.guide([tool], "required", max_calls=1, read=((ROWS,), ()))
    said = []
    for token in tokens('<tool_call>{"name":"query_knowledge","arguments":{"diseases":[" basal cell'):
        said.append(token)
        guide.accept(token, TOKENIZER.decode(said))
    logits = torch.zeros(rows)
    guide.mask(logits)
    assert logits.isfinite().sum() == 1
    while logits.isfinite().sum() == 1:
        said.append(int(logits.argmax()))
        guide.accept(said[-1], TOKENIZER.decode(said))
        logits = torch.zeros(rows)
        guide.mask(logits)
    assert TOKENIZER.decode(said).endswith(" basal cell carcinoma")

"""The made-up dialogues nano learns from, and the text they become."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest
import torch

pytest.importorskip("tokenizers")

from clarify.bench.generalist import faithful
from clarify.bench.generalist_player import Player, key, linked, parse_calls
from clarify.errors import BadInput
from clarify.graph_schema.protocol import FactRow, SourceRef
from clarify.training.generalist.dialogues import Call, DialogueMaker, Message, call_text
from clarify.training.generalist.encode import PICTURE, encode, segments, system_text
from clarify.training.generalist.model import Shape, build, grow, shape_of
from clarify.training.generalist.phrasing import say_rows
from clarify.training.generalist.tokenizer import (
    corpus,
    count_words,
    rows_of,
    train_tokenizer,
    without_rare,
    wrap_tokenizer,
)
from clarify.training.generalist.wording import Wording, load_wordings, misspelt
from clarify.training.generalist.world import World, load_names
from clarify.training.intervals import wilson

TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"properties": dict.fromkeys(arguments, {})}},
    }
    for name, arguments in (
        ("classify_lesion", ("image", "second_look")),
        ("query_knowledge", ("query", "diseases")),
    )
]


class Blank:
    def draw(self, rng, kind, split):
        return rng.randrange(10), None


@pytest.fixture(scope="module")
def maker():
    return DialogueMaker("train", load_names(None), [], ["melanoma"], Blank())


@pytest.fixture(scope="module")
def tokenizer(maker):
    return train_tokenizer(corpus((maker.make(random.Random(i)) for i in range(300)), system_text()), 1500)


def as_chat(messages):
    chat = [{"role": "system", "content": system_text().split("\n")[0]}]
    for message in messages:
        if message.role == "assistant":
            calls = [
                {"type": "function", "function": {"name": c.name, "arguments": c.args}} for c in message.calls
            ]
            chat.append({"role": "assistant", "content": message.text, "tool_calls": calls})
            continue
        blocks = []
        for name, _ in message.images:
            blocks += [{"type": "text", "text": f"{name}:"}, {"type": "image"}]
        chat.append({"role": message.role, "content": [*blocks, {"type": "text", "text": message.text}]})
    return chat


def test_the_chat_template_writes_what_was_trained_on(maker, tokenizer):
    fast = wrap_tokenizer(tokenizer)
    for seed in range(60):
        messages = maker.make(random.Random(seed))
        text = fast.apply_chat_template(as_chat(messages), tools=TOOLS, tokenize=False)
        assert text.replace("<image>", PICTURE) == "".join(t for t, _ in segments(messages, system_text()))


def test_pieces_encode_as_the_whole(maker, tokenizer):
    for seed in range(20):
        messages = maker.make(random.Random(seed))
        whole = "".join(t for t, _ in segments(messages, system_text()))
        encoded = encode(messages, tokenizer, system_text())
        assert encoded.ids == tokenizer.encode(whole, add_special_tokens=False).ids
        assert any(encoded.weight) and len(encoded.ids) == len(encoded.weight)


def test_names_keep_their_tokens_wherever_they_stand(tokenizer):
    name = "brimosia of the fald"
    inside = tokenizer.encode(f" {name}", add_special_tokens=False).ids
    for text in (f"[x-1] {name} | test", f'"diseases":[" {name}"]', f"The test for {name} is"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert any(ids[i : i + len(inside)] == inside for i in range(len(ids)))


def test_what_training_hardly_shows_is_spelt_in_pieces_that_it_does(maker):
    told = ["the imiquimod cream and the fluorouracil cream " * 40, "a nimod is a fluor " * 2] * 3
    old = train_tokenizer(told, 500)
    words = {("\u0120imiquimod",): 90, ("\u0120n", "imod"): 2, ("\u0120fluor", "ouracil"): 0} | {
        (letter, "x"): 50 for letter in "nimodfluracqet"
    }
    assert old.encode(" nimod").tokens == ["\u0120nimod"]
    new = without_rare(old, {**words, ("\u0120cream",): 29})
    assert new.encode(" imiquimod").tokens == ["\u0120imiquimod"]  # a whole word stays without its pieces
    assert new.encode("imod").tokens == list("imod")
    assert len(new.encode(" cream").tokens) > 1 and new.decode(new.encode(" cream é").ids) == " cream é"
    assert [new.token_to_id(t) for t in ("<pad>", "<image>")] == [0, 8]
    rows = rows_of(new, old)
    assert len(rows) == new.get_vocab_size() < old.get_vocab_size()
    assert all(old.id_to_token(int(row)) == new.id_to_token(i) for i, row in enumerate(rows))
    with pytest.raises(BadInput, match="do not know"):
        rows_of(old, new)
    kept = without_rare(old, {**words, ("\u0120cream",): 29}, keep=True)
    assert kept.get_vocab_size() == old.get_vocab_size()
    for text in told[0][:80], " nimod <unused 300> <unused", "<unused 301>":
        assert [kept.id_to_token(i) for i in kept.encode(text).ids] == new.encode(text).tokens
        assert kept.decode(kept.encode(text).ids) == text
        assert all(
            old.token_to_id(token) == i
            for token, i in zip(new.encode(text).tokens, kept.encode(text).ids, strict=True)
        )


def test_no_token_of_held_back_dialogues_is_one_that_training_hardly_shows(maker):
    made = (maker.make(random.Random(f"tokenizer/{i}")) for i in range(400))
    old = train_tokenizer(corpus(made, system_text()), 2500)
    new = without_rare(old, count_words(old, maker, 1200), 20)
    unseen = DialogueMaker("test", load_names(None), [], ["melanoma"], Blank())

    def tokens(tokenizer, maker, dialogues):
        words = count_words(tokenizer, maker, dialogues).items()
        return Counter(token for word, times in words for token in word * times)

    def rare(tokenizer):
        shown = tokens(tokenizer, maker, 1200)
        return sum(n for t, n in tokens(tokenizer, unseen, 300).items() if len(t) > 1 and shown[t] < 20)

    assert rare(new) <= rare(old) / 10 and rare(old) > 100


def test_no_invented_word_is_in_both_splits():
    names = load_names(None)
    words = {
        s: {World(random.Random(i), s, names, [], []).word("word") for i in range(1500)}
        for s in ("train", "test")
    }
    assert not words["train"] & words["test"] and len(words["test"]) > 800


def test_a_world_answers_the_same_question_the_same_way():
    world = World(random.Random(3), "train", load_names(None), [], [])
    assert world.rows("treatment", ["abc"]) == world.rows("treatment", ["abc"])


def test_an_id_names_one_row_of_a_dialogue(maker):
    """As in a graph; else a sentence that says its row would be held against another one's."""
    for seed in range(400):
        calls = [call for message in maker.make(random.Random(seed)) for call in message.calls]
        rows = {row.model_dump_json(): row.fact_id for call in calls for row in call.rows}
        assert len(set(rows.values())) == len(rows)


def test_a_second_look_is_never_learnt_as_the_models_own_call(maker):
    for seed in range(200):
        for message in maker.make(random.Random(seed)):
            assert not (message.target and any("second_look" in c.args for c in message.calls))


def test_a_call_reads_back():
    call = Call("query_knowledge", {"query": "tests", "diseases": ["a b", 'c"d']})
    assert parse_calls(call_text(call)) == [key(call)]
    assert parse_calls("<tool_call>{broken</tool_call>") is None


def test_every_row_is_said_faithfully_and_a_changed_one_is_not():
    world = World(random.Random(5), "test", load_names(None), [], [])
    rows = [r for q in ("describe", "treatment", "differential") for r in world.rows(q, ["abc", "def"], 9)]
    assert rows
    by_id = {r.fact_id: r for r in rows}
    for line in say_rows(rows):
        assert faithful(line, by_id, set())[0]
        changed = line.replace(" is ", " is not ").replace(": ", ": no ").replace("avoid", "use")
        assert not faithful(changed, by_id, set())[0] or " is " not in line


def test_a_perfect_player_scores_everything(maker):
    for seed in range(40):
        player = Player(maker.make(random.Random(seed)), ())
        while player.advance():
            message = player.script[player.at]
            player.take("".join(call_text(c) for c in message.calls) + message.text)
        assert all(good and to_the_word for _, good, to_the_word, _, _ in player.results)
        assert all(prose == message.text for prose, message, _ in player.answers)


def test_wilson_is_the_known_interval():
    low, high = wilson(97, 100)
    assert (round(97 / 100, 3), round(low, 3), round(high, 3)) == (0.97, 0.915, 0.99)


def test_wordings_are_apart():
    train, test = load_wordings("train"), load_wordings("test")
    assert set(test) <= set(train)
    seen = {w.lower() for table in train.values() for words in table.values() for w in words}
    assert not [w for table in test.values() for words in table.values() for w in words if w.lower() in seen]


def test_calls_are_compact_json():
    text = call_text(Call("classify_lesion", {"image": "img1"}))
    assert text == '<tool_call>{"name":"classify_lesion","arguments":{"image":"img1"}}</tool_call>'
    assert json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))


def test_a_disease_counts_when_linking_finds_it_among_those_of_the_dialogue():
    names = ["mixed liposarcoma", "peri-implant disease"]

    def asked(name):
        return [linked(name, names)]

    assert asked("my mixed liposarcoma") == ["mixed liposarcoma"]
    assert [linked("bz", ["BZ", "KKA"]), linked("BZ", ["BZ", "KKA"])] == ["BZ", "BZ"]  # as the graph links it
    assert asked("mixed liposarcomas") == ["mixed liposarcoma"]
    assert asked("malignant later") == ["malignant later"]
    assert asked("exudative mixed liposarcoma") == ["exudative mixed liposarcoma"]


def _said(*messages: Message) -> Player:
    player = Player(list(messages), ())
    assert player.advance()
    return player


def _query(name: str, query: str = "signs") -> Call:
    row = FactRow(
        fact_id="x-1",
        statement="s",
        source=SourceRef(id="made-up", title="made up"),
        subject=name,
        predicate="sign",
        object="o",
    )
    return Call("query_knowledge", {"query": query, "diseases": [name]}, "x-1 | s", [row])


def test_a_piece_of_a_name_reaches_the_tools_as_the_whole_and_is_not_to_the_word():
    asked = _query("peroneal neuropathy")
    player = _said(
        Message("user", "What are the signs of peroneal neuropathy?", kind="named"),
        Message("assistant", calls=[asked], target=True),
        Message("tool", asked.result),
        Message("assistant", "fine", target=True),
    )
    player.take(call_text(_query("neuropathy")))
    assert player.advance()
    player.take("fine")
    assert [(good, exact) for _, good, exact, _, _ in player.results] == [(True, False)]


def test_what_the_conversation_holds_may_be_called_again_but_nothing_else_may():
    asked = _query("acne")
    script = [
        Message("user", "acne signs?", kind="named"),
        Message("assistant", calls=[asked], target=False),
        Message("tool", asked.result),
        Message("assistant", "they are", target=False),
        Message("user", "And its signs?", kind="follow"),
        Message("assistant", "they are", target=True),
    ]
    again = _said(*script)
    again.take(call_text(asked))
    assert again.said[-1].role == "tool" and again.advance()
    again.take("they are")
    assert [(good, exact) for _, good, exact, _, _ in again.results] == [(True, False)]
    other = _said(*script)
    other.take(call_text(_query("acne", "tests")))
    assert [good for _, good, _, _, _ in other.results] == [False]


def test_what_failed_the_first_time_is_called_again():
    failed, found = (
        Call("query_knowledge", {"query": "signs", "diseases": ["acne"]}, "failed"),
        _query("acne"),
    )
    failed.outcome = "error"
    player = _said(
        Message("user", "acne signs?", kind="named"),
        Message("assistant", calls=[failed], target=True),
        Message("tool", failed.result),
        Message("assistant", "it failed", target=True),
        Message("user", "And now?", kind="follow"),
        Message("assistant", calls=[found], target=True),
        Message("tool", found.result),
        Message("assistant", "they are", target=True),
    )
    for text in (call_text(failed), "it failed", call_text(found), "they are"):
        assert player.advance()
        player.take(text)
    assert [m.text for m in player.said if m.role == "tool"] == ["failed", found.result]
    assert [(good, exact) for _, good, exact, _, _ in player.results] == [(True, True)] * 2


def test_a_model_that_never_stops_calling_for_what_it_has_is_wrong():
    asked = _query("acne")
    player = _said(
        Message("user", "acne signs?", kind="named"),
        Message("assistant", calls=[asked], target=False),
        Message("tool", asked.result),
        Message("assistant", "they are", target=True),
    )
    turns = 0
    while player.advance():
        player.take(call_text(asked))
        turns += 1
    assert turns == 3 and not player.results[0][1]


def test_a_deeper_decoder_starts_as_the_shallow_one():
    shallow, deep = build(64, 8, 0, 5, Shape(3, 192)), build(64, 8, 0, 5, Shape(5, 192))
    state = shallow.state_dict()
    assert shape_of(state) == Shape(3, 192)
    deep.load_state_dict(grow(state, deep.state_dict()))
    ids = torch.randint(10, 60, (2, 12))
    with torch.no_grad():
        assert torch.allclose(shallow(input_ids=ids).logits, deep(input_ids=ids).logits, atol=1e-5)
    assert all(torch.equal(v, state[k]) for k, v in grow(state, state).items())


def test_the_width_is_read_off_the_weights_and_cannot_be_grown():
    narrow, wide = build(64, 8, 0, 5, Shape(2, 64)), build(64, 8, 0, 5, Shape(2, 128))
    assert shape_of(wide.state_dict()) == Shape(2, 128)
    with pytest.raises(BadInput, match="width 64 do not fit into 128"):
        grow(narrow.state_dict(), wide.state_dict())


def test_words_are_lost_swapped_or_misspelt_in_training_but_never_what_is_asked_for():
    """A slot stays whole, and a lost word is one that no intent has for itself."""
    wording, rng = Wording("train"), random.Random(0)
    common = wording._common["named"]
    assert {"the", "is", "what"} <= common and not {"treatment", "cause", "rash"} & common
    changed = 0
    for _ in range(600):
        before = rng.choice(wording.words["named"]["treatment"])
        after = wording._disturb(rng, before, common)
        changed += after != before
        assert sorted(re.findall(r"{d\d?}", after)) == sorted(re.findall(r"{d\d?}", before))
        lost = Counter(before.split()) - Counter(after.split())
        if len(after.split()) < len(before.split()):
            assert {word.lower().strip(",.?!") for word in lost} <= common
    assert 120 < changed < 260
    held_back = Wording("test")
    text = held_back.words["named"]["tests"][0]
    before = rng.getstate()
    assert all(held_back._disturb(rng, text, common) == text for _ in range(50))
    assert rng.getstate() == before  # held-back dialogues stay what they were


def test_a_misspelt_word_differs_by_one_slip():
    found = {misspelt(random.Random(seed), "treated") for seed in range(200)}
    assert {"teated", "ttreated", "rteated"} <= found and all(6 <= len(word) <= 8 for word in found)
    assert misspelt(random.Random(0), "how") == "how"

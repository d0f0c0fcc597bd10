"""The sets and the scoring of `bench.trigger`, with speakers that are no model."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

pytest.importorskip("tokenizers")

import clarify
from clarify.bench.generalist import play
from clarify.bench.generalist_player import key, parse_calls
from clarify.bench.trigger import PLAIN, Measured, count, make_sets, table
from clarify.bench.trigger_cases import SHOWN, load_modality, moved, picture_cases, text_ceiling
from clarify.bench.trigger_model import CallsAlone, missed, turns_right
from clarify.bench.trigger_player import AGAIN, CallPlayer, Played
from clarify.graph_schema.protocol import FactRow, SourceRef
from clarify.training.generalist.dialogues import Call, DialogueMaker, Message, call_text
from clarify.training.generalist.encode import segments
from clarify.training.generalist.wording import load_wordings
from clarify.training.generalist.world import load_names

EACH = 100
PLACE = {name: EACH * number for number, name in enumerate(SHOWN)}
GALLERY = {
    name: lambda rng, first=first: (first + rng.randrange(EACH), None) for name, first in PLACE.items()
}
SKIN = range(2 * EACH)
"""Where lesions and other skin stand."""


class Bank:
    def draw(self, rng, kind, split):
        return GALLERY[next(name for name, of in SHOWN.items() if of == kind)](rng)


class Scripted:
    """Calls what the script calls; of a picture just sent, what `skin` says of it decides."""

    def skin(self, message: Message, index: int) -> bool | None:
        return None

    def write(self, players, bank, order):
        return [self._write(player) for player in players]

    def _write(self, player: CallPlayer) -> str:
        asked, wanted = player.said[-1], player.script[player.at]
        if asked.role == "user" and asked.images:
            name, index = asked.images[-1]
            skin = self.skin(asked, index)
            if skin is not None and skin != any(call.name == "classify_lesion" for call in wanted.calls):
                return call_text(Call("classify_lesion", {"image": name})) if skin else "This"
        return "".join(map(call_text, wanted.calls)) or "The"


class Sees(Scripted):
    def skin(self, message, index):
        return index in SKIN


class ReadsOnly(Scripted):
    """Calls for every picture, as most questions with one want."""

    def skin(self, message, index):
        return True


class Obeys(Sees):
    """Believes what is said of the picture, and looks only where nothing is said."""

    def __init__(self) -> None:
        table = load_modality()
        skin = [table["right"][s] for s in ("lesion", "skin_other")] + [
            table["wrong"][s] for s in ("document", "landscape")
        ]
        other = [table["wrong"][s] for s in ("lesion", "skin_other")] + [
            table["right"][s] for s in ("document", "landscape")
        ]
        self.said = {w: True for of in skin for w in of} | {w: False for of in other for w in of}

    def skin(self, message, index):
        told = [skin for words, skin in self.said.items() if words in message.text]
        return told[0] if told else super().skin(message, index)


@pytest.fixture(scope="module")
def maker():
    labels = ["melanoma", "melanocytic nevus"]
    return DialogueMaker("test", load_names(None), [], labels, Bank(), 1.0, cut=0.0)


@pytest.fixture(scope="module")
def sets(maker):
    return make_sets(maker, GALLERY, dialogues=80, again=30, cases=120, seed=0)


def measured(speaker, scripts):
    players = play(speaker, [CallPlayer(script, ()) for script in scripts], None, {}, 64)
    return [[Measured(turn, True) for turn in player.turns] for player in players]


def rows_of(speaker, sets):
    return table(sets, {name: measured(speaker, made) for name, made in sets.scripts(0).items()})


def right(row, column="all three"):
    return row[column] / row["n"]


def test_a_question_is_the_same_whatever_it_is_asked_with(sets):
    cases = sets.cases[PLAIN]
    assert len(cases) == 120 and sum(case.second for case in cases) == 60
    by_question: dict[int, set[str]] = {}
    for case in cases:
        at = max(i for i, message in enumerate(case.script) if message.role == "user")
        text = "".join(piece for piece, _ in segments(case.script[: at + 1], ""))
        by_question.setdefault(case.question, set()).add(text)
        assert case.script[at].images[-1][1] // EACH == list(SHOWN).index(case.shown)
        assert not any(message.target for message in case.script[:at])
    assert all(len(texts) == 1 for texts in by_question.values())
    assert text_ceiling(cases) == 60  # half of what a question is asked with is for the specialist


def test_who_sees_is_right_and_who_reads_only_is_not_better_than_the_text_allows(sets):
    sees, reads = rows_of(Sees(), sets), rows_of(ReadsOnly(), sets)
    for name in sets.cases:
        assert right(sees[f"the picture decides, {name}"]) == 1
        assert right(sees[f"- {name}, second picture"]) == 1
        assert right(sees[f"- {name}, pictures shuffled"]) < 0.75
        row = reads[f"the picture decides, {name}"]
        assert right(row, "first calls") <= 0.5 and right(row) <= 0.5
        assert right(reads[f"- {name}, landscape"]) == 0 and right(reads[f"- {name}, lesion"]) == 1
    assert reads[f"- {PLAIN}, text alone at best"]["first calls"] == 60
    assert right(sees["turns with pictures, as they are"]) > right(sees["turns with pictures, shuffled"])


def test_who_obeys_the_words_fails_where_they_are_wrong(sets):
    rows = rows_of(Obeys(), sets)
    assert right(rows[f"the picture decides, {PLAIN}"]) == 1
    assert right(rows["the picture decides, right words"]) == 1
    assert right(rows["the picture decides, wrong words"]) == 0
    # and words are not believed less when the picture is another one
    assert right(rows["- right words, pictures shuffled"]) == 1


def test_the_script_itself_is_right_and_leaves_the_graph_little_to_force(sets):
    turns = [turn for dialogue in measured(Scripted(), sets.dialogues) for turn in dialogue]
    assert len(turns) > 120 and all(all(turn.played.verdict().values()) for turn in turns)
    owed = [turn.played for turn in turns if turn.played.forced - {AGAIN}]
    assert all(one.kind == "picture_not_skin" for one in owed if "classify_lesion" in one.forced)
    # the rules read few questions otherwise than the script
    assert len([one for one in owed if one.kind != "picture_not_skin"]) < 0.05 * len(turns)


def test_who_never_calls_is_forced_to(sets):
    class Silent(Scripted):
        def _write(self, player):
            return "The"

    turns = [turn for dialogue in measured(Silent(), sets.dialogues) for turn in dialogue]
    calling = [turn for turn in turns if turn.played.expected]
    assert len(calling) > 80
    assert not any(turn.played.verdict()["first calls"] for turn in calling)
    forced = count(calling)["graph forces"]
    assert forced > 0.9 * len(calling), forced
    chat = [turn for turn in turns if turn.played.kind in ("greeting", "thanks", "vague")]
    assert chat and not any(turn.played.forced for turn in chat)


def _call(name: str, query: str = "signs") -> Call:
    row = FactRow(
        fact_id="x-1",
        statement="s",
        source=SourceRef(id="made-up", title="made up"),
        subject=name,
        predicate="sign",
        object="o",
    )
    return Call("query_knowledge", {"query": query, "diseases": [name]}, f"x-1 | {name}", [row])


def _dialogue() -> list[Message]:
    found = "img1: acne 90 %; sure; shortlist acne"
    look = Call("classify_lesion", {"image": "img1"}, found, outcome="finding")
    return [
        Message("user", "What are its signs?", images=[("img1", 0)], kind="picture_lesion"),
        Message("assistant", calls=[look], target=True),
        Message("tool", look.result),
        Message("assistant", calls=[_call("acne")], target=True),
        Message("tool", _call("acne").result),
        Message("assistant", "The signs.", target=True),
        Message("user", "Thanks", kind="thanks"),
        Message("assistant", "Welcome.", target=True),
    ]


def _play(*texts: str) -> CallPlayer:
    player = CallPlayer(_dialogue(), {"acne", "rosacea"})
    for text in texts:
        assert player.advance()
        player.take(text)
    return player


LOOK, ASK = call_text(Call("classify_lesion", {"image": "img1"})), call_text(_call("acne"))
NAMES = ("tool", "arguments", "order")


@pytest.mark.parametrize(
    ("texts", "verdict", "forced"),
    [
        ((LOOK, ASK, "The"), (True, True, True), set()),
        ((ASK, LOOK, "The"), (True, True, False), set()),
        ((LOOK + ASK, "The"), (True, True, False), set()),
        ((LOOK, call_text(_call("rosacea")), "The"), (True, False, True), {AGAIN}),
        ((LOOK, "The"), (False, False, False), {"query_knowledge"}),
        (("The",), (False, False, False), {"classify_lesion"}),
        (("<tool_call>{broken</tool_call>",), (False, False, False), {"classify_lesion"}),
        (("<tool_call>{",), (False, False, False), {"classify_lesion"}),
    ],
)
def test_tool_arguments_and_order_are_told_apart(texts, verdict, forced):
    turn = _play(*texts).turns[0]
    found = turn.verdict()
    assert tuple(found[name] for name in NAMES) == verdict
    assert found["all three"] == all(verdict) and turn.forced == forced


def test_a_wrong_call_is_answered_and_the_turn_ends_with_the_scripts_answer():
    player = _play(call_text(_call("nonsense")), call_text(_call("rosacea")), LOOK, ASK, "Nothing")
    told = [message.text for message in player.said if message.role == "tool"]
    assert told == [
        "no disease found: nonsense",
        "no facts found: signs of rosacea",
        "img1: acne 90 %; sure; shortlist acne",
        "x-1 | acne",
    ]
    assert player.said[-1].text == "The signs."
    assert player.advance() and player.said[-1].text == "Thanks"


def test_who_calls_for_ever_is_stopped():
    turn = _play(*[call_text(_call(f"thing {number}")) for number in range(7)]).turns[0]
    assert not any(turn.verdict().values())
    asked = _play(LOOK, ASK, ASK, ASK, ASK)
    assert not asked.turns[0].verdict()["all three"] and asked.said[-1].text == "The signs."


def test_what_the_conversation_holds_may_be_asked_for_again():
    turn = _play(LOOK, ASK, ASK, "The").turns[0]
    assert turn.verdict() | {"to the word": True} == dict.fromkeys(turn.verdict(), True)
    assert not turn.verdict()["to the word"]


def test_turns_without_a_call_are_right_when_none_is_made():
    assert all(Played("thanks", []).verdict().values())
    made = Played("thanks", [], [[key(_call("acne"))]], [[key(_call("acne"))]])
    assert not any(made.verdict().values())


def test_a_call_that_does_not_end_is_malformed():
    assert parse_calls(f"{ASK}<tool_call>") is None and parse_calls("The <b>") == []


def test_a_row_ends_with_its_calls():
    ends = CallsAlone(6, 7)
    assert ends(torch.tensor([[9], [6]]), None).tolist() == [True, False]
    new = torch.tensor([[6, 1, 7], [6, 7, 6], [6, 7, 9], [6, 7, 5]])
    assert ends(new, None).tolist() == [False, False, True, True]


def test_a_missed_token_is_of_its_turn():
    user = 3
    ids = torch.tensor([[1, 3, 9, 9, 3, 9], [1, 3, 9, 0, 0, 0]])
    wrong = torch.zeros_like(ids, dtype=torch.bool)
    wrong[0, 5] = True
    assert turns_right(wrong, ids, user) == [[True, False], [True]]


def test_an_answer_is_missed_by_a_call_alone_and_a_call_by_any_token():
    assistant, opening = 4, 6
    ids = torch.tensor([[3, 9, 4, 20, 21], [3, 9, 4, 6, 30]])
    decided = torch.tensor([[False, False, True, False], [False, False, True, True]])

    def wrong(*said: int) -> list[list[int]]:
        return missed(torch.tensor(said), ids, decided, assistant, opening).nonzero().tolist()

    assert wrong(20, 6, 30) == wrong(25, 6, 30) == []
    assert wrong(6, 6, 31) == [[0, 3], [1, 4]] and wrong(20, 20, 30) == [[1, 3]]


def test_words_on_modality_are_many_and_new():
    def plain(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.lower()))

    modality = load_modality()
    assert set(modality) == {"right", "wrong"}
    folder = Path(clarify.__file__).parent / "training" / "generalist"
    texts = [w for table in load_wordings("train").values() for words in table.values() for w in words]
    learnt = "\n".join(
        map(plain, [*texts, str(tomllib.loads((folder / "phrasing.toml").read_text("utf-8")))])
    )
    for sentences in modality.values():
        assert set(sentences) == set(SHOWN)
        for some in sentences.values():
            assert len(set(some)) == len(some) >= 12
            assert not [sentence for sentence in some if plain(sentence) in learnt]
    for shown in SHOWN:
        assert not set(modality["right"][shown]) & set(modality["wrong"][shown])


def test_moved_pictures_leave_everything_else(maker):
    case = picture_cases(maker, GALLERY, 8, 1)[4]
    order = {index: 7 for message in case.script for _, index in message.images}
    other = moved(case.script, order)
    assert [m.text for m in other] == [m.text for m in case.script]
    assert {index for m in other for _, index in m.images} == {7}

"""Preference pairs, what judges them, and the training on them."""

import json
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("trl")

from tokenizers import Tokenizer

import clarify
from clarify.bench.generalist_player import Player
from clarify.bench.preference import counts, difference
from clarify.errors import BadInput
from clarify.training.checkpoints import write_checkpoint
from clarify.training.generalist import prefer as preferring
from clarify.training.generalist import preferences
from clarify.training.generalist.dialogues import Call, DialogueMaker, Message, call_text
from clarify.training.generalist.encode import corpus, system_text, train_tokenizer
from clarify.training.generalist.export import load_run
from clarify.training.generalist.judging import score
from clarify.training.generalist.model import build, logits_at
from clarify.training.generalist.phrasing import refused
from clarify.training.generalist.pictures import PictureBank
from clarify.training.generalist.preferences import Sampler, Turn, pair_of, read_pairs, turn_of
from clarify.training.generalist.train import load_weights
from clarify.training.generalist.world import load_names

WEIGHTS = Path(clarify.__file__).parent / "weights" / "nano"


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    kinds = np.array(["lesion", "skin_other", "not_skin"] * 8)
    pixels = rng.integers(0, 255, (24, 3, 64, 64)).astype(np.uint8)
    unknown = np.full((24, 1), np.nan, np.float32)
    return PictureBank(
        pixels, kinds, np.array(["train"] * 24), unknown, ["melanoma"], kinds, np.zeros((24, 2), np.float16)
    )


@pytest.fixture(scope="module")
def turns(bank):
    maker = DialogueMaker("train", load_names(None), [], ["melanoma"], bank)
    rngs = (random.Random(seed) for seed in range(150))
    return [turn for rng in rngs if (turn := turn_of(rng, maker.make(rng)))]


def script(turn):
    return f" {turn.due.text}" if turn.due.text else "".join(map(call_text, turn.due.calls))


def rows(turn):
    return {row.fact_id: row for m in turn.said for call in m.calls for row in call.rows}


def test_a_turn_ends_before_what_is_due(turns):
    assert {bool(turn.due.calls) for turn in turns} == {True, False}
    assert all(turn.due.target and turn.said[-1].role != "assistant" for turn in turns)


def test_the_script_is_worth_one_and_what_is_spoilt_is_worth_less(turns):
    spoilt = 0
    for turn in turns:
        assert score(script(turn), turn.due, rows(turn)).worth == 1
        lines = turn.due.text.split("\n")
        if any(line.endswith("]") and "[specialist:" not in line for line in lines):
            draft, _ = refused(random.Random(0), lines)
            spoilt += score(draft, turn.due, rows(turn)).worth < 1
            fewer = score("\n".join(lines[1:]), turn.due, rows(turn))
            assert fewer.coverage < 1 and fewer.supported in (0, 1)
    assert spoilt > 20


def test_no_call_a_broken_one_and_another_one_are_worth_nothing_and_half_of_them_half():
    both = [Call("query_knowledge", {"query": q, "diseases": ["acne"]}) for q in ("signs", "tests")]
    due = Message("assistant", calls=both, target=True)
    written = ["", " The cause is unknown.", "<tool_call>{</tool_call>", call_text(both[0])]
    assert [score(text, due, {}).worth for text in written] == [0, 0, 0, 0.5]
    thanks = Message("assistant", "You are welcome.", target=True)
    assert score(call_text(both[0]), thanks, {}).worth == 0
    assert score(" You are welcome.", thanks, {}).worth == 1


def test_a_pair_is_best_and_worst_or_the_script_where_none_is_right(turns):
    turn = next(t for t in turns if t.due.calls)
    right, wrong = script(turn), " Hello."
    pair = pair_of(turn, [wrong, right, wrong], 0.2, "s")
    assert (pair.chosen, pair.rejected, pair.worth) == (f"{right}<|end|>", f"{wrong}<|end|>", (1, 0))
    assert not pair.scripted and pair.kind == "call"
    assert pair.prompt.startswith("<|system|> s<|end|>") and pair.prompt.endswith("<|assistant|>")
    assert pair_of(turn, [right, right], 0.2, "s") is None and pair_of(turn, [], 0.2, "s") is None
    told = pair_of(turn, [wrong], 0.2, "s")
    assert told.scripted and told.chosen == pair.chosen
    answer = next(t for t in turns if len(t.due.text.split("\n")) == 4 and len(rows(t)) > 3)
    lines = answer.due.text.split("\n")
    near = "\n".join(lines[:3])
    assert pair_of(answer, [answer.due.text, near], 0.3, "s") is None
    assert pair_of(answer, [answer.due.text, near], 0.2, "s").worth == (1, 0.75)


def test_nano_is_sampled_as_it_answers():
    maker = DialogueMaker("test", load_names(None), [], ["melanoma"], None, brief=1.0)
    drawn = (turn_of(rng, maker.make(rng)) for rng in map(random.Random, range(20)))
    some = list(islice((turn for turn in drawn if turn), 6))
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
    sampler = Sampler(load_weights(WEIGHTS), tokenizer, None, samples=2, temperature=0.01)
    written = sampler.write(some)
    assert all(len(set(texts)) <= 1 for texts in written)
    worth = [
        score(texts[0], turn.due, rows(turn)).worth
        for turn, texts in zip(some, written, strict=True)
        if texts
    ]
    assert len(worth) >= 5 and sum(worth) >= len(worth) - 1
    longest = max(len(tokenizer.encode(script(turn) + "<|end|>").ids) for turn in some)
    cut = Sampler(sampler.model, tokenizer, None, samples=2, room=1 - longest)
    assert cut.write(some) == [[]] * len(some)  # one token each: none has ended


@pytest.fixture(scope="module")
def weights(turns, tmp_path_factory):
    """A run with random weights."""
    folder = tmp_path_factory.mktemp("run")
    tokenizer = train_tokenizer(corpus(([*t.said, t.due] for t in turns), system_text()), 700)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    image, pad, end = (tokenizer.token_to_id(token) for token in ("<image>", "<pad>", "<|end|>"))
    state = build(tokenizer.get_vocab_size(), image, pad, end, layers=1).state_dict()
    write_checkpoint(folder / "checkpoint.pt", {"model": state, "step": 0, "seen": 0, "used": 0.0})
    return folder


@pytest.fixture
def made(weights, bank, tmp_path, monkeypatch):
    """Makes pairs of what a stand-in for the model writes: the script, and nothing of it."""
    asked = []

    def write(self, turns):
        asked.append(len(turns))
        return [[script(turn), " Hello."] for turn in turns]

    monkeypatch.setattr(Sampler, "write", write)
    bank.save(tmp_path / "bank.npz")

    def make(*options):
        args = preferences.arguments().parse_args(
            ["--weights", str(weights), "--data", "none", "--pictures", str(tmp_path / "bank.npz")]
            + [
                "--out",
                str(tmp_path / "pairs"),
                "--turns",
                "6",
                "--threads",
                "1",
                "--longest",
                "900",
                *options,
            ]
        )
        args.data = None
        asked.clear()
        return preferences.main(args), sum(asked)

    return make


def test_blocks_are_made_once_and_only_of_the_same_kind(made, tmp_path):
    first, asked = made("--blocks", "1")
    assert first["pairs"] and asked >= first["pairs"]
    kept = (tmp_path / "pairs" / "00000.jsonl").read_bytes()
    both, _ = made("--blocks", "2")
    assert both["pairs"] > first["pairs"] and (tmp_path / "pairs" / "00000.jsonl").read_bytes() == kept
    assert made("--blocks", "2") == (both, 0)
    with pytest.raises(BadInput, match="another margin"):
        made("--blocks", "3", "--margin", "0.5")
    with pytest.raises(BadInput, match="holds no pairs"):
        read_pairs(tmp_path)


def log_ratio(folder, pairs, bank):
    """Log-likelihoods of the chosen and the rejected sides, by nano's own forward."""
    model, tokenizer, _ = load_run(folder)
    found = []
    for pair in pairs:
        for side in (pair.chosen, pair.rejected):
            before, said = (tokenizer.encode(t, add_special_tokens=False).ids for t in (pair.prompt, side))
            ids = torch.tensor([before + said])
            wanted = torch.arange(1, ids.shape[1])[None] >= len(before)
            seen = bank.tensor(pair.pictures) if pair.pictures else torch.zeros(0)
            with torch.no_grad():
                logits = logits_at(model, ids, wanted, seen, model.model.text_model)
            found.append(float(logits.log_softmax(-1).gather(1, torch.tensor(said)[:, None]).sum()))
    return np.array(found).reshape(-1, 2)


def test_two_steps_raise_the_chosen_over_the_rejected_and_a_stopped_training_goes_on(
    made, weights, bank, tmp_path, monkeypatch
):
    made("--blocks", "1")
    pairs = read_pairs(tmp_path / "pairs")
    assert any(pair.pictures for pair in pairs) and any(not pair.pictures for pair in pairs)
    said = ["--weights", str(weights), "--pairs", str(tmp_path / "pairs"), "--batch", "8", "--lr", "1e-3"]
    said += ["--threads", "1", "--steps", "2"]
    seen = ["--pictures", str(tmp_path / "bank.npz")]

    def run(name, *options):
        return preferring.prefer(
            preferring.arguments().parse_args([*said, "--out", str(tmp_path / name), *options])
        )

    assert run("whole", *seen)["steps"] == 2
    before, after = log_ratio(weights, pairs, bank), log_ratio(tmp_path / "whole", pairs, bank)
    assert ((after[:, 0] - after[:, 1]) > (before[:, 0] - before[:, 1])).all()
    held = tmp_path / "whole" / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    first = json.loads(held.read_text())["log_history"][0]
    assert first["logps/chosen"] == pytest.approx(before[:, 0].mean(), rel=1e-4)  # it has seen the pictures
    assert first["logps/rejected"] == pytest.approx(before[:, 1].mean(), rel=1e-4)

    def stop(self, args, state, *rest, **more):
        if state.global_step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preferring.Lines, "on_log", stop)
        run("parts", *seen)
    assert (tmp_path / "parts" / "checkpoints" / "checkpoint-1").is_dir()
    run("parts", *seen)
    whole, parts = (load_run(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.allclose(whole[key], parts[key], atol=1e-5) for key in whole)
    with pytest.raises(BadInput, match="another sft"):
        run("parts", "--sft", "0.5", *seen)
    with pytest.raises(BadInput, match="have pictures"):
        run("none")


def test_the_bench_takes_dialogues_in_pairs():
    before, after = [(1, 2)] * 50, [(2, 2)] * 50
    assert difference(before, after) == (50, 50, 50)
    assert difference(before, before) == (0, 0, 0)
    maker = DialogueMaker("test", load_names(None), [], ["melanoma"], None)
    player = Player(maker.make(random.Random(1)), ())
    while player.advance():
        due = player.script[player.at]
        player.take(script(Turn([], due)))
    found = counts(player)
    assert all(hits == n for hits, n in found.values()) and found["right tool and arguments"][1]

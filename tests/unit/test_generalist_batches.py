"""Batches of made-up dialogues: padded, none twice, the same from any number of processes."""

import random
import socket
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import clarify
from clarify.errors import BadInput
from clarify.training.device import loader
from clarify.training.generalist import train as training
from clarify.training.generalist.batches import BLOCK, Dialogues, collate
from clarify.training.generalist.dialogues import DialogueMaker
from clarify.training.generalist.encode import Encoded, encode, system_text
from clarify.training.generalist.model import shape_of
from clarify.training.generalist.pictures import PictureBank
from clarify.training.generalist.prune import own_dialogues
from clarify.training.generalist.world import load_names

WEIGHTS = Path(clarify.__file__).parent / "weights" / "nano"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))


def dialogues(tokenizer, first=0, tokens=4096):
    maker = DialogueMaker("train", load_names(None), [], [], None, 0.7)
    return Dialogues(maker, tokenizer, None, "7.0", first, tokens, 1400)


def texts(batches):
    return [tuple(row[row > 0].tolist()) for batch in batches for row in batch.ids]


def test_batches_hold_all_dialogues_of_a_block_once_and_keep_to_their_tokens(tokenizer):
    made = dialogues(tokenizer)
    groups = made._groups(0, system_text())
    lengths = sorted(len(one.ids) for group in groups for one in group)
    wanted = [
        len(encode(made.maker.make(random.Random(f"7.0/0/{i}")), tokenizer, system_text()).ids)
        for i in range(BLOCK)
    ]
    assert lengths == sorted(n for n in wanted if n <= 1400)
    for batch in islice(made, len(groups)):
        assert batch.ids.shape == batch.weight.shape and batch.ids.numel() <= 4096
        assert not batch.weight[batch.ids == 0].any()


def test_two_processes_take_turns_and_nothing_is_lost_or_made_twice(tokenizer):
    """Block by block, in an order that depends on nothing but their number."""
    counts = [len(dialogues(tokenizer)._groups(block, system_text())) for block in (0, 1)]
    alone = [tuple(texts([batch])) for batch in islice(dialogues(tokenizer), sum(counts))]
    first, second = alone[: counts[0]], alone[counts[0] :]
    taking_turns = [batch for pair in zip(first, second, strict=False) for batch in pair]
    shared = [tuple(texts([b])) for b in islice(loader(dialogues(tokenizer), 2), len(taking_turns))]
    assert shared == taking_turns
    assert len(set(texts(islice(dialogues(tokenizer), sum(counts))))) == len(texts_of(alone))


def texts_of(batches):
    return [text for batch in batches for text in batch]


def test_a_resumed_training_sees_nothing_again(tokenizer):
    """It begins with the block whose number is that of the steps done."""
    seen = set(texts(islice(loader(dialogues(tokenizer), 2), 3)))
    assert not seen & set(texts(islice(dialogues(tokenizer, first=3), 3)))


def bank_of(pixels, kind="lesion", split="train"):
    n = len(pixels)
    blank = np.full((n, 1), np.nan, np.float32)
    seen = np.eye(n, 8, dtype=np.float16)
    return PictureBank(
        pixels, np.array([kind] * n), np.array([split] * n), blank, ["a"], np.array(["nevus"] * n), seen
    )


def test_pictures_are_in_the_order_in_which_they_are_shown():
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 64, 64), np.uint8)
    bank = bank_of(pixels)
    batch = collate([Encoded([1, 2], [0.0, 1.0], [3, 0]), Encoded([4], [1.0], [2])], bank)
    assert batch.ids.tolist() == [[1, 2], [4, 0]] and batch.weight.tolist() == [[0, 1], [1, 0]]
    assert ((batch.pictures[:, 0, 0, 0] + 1) * 127.5).round().tolist() == [3, 0, 2]


def test_training_goes_on_where_it_stopped(tmp_path):
    args = training.arguments().parse_args(
        ["--data", "none", "--out", str(tmp_path), "--weights", str(WEIGHTS), "--tokens", "1500"]
        + ["--steps", "2", "--layers", "9", "--threads", "1", "--minutes", "10"]
    )
    args.data = None
    states = []
    for steps in (2, 2, 3):  # the second has nothing left to do
        args.steps = steps
        training.train(args)
        states.append(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    first, same, more = states
    assert [state["step"] for state in states] == [2, 2, 3] and more["seen"] > first["seen"] > 0
    assert all(torch.equal(value, same["model"][name]) for name, value in first["model"].items())
    assert any(not torch.equal(value, more["model"][name]) for name, value in first["model"].items())
    moments = [part for saved in more["optims"] for one in saved["state"].values() for part in one.values()]
    assert all(float(part.abs().sum()) > 0 for part in moments if part.ndim == 2 and part.shape[0] == 192)
    args.seed = 5
    with pytest.raises(BadInput, match="another seed"):
        training.train(args)


def test_layers_are_those_of_the_weights_unless_more_are_wanted(tokenizer):
    args = training.arguments().parse_args(["--data", "none", "--weights", str(WEIGHTS)])
    shipped, width = shape_of(training.begin(args, tokenizer).state_dict())
    args.layers = shipped + 2
    assert shape_of(training.begin(args, tokenizer).state_dict()) == (shipped + 2, width)
    args.layers = shipped - 1
    with pytest.raises(BadInput, match="do not fit"):
        training.begin(args, tokenizer)


def _average(rank: int, port: int, out: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)])
    model[0].weight.grad = torch.full((1, 2), 1.0 + rank)
    if rank:  # the other process saw no picture
        model[1].weight.grad = torch.full((1, 2), 4.0)
    training.average(model)
    seconds = training.agreed(10.0 * rank, 2, torch.device("cpu"))
    Path(out, str(rank)).write_text(f"{[p.grad.tolist() for p in model.parameters()]} {seconds}")
    torch.distributed.destroy_process_group()


def test_two_processes_average_gradients_and_seconds(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_average, (port, str(tmp_path)), nprocs=2)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["[[[1.5, 1.5]], [[2.0, 2.0]]] 5.0"] * 2


def test_a_model_is_calibrated_with_the_dialogues_of_its_stage():
    """Those of instruction are of text alone, and other ones than those of the last stage."""
    made = {
        stage: next(iter(own_dialogues(WEIGHTS, None, None, 1, stage))) for stage in ("instruct", "experts")
    }
    for inputs in made.values():
        assert set(inputs) == {"input_ids", "attention_mask"}
        assert torch.equal(inputs["attention_mask"].bool(), inputs["input_ids"] != 0)
    assert made["instruct"]["input_ids"].tolist() != made["experts"]["input_ids"].tolist()

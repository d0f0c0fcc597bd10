"""Batches of made-up dialogues: padded, none twice, the same from any number of processes."""

import random
from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import clarify
from clarify.training.generalist.batches import BLOCK, Dialogues, loader
from clarify.training.generalist.dialogues import DialogueMaker
from clarify.training.generalist.encode import encode, system_text
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


def test_further_processes_make_other_dialogues_and_nothing_is_lost(tokenizer):
    blocks = [len(dialogues(tokenizer)._groups(block, system_text())) for block in (0, 1)]
    one = texts(islice(dialogues(tokenizer), sum(blocks)))
    two = texts(islice(loader(dialogues(tokenizer), 2), 2 * min(blocks)))
    assert len(set(two)) == len(two) and set(two) <= set(one)
    later = texts(islice(dialogues(tokenizer, first=1), blocks[1]))
    assert one[-len(later) :] == later

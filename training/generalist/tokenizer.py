"""nano's tokenizer: byte-level BPE, without the tokens that its training would hardly ever show.

    python -m clarify.training.generalist.tokenizer --data SHARED_DATA --pictures runs/pictures.npz \
        --weights weights/nano --out runs/lean/tokenizer.json

The command takes such tokens out of the tokenizer of a trained nano; `train --weights weights/nano --out
runs/lean` then goes on with the rows of the embeddings that are left. With `--keep` their places stay, empty,
and the weights can be used as they are.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, tensor
from transformers import PreTrainedTokenizerFast

from ...errors import BadInput
from .dialogues import Message
from .encode import PICTURE, segments, system_text
from .pictures import PictureBank
from .stages import Maker, Source

SPECIAL = (
    "<pad> <|system|> <|user|> <|assistant|> <|tool|> <|end|> <tool_call> </tool_call> <image> "
    "<fake_token_around_image> <global-img> <end_of_utterance> <unk>"
).split()
COUNTED = 20_000
"""Dialogues whose tokens are counted, where nothing else is said."""
LEAST = 30
"""A token that they show less often is hardly learnt, and was not copied right."""
CARRIED = 20
"""A rare piece of other tokens stays if these are shown so many times as often as it would have to be."""
_SPLIT = r" ?\p{L}+| ?\p{N}|[ ]?[^\s\p{L}\p{N}]+|\n|\s"
Words = Mapping[tuple[str, ...], int]
"""How often a word comes, by its tokens."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains a byte-level BPE whose digits stand alone and whose words carry their leading space."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wraps a trained tokenizer for transformers, with the chat template attached."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|end|>",
        unk_token="<unk>",
        additional_special_tokens=[t for t in SPECIAL if t not in ("<pad>", "<|end|>", "<unk>")],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
    return fast


def corpus(make: Iterable[list[Message]], system: str, seed: int = 0) -> Iterator[str]:
    """Yields texts for the tokenizer: dialogues without their special tokens."""
    rng = random.Random(seed)
    for messages in make:
        parts = [text for text, _ in segments(messages, system)][1:]
        rng.shuffle(parts)
        yield "\n".join(parts).replace(PICTURE, "")


def count_words(tokenizer: Tokenizer, maker: Maker, dialogues: int = COUNTED) -> Words:
    """Counts the words of some dialogues, none of which `train_tokenizer` read."""
    words: Counter[tuple[str, ...]] = Counter()
    system = system_text()
    for number in range(dialogues):
        for text, _ in segments(maker.make(random.Random(f"tok/{number}")), system):
            read = tokenizer.encode(text, add_special_tokens=False)
            word: list[str] = []
            for i, token in enumerate(read.tokens):
                if word and read.word_ids[i] != read.word_ids[i - 1]:
                    words[tuple(word)] += 1
                    word = []
                word.append(token)
            words[tuple(word)] += bool(word)
    return words


def without_rare(tokenizer: Tokenizer, words: Words, least: int = LEAST, *, keep: bool = False) -> Tokenizer:
    """Takes out the tokens that a training hardly shows, whose embeddings stay as they were drawn.

    BPE keeps every piece on the way to a longer token and every name that its own corpus repeats; a word that
    is spelt with one of these is copied wrong (Land & Bartolo 2024, arXiv 2405.05417). What is left spells
    it in shorter pieces. Whole words are looked up before any merge, so that the pieces of a word that is one
    token need not stay.

    Args:
        tokenizer: Byte-level BPE.
        words: What the training shows, as `tokenizer` spells it.
        least: How often a token must be seen to stay.
        keep: Whether all ids stay as they are; what goes is then renamed to what no text is spelt with.

    Returns:
        A tokenizer with fewer tokens, in the order that they had.
    """
    spelt: dict[str, Any] = json.loads(tokenizer.to_str())
    model = spelt["model"]
    made: dict[str, tuple[str, str]] = {a + b: (a, b) for a, b in model["merges"]}
    whole, inside = Counter[str](), Counter[str]()
    for tokens, times in words.items():
        for token in tokens:
            (inside if len(tokens) > 1 else whole)[token] += times
    parts = _pieces(made, inside, least)
    model["merges"] = [merge for merge in model["merges"] if "".join(merge) in parts]
    model["ignore_merges"] = True
    stays = parts | (model["vocab"].keys() - made.keys()) | {t for t in made if whole[t] >= least}
    order = sorted(model["vocab"].keys() if keep else stays, key=model["vocab"].__getitem__)
    model["vocab"] = {
        token if token in stays else f"<unused {number}>": number for number, token in enumerate(order)
    }
    return Tokenizer.from_str(json.dumps(spelt))


def _pieces(made: Mapping[str, tuple[str, str]], inside: Counter[str], least: int) -> set[str]:
    """Tokens that spell parts of words often enough, and what they are merged from.

    A token goes too if it is merged from a rare one that would stay for little else.
    """
    kept = {token for token in made if inside[token] >= least}
    while True:
        carried: Counter[str] = Counter()
        for token in sorted(made, key=len, reverse=True):
            if token in kept or carried[token]:
                times = inside[token] + (0 if token in kept else carried[token])
                carried.update({part: times for part in set(made[token]) & made.keys()})
        rare = {part for part in carried if part not in kept and carried[part] < CARRIED * least}
        if not (gone := {token for token in kept if rare & set(made[token])}):
            break
        kept -= gone
    waiting = list(kept)
    while waiting:
        new = set(made[waiting.pop()]) & made.keys() - kept
        kept |= new
        waiting += new
    return kept


def rows_of(new: Tokenizer, old: Tokenizer) -> Tensor:
    """Where the tokens of one tokenizer stand in another: ids, (tokens of `new`,).

    Raises:
        BadInput: The other one lacks some.
    """
    known, order = old.get_vocab(), sorted(new.get_vocab().items(), key=lambda item: item[1])
    if strange := [token for token, _ in order if token not in known]:
        raise BadInput(
            f"The tokenizer has {len(strange)} tokens that the weights do not know, as {strange[0]!r}.",
            hint="Make it with clarify.training.generalist.tokenizer from these weights.",
        )
    return tensor([known[token] for token, _ in order])


def main() -> None:
    """Takes rare tokens out of a trained model's tokenizer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="exported folder, or run")
    parser.add_argument("--out", type=Path, required=True, help="tokenizer.json of the run to begin")
    parser.add_argument("--brief", type=float, default=0.7)
    parser.add_argument("--least", type=int, default=LEAST)
    parser.add_argument("--keep", action="store_true", help="keep the places of what is taken out")
    args = parser.parse_args()
    old = Tokenizer.from_file(str(args.weights / "tokenizer.json"))
    source = Source(args.data, PictureBank.load(args.pictures), "train", args.brief)
    new = without_rare(old, count_words(old, source.dialogues(pictures=True)), args.least, keep=args.keep)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    new.save(str(args.out))
    left = sum(not token.startswith("<unused ") for token in new.get_vocab())
    print(json.dumps({"tokens": left, "before": old.get_vocab_size()}))


if __name__ == "__main__":
    main()

"""Makes preference pairs for `prefer`: what nano itself writes in a turn, the best of it beside the worst.

    python -m clarify.training.generalist.preferences --weights runs/nano --data SHARED_DATA \
        --pictures runs/pictures.npz --blocks 20 --out runs/pairs

One turn of each made-up dialogue of the train split is taken, the script before it given, and nano draws
several continuations of it. `judging.score` is the reward: the share of calls that are right, of lines that
`verify` supports, of scripted lines that are said. Best and worst become a pair where they differ by the
margin; where none of them is right, what the script has is the preferred one. So the pairs are of nano's own
mistakes (Rafailov et al. 2023, arXiv 2305.18290, section 4: preferences over samples of the reference).

A pair is kept as text, which the tokenizer cuts the same way in training as in a conversation. `--out` gets
a file a block; those that are there already are not made again. On a CPU it takes half the time where glibc
keeps the memory it was given: MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from ...errors import BadInput
from ..checkpoints import same_training
from ..device import best_device
from .dialogues import Message
from .encode import prompt_text, segments, system_text
from .judging import score
from .model import embedded
from .pictures import PictureBank
from .stages import Maker, Source
from .train import load_weights

SETTINGS = "pairs.json"
WRITABLE = ("<tool_call>", "</tool_call>")
"""Special tokens that belong in a message."""


@dataclass(frozen=True)
class Turn:
    """A place in a dialogue where the model must write.

    Attributes:
        said: The script before it.
        due: What the script has there.
    """

    said: list[Message]
    due: Message

    @property
    def images(self) -> list[int]:
        """Places of the pictures in view, in the bank."""
        return [index for message in self.said for _, index in message.images]


@dataclass(frozen=True)
class Pair:
    """Two continuations of one turn.

    Attributes:
        prompt: The conversation, up to where the model goes on.
        chosen, rejected: What it goes on with, to the end of its turn.
        pictures: Places in the bank.
        worth: Of `chosen` and of `rejected`, as `Score.worth`.
        kind: Whether calls are due or an answer.
        scripted: Whether `chosen` is the script's.
    """

    prompt: str
    chosen: str
    rejected: str
    pictures: list[int]
    worth: tuple[float, float]
    kind: str
    scripted: bool


def turn_of(rng: random.Random, dialogue: Sequence[Message]) -> Turn | None:
    """Draws a turn of a dialogue; None if the model has nothing to write in it."""
    targets = [i for i, message in enumerate(dialogue) if message.target]
    if not targets:
        return None
    at = rng.choice(targets)
    return Turn(list(dialogue[:at]), dialogue[at])


def pair_of(turn: Turn, written: Iterable[str], margin: float, system: str) -> Pair | None:
    """Makes a pair of what the model wrote in a turn, if best and worst differ enough.

    Args:
        turn: The turn.
        written: Continuations, without the mark that ends them.
        margin: Least difference in worth.
        system: As `system_text`.
    """
    rows = {row.fact_id: row for m in turn.said for call in m.calls for row in call.rows}
    ranked = sorted(((score(text, turn.due, rows).worth, text) for text in written), key=lambda one: one[0])
    if not ranked:
        return None
    (low, rejected), (high, chosen) = ranked[0], ranked[-1]
    chosen, scripted = f"{chosen}<|end|>", high < 1
    if scripted:
        *_, (chosen, _) = segments([turn.due], system)
        high = 1.0
    if high - low < margin:
        return None
    return Pair(
        prompt_text(turn.said, system), chosen, f"{rejected}<|end|>", turn.images, (high, low),
        "call" if turn.due.calls else "answer", scripted,
    )  # fmt: skip


class Sampler:
    """Draws continuations from a model, without any grammar.

    Args:
        model: nano in full precision.
        tokenizer: Its own.
        bank: Pictures, or None.
        samples: Continuations of each turn.
        temperature: What the logits are divided by.
        room: By how many tokens a continuation may be longer than the longest of the script's in its batch;
            one that has not ended by then is left out.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        bank: PictureBank | None,
        samples: int = 4,
        temperature: float = 1.0,
        room: int = 32,
    ) -> None:
        self.model, self.tokenizer, self.bank = model.eval(), tokenizer, bank
        self.samples, self.temperature, self.room = samples, temperature, room
        self.system = system_text()
        self._pad, self._end = (tokenizer.token_to_id(token) for token in ("<pad>", "<|end|>"))
        marks = {place for place, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        self._marks = marks - {tokenizer.token_to_id(token) for token in WRITABLE}

    @torch.inference_mode()
    def write(self, turns: Sequence[Turn]) -> list[list[str]]:
        """Continues each turn; a continuation that does not end, or holds a stray mark, is left out."""
        prompts = [prompt_text(turn.said, self.system) for turn in turns for _ in range(self.samples)]
        rows = list(map(self._tokens, prompts))
        longest = max(map(len, rows))
        due = [self._tokens("".join(text for text, _ in segments([turn.due], ""))) for turn in turns]
        device = self.model.device
        ids = torch.tensor([[self._pad] * (longest - len(row)) + row for row in rows], device=device)
        written = ids.ne(self._pad).long()
        indices = [index for turn in turns for _ in range(self.samples) for index in turn.images]
        seen = self.bank.tensor(indices) if self.bank is not None and indices else torch.zeros(0)
        made = self.model.generate(
            inputs_embeds=embedded(self.model, ids, seen.to(device)),
            attention_mask=written,
            max_new_tokens=max(map(len, due)) + self.room,
            do_sample=True,
            temperature=self.temperature,
            top_k=0,
            top_p=1.0,
            eos_token_id=self._end,
            pad_token_id=self._pad,
        ).tolist()
        texts = [self._read(row) for row in made]
        groups = [texts[i : i + self.samples] for i in range(0, len(texts), self.samples)]
        return [[text for text in group if text is not None] for group in groups]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _read(self, ids: list[int]) -> str | None:
        if self._end not in ids:
            return None
        ids = ids[: ids.index(self._end)]
        if self._marks & set(ids):
            return None
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text


def block(number: int, maker: Maker, sampler: Sampler, args: argparse.Namespace) -> list[Pair]:
    """Makes the pairs of a block, which follow from the seed, its number and the model alone."""
    drawn = []
    for i in range(args.turns):
        rng = random.Random(f"preferences/{args.seed}/{number}/{i}")
        turn = turn_of(rng, maker.make(rng))
        if turn is not None and _length(turn) <= args.longest:
            drawn.append(turn)
    drawn.sort(key=lambda turn: (len(turn.due.text), _length(turn)))
    torch.manual_seed(random.Random(f"preferences/{args.seed}/{number}").getrandbits(62))
    made: list[Pair | None] = []
    for start in range(0, len(drawn), args.batch):
        some = drawn[start : start + args.batch]
        for turn, written in zip(some, sampler.write(some), strict=True):
            made.append(pair_of(turn, written, args.margin, sampler.system))
    return [pair for pair in made if pair is not None]


def _length(turn: Turn) -> int:
    return sum(len(m.text) + 100 * len(m.calls) for m in (*turn.said, turn.due))


def read_pairs(folder: Path) -> list[Pair]:
    """Reads the pairs of all blocks in a folder.

    Raises:
        BadInput: There are none.
    """
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    if not lines:
        raise BadInput(
            f"{folder} holds no pairs", hint="Make some with clarify.training.generalist.preferences."
        )
    return [Pair(**{**(row := json.loads(line)), "worth": tuple(row["worth"])}) for line in lines]


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="a run, or an exported folder")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with disease_ontology/ and hetionet_subset/"
    )
    parser.add_argument("--pictures", type=Path, help="without it: dialogues of text alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--turns", type=int, default=192, help="of a block, each of another dialogue")
    parser.add_argument("--samples", type=int, default=4, help="continuations of a turn")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--margin", type=float, default=0.2, help="least difference in worth")
    parser.add_argument(
        "--brief", type=float, default=0.3, help="share of dialogues with one short row a question"
    )
    parser.add_argument(
        "--longest", type=int, default=3000, help="characters of a turn and what is before it"
    )
    parser.add_argument("--batch", type=int, default=16, help="turns at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Makes the blocks that `--out` lacks.

    Returns:
        How many pairs `--out` holds, by kind, and of how many the script is the preferred side.

    Raises:
        BadInput: `--out` holds pairs that were made otherwise, or in the end none.
    """
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = args.out / SETTINGS
    loose = ("out", "blocks", "batch", "threads")
    wanted = {name: str(value) for name, value in vars(args).items() if name not in loose}
    if settings.is_file():
        same_training(settings, json.loads(settings.read_text("utf-8")), wanted)
    settings.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    bank = PictureBank.load(args.pictures) if args.pictures else None
    maker = Source(args.data, bank, "train", args.brief).dialogues(pictures=bank is not None)
    tokenizer = Tokenizer.from_file(str(args.weights / "tokenizer.json"))
    model = load_weights(args.weights).to(best_device(), torch.bfloat16)  # as it answers
    model.set_attn_implementation(
        "eager"
    )  # for one token at a time on a CPU twice as fast as the fused kernel
    sampler = Sampler(model, tokenizer, bank, args.samples, args.temperature)
    for number in range(args.blocks):
        file = args.out / f"{number:05d}.jsonl"
        if file.exists():
            continue
        lines = [json.dumps(asdict(pair), ensure_ascii=False) for pair in block(number, maker, sampler, args)]
        beside = file.with_suffix(".tmp")
        beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        beside.replace(file)
        print(json.dumps({"block": number, "pairs": len(lines)}), flush=True)
    return summary(read_pairs(args.out))


def summary(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Counts pairs."""
    kinds = {kind: sum(pair.kind == kind for pair in pairs) for kind in ("call", "answer")}
    return {"pairs": len(pairs), **kinds, "scripted": sum(pair.scripted for pair in pairs)}


if __name__ == "__main__":
    print(json.dumps(main(arguments().parse_args())))

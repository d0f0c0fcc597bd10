"""What constraining tool calls does to the choice of tools.

    python -m clarify.bench.constraint --data DATA [--n 300] [--weights FOLDER]

The first question of each of n held-back dialogues (`bench/generalist.py`, text alone) is put to a model as
`agent/nodes/consult.py` puts it, with the two tools of the product, three times: nothing constrained; calls
under the grammar once the model has begun one, as shipped; and a call from the first token on. Printed are,
with 95 % Wilson intervals, over the turns that need a call: the right tools, the right tools with the right
arguments (as the state machine reads a call, and to the word); of all calls made, the well-formed ones;
over the turns that need none, how often a call is made; and the paired differences between the first two
ways.

`--weights` takes any folder that the profile `path:` takes, such as a model of the hub saved there. nano
was trained on dialogues like these, of other words and names; for other models it is a task like any other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from ..agent.deps import Deps, Env
from ..agent.generalist.profiles import load_generalist, nano_folder
from ..agent.images import LocalImageStore
from ..agent.must_calls import MEDICAL
from ..agent.nodes.consult import ask
from ..agent.nodes.use_tools import strange_tools, toolbox
from ..agent.state import State
from ..errors import BadInput
from ..graph_schema.folding import normalise
from ..training.generalist.dialogues import Call, DialogueMaker, Message, call_text
from ..training.generalist.world import load_names
from ..training.intervals import resampled, share
from .generalist import scripts
from .generalist_player import Player, canonical, key

FREE, SHIPPED, STRICT = "nothing constrained", "calls only (as shipped)", "a call from the first token"
WAYS = {FREE: (False, "auto"), SHIPPED: (True, "auto"), STRICT: (True, "required")}
"""Way -> whether begun calls are constrained, and the choice of tools."""


@dataclass(frozen=True)
class Outcome:
    """One answer, judged.

    Attributes:
        due: Whether the turn needs a call.
        calls: Calls made, broken ones among them.
        well: Calls that can be read and whose arguments fit the tool's schema.
        tools: Whether the tools called are the right ones, each as often as it should be.
        right: Whether the calls are right as the state machine reads them, or rightly none.
        exact: Whether they are right to the word.
        ms: Milliseconds of the processor.
    """

    due: bool
    calls: int
    well: int
    tools: bool
    right: bool
    exact: bool
    ms: float


def judge(
    said: AIMessage,
    script: list[Message],
    tools: Sequence[BaseTool],
    lexicon: Collection[str],
    ms: float,
) -> Outcome:
    """Judges the answer to the first question of a dialogue.

    Args:
        said: The answer.
        script: The dialogue.
        tools: What was offered.
        lexicon: Folded names of diseases that a graph would know.
        ms: What the answer took.
    """
    expected = script[1].calls
    well = [call for call in said.tool_calls if _fits(call["name"], call["args"], tools)]
    calls = len(said.tool_calls) + len(said.invalid_tool_calls)
    fine = len(well) == calls
    named = sorted(call["name"] for call in said.tool_calls)
    made = sorted((call["name"], canonical(call["args"])) for call in well)
    return Outcome(
        due=bool(expected),
        calls=calls,
        well=len(well),
        tools=named == sorted(call.name for call in expected) and not said.invalid_tool_calls,
        right=fine and _right([Call(call["name"], call["args"]) for call in well], script, lexicon),
        exact=fine and made == sorted(map(key, expected)),
        ms=ms,
    )


def _fits(name: str, args: dict[str, Any], tools: Sequence[BaseTool]) -> bool:
    """Whether a call is one of an offered tool with arguments that it takes."""
    schemas = {tool.name: tool.args_schema for tool in tools}
    schema = schemas.get(name)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return False
    try:
        schema.model_validate(args)
    except ValidationError:
        return False
    return args.keys() <= schema.model_fields.keys()


def _right(calls: Sequence[Call], script: list[Message], lexicon: Collection[str]) -> bool:
    """Whether `bench.generalist` would go on with the script after these calls."""
    player = Player(script, lexicon)
    if not player.advance():
        raise BadInput("This dialogue asks nothing of the model.")
    player.take("".join(map(call_text, calls)))
    return all(good for _, good, *_ in player.results)


def _nothing(*_: Any) -> NoReturn:
    raise BadInput("This bench makes no call.")


def measure(
    weights: Path, made: list[list[Message]], lexicon: Collection[str]
) -> Iterator[dict[str, Outcome]]:
    """Asks a model the first question of every dialogue, in every way."""
    profile = "nano" if weights.resolve() == nano_folder().resolve() else f"path:{weights}"
    shipped: Any = load_generalist(profile)
    models = {way: shipped.model_copy(update={"constrain_auto": on}) for way, (on, _) in WAYS.items()}
    envs = {way: Env(_deps(model, profile)) for way, model in models.items()}
    for number, script in enumerate(made):
        state: State = {
            "messages": [HumanMessage(script[0].text)],
            "work": {"turn": 1, "kind": MEDICAL, "text": script[0].text},
        }
        tools = toolbox(state, envs[SHIPPED], "", strange_tools(envs[SHIPPED]))
        first = number % len(WAYS)
        order = [*WAYS][first:] + [*WAYS][:first]
        found = {}
        for way in order:
            shipped.loaded.cache.clear()  # or the way that comes last would find the question computed
            start = time.process_time()
            said = ask(state, envs[way], WAYS[way][1])
            ms = 1000 * (time.process_time() - start)
            found[way] = judge(said, script, tools, lexicon, ms)
        yield found


def _deps(model: Any, profile: str) -> Deps:
    return Deps(
        generalist=lambda _: model,
        specialist=_nothing,
        knowledge=_nothing,
        lexicon=_nothing,
        images=LocalImageStore(Path()),
        profile=profile,
    )


def report(outcomes: Sequence[dict[str, Outcome]]) -> None:
    """Prints the shares of every way, and the difference between the first two."""
    for way in WAYS:
        due = [found[way] for found in outcomes if found[way].due]
        other = [found[way] for found in outcomes if not found[way].due]
        calls = sum(found[way].calls for found in outcomes)
        well = sum(found[way].well for found in outcomes)
        took, low, high = resampled(np.median, [found[way].ms for found in outcomes])
        rows = [
            ("right tools, a call is due", sum(o.tools for o in due), len(due)),
            ("... and arguments", sum(o.right for o in due), len(due)),
            ("... to the word", sum(o.exact for o in due), len(due)),
            ("calls that are well-formed", well, calls),
            ("a call though none is due", sum(o.calls > 0 for o in other), len(other)),
            ("all turns right", sum(found[way].right for found in outcomes), len(outcomes)),
        ]
        print(way)
        for name, hits, n in rows:
            print(f"  {name:30s} {share(hits, n)}  n = {n}")
        print(f"  {'processor time, p50 ms':30s} {took:.0f} [{low:.0f}, {high:.0f}]  n = {len(outcomes)}")
    pairs = [(found[SHIPPED], found[FREE]) for found in outcomes]
    due_pairs = [(a, b) for a, b in pairs if a.due]
    for name, field, some in (("right tools", "tools", due_pairs), ("all turns right", "right", pairs)):
        columns = [[float(getattr(pair[k], field)) for pair in some] for k in range(2)]
        value, low, high = (100 * v for v in resampled(lambda a, b: a.mean() - b.mean(), *columns))
        print(
            f"{name}, {SHIPPED} less {FREE}: {value:+.1f} points [{low:+.1f}, {high:+.1f}]  n = {len(some)}"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=nano_folder())
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = load_names(args.data)
    made = list(scripts(DialogueMaker("test", names, [], [], None), args.n, args.seed))
    outcomes = []
    for found in measure(args.weights, made, {normalise(name) for name in names["disease"]}):
        outcomes.append(found)
        if len(outcomes) % 50 == 0:
            print(f"  {len(outcomes)}/{len(made)}", flush=True)
    print(f"{args.weights.name}, first questions of held-back dialogues, n = {len(made)}")
    report(outcomes)


if __name__ == "__main__":
    main()

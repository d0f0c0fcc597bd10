"""What a model wrote in a turn, read and judged as the agent does: its calls, and its lines by `verify`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...agent.grounding import check, parse_statements
from ...agent.lexicon import Lexicon
from ...graph_schema.protocol import FactRow
from .dialogues import Call, Message

CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.S)
_CITE = re.compile(r"\[([^\[\]]+)\]\s*$")
Key = tuple[str, str]


def canonical(args: Mapping[str, Any]) -> str:
    """Writes arguments in one form; a list of diseases is a set, whose order asks nothing else."""
    plain = {k: sorted({x.strip() for x in v}) if isinstance(v, list) else v for k, v in args.items()}
    return json.dumps(plain, sort_keys=True)


def parse_calls(text: str) -> list[Key] | None:
    """Reads calls as (name, canonical arguments); None when one is malformed or does not end."""
    found: list[Key] = []
    if text.count("<tool_call>") != text.count("</tool_call>"):
        return None
    for body in CALL.findall(text):
        try:
            call = json.loads(body)
            found.append((call["name"], canonical(call["arguments"])))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return found


def key(call: Call) -> Key:
    """The canonical form of a scripted call."""
    return call.name, canonical(call.args)


@dataclass(frozen=True)
class Score:
    """How well a message does what is due, each from 0 to 1.

    Attributes:
        calls: Calls that are written and due, of all that are either; 0 if one cannot be read.
        supported: Lines that hold, of all; 1 where calls are due.
        coverage: Lines of the script that are said, of all; 1 where calls are due.
    """

    calls: float
    supported: float
    coverage: float

    @property
    def worth(self) -> float:
        """The product: precision alone rewards silence, coverage alone rewards chatter."""
        return self.calls * self.supported * self.coverage


def score(text: str, due: Message, rows: Mapping[str, FactRow]) -> Score:
    """Judges what was written where the script has `due`.

    Args:
        text: What was written, calls and all.
        due: What the script has.
        rows: All rows that the conversation holds, by id.
    """
    called = _calls(text, due)
    if due.calls:
        return Score(called, 1.0, 1.0)
    script = due.text.split("\n")
    lines = [line.strip() for line in CALL.sub("", text).split("\n") if line.strip()]
    held = [line for line in lines if line in script or _verified(line, rows)]
    cited = {_cited(line) for line in held}
    said = [line for line in script if line in lines or (_cited(line) in rows and _cited(line) in cited)]
    return Score(called, len(held) / len(lines) if lines else 0.0, len(said) / len(script))


def _calls(text: str, due: Message) -> float:
    written = parse_calls(text)
    if written is None:
        return 0.0
    made, wanted = Counter(written), Counter(map(key, due.calls))
    return (made & wanted).total() / (made | wanted).total() if made | wanted else 1.0


def _cited(line: str) -> str:
    """The id at the end of a line, or an empty string."""
    match = _CITE.search(line)
    return match.group(1) if match else ""


def _verified(line: str, rows: Mapping[str, FactRow]) -> bool:
    """Whether `verify` lets a cited line stand; a row brings the names that made-up diseases have.

    A line without a citation is not held against it: of a made-up word no lexicon knows that it is medical.
    """
    if not _cited(line):
        return False
    found = parse_statements(line)
    return bool(found) and all(check(s, rows, {}, Lexicon()).supported for s in found)

"""What an import counts, leaves out and rejects, and how it says that it is alive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SHOWN = 20
ADDED = ("nodes", "relationships", "names", "codes")
_TICK = 2000


@dataclass
class Report:
    """The account of one source.

    Attributes:
        source: Id of the source.
        progress: Gets a line as the reading goes on.
        sink: Gets every rejection, for a file.
        version: The release, where a file says it.
        added: What was new to the graph: nodes, relationships, names, codes.
        left_out: Rule -> how many it left out on purpose.
        rejected: How many rows could not be used.
        first: The first 20 rejections, `file:line: reason`.
    """

    source: str = ""
    progress: Callable[[str], None] | None = None
    sink: Callable[[str], None] | None = None
    version: str = ""
    added: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    first: list[str] = field(default_factory=list)

    def reject(self, at: str, reason: str) -> None:
        """Notes a row that cannot be used; the reading goes on."""
        line = f"{at}: {reason}"
        self.rejected += 1
        if len(self.first) < SHOWN:
            self.first.append(line)
        if self.sink:
            self.sink(line)

    def leave_out(self, rule: str, count: int = 1) -> None:
        """Counts rows that are sound and not wanted."""
        self.left_out[rule] += count

    def read_line(self, file: str, number: int) -> None:
        """Says how far the reading is, now and then."""
        if self.progress and number % _TICK == 1:
            self.progress(f"{self.source}: {file}, line {number}")

    def as_dict(self) -> dict[str, Any]:
        """Returns the account as plain values."""
        return {
            "source": self.source,
            "version": self.version,
            **{what: self.added[what] for what in ADDED},
            "left_out": dict(self.left_out),
            "rejected": self.rejected,
        }

    def lines(self) -> list[str]:
        """Returns the account for people: counts, what was left out by which rule, the first rejections."""
        counts = ", ".join(f"{n} {what}" for what in ADDED if (n := self.added[what])) or "nothing new"
        said = [f"{self.source}: {counts}; {self.rejected} rejected"]
        said += [f"  left out: {n}, {rule}" for rule, n in self.left_out.items()]
        said += [f"  rejected: {line}" for line in self.first]
        hidden = self.rejected - len(self.first)
        return said + ([f"  and {hidden} more; --rejects FILE writes them all"] if hidden else [])

"""How results look on a terminal. Words and order come from the engine; here is only colour and layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .console import out, printable

if TYPE_CHECKING:
    from rich.text import Text

    from ..agent.answer import ClarifyAnswer
    from ..graph_schema.protocol import FactRow, Link

_LEVEL = {"emergency": "bold white on red", "urgent": "bold red", "soon": "yellow", "routine": "green"}
_CITATION = re.compile(r"\[[\w:, .-]+\]")


def _text(line: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(printable(line), style=style)


def show_lines(lines: Iterable[str], *, stderr: bool = False) -> None:
    """Prints plain lines."""
    console = out(stderr=stderr)
    for line in lines:
        console.print(_text(line))


def show_answer(answer: ClarifyAnswer) -> None:
    """Prints an answer for people: the engine's text, the important words coloured, citations dim."""
    console = out()
    for line in answer.answer.splitlines():
        text = _text(line)
        head = line.strip()
        if head.startswith("Most likely"):
            text.stylize("bold")
        elif head.startswith("Urgency"):
            text.stylize(_LEVEL[answer.urgency.level])
        elif head.startswith(("Sources", "How it got here", "Research software")):
            text.stylize("dim")
        else:
            text.highlight_regex(_CITATION, "dim cyan")
        console.print(text)


def show_trace(answer: ClarifyAnswer, *, stderr: bool = False) -> None:
    """Prints every decision, tool call and time of an answer."""
    lines = ["", "Decisions"]
    for d in answer.decisions:
        value = (
            f"{d.value:.3f}" if isinstance(d.value, float) else str(d.value if d.value is not None else "-")
        )
        bound = "" if d.threshold is None else f" / {d.threshold:.3f}"
        lines.append(f"  {d.rule:<24} {value + bound:<16} -> {d.taken}   {d.reason}")
    lines.append("Tool calls")
    for call in answer.tool_calls:
        args = ", ".join(f"{name}={value}" for name, value in call.args.items())
        lines.append(f"  {call.name}({args})   {call.status}, {call.ms:.0f} ms")
    lines += [f"Removed: {text}" for text in answer.removed_statements]
    lines.append("Times    " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in answer.audit.ms.items()))
    lines.append(f"Thread   {answer.thread}")
    show_lines(lines, stderr=stderr)


def show_triage(result: Mapping[str, Any]) -> None:
    """Prints a level and the rules that led to it."""
    console = out()
    console.print(_text(result["level"], _LEVEL[result["level"]]))
    show_lines(f"  {rule['id']}: {rule['matched']}" for rule in result["rules"])


def show_classification(row: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Prints one picture's line of `clarify classify`."""
    if row["in_scope"]:
        top = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:3]
        said = ", ".join(f"{names.get(label, label)} {100 * p:.0f} %" for label, p in top)
        said += "; shortlist " + ", ".join(names.get(label, label) for label in row["prediction_set"])
    else:
        said = "not dermoscopy of a skin lesion; not classified"
    quality = f"; {', '.join(row['quality'])}" if row["quality"] else ""
    show_lines([f"{row['path']}   {said}{quality}"])


def show_segmentation(row: Mapping[str, Any]) -> None:
    """Prints one picture's line of `clarify segment`."""
    if not row["area_fraction"]:
        show_lines([f"{row['path']}   no lesion found; {row['mask']}"])
        return
    wide = f"{row['diameter_px']:.0f} px" + (f" = {mm:.1f} mm" if (mm := row["diameter_mm"]) else "")
    said = f"{100 * row['area_fraction']:.0f} % of the picture, {wide} wide"
    said += f"; asymmetry {row['asymmetry']:.2f}, border irregularity {row['border_irregularity']:.2f}"
    show_lines([f"{row['path']}   {said}; {', '.join(row['colours'])}; {row['mask']}"])


def show_scores(path: str, scores: Mapping[str, float]) -> None:
    """Prints one picture's line of `clarify concepts` or `clarify zero-shot`, the highest first."""
    best = sorted(scores.items(), key=lambda item: -item[1])
    show_lines([f"{path}   " + ", ".join(f"{name} {score:.2f}" for name, score in best)])


def show_facts(rows: Sequence[FactRow]) -> None:
    """Prints fact rows with their sources."""
    for row in rows:
        text = _text(f"{row.statement} ")
        text.append(f"[{', '.join(getattr(row, 'fact_ids', (row.fact_id,)))}]", "dim cyan")
        out().print(text)
    sources = {s.id: s for row in rows for s in getattr(row, "sources", (row.source,))}
    show_lines(f"  {s.id}: {s.organisation}, {s.title}, {s.year or 'n. d.'}" for s in sources.values())


def show_links(links: Sequence[Link]) -> None:
    """Prints the nodes a text may mean."""
    if not links:
        show_lines(["nothing near enough"])
    show_lines(f"{k.curie:<18} {k.name:<32} {k.score:.2f}  {k.how}, matched {k.matched!r}" for k in links)


def show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints plain rows, one a line."""
    show_lines("   ".join(f"{name}={value}" for name, value in row.items()) for row in rows)


def show_counts(counts: Mapping[str, Any]) -> None:
    """Prints the counts of a graph, largest first within each kind."""
    for kind in ("labels", "types", "sources"):
        show_lines([kind])
        show_lines(f"  {n:>6}  {name}" for name, n in sorted(counts[kind].items(), key=lambda item: -item[1]))
    show_lines([f"version {counts['version']}"])


def show_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints every source with the number of facts that lean on it."""
    for row in rows:
        more = "; ".join(filter(None, (row["organisation"], str(row["year"] or ""), row["licence"])))
        show_lines([f"{row['facts']:>6}  {row['id']:<24} {row['title']}" + (f" ({more})" if more else "")])


def show_disease(entry: Mapping[str, Any]) -> None:
    """Prints one disease as a tree: its names and codes, then its facts by relation."""
    from rich.tree import Tree

    tree = Tree(_text(f"{entry['name']}  {entry['curie']}", "bold"))
    for name, value in entry.items():
        if value and name not in {"name", "curie", "facts", "slug"}:
            said = ", ".join(value) if isinstance(value, list) else str(value)
            tree.add(_text(f"{name}: {said}", "dim"))
    branches: dict[str, Tree] = {}
    for fact in entry["facts"]:
        relation = fact["predicate"]
        if relation not in branches:
            branches[relation] = tree.add(_text(relation, "cyan"))
        text = _text(fact["object"])
        text.append(f"  [{fact['fact_id']}] {fact['source']['id']}", "dim")
        branches[relation].add(text)
    out().print(tree, soft_wrap=False)

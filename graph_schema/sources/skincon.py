"""SkinCon joined with Fitzpatrick17k: in how many pictures of a condition each visual concept was marked.

A path is a folder with `skincon_fitzpatrick17k.csv` (a column a concept, 0 or 1) and
`fitzpatrick17k_labels.csv` (md5hash, label), each plain or .gz. Pictures that SkinCon sets aside are
left out. A condition is the disease of the graph with that name, else a disease of its own; what was never
marked in a condition has no edge.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput
from ..folding import slug
from ..relations import RELATIONS
from .items import RANK, Item, Known, NodeRow, fact
from .lines import find, table
from .report import Report

_WRITTEN = {
    "granuloma pyogenic": "pyogenic granuloma",
    "superficial spreading melanoma ssm": "superficial spreading melanoma",
    "basal cell carcinoma morpheiform": "morpheaform basal cell carcinoma",
}
"""Labels of Fitzpatrick17k that write a name in another order."""
_SET_ASIDE = "Do not consider this image"


def read_skincon(path: Path, known: Known, report: Report) -> Iterator[Item]:
    """Yields concepts, conditions and how often the one is marked in the other (see `items.Reader`)."""
    marks, labels = (
        find(path, pattern) if path.is_dir() else None
        for pattern in ("skincon_fitzpatrick17k.csv", "fitzpatrick17k*.csv")
    )
    if not marks or not labels:
        raise BadInput(
            f"{path} lacks a table of SkinCon.",
            hint="Give a folder with skincon_fitzpatrick17k.csv and fitzpatrick17k_labels.csv, plain or .gz.",
        )
    label_of = {
        row["md5hash"]: row["label"]
        for _, row in table(labels, ("md5hash", "label"), report, delimiter=",")
        if row["label"]
    }
    pictures: Counter[str] = Counter()
    marked: dict[str, Counter[str]] = defaultdict(Counter)
    for at, row in table(marks, ("ImageID", _SET_ASIDE), report, delimiter=","):
        image = row.pop("ImageID").rpartition(".")[0]
        set_aside = row.pop(_SET_ASIDE)
        bad = next((c for c, v in [*row.items(), (_SET_ASIDE, set_aside)] if v not in ("0", "1")), None)
        if bad:
            report.reject(at, f"{bad!r} is not 0 or 1")
        elif image not in label_of:
            report.reject(at, f"no label for the picture {image!r}")
        elif set_aside == "1":
            report.leave_out("pictures that SkinCon sets aside")
        else:
            pictures[label_of[image]] += 1
            marked[label_of[image]].update(concept for concept, value in row.items() if value == "1")
    yield from _facts(marks.name, pictures, marked, known, report)


def _facts(
    at: str, pictures: Counter[str], marked: dict[str, Counter[str]], known: Known, report: Report
) -> Iterator[Item]:
    relation = RELATIONS["shows concept"]
    for concept in sorted({c for counts in marked.values() for c in counts}):
        yield NodeRow(at, "VisualConcept", {"id": f"SKINCON:{slug(concept)}", "name": concept.lower()})
    for condition in sorted(pictures):
        named = known.diseases_named(_WRITTEN.get(condition, condition))
        if len(named) > 1:
            report.reject(at, f"the condition {condition!r} is the name of {' and '.join(named)}")
            continue
        disease = named[0] if named else f"FITZPATRICK17K:{slug(condition)}"
        if not named:
            yield NodeRow(at, "Disease", {"id": disease, "name": condition})
        n = pictures[condition]
        often = sorted(marked[condition].items(), key=lambda item: (-item[1], item[0]))
        for rank, (concept, count) in enumerate(often):
            words = f"{concept.lower()} in {count} of {n} pictures"
            yield fact(
                at,
                relation,
                "skincon",
                (disease, condition),
                (f"SKINCON:{slug(concept)}", concept.lower()),
                object_=words,
                rank=RANK + rank,
                section=condition,
                mark=condition,
                more={"marked": count, "pictures": n, "share": count / n},
            )

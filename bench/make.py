"""What the dual encoder does without being trained for it, by the protocols of MAKE (arXiv 2505.09372).

    python -m clarify.bench.make --data HAM10000 [--weights FOLDER] [--external ISIC] [--json FILE]

Every figure is over all pictures of a set, with a 95 % interval:

- seven kinds on the clean test side by their names alone (8 templates each), and with the graph's signs. The
  captions named these diagnoses, so this is in-domain, not zero-shot: that is asked of weights trained with
  `--hide df vasc`, by the recall of those two;
- melanoma or nevus on another archive (`--external`);
- concepts: area under the curve of each, on HAM10000 (what masks and colours say) and on drawn lesions;
- retrieval among the test side's captions: a hit is any picture or text of an equal caption;
- logistic regression on a tenth of the labels;
- the pointing game: is the place nearest to the picture's caption on the lesion? Chance is its share of the
  picture.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from ..errors import BadInput
from ..tools.concepts.concepts import Concepts
from ..tools.concepts.encoder import DEFAULT, FILES, DualEncoder, Vectors
from ..tools.concepts.prompts import Prompts
from ..training import make
from ..training.make.calibrate import truths, vectors
from ..training.make.captions import Captioner
from ..training.make.data import Known, Pictures, drawn, ham
from ..training.specialist.data import LABELS
from ..training.specialist.metrics import balanced_accuracy, bootstrap, macro_auc, share
from .looks import archive

Figures = dict[str, Any]
CARD, CARD_NAME = Path(make.__file__).with_name("card.md"), "MODEL_CARD.md"
_DRAWN, _SEED = 400, 2
_AT, _TENTH = (10, 50, 100), 0.1
_FEWEST = 20
"""Pictures with and without a concept that its area needs."""


def area_of_two(two: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Area under the curve of the second of two columns, (n, 2)."""
    return float(roc_auc_score(labels, two[:, 1]))


def _one_or_rest(probs: NDArray[np.float64], label: int) -> NDArray[np.float64]:
    return np.stack([1 - probs[:, label], probs[:, label]], 1)


def names_of(hidden: Sequence[str] = ()) -> dict[str, Sequence[str]]:
    """The seven labels with the one name that each is asked by."""
    labels = Captioner(hidden).labels
    return {label: labels[label].names[:1] for label in LABELS}


def by_name(
    concepts: Concepts, images: Vectors, labels: NDArray[np.int64], signs: Mapping[str, Sequence[str]]
) -> Figures:
    """Naming the seven kinds by their names, with or without signs."""
    probs = concepts.compare(images, names_of(), signs)
    said = probs.argmax(1)
    return {
        "accuracy": share(said == labels),
        "balanced accuracy": bootstrap(balanced_accuracy, probs, labels),
        "macro AUC": bootstrap(macro_auc, probs, labels, 200),
        **{
            f"AUC {name}": bootstrap(area_of_two, _one_or_rest(probs, k), (labels == k).astype(np.int64), 200)
            for k, name in enumerate(LABELS)
        },
        **{f"recall {name}": share(said[labels == k] == k) for k, name in enumerate(LABELS)},
    }


def melanoma_or_nevus(concepts: Concepts, folder: Path) -> Figures:
    """Area under the curve of melanoma against nevus by the two names, on another archive."""
    pictures, truth = zip(*archive(folder), strict=True)
    images = np.concatenate([concepts.encoder.pictures([picture], turned=True) for picture in pictures])
    names = names_of()
    two = concepts.compare(images, {"nv": names["nv"], "mel": names["mel"]}, {})
    labels = np.array([label == "mel" for label in truth], np.int64)
    return {"AUC": bootstrap(area_of_two, two, labels)}


def concept_areas(
    concepts: Concepts,
    images: Vectors,
    known: Sequence[Known],
    said: Prompts | None = None,
    fewest: int = _FEWEST,
) -> Figures:
    """Area under the curve of each concept and their mean; too rare ones are said and not averaged."""
    found: Figures = {}
    for concept, margins in concepts.margins(images, said).items():
        rows, there = truths(known, concept)
        if min(there.sum(), (~there).sum()) < fewest:
            found[concept] = {"value": None, "n": len(rows), "with": int(there.sum())}
            continue
        two = np.stack([-margins[rows], margins[rows]], 1)
        found[concept] = bootstrap(
            lambda p, y: float(roc_auc_score(y, p[:, 1])), two, there.astype(np.int64), 200
        )
    values = [entry["value"] for entry in found.values() if entry["value"] is not None]
    return {**found, "mean": {"value": round(float(np.mean(values)), 4), "concepts": len(values)}}


def captions_of(known: Sequence[Known]) -> list[str]:
    """The raw captions of HAM10000 pictures, in one choice of wordings."""
    return [one.caption for one in Captioner().batch(known, random.Random(0))]


def ranks_of(scores: Vectors, right: NDArray[Any]) -> NDArray[np.float64]:
    """The place of a right answer in each row, the best 1; among equals it stands in the middle."""
    ahead, equal = (scores > right[:, None]).sum(1), (scores == right[:, None]).sum(1)
    return np.asarray(1 + ahead + (equal - 1) / 2)


def retrieval(encoder: DualEncoder, images: Vectors, captions: Sequence[str]) -> Figures:
    """Recall at 10, 50, 100 and median rank both ways; equal captions are one class."""
    distinct = list(dict.fromkeys(captions))
    place = {caption: number for number, caption in enumerate(distinct)}
    own = np.array([place[caption] for caption in captions])
    scores = images @ encoder.texts(distinct).T
    if not np.isfinite(scores).all():
        raise BadInput("the encoder gives vectors that are no numbers", hint="Check its weights.")
    right = scores[np.arange(len(own)), own]
    to_text = ranks_of(scores, right)
    best = np.full(len(distinct), -np.inf)
    np.maximum.at(best, own, right)
    to_picture = ranks_of(scores.T, best)
    found: Figures = {}
    for name, ranks in (("picture to text", to_text), ("text to picture", to_picture)):
        found |= {f"{name} R@{k}": share(ranks <= k) for k in _AT}
        found[f"{name} mean rank"] = {"value": round(float(ranks.mean()), 1), "n": len(ranks)}
        found[f"{name} median rank"] = {"value": float(np.median(ranks)), "n": len(ranks)}
    return {**found, "distinct captions": {"value": len(distinct), "n": len(captions)}}


def linear_probe(
    train: Vectors, train_labels: NDArray[np.int64], test: Vectors, labels: NDArray[np.int64]
) -> Figures:
    """Logistic regression on a tenth of the labels, five draws; the interval is over draws and pictures."""
    counts = np.unique(train_labels, return_counts=True)[1]
    size = max(round(_TENTH * len(train)), len(counts))
    evenly = train_labels if counts.min() > 1 else None  # a class of one cannot be divided
    right: list[NDArray[np.bool_]] = []
    area: Figures = {}
    for seed in range(5):
        x, _, y, _ = train_test_split(
            train, train_labels, train_size=size, stratify=evenly, random_state=seed
        )
        model = LogisticRegression(C=10, max_iter=2000).fit(x, y)
        right.append(model.predict(test) == labels)
        if seed == 0 and len(counts) == len(model.classes_) == 2:
            two = model.predict_proba(test)
            area = {"AUC, first draw": bootstrap(area_of_two, two, labels == model.classes_[1])}
    rng, drawn_again = np.random.default_rng(0), []
    for _ in range(500):
        rows = rng.integers(len(labels), size=len(labels))
        drawn_again.append(float(right[rng.integers(5)][rows].mean()))
    low, high = np.quantile(drawn_again, (0.025, 0.975))
    accuracy = {"value": round(float(np.mean(right)), 4), "interval": [round(low, 4), round(high, 4)]}
    return {"accuracy": {**accuracy, "n": len(labels)}, **area}


def pointing(encoder: DualEncoder, side: Pictures, size: int = 64) -> Figures:
    """Whether the place nearest to a picture's caption lies on its lesion."""
    captions = captions_of(side.known)
    hits = []
    for start in range(0, len(captions), size):
        rows = range(start, min(start + size, len(captions)))
        places = encoder.patches([Image.fromarray(side.pixels[i]) for i in rows])
        texts = encoder.texts([captions[i] for i in rows])
        heat = np.einsum("nhwd,nd->nhw", places, texts)
        for i, one in zip(rows, heat, strict=True):
            row, column = np.unravel_index(one.argmax(), one.shape)
            mask = side.masks[i]
            y = int((row + 0.5) * mask.shape[0] / one.shape[0])
            x = int((column + 0.5) * mask.shape[1] / one.shape[1])
            hits.append(bool(mask[y, x]))
    flags, chance = np.array(hits), side.masks.mean((1, 2))
    both = np.stack([flags.astype(float), chance], 1)
    ones = np.ones(len(flags), np.int64)
    return {
        "hit": share(flags),
        "chance": {"value": round(float(chance.mean()), 4), "n": len(flags)},
        "more than chance": bootstrap(lambda p, _: float((p[:, 0] - p[:, 1]).mean()), both, ones),
    }


def measure(folder: Path, data: Path, cache: Path | None, external: Path | None) -> dict[str, Figures]:
    """All figures of a folder of weights."""
    concepts = Concepts.load(folder)
    test, train, lesions = ham(data, "test", cache), ham(data, "train", cache), drawn(_DRAWN, _SEED, cache)
    images, learnt = vectors(concepts.encoder, test.pixels), vectors(concepts.encoder, train.pixels)
    labels, own = (np.array([LABELS.index(k.label) for k in side.known], np.int64) for side in (test, train))
    captioner = Captioner()
    signs = {label: captioner.labels[label].signs for label in LABELS}
    found = {
        "seven kinds by name": by_name(concepts, images, labels, {}),
        "seven kinds by name and signs": by_name(concepts, images, labels, signs),
        "concepts, HAM10000": concept_areas(concepts, images, test.known),
        "concepts, drawn": concept_areas(concepts, vectors(concepts.encoder, lesions.pixels), lesions.known),
        "retrieval": retrieval(concepts.encoder, images, captions_of(test.known)),
        "a tenth of the labels": linear_probe(learnt, own, images, labels),
        "pointing": pointing(concepts.encoder, test),
    }
    return found | (
        {"melanoma or nevus, other archive": melanoma_or_nevus(concepts, external)} if external else {}
    )


def headline(found: Mapping[str, Figures]) -> Figures:
    """The few figures that the tools' cards speak of."""
    return {
        "ham_names": found["seven kinds by name"]["accuracy"],
        "concepts_ham": found["concepts, HAM10000"]["mean"],
        "concepts_drawn": found["concepts, drawn"]["mean"],
    }


def lines(found: Mapping[str, Figures]) -> list[str]:
    """A table for people and for the model card."""
    out = []
    for group, figures in found.items():
        for name, entry in figures.items():
            value = "not evaluable" if entry["value"] is None else f"{entry['value']:.3f}"
            interval = "[{:.3f}, {:.3f}]".format(*entry["interval"]) if "interval" in entry else ""
            out.append(f"| {group}: {name} | {value} {interval} | {entry.get('n', '')} |")
    return out


def write_figures(file: Path, found: Mapping[str, Figures]) -> None:
    """Writes all figures, those that the tools' cards speak of first."""
    file.write_text(json.dumps({**headline(found), "all": found}, indent=1) + "\n", encoding="utf-8")


def write_card(folder: Path, found: Mapping[str, Figures], command: str) -> None:
    """Writes the model card of a folder of weights."""
    with safe_open(folder / FILES[0], "numpy") as weights:
        numbers = sum(int(np.prod(weights.get_slice(key).get_shape())) for key in weights.keys())  # noqa: SIM118
    text = CARD.read_text(encoding="utf-8").format(
        parameters=f"{numbers:,}", table="\n".join(lines(found)), command=command
    )
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/make/cache"))
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--made-by", help="the command that trained them; writes card and metrics beside them"
    )
    args = parser.parse_args()
    found = measure(args.weights, args.data, args.cache, args.external)
    print("\n".join(lines(found)))
    if args.json:
        write_figures(args.json, found)
    if args.made_by:
        write_figures(args.weights / "metrics.json", found)
        write_card(args.weights, found, args.made_by)


if __name__ == "__main__":
    main()

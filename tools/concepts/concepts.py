"""Which visual concepts a picture shows, and which of some diseases it looks like by their names alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..weights import verified
from .encoder import DEFAULT, HINT, DualEncoder, Vectors, shares
from .prompts import Prompts, prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION = "concepts.json"
TEMPERATURE = 1 / math.exp(4.5944)
"""Of the two-way softmax (arXiv 2505.09372, section 2.4)."""
SIGNS = 0.25
"""Weight of a disease's signs beside its names."""


class Concepts:
    """The dual encoder asked for concepts and diseases; safe to share between threads.

    Attributes:
        encoder: Pictures and texts in one space.
        sha256: Hash of its weights.
    """

    def __init__(self, encoder: DualEncoder, fitted: Mapping[str, Sequence[float]] | None = None) -> None:
        """Takes an encoder and, where fitted, slope and offset of each concept's score."""
        self.encoder, self._fitted, self.sha256 = encoder, fitted or {}, encoder.sha256

    @classmethod
    def load(cls, folder: Path | None = None) -> Concepts:
        """Loads the shipped weights, or a folder's, with what calibrates their scores.

        Raises:
            WeightsMissing: A file is absent or changed.
        """
        folder = DEFAULT if folder is None else folder
        encoder = DualEncoder.load(folder)
        verified(folder, [CALIBRATION], "dual encoder", HINT)
        return cls(encoder, json.loads((folder / CALIBRATION).read_text(encoding="utf-8")))

    @classmethod
    def open(cls, name: str = "") -> Concepts:
        """Opens the encoder that a setting names.

        Args:
            name: Empty for the shipped weights; a folder that training wrote; else any model of open_clip,
                whose scores are the plain two-way softmax.

        Raises:
            WeightsMissing: It is not there.
        """
        if not name:
            return cls.load()
        folder = Path(name)
        if not folder.is_dir():
            return cls(DualEncoder.from_hub(name))
        return cls.load(folder) if (folder / CALIBRATION).is_file() else cls(DualEncoder.load(folder))

    def margins(self, images: Vectors, said: Prompts | None = None) -> dict[str, NDArray[np.float64]]:
        """How much nearer pictures are to each concept than to the same words without one.

        Args:
            images: Unit vectors of pictures, (n, d).
            said: Concepts and their wordings; those of `prompts.toml` when None.

        Returns:
            Concept -> (n,): the mean over templates of the similarity with the concept's wordings less that
            with the template alone, over the temperature (arXiv 2505.09372, section 2.4).
        """
        found, said = {}, prompts() if said is None else said
        plain = images @ self.encoder.texts(said.plain).T
        for concept in said.wordings:
            texts = said.for_concept(concept)
            flat = images @ self.encoder.texts([text for row in texts for text in row]).T
            with_it = flat.reshape(len(images), len(texts), -1).mean(2)
            found[concept] = ((with_it - plain).mean(1) / TEMPERATURE).astype(np.float64)
        return found

    def annotate(self, image: Image.Image) -> dict[str, float]:
        """Scores every concept of `prompts.toml` on a picture, 0..1.

        The score is the two-way softmax of the margin; where the weights come with a calibration, that of
        the margin scaled and shifted so that it is a probability on pictures like those of the fit.
        """
        found = {}
        for concept, margin in self.margins(self.encoder.pictures([image], turned=True)).items():
            slope, offset = self._fitted.get(concept, (1.0, 0.0))
            found[concept] = float(1 / (1 + math.exp(-max(-60.0, min(60.0, slope * margin[0] + offset)))))
        return found

    def compare(
        self, images: Vectors, diseases: Mapping[str, Sequence[str]], signs: Mapping[str, Sequence[str]]
    ) -> NDArray[np.float64]:
        """Probabilities of diseases by their names and signs alone, (n, diseases).

        Args:
            images: Unit vectors of pictures, (n, d).
            diseases: Disease -> its names, each put into every template.
            signs: Disease -> its visible signs; may lack some or all.
        """
        rows = np.stack([self._direction(names, signs.get(key, ())) for key, names in diseases.items()])
        return shares(images @ rows.T)

    def zero_shot(
        self,
        image: Image.Image,
        diseases: Mapping[str, Sequence[str]],
        signs: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[str, float]:
        """Probabilities of diseases on one picture, as `compare` gives them; they sum to 1."""
        found = self.compare(self.encoder.pictures([image], turned=True), diseases, signs or {})[0]
        return dict(zip(diseases, map(float, found), strict=True))

    def _direction(self, names: Sequence[str], signs: Sequence[str]) -> Vectors:
        """A disease as one unit vector: the mean of its names' prompts, pulled towards its signs."""
        whole = _unit(self.encoder.texts(prompts().for_disease(names)).mean(0))
        if not signs:
            return whole
        return _unit((1 - SIGNS) * whole + SIGNS * _unit(self.encoder.texts(list(signs)).mean(0)))


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)

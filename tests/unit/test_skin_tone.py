"""The typology angle of drawn skin, and what an unlearnt tone does to a finding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from clarify.agent.nodes.weigh import verdict
from clarify.tools.classify import is_sure
from clarify.tools.skin_tone import OUTSIDE, outside, typology_angle

BOX = (60, 45, 140, 105)
SKINS = [(244, 208, 190), (224, 172, 140), (198, 134, 96), (141, 85, 54), (72, 44, 30)]
"""From very light to dark."""


def skin(colour: tuple[int, int, int], size: tuple[int, int] = (200, 150)) -> Image.Image:
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    pixels[size[1] // 3 : 2 * size[1] // 3, size[0] // 3 : 2 * size[0] // 3] = (60, 30, 20)
    return Image.fromarray(pixels)


def test_darker_skin_has_a_smaller_angle() -> None:
    angles = [typology_angle(skin(colour), BOX) for colour in SKINS]
    assert all(angle is not None for angle in angles)
    assert angles == sorted(angles, reverse=True)  # type: ignore[type-var]
    assert angles[0] > 41 and angles[-1] < -30  # type: ignore[operator]


def test_neither_the_lesion_nor_dark_corners_nor_the_size_count() -> None:
    plain = typology_angle(skin(SKINS[1]), BOX)
    pixels = np.asarray(skin(SKINS[1])).copy()
    pixels[:12, :12] = pixels[-12:, -12:] = 0
    pixels[60:90, 80:120] = (255, 255, 255)
    assert typology_angle(Image.fromarray(pixels), BOX) == pytest.approx(plain, abs=0.5)
    large = skin(SKINS[1]).resize((800, 600), Image.Resampling.NEAREST)
    assert typology_angle(large, tuple(4 * edge for edge in BOX)) == pytest.approx(plain, abs=1)  # type: ignore[arg-type]


def test_without_skin_there_is_no_angle() -> None:
    assert typology_angle(skin((0, 0, 0)), BOX) is None
    assert typology_angle(skin(SKINS[0]), (0, 0, 200, 150)) is None
    assert outside(None, (0, 40)) == [] == outside(10, (0, 40)) and outside(-50, (0, 40)) == [OUTSIDE]


def test_a_finding_on_skin_of_an_unlearnt_tone_is_never_sure() -> None:
    finding: dict[str, Any] = {"in_scope": True, "confidence": 0.95, "quality": []}
    assert is_sure(finding, 0.8) and verdict(finding, 0.8) == "sure"
    unlearnt = {**finding, "quality": [OUTSIDE]}
    assert not is_sure(unlearnt, 0.8) and verdict(unlearnt, 0.8) == "unsure"
    assert verdict({**unlearnt, "in_scope": False}, 0.8) == "out_of_scope"

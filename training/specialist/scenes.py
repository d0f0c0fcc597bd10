"""Pictures that are not dermoscopy, drawn by code: what the scope check learns to refuse and is tested on.

Every family is a function of a random generator and a size. ``HELD_BACK`` families are never learnt from;
they stand for everything nobody thought of.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ..synthetic import SKINS, Array, mix, noise, smooth_step

Size = tuple[int, int]
Scene = Callable[[np.random.Generator, Size], Image.Image]


def _picture(values: Array) -> Image.Image:
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    r, g, b = rng.integers(low, high, 3)
    return int(r), int(g), int(b)


def _axes(size: Size) -> tuple[Array, Array]:
    ys, xs = np.mgrid[0 : 1 : size[0] * 1j, 0 : size[1] / size[0] : size[1] * 1j].astype(np.float32)
    return ys, xs


def document(rng: np.random.Generator, size: Size) -> Image.Image:
    """Lines of dark words on paper, sometimes a heading, a rule or a picture box."""
    height, width = size
    image = Image.new("RGB", (width, height), _colour(rng, 215, 256))
    pen = ImageDraw.Draw(image)
    ink = _colour(rng, 0, 90)
    line, margin = max(2.0, height * rng.uniform(0.025, 0.06)), width * rng.uniform(0.04, 0.14)
    y = height * rng.uniform(0.03, 0.12)
    while y < height * 0.96:
        x, bold = margin, rng.random() < 0.1
        end = width - margin * rng.choice([1, 1, 1, 3])
        while x < end:
            word = line * rng.uniform(0.6, 4)
            for letter in np.arange(x, min(x + word, end), line * 0.42):
                top = y + line * rng.uniform(0, 0.3)
                pen.rectangle(
                    (letter, top, letter + line * rng.uniform(0.1, 0.3), y + line * (0.75 if bold else 0.6)),
                    fill=ink,
                )
            x += word + line * 0.5
        y += line * (2.6 if rng.random() < 0.12 else 1.35)
    if rng.random() < 0.3:
        x, y = rng.uniform(0, width * 0.6), rng.uniform(0, height * 0.6)
        pen.rectangle((x, y, x + width * 0.3, y + height * 0.3), fill=_colour(rng), outline=ink)
    return (
        image.rotate(float(rng.normal(0, 4)), fillcolor=_colour(rng, 120, 230))
        if rng.random() < 0.5
        else image
    )


def landscape(rng: np.random.Generator, size: Size) -> Image.Image:
    """Sky, hills behind hills, sometimes a sun, water or trees; any hour of the day."""
    ys, xs = _axes(size)
    top, low = rng.uniform(0.1, 0.9, 3).astype(np.float32), rng.uniform(0.5, 1, 3).astype(np.float32)
    if rng.random() < 0.6:
        top, low = np.array([0.25, 0.5, 0.85], np.float32), np.array([0.75, 0.85, 0.95], np.float32)
    image = top + (low - top) * ys[..., None]
    image = mix(image, (1, 1, 1), 0.7 * smooth_step(0.4, 1.8, noise(rng, size, size[0] * 0.3, 4)))
    if rng.random() < 0.5:
        away = np.hypot(ys - rng.uniform(0.1, 0.4), xs - rng.uniform(0.2, 1.1))
        image = mix(image, (1.0, 0.92, 0.6), 1 - smooth_step(0.05, 0.09, away))
    ground = rng.uniform([0.05, 0.15, 0.05], [0.55, 0.6, 0.45]).astype(np.float32)
    for layer in range(int(rng.integers(1, 5))):
        ridge = noise(rng, (1, size[1]), size[1] * rng.uniform(0.2, 0.6), 5)[0] * 0.06
        level = rng.uniform(0.4, 0.6) + 0.13 * layer
        shade = ground * (1.3 - 0.22 * layer) * (1 + 0.18 * noise(rng, size, 8, 4)[..., None])
        image = mix(image, shade, smooth_step(-0.006, 0.006, ys - level - ridge[None]))
    return _picture(image)


def noise_field(rng: np.random.Generator, size: Size) -> Image.Image:
    """Grey or coloured noise of any grain."""
    cell = float(rng.choice([1, 2, 4, 12, 40]))
    planes = [noise(rng, size, cell, int(rng.integers(1, 6))) for _ in range(3 if rng.random() < 0.7 else 1)]
    image = np.stack(planes * (3 // len(planes)), -1)
    return _picture(rng.uniform(0.3, 0.7, 3).astype(np.float32) + image * rng.uniform(0.1, 0.35))


def pattern(rng: np.random.Generator, size: Size) -> Image.Image:
    """Checkerboards, stripes, rings and weaves."""
    ys, xs = _axes(size)
    turn = rng.uniform(0, math.pi)
    u, v = xs * math.cos(turn) + ys * math.sin(turn), ys * math.cos(turn) - xs * math.sin(turn)
    rate = rng.uniform(12, 90)
    kind = rng.integers(4)
    wave = (
        np.sign(np.sin(u * rate) * np.sin(v * rate)), np.sin(u * rate), np.sin(np.hypot(u - 0.5, v) * rate),
        np.sin(u * rate) + np.sin(v * rate * rng.uniform(0.5, 2)),
    )[kind]  # fmt: skip
    ends = rng.uniform(0, 1, (2, 3)).astype(np.float32)
    image = ends[0] + (ends[1] - ends[0]) * (0.5 + 0.5 * np.clip(wave, -1, 1))[..., None]
    return _picture(image + 0.03 * noise(rng, size, 3, 2)[..., None] * rng.random())


def chart(rng: np.random.Generator, size: Size) -> Image.Image:
    """Bars, lines or points between axes."""
    height, width = size
    image = Image.new("RGB", (width, height), _colour(rng, 225, 256))
    pen = ImageDraw.Draw(image)
    left, floor = width * 0.1, height * 0.88
    for y in np.linspace(height * 0.1, floor, int(rng.integers(3, 8))):
        pen.line((left, y, width * 0.96, y), fill=(205, 205, 210))
    pen.line(
        (left, height * 0.06, left, floor, width * 0.96, floor), fill=(40, 40, 40), width=1 + height // 150
    )
    count = int(rng.integers(4, 14))
    xs = np.linspace(left * 1.2, width * 0.9, count)
    for _ in range(int(rng.integers(1, 4))):
        ys, fill, kind = (
            floor - rng.uniform(0.05, 0.75, count) * height,
            _colour(rng, 0, 220),
            rng.integers(3),
        )
        if kind == 0:
            for x, y in zip(xs, ys, strict=True):
                pen.rectangle((x, y, x + width * 0.5 / count, floor), fill=fill)
        elif kind == 1:
            pen.line(
                [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)],
                fill=fill,
                width=1 + height // 100,
            )
        else:
            for x, y in zip(xs, ys, strict=True):
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=fill)
    return image


def clutter(rng: np.random.Generator, size: Size) -> Array:
    """A room out of focus behind the subject; float (h, w, 3)."""
    height, width = size
    image = Image.new("RGB", (width, height), _colour(rng, 30, 240))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 14))):
        x, y = rng.uniform(-0.2, 1, 2) * (width, height)
        w, h = rng.uniform(0.1, 0.7, 2) * (width, height)
        (pen.rectangle if rng.random() < 0.7 else pen.ellipse)(
            (x, y, x + w, y + h), fill=_colour(rng, 10, 250)
        )
    image = image.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.004, 0.03)))
    return np.asarray(image, np.float32) / 255 + 0.02 * noise(rng, size, 6, 3)[..., None]


def limb(rng: np.random.Generator, size: Size) -> tuple[Array, Array]:
    """An arm, leg or trunk in a room as a phone sees it: picture (h, w, 3), and where skin is (h, w)."""
    ys, xs = _axes(size)
    turn = rng.uniform(0, math.pi)
    across = (xs - 0.66 + rng.normal(0, 0.12)) * math.cos(turn) + (ys - 0.5 + rng.normal(0, 0.1)) * math.sin(
        turn
    )
    along = (ys - 0.5) * math.cos(turn) - (xs - 0.66) * math.sin(turn)
    half = rng.uniform(0.18, 0.75) * (
        1 + rng.uniform(-0.35, 0.35) * along + 0.06 * np.sin(along * rng.uniform(3, 9))
    )
    inside = smooth_step(-0.01, 0.01, half - np.abs(across))
    tone = np.array(SKINS[str(rng.choice(list(SKINS)))], np.float32) * rng.uniform(0.55, 1.1) + rng.normal(
        0, 0.03, 3
    )
    round_ = np.sqrt(np.clip(1 - (across / half) ** 2, 0.02, 1)) ** rng.uniform(0.3, 1.2)
    light = 0.45 + 0.55 * round_ + rng.uniform(-0.3, 0.3) * along
    skin = tone.astype(np.float32) * light[..., None] + 0.015 * noise(rng, size, size[0] * 0.1, 5)[..., None]
    return mix(clutter(rng, size), skin.astype(np.float32), inside), inside


def rash(rng: np.random.Generator, size: Size) -> Image.Image:
    """A phone photograph of a limb with many red, sometimes scaly patches."""
    image, skin = limb(rng, size)
    ys, xs = _axes(size)
    amount = np.zeros(size, np.float32)
    spread = rng.uniform(0.006, 0.05)
    for _ in range(int(rng.integers(8, 90))):
        radius = spread * rng.lognormal(0, 0.45)
        away = np.hypot(ys - rng.uniform(0, 1), (xs - rng.uniform(0, 1.33)) * rng.uniform(0.7, 1.3))
        amount = np.maximum(amount, rng.uniform(0.4, 1) * (1 - smooth_step(radius * 0.6, radius * 1.3, away)))
    amount *= np.clip(0.8 + 0.35 * noise(rng, size, size[0] * 0.05, 4), 0, 1) * skin
    red = np.array([0.78, 0.30, 0.27], np.float32) * rng.uniform(0.7, 1.1)
    image = mix(image, red, rng.uniform(0.35, 0.9) * amount)
    if rng.random() < 0.35:
        image = mix(image, (0.92, 0.88, 0.84), 0.7 * smooth_step(0.5, 1.2, noise(rng, size, 7, 3)) * amount)
    return _picture(image)


def bare_limb(rng: np.random.Generator, size: Size) -> Image.Image:
    """A limb with nothing on it or one tiny mole far away."""
    image, skin = limb(rng, size)
    if rng.random() < 0.6:
        ys, xs = _axes(size)
        away = np.hypot(ys - rng.uniform(0.3, 0.7), xs - rng.uniform(0.4, 0.9))
        image = mix(image, (0.3, 0.17, 0.12), (1 - smooth_step(0.012, 0.03, away)) * skin)
    return _picture(image)


def face(rng: np.random.Generator, size: Size) -> Image.Image:
    """A cartoon of a face or two in front of a room."""
    height, width = size
    image = _picture(clutter(rng, size))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 3))):
        r = height * rng.uniform(0.2, 0.5)
        x, y = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.4, 0.65)
        tone = np.array(SKINS[str(rng.choice(list(SKINS)))]) * 255 * rng.uniform(0.6, 1.1)
        hair = _colour(rng, 10, 150)
        pen.ellipse((x - r * 0.95, y - r * 1.35, x + r * 0.95, y + r * 0.5), fill=hair)
        pen.ellipse((x - r * 0.8, y - r, x + r * 0.8, y + r), fill=tuple(int(min(255, t)) for t in tone))
        for side in (-0.34, 0.34):
            pen.ellipse(
                (x + r * side - r * 0.15, y - r * 0.3, x + r * side + r * 0.15, y - r * 0.12),
                fill=(245, 245, 245),
            )
            pen.ellipse(
                (x + r * side - r * 0.07, y - r * 0.28, x + r * side + r * 0.07, y - r * 0.14),
                fill=_colour(rng, 0, 110),
            )
            pen.arc(
                (x + r * side - r * 0.2, y - r * 0.52, x + r * side + r * 0.2, y - r * 0.28),
                200,
                340,
                fill=hair,
                width=2,
            )
        pen.line(
            (x, y - r * 0.1, x - r * 0.07, y + r * 0.2, x + r * 0.05, y + r * 0.2),
            fill=_colour(rng, 90, 150),
            width=2,
        )
        pen.chord((x - r * 0.3, y + r * 0.3, x + r * 0.3, y + r * 0.62), 0, 180, fill=(170, 70, 75))
    return image.filter(ImageFilter.GaussianBlur(height * 0.004))


def leaves(rng: np.random.Generator, size: Size) -> Image.Image:
    """Dead leaves: occluding textured shapes with the statistics of photographs (Lee et al. 2001)."""
    height, width = size
    image = Image.new("RGB", (width, height), _colour(rng))
    pen = ImageDraw.Draw(image)
    base = rng.integers(0, 256, (int(rng.integers(2, 9)), 3))
    for _ in range(int(rng.integers(60, 400))):
        r = height * 0.02 / max(0.03, rng.random()) ** 0.8
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        fill = tuple(int(c) for c in np.clip(base[rng.integers(len(base))] + rng.normal(0, 25, 3), 0, 255))
        corners = [(x + r * rng.uniform(0.5, 1) * math.cos(a), y + r * rng.uniform(0.5, 1) * math.sin(a))
                   for a in np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 12))))]  # fmt: skip
        pen.polygon(corners, fill=fill)
    array = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))), np.float32) / 255
    return _picture(array * (1 + 0.12 * noise(rng, size, 10, 4)[..., None]))


def screen(rng: np.random.Generator, size: Size) -> Image.Image:
    """A program's window: bars, buttons, rows."""
    height, width = size
    dark = rng.random() < 0.4
    image = Image.new("RGB", (width, height), _colour(rng, 15, 60) if dark else _colour(rng, 225, 256))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, height * rng.uniform(0.05, 0.15)), fill=_colour(rng))
    if rng.random() < 0.6:
        pen.rectangle((0, 0, width * rng.uniform(0.1, 0.3), height), fill=_colour(rng, 30, 220))
    for _ in range(int(rng.integers(5, 30))):
        x, y, w = (
            rng.uniform(0.05, 0.9) * width,
            rng.uniform(0.1, 0.95) * height,
            rng.uniform(0.03, 0.5) * width,
        )
        fill = _colour(rng) if rng.random() < 0.4 else ((210, 210, 215) if dark else (60, 60, 70))
        pen.rounded_rectangle((x, y, x + w, y + height * rng.uniform(0.01, 0.09)), 2, fill=fill)
    return image


def plain(rng: np.random.Generator, size: Size) -> Image.Image:
    """One colour or a slow gradient, with hardly any grain; also lens-cap black and white."""
    ys, xs = _axes(size)
    ends = rng.uniform(0, 1, (2, 3)).astype(np.float32)
    if rng.random() < 0.3:
        ends[:] = float(rng.choice([0.0, 0.02, 0.5, 0.98, 1.0]))
    turn = rng.uniform(0, 2 * math.pi)
    slope = np.clip(0.5 + (xs - 0.66) * math.cos(turn) + (ys - 0.5) * math.sin(turn), 0, 1)
    return _picture(ends[0] + (ends[1] - ends[0]) * slope[..., None] + rng.normal(0, 0.01, (*size, 3)))


def radiograph(rng: np.random.Generator, size: Size) -> Image.Image:
    """Grey bones, ribs or slices on black."""
    ys, xs = _axes(size)
    value = 0.15 + 0.25 * np.exp(-((xs - 0.66) ** 2 + (ys - 0.5) ** 2) / 0.2)
    for k in range(int(rng.integers(3, 10))):
        bend = ys - 0.1 * k - rng.uniform(0.2, 0.6) * (xs - 0.66) ** 2
        value += 0.18 * np.exp(-((bend / 0.02) ** 2))
    value += 0.4 * np.exp(-(((xs - rng.uniform(0.55, 0.75)) / 0.06) ** 2)) + 0.04 * noise(rng, size, 20, 5)
    return _picture(np.repeat(value[..., None].astype(np.float32), 3, -1))


def city(rng: np.random.Generator, size: Size) -> Image.Image:
    """Houses with lit windows before a sky. Held back."""
    height, width = size
    image = Image.new("RGB", (width, height), _colour(rng, 60, 240))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 16))):
        x, w, top = (
            rng.uniform(-0.1, 1) * width,
            rng.uniform(0.08, 0.25) * width,
            rng.uniform(0.1, 0.7) * height,
        )
        pen.rectangle((x, top, x + w, height), fill=_colour(rng, 30, 200))
        step, glass = max(4.0, height * rng.uniform(0.04, 0.08)), _colour(rng, 80, 256)
        for wy in np.arange(top + step / 2, height, step):
            for wx in np.arange(x + step / 3, x + w - step / 2, step):
                pen.rectangle((wx, wy, wx + step * 0.45, wy + step * 0.5), fill=glass)
    return image.filter(ImageFilter.GaussianBlur(0.5))


def fundus(rng: np.random.Generator, size: Size) -> Image.Image:
    """The back of an eye: an orange disc on black with branching vessels. Held back."""
    height, width = size
    ys, xs = _axes(size)
    image = Image.new("RGB", (width, height), (int(rng.integers(150, 220)), int(rng.integers(60, 110)), 40))
    pen = ImageDraw.Draw(image)
    x0, y0 = width * rng.uniform(0.3, 0.7), height * 0.5
    for _ in range(16):
        x, y, heading = x0, y0, rng.uniform(0, 2 * math.pi)
        for step in range(40):
            heading += rng.normal(0, 0.2)
            nx, ny = x + width * 0.016 * math.cos(heading), y + width * 0.016 * math.sin(heading)
            pen.line((x, y, nx, ny), fill=(120, 25, 20), width=max(1, int(height * 0.012 * (1 - step / 40))))
            x, y = nx, ny
    r = height * 0.07
    pen.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), fill=(250, 215, 130))
    values = np.asarray(image.filter(ImageFilter.GaussianBlur(height * 0.005)), np.float32) / 255
    return _picture(mix(values, (0, 0, 0), smooth_step(0.46, 0.48, np.hypot(xs - 0.66, ys - 0.5))))


def still_life(rng: np.random.Generator, size: Size) -> Image.Image:
    """Round shaded things on a table. Held back."""
    ys, xs = _axes(size)
    image = clutter(rng, size) * 0.5 + 0.3
    image = mix(image, rng.uniform(0.2, 0.7, 3).astype(np.float32), smooth_step(0, 0.01, ys - 0.55))
    for _ in range(int(rng.integers(2, 7))):
        r, y, x = rng.uniform(0.08, 0.28), rng.uniform(0.45, 0.8), rng.uniform(0.1, 1.2)
        lit = np.clip(1 - np.hypot(ys - y + r * 0.4, xs - x + r * 0.3) / (1.7 * r), 0.15, 1)
        body = rng.uniform(0.2, 1, 3).astype(np.float32) * lit[..., None]
        image = mix(image, body, 1 - smooth_step(r - 0.01, r, np.hypot(ys - y, xs - x)))
    return _picture(image)


LEARNT: dict[str, Scene] = {
    "document": document, "landscape": landscape, "noise": noise_field, "pattern": pattern, "chart": chart,
    "rash": rash, "bare limb": bare_limb, "face": face, "leaves": leaves, "screen": screen, "plain": plain,
    "radiograph": radiograph,
}  # fmt: skip
HELD_BACK: dict[str, Scene] = {"city": city, "fundus": fundus, "still life": still_life}


def draw_many(
    families: dict[str, Scene], each: int, seed: int, size: Size = (150, 200)
) -> dict[str, NDArray[np.uint8]]:
    """Draw ``each`` pictures of every family; uint8 (each, h, w, 3) by name."""
    rng = np.random.default_rng(seed)
    return {
        name: np.stack([np.asarray(scene(rng, size).convert("RGB")) for _ in range(each)])
        for name, scene in families.items()
    }

"""Generated landscapes seen from above, with the exact class of every pixel: the first pictures a new user meets.

Each scene is painted in layers from the ground up - meadow, water, flowers, path, trees. A layer is a coverage in
0..1 (soft at its edge, so pictures look photographed) and a colour; a pixel belongs to the topmost layer that covers
more than half of it, so the ground truth is exact. Shadows and light change colours, never classes.

`python -m recolabel.demo FOLDER` writes a data set folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recolabel.formats.indexed_png import LabelMap, classes_txt, write_png

WIDTH, HEIGHT = 480, 360
CLASS_NAMES = ("meadow", "water", "path", "tree", "flowers")
CLASS_COLOURS = ("#8bc34a", "#2979ff", "#ffb74d", "#00695c", "#e91e63")
PROJECT_NAME = "Demo: landscapes"
COUNT = 24
MEADOW, WATER, PATH, TREE, FLOWERS = range(5)

Plane = npt.NDArray[np.float32]
"""(H, W), mostly in 0..1."""
Picture = npt.NDArray[np.float32]
"""(H, W, 3) RGB in 0..1."""

_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
_LIGHT = (-0.6, -0.8)
"""Where the light comes from, as (y, x): the upper left."""


@dataclass
class Canvas:
    """A scene while it is painted."""

    colours: Picture
    label_map: LabelMap

    def paint(self, coverage: Plane, colour: Picture, class_index: int) -> None:
        """Lay a layer over what is there."""
        self.colours += coverage[..., None] * (colour - self.colours)
        self.label_map[coverage > 0.5] = class_index

    def darken(self, coverage: Plane, strength: float) -> None:
        """Lay a shadow over what is there."""
        self.colours *= 1 - strength * coverage[..., None] * np.array([1.0, 0.92, 0.75], np.float32)


def make_scene(rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], LabelMap]:
    """Paint one scene.

    Returns:
        (360, 480, 3) RGB and the (360, 480) class indices.
    """
    hills = _noise(rng, 140, octaves=3)
    canvas = Canvas(_meadow(rng, hills), np.full((HEIGHT, WIDTH), MEADOW, np.uint8))
    shore = _paint_water(canvas, rng)
    _paint_flowers(canvas, rng, shore)
    _paint_path(canvas, rng)
    _paint_trees(canvas, rng)
    _light(canvas, rng)
    return (canvas.colours.clip(0, 1) * 255).round().astype(np.uint8), canvas.label_map


def make_demo(folder: Path, count: int = COUNT, seed: int = 0) -> None:
    """Write `images/*.jpg`, `masks/*.png` and `classes.txt`; the same seed gives the same scenes.

    Args:
        folder: is made when it is missing; files of the same names are replaced.
    """
    from PIL import Image

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text(classes_txt(CLASS_NAMES), encoding="utf-8")
    for number, stream in enumerate(np.random.SeedSequence(seed).spawn(count), 1):
        colours, label_map = make_scene(np.random.default_rng(stream))
        name = f"landscape-{number:02d}"
        Image.fromarray(colours).save(folder / "images" / f"{name}.jpg", quality=92, subsampling=0)
        (folder / "masks" / f"{name}.png").write_bytes(write_png(label_map, CLASS_COLOURS))


# --- layers ---------------------------------------------------------------------------------------------------


def _meadow(rng: np.random.Generator, hills: Plane) -> Picture:
    """Grass: two greens in broad patches, tufts, and here and there the stripes of a mower."""
    fresh, dry = rng.choice(
        [((88, 140, 60), (150, 160, 78)), ((74, 126, 62), (128, 156, 74)), ((104, 140, 58), (168, 160, 84))]
    )
    patches = _noise(rng, 60, octaves=4)
    tufts = _noise(rng, 5, octaves=3)
    blend = _smooth(0.25, 0.8, 0.65 * patches + 0.35 * hills)
    colour = _rgb(fresh) + blend[..., None] * (_rgb(dry) - _rgb(fresh))
    brightness = 0.8 + 0.24 * tufts + 0.16 * patches
    if rng.random() < 0.4:
        angle = rng.uniform(0, np.pi)
        across = _X * np.float32(np.cos(angle)) + _Y * np.float32(np.sin(angle)) + 10 * hills
        stripes = np.tanh(4 * np.sin(across * np.float32(2 * np.pi / rng.uniform(34, 52))))
        brightness += 0.035 * stripes * _smooth(0.4, 0.6, hills)
    return np.asarray(colour * brightness[..., None], np.float32)


def _paint_water(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """A river or a lake; gives the distance to its shore in pixels, positive on land."""
    if rng.random() < 0.55:
        along, across = _axes(rng.uniform(0, np.pi))
        bend = _wave(rng, along, 230, 52)
        shore = np.abs(across - bend - np.float32(rng.uniform(-60, 60))) - (20 + 12 * _wave(rng, along, 120, 1.0))
    else:
        middle_y, middle_x = rng.uniform(0.15, 0.85) * HEIGHT, rng.uniform(0.15, 0.85) * WIDTH
        stretch = np.float32(rng.uniform(0.65, 1.0))
        radius = np.hypot((_Y - np.float32(middle_y)) / stretch, _X - np.float32(middle_x))
        shore = radius - np.float32(rng.uniform(55, 100)) - 70 * (_noise(rng, 70, octaves=3) - 0.5)
    shore = shore + 5 * (_noise(rng, 12, octaves=2) - 0.5)

    canvas.colours -= _smooth(14, 0, shore)[..., None] * np.array([0.07, 0.03, 0.08], np.float32)  # damp grass
    depth = _smooth(0, -34, shore)
    shallow, deep = rng.choice(
        [((112, 168, 158), (34, 84, 118)), ((120, 172, 176), (44, 100, 140)), ((118, 150, 128), (40, 84, 92))]
    )
    ripples = _noise(rng, 9, octaves=3, stretch=3.0)
    colour = _rgb(shallow) + depth[..., None] * (_rgb(deep) - _rgb(shallow))
    colour = colour * (0.86 + 0.22 * ripples)[..., None] + (0.35 * _smooth(0.74, 0.95, ripples) * depth)[..., None]
    canvas.paint(_edge(shore), colour, WATER)
    foam = _smooth(2.6, 0.4, np.abs(shore + 1.4)) * _smooth(0.35, 0.7, _noise(rng, 7, octaves=2))
    canvas.colours += (0.22 * foam * _edge(shore))[..., None]
    return np.asarray(shore, np.float32)


def _paint_flowers(canvas: Canvas, rng: np.random.Generator, shore: Plane) -> None:
    """Beds of flowers on dry ground, in about half of the scenes: the rare class."""
    if rng.random() < 0.45:
        return
    colours = [(214, 58, 66), (238, 190, 60), (150, 92, 190), (236, 236, 228), (232, 120, 160)]
    for _ in range(int(rng.integers(1, 4))):
        dry = np.argwhere(shore[20:-20:4, 20:-20:4] > 26)
        if not len(dry):
            return
        y, x = dry[rng.integers(len(dry))] * 4 + 20
        size = rng.uniform(11, 24)
        around = np.hypot((_Y - np.float32(y)) * np.float32(rng.uniform(0.8, 1.5)), _X - np.float32(x))
        outline = around - np.float32(size) - 22 * (_noise(rng, 16, octaves=2) - 0.5)
        leaves = _rgb((70, 112, 52)) * (0.75 + 0.4 * _noise(rng, 4, octaves=2))[..., None]
        first, second = rng.permutation(len(colours))[:2]
        for kind, share in ((first, 0.52), (second, 0.64)):
            blossoms = _smooth(share, share + 0.07, _noise(rng, 4.2, octaves=1))
            petal = _rgb(colours[kind]) * (0.82 + 0.3 * _noise(rng, 3, octaves=1))[..., None]
            leaves = leaves + blossoms[..., None] * (petal - leaves)
        canvas.darken(_smooth(5, -1, outline - 1), 0.25)
        canvas.paint(_edge(outline), leaves, FLOWERS)


def _paint_path(canvas: Canvas, rng: np.random.Generator) -> None:
    """A gravel path; over water it is a wooden bridge. Both are path."""
    for _ in range(1 if rng.random() < 0.7 else 2):
        along, across = _axes(rng.uniform(0, np.pi))
        middle = _wave(rng, along, 270, 58) + np.float32(rng.uniform(-70, 70))
        width = np.float32(rng.uniform(5.0, 8.0))
        outline = np.abs(across - middle) - width - 1.6 * (_noise(rng, 10, octaves=2) - 0.5)
        gravel = _rgb(rng.choice([(196, 174, 136), (186, 166, 142), (206, 186, 150)]))
        track = _smooth(3.5, 1.0, np.abs(np.abs(across - middle) - 0.5 * width))
        ground = gravel * (0.78 + 0.3 * _noise(rng, 3, octaves=2) - 0.09 * track)[..., None]
        planks = (
            _rgb((142, 108, 78))
            * (0.86 + 0.1 * np.sign(np.sin(along * np.float32(1.3))) + 0.1 * _noise(rng, 8, octaves=2))[..., None]
        )
        over_water = (canvas.label_map == WATER)[..., None]
        canvas.darken(_smooth(6, -2, _shifted(outline, 3)) * over_water[..., 0], 0.35)
        canvas.darken(_smooth(4, 0, outline), 0.14)
        canvas.paint(_edge(outline), np.where(over_water, planks, ground), PATH)


def _paint_trees(canvas: Canvas, rng: np.random.Generator) -> None:
    """Woods and single trees: crowns with light and shadow, none over water or path."""
    kinds = [(52, 92, 48), (66, 104, 50), (44, 80, 56), (90, 112, 48), (150, 104, 44)]
    weights = np.array([0.32, 0.28, 0.2, 0.15, 0.05])
    woods = _noise(rng, 80, octaves=2)
    leaves = _noise(rng, 4, octaves=3)
    crowns: list[tuple[float, float, float]] = []
    wanted = int(rng.integers(28, 70))
    for _ in range(wanted * 6):
        y, x, radius = rng.uniform(-6, HEIGHT + 6), rng.uniform(-6, WIDTH + 6), rng.uniform(8, 19)
        row, column = int(np.clip(y, 0, HEIGHT - 1)), int(np.clip(x, 0, WIDTH - 1))
        alone = rng.random() < 0.06
        if (woods[row, column] < 0.6 and not alone) or canvas.label_map[row, column] != MEADOW:
            continue
        if any(np.hypot(y - other_y, x - other_x) < 0.62 * (radius + r) for other_y, other_x, r in crowns):
            continue
        crowns.append((y, x, radius))
        if len(crowns) == wanted:
            break
    for y, x, radius in sorted(crowns):
        _paint_tree(canvas, rng, (y, x, radius), kinds[rng.choice(len(kinds), p=weights)], leaves)


def _paint_tree(
    canvas: Canvas,
    rng: np.random.Generator,
    crown: tuple[float, float, float],
    kind: tuple[int, int, int],
    leaves: Plane,
) -> None:
    y, x, radius = crown
    reach = int(radius * 2.4) + 3
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    window = np.s_[top : min(HEIGHT, int(y) + reach), left : min(WIDTH, int(x) + reach)]
    part = Canvas(canvas.colours[window], canvas.label_map[window])
    if not part.label_map.size:
        return
    dy, dx = _Y[window] - np.float32(y), _X[window] - np.float32(x)
    lobes, turn = rng.integers(5, 9), rng.uniform(0, 2 * np.pi)
    wobble = 1 + 0.1 * np.sin(lobes * np.arctan2(dy, dx) + turn) + 0.16 * (leaves[window] - 0.5)
    outline = np.hypot(dy, dx) - np.float32(radius) * wobble
    fall = np.float32(0.55 * radius)
    shadow = np.hypot(dy - fall, dx - fall * np.float32(1.2)) - np.float32(radius)
    part.darken(_smooth(3, -3, shadow), 0.42)
    facing = (dy * np.float32(_LIGHT[0]) + dx * np.float32(_LIGHT[1])) / np.float32(radius)
    dome = 1 - (np.hypot(dy, dx) / np.float32(radius * 1.15)).clip(0, 1) ** 2
    brightness = 0.56 + 0.34 * facing.clip(-1, 1) + 0.26 * dome + 0.5 * (leaves[window] - 0.45)
    tone = _rgb(kind) * np.float32(rng.uniform(0.9, 1.18))
    warm = np.array([1.12, 1.06, 0.8], np.float32) ** facing.clip(0, 1)[..., None]  # the lit side is yellower
    part.paint(_edge(outline), tone * brightness.clip(0.25, 1.5)[..., None] * warm, TREE)


def _light(canvas: Canvas, rng: np.random.Generator) -> None:
    """The light of the day: cloud shadows, warmth, and the fine grain of a camera."""
    clouds = _smooth(0.52, 0.75, _noise(rng, 200, octaves=2))
    canvas.colours *= (1 - 0.2 * clouds)[..., None]
    warmth = np.float32(rng.uniform(-0.03, 0.05))
    canvas.colours *= np.array([1 + warmth, 1.0, 1 - warmth], np.float32) * np.float32(rng.uniform(0.98, 1.12))
    canvas.colours += rng.normal(0, 0.012, (HEIGHT, WIDTH, 1)).astype(np.float32)


# --- brushes --------------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, cell: float, *, octaves: int, stretch: float = 1.0) -> Plane:
    """Smooth noise in 0..1 with features of about `cell` pixels; each octave is half as large and half as strong."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        total += np.float32(weight) * _one_octave(rng, cell, cell * stretch)
        weights += weight
        weight, cell = weight / 2, cell / 2
    # A mean of uniform values crowds around 0.5: stretch it to use the whole range.
    return ((total / np.float32(weights) - 0.5) * np.float32(1.35) + 0.5).clip(0, 1)


def _one_octave(rng: np.random.Generator, cell_y: float, cell_x: float) -> Plane:
    cell_y, cell_x = max(cell_y, 1.5), max(cell_x, 1.5)
    grid = rng.random((int(HEIGHT / cell_y) + 3, int(WIDTH / cell_x) + 3), np.float32)
    rows = _between(grid, HEIGHT, cell_y, rng.random())
    return np.ascontiguousarray(_between(np.ascontiguousarray(rows.T), WIDTH, cell_x, rng.random()).T)


def _between(grid: Plane, length: int, cell: float, offset: float) -> Plane:
    """Interpolate along the first axis with a smooth step."""
    position = np.arange(length, dtype=np.float32) / np.float32(cell) + np.float32(offset)
    index = position.astype(int)
    share = position - index
    share = (share * share * (3 - 2 * share))[:, None]
    lower = grid[index]
    return np.asarray(lower + share * (grid[index + 1] - lower), np.float32)


def _wave(rng: np.random.Generator, along: Plane, length: float, height: float) -> Plane:
    """A curve that swings gently: three sines of random phase, at most `height` away from 0."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    turns = np.float32(2 * np.pi / length)
    swing = np.zeros_like(along)
    for factor, weight, phase in zip((0.5, 1.0, 1.9), (0.5, 0.35, 0.15), phases, strict=True):
        swing += np.float32(weight) * np.sin(along * np.float32(factor) * turns + np.float32(phase))
    return np.float32(height) * swing


def _axes(angle: float) -> tuple[Plane, Plane]:
    """Coordinates along and across a direction through the middle of the picture, in pixels."""
    y, x = _Y - HEIGHT / 2, _X - WIDTH / 2
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def _edge(distance: Plane) -> Plane:
    """Distance to an outline in pixels, negative inside -> coverage: soft over one pixel."""
    return (0.5 - distance).clip(0, 1)


def _smooth(start: float, end: float, values: Plane) -> Plane:
    """0 at `start`, 1 at `end`, smooth between; `start` may be the larger."""
    share = ((values - np.float32(start)) / np.float32(end - start)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _shifted(values: Plane, pixels: int) -> Plane:
    """Moved away from the light."""
    return np.roll(values, (pixels, pixels), (0, 1))


def _rgb(colour: tuple[int, int, int] | npt.NDArray[np.int_]) -> Picture:
    return np.asarray(colour, np.float32) / np.float32(255)


if __name__ == "__main__":
    make_demo(Path(sys.argv[1]))

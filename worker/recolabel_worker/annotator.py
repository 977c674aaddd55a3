"""A simulated annotator: which pixels are asked about, and what a person would answer. Pure; chance comes in.

Strategies. Each picks pixels of one image from a model's probabilities, among those that a person can answer:

    random            every pixel is as likely
    least-confidence  the smallest largest probability
    margin            the smallest difference of the two largest probabilities
    entropy           the largest entropy of the probabilities
    pixelpick         at random among the 5 % with the smallest margin (Shin et al., ICCV workshops 2021)
    reco              hard pixels of each predicted class, classes in turn, the one with the fewest clicks in the image
                      first, with spacing; as the app asks

Coordinates are (y, x). Letters: C classes, H W image pixels, K pixels chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recolabel.errors import BadArgument
from recolabel.formats.indexed_png import UNLABELLED, LabelMap
from recolabel_worker.reco import Candidate, confidence_map, propose_candidates
from recolabel_worker.reco.uncertainty import inner_mask, margin_map

Strategy = Literal["random", "least-confidence", "margin", "entropy", "pixelpick", "reco"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.int64]
"""(K, 2) of (y, x)."""

PIXELPICK_SHARE = 0.05
"""Share of an image's pixels that `pixelpick` draws among; the published setting."""

SPACING_PX = 8
SPACINGS_PER_SIDE = 16
"""`reco` keeps 8 pixels from other clicks, or a sixteenth of a small image's short side: as the app's questions do."""

_MASK_DRAWS = 100


def check_strategy(name: str) -> None:
    """Refuse a name that no strategy has.

    Raises:
        BadArgument: it is none of STRATEGIES.
    """
    if name not in STRATEGIES:
        raise BadArgument(f"There is no strategy {name!r}; there are {', '.join(STRATEGIES)}.")


def answerable_pixels(truth: LabelMap, class_count: int, border_px: int = 0) -> Mask:
    """(H, W) bool: pixels whose class a person can tell.

    Void and unlabelled pixels are never asked about. With `border_px`, pixels that close to a border (in y and in x)
    are neither: people do not click there. A class that is nowhere that wide in this image keeps all its pixels, or
    poles could never be labelled.
    """
    spoken: Mask = truth < class_count
    if not border_px:
        return spoken
    inside: Mask = inner_mask(torch.from_numpy(truth.astype(np.int64)), border_px).numpy()
    for index in np.unique(truth[spoken]):
        of_class = truth == index
        if not (of_class & inside).any():
            inside = inside | of_class
    return spoken & inside


def answer(truth: LabelMap, y: int, x: int, class_count: int, error_rate: float, rng: np.random.Generator) -> int:
    """The class that the annotator gives for a pixel.

    With probability `error_rate` it is a wrong one: another class of this image, which is what people mistake things
    for; where there is no other, any other class.
    """
    right = int(truth[y, x])
    if rng.random() >= error_rate:
        return right
    present = [int(index) for index in np.unique(truth[truth < class_count]) if index != right]
    return int(rng.choice(present or [index for index in range(class_count) if index != right]))


def choose_pixels(
    strategy: Strategy,
    probabilities: Tensor | None,
    free: Mask,
    count: int,
    *,
    clicks: LabelMap,
    rng: np.random.Generator,
) -> Pixels:
    """Choose up to `count` pixels of an image; fewer only when fewer are free.

    Args:
        probabilities: (C, H, W) of the model so far; None for `random`, which looks at none.
        free: (H, W) bool, pixels that may be asked about.
        clicks: (H, W) uint8, the answers so far in this image, 255 elsewhere; none of them is free.

    Returns:
        (K, 2) int64 (y, x), all different.

    Raises:
        BadArgument: there is no such strategy.
    """
    check_strategy(strategy)
    places = np.flatnonzero(free)
    count = min(count, len(places))
    if strategy == "random":
        chosen = rng.choice(places, count, replace=False)
    else:
        assert probabilities is not None
        if strategy == "reco":
            chosen = _balanced(probabilities, free, count, clicks, rng)
        else:
            chosen = _hardest(strategy, probabilities, places, count, rng)
    return np.stack(np.unravel_index(chosen, free.shape), axis=1).astype(np.int64)


def class_pixels(truth: LabelMap, answerable: Mask, count: int, rng: np.random.Generator) -> Pixels:
    """`count` random answerable pixels of each class of an image, fewer where a class has fewer; (K, 2) of (y, x)."""
    chosen = []
    for index in np.unique(truth[answerable]):
        places = np.flatnonzero(answerable & (truth == index))
        chosen.append(rng.choice(places, min(count, len(places)), replace=False))
    flat = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    return np.stack(np.unravel_index(flat, truth.shape), axis=1).astype(np.int64)


def draw_masks(truths: Sequence[LabelMap], count: int, class_count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` of the images, whose masks are given whole, so that each class of the data set is in one of them.

    A draw that lacks a class is drawn anew, up to 100 times; then it is the one of them that lacks the fewest. So rare
    classes are there where that is likely at all, and otherwise every set of images is as likely.

    Args:
        truths: (H, W) uint8 label maps of all images, `count` of them or more.

    Returns:
        Their indices, rising.
    """
    shown = np.array([np.bincount(truth.ravel(), minlength=256)[:class_count] > 0 for truth in truths])
    wanted = int(shown.any(0).sum())
    best, most = np.zeros(0, np.int64), -1
    for _ in range(_MASK_DRAWS):
        drawn = rng.choice(len(truths), count, replace=False)
        there = int(shown[drawn].any(0).sum())
        if there > most:
            best, most = drawn, there
        if most == wanted:
            break
    return sorted(best.tolist())


def spacing_px(height: int, width: int) -> int:
    """Smallest distance of two clicks of `reco` in an image of this size."""
    return max(1, min(SPACING_PX, min(height, width) // SPACINGS_PER_SIDE))


_HARDNESS: dict[str, Callable[[Tensor], Tensor]] = {
    "least-confidence": lambda probabilities: -confidence_map(probabilities),
    "margin": lambda probabilities: -margin_map(probabilities),
    "pixelpick": lambda probabilities: -margin_map(probabilities),
    "entropy": lambda probabilities: torch.special.entr(probabilities).sum(0),
}
"""(C, H, W) -> (H, W), larger is harder."""


def _hardest(
    strategy: str, probabilities: Tensor, places: Pixels, count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    hardness = _HARDNESS[strategy](probabilities.cpu()).flatten().numpy()
    shuffled = rng.permutation(places)  # equal ones in random order
    ordered = shuffled[np.argsort(-hardness[shuffled], kind="stable")]
    if strategy == "pixelpick":
        pool = max(count, round(PIXELPICK_SHARE * len(ordered)))
        return rng.choice(ordered[:pool], count, replace=False)
    return ordered[:count]


def _balanced(
    probabilities: Tensor, free: Mask, count: int, clicks: LabelMap, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    height, width = free.shape
    spacing = spacing_px(height, width)
    excluded = ~free
    for y, x in np.argwhere(clicks != UNLABELLED):
        excluded[max(0, y - spacing + 1) : y + spacing, max(0, x - spacing + 1) : x + spacing] = True
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    waiting: dict[int, list[Candidate]] = {}
    for candidate in propose_candidates(probabilities, count, spacing, excluded, generator=generator):
        waiting.setdefault(candidate.guess, []).append(candidate)
    # In this image: counts over all images were no better up to 16 clicks an image, and worse at 20 (road scenes).
    class_clicks = np.bincount(clicks[clicks < len(probabilities)], minlength=len(probabilities))
    chosen: list[int] = []
    while waiting and len(chosen) < count:
        guess = min(waiting, key=lambda index: (class_clicks[index], waiting[index][0].margin))
        candidate = waiting[guess].pop(0)
        if not waiting[guess]:
            del waiting[guess]
        class_clicks[guess] += 1
        chosen.append(candidate.y * width + candidate.x)
    rest = np.setdiff1d(np.flatnonzero(free), chosen)  # spacing left too few: anywhere then
    filled = rng.choice(rest, count - len(chosen), replace=False)
    return np.concatenate([np.array(chosen, np.int64), filled])

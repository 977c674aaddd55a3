"""Which pixels to ask about next. Pure: candidates of the newest maps and what is labelled already come in.

A question is worth most where the model hesitates most (smallest margin between its two best classes), where its
neighbourhood has not been asked about, and for classes that have been asked about least: without the last rule a
large class with a ragged border would take all questions and a thin, rare one none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recolabel.contract.questions import Candidate

SPACING_PX = 8
"""Smallest distance of a question from another and from any label; smaller on tiny images."""
SPACINGS_PER_SIDE = 16


@dataclass(frozen=True)
class ImageCandidates:
    """An image that may be asked about.

    Attributes:
        candidates: proposed by the network that drew the image's newest map.
        labelled: (H, W) bool, pixels about which somebody spoke.
    """

    image_id: str
    candidates: Sequence[Candidate]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """A candidate that is worth a question."""

    image_id: str
    candidate: Candidate


def choose_questions(images: Iterable[ImageCandidates], limit: int) -> list[Choice]:
    """Return up to `limit` choices, the most useful first.

    The first image is asked about until nothing is left in it, then the next. Inside an image the guess that was
    asked about least comes first, among equals the smallest margin, then the upper, then the left pixel. A candidate
    whose own pixel is labelled by now has been asked: it counts for its guess, so asking one question at a time gives
    the same order as asking for many.

    Args:
        images: most urgent first. Consumed only as far as needed.
    """
    chosen: list[Choice] = []
    for image in images:
        if len(chosen) >= limit:
            break
        chosen += [Choice(image.image_id, candidate) for candidate in _choose_in_image(image, limit - len(chosen))]
    return chosen


def spacing_px(height: int, width: int) -> int:
    """Smallest distance of two questions in an image of this size, in pixels: 8, or a sixteenth of the short side."""
    return max(1, min(SPACING_PX, min(height, width) // SPACINGS_PER_SIDE))


def _choose_in_image(image: ImageCandidates, limit: int) -> list[Candidate]:
    taken = image.labelled.copy()
    height, width = taken.shape
    spacing = spacing_px(height, width)
    asked: dict[int, int] = {}
    waiting: dict[int, list[Candidate]] = {}
    for candidate in sorted(image.candidates, key=_usefulness):
        pixel = candidate.pixel
        if pixel.x >= width or pixel.y >= height:
            continue
        if taken[pixel.y, pixel.x]:
            asked[candidate.guess] = asked.get(candidate.guess, 0) + 1
        else:
            waiting.setdefault(candidate.guess, []).append(candidate)
    for queue in waiting.values():
        queue.reverse()  # the most useful last, where pop() takes it
    chosen: list[Candidate] = []
    while waiting and len(chosen) < limit:
        guess = min(waiting, key=lambda guess: (asked.get(guess, 0), _usefulness(waiting[guess][-1])))
        candidate = waiting[guess].pop()
        if not waiting[guess]:
            del waiting[guess]
        if _is_near(taken, candidate.pixel.y, candidate.pixel.x, spacing):
            continue
        taken[candidate.pixel.y, candidate.pixel.x] = True
        asked[guess] = asked.get(guess, 0) + 1
        chosen.append(candidate)
    return chosen


def _usefulness(candidate: Candidate) -> tuple[float, int, int]:
    return candidate.margin, candidate.pixel.y, candidate.pixel.x


def _is_near(taken: NDArray[np.bool_], y: int, x: int, spacing: int) -> bool:
    """Whether a taken pixel is closer than `spacing` to (y, x)."""
    top, left = max(0, y - spacing + 1), max(0, x - spacing + 1)
    rows, columns = np.nonzero(taken[top : y + spacing, left : x + spacing])
    return bool((((rows + top - y) ** 2 + (columns + left - x) ** 2) < spacing**2).any())


def spread_pixels(labelled: NDArray[np.bool_], limit: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return up to `limit` random pixels (y, x), `spacing_px` apart from each other and from what is labelled.

    For images that no model has seen: there a question helps only to see more of the image.
    """
    taken = labelled.copy()
    height, width = taken.shape
    spacing = spacing_px(height, width)
    chosen: list[tuple[int, int]] = []
    for _ in range(20 * limit):
        if len(chosen) == limit:
            break
        y, x = int(rng.integers(height)), int(rng.integers(width))
        if not _is_near(taken, y, x, spacing):
            taken[y, x] = True
            chosen.append((y, x))
    return chosen

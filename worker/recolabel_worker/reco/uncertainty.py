"""How sure a prediction is, pixel by pixel, and which pixels are worth a question. Letters: C classes, H W pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolabel_worker.reco.config import InvalidArgument

BORDER_PX = 2
"""Questions keep this far from predicted borders where they can: there a person cannot tell which side is meant."""

_SUM_TOLERANCE = 2e-2  # half precision's
_POOL = 20_000  # pixels of a class that are looked at; more would cost time and change little
_HARDEST = 512  # of them, sorted at first: most often more than are taken


@dataclass(frozen=True)
class Candidate:
    """A pixel worth asking about. `guess` and `second_guess` are class indices, the same one if there is only one."""

    y: int
    x: int
    guess: int
    second_guess: int
    confidence: float  # probability of the guess, 0..1
    margin: float  # confidence minus the second guess's probability, 0..1; small is hard
    entropy: float  # of all class probabilities, as a share of log C, 0..1; 0 where there is one class only


class TopTwo(NamedTuple):
    """The two most probable classes of each pixel, each (H, W); of equally probable ones the lower index is first."""

    guess: Tensor  # uint8
    second_guess: Tensor  # uint8, the guess itself where there is one class only
    confidence: Tensor  # float32, probability of the guess
    margin: Tensor  # float32, as `margin_map`


def top_two(probabilities: Tensor) -> TopTwo:
    """The two most probable classes of each pixel of (C, H, W), on the CPU.

    One pass over the classes: with eleven of them a fifth of the time that `topk` takes.
    """
    first, *others = probabilities.float().cpu().unbind()
    best, second = first, torch.full_like(first, -1.0)
    guess = torch.zeros_like(first, dtype=torch.uint8)
    second_guess = guess
    for number, layer in enumerate(others, 1):
        wins, loser = layer > best, torch.minimum(best, layer)
        losing = _chosen(wins, guess, torch.full_like(guess, number))
        second_guess = _chosen(loser > second, losing, second_guess)
        second = torch.maximum(second, loser)
        guess = guess + number - losing
        best = torch.maximum(best, layer)
    return TopTwo(guess, second_guess, best, best - second if others else torch.ones_like(best))


def _chosen(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """As torch.where of bytes. They wrap around, and so calculated it takes a tenth of the time."""
    return no + condition.view(torch.uint8) * (yes - no)


def confidence_map(probabilities: Tensor) -> Tensor:
    """Largest class probability of each pixel, (C, H, W) -> (H, W) float32, 0..1."""
    return probabilities.amax(0).float()


def margin_map(probabilities: Tensor) -> Tensor:
    """Largest minus second largest probability, (C, H, W) -> (H, W) float32, 0..1; 1 where there is one class only."""
    if len(probabilities) == 1:
        return torch.ones_like(probabilities[0], dtype=torch.float32)
    best = probabilities.topk(2, dim=0).values.float()
    return best[0] - best[1]


def to_byte(confidence: Tensor) -> Tensor:
    """round(255 * confidence) as uint8, of any shape (...). For storage and display: no threshold ever looks at it."""
    return (confidence.float() * 255).round().clamp(0, 255).to(torch.uint8)


def inner_mask(prediction: Tensor, distance_px: int = BORDER_PX) -> Tensor:
    """(H, W) bool of (H, W) class indices: all pixels within `distance_px` (square) have one predicted class.

    The image's edge is no border.
    """
    # Downwards and then sideways: the same as over the whole square, with fewer comparisons.
    lowest = highest = prediction
    for dim in (0, 1):
        lowest = _over_neighbours(torch.minimum, lowest, dim, distance_px)
        highest = _over_neighbours(torch.maximum, highest, dim, distance_px)
    return highest == lowest


def _over_neighbours(join: Callable[[Tensor, Tensor], Tensor], values: Tensor, dim: int, distance_px: int) -> Tensor:
    length = values.shape[dim]
    joined = values.clone()
    for shift in range(1, min(distance_px, length - 1) + 1):
        for target, source in ((0, shift), (shift, 0)):
            part = joined.narrow(dim, target, length - shift)
            part.copy_(join(part, values.narrow(dim, source, length - shift)))
    return joined


def propose_candidates(
    probabilities: Tensor,
    per_class: int,
    spacing_px: int,
    exclude: Tensor | NDArray[np.bool_] | None = None,
    *,
    generator: torch.Generator,
    top: TopTwo | None = None,
) -> list[Candidate]:
    """Choose hard pixels, up to `per_class` of each predicted class, at least `spacing_px` apart.

    Within a class the smallest margins come first; pixels at least BORDER_PX inside a predicted region are taken
    before others. Classes take turns, rarest first, so a rare class finds its places free.

    Args:
        probabilities: (C, H, W) float, classes sum to 1.
        per_class: most candidates of one predicted class.
        spacing_px: least distance in y or in x between any two candidates.
        exclude: (H, W) bool, pixels that are not to be asked about (labelled ones, say); none when left out.
        generator: chooses which pixels of a large class are looked at, and the order of equal margins.
        top: `top_two` of the same probabilities, where it is at hand.

    Returns:
        Hardest first; empty where everything is excluded.

    Raises:
        InvalidArgument: shapes are not as said, numbers are negative, or probabilities are not finite or do not sum
            to 1.
    """
    if not isinstance(probabilities, Tensor) or probabilities.ndim != 3 or not all(probabilities.shape):
        raise InvalidArgument(
            "probabilities",
            f"has to be a tensor (C, H, W), not {type(probabilities).__name__} of {tuple(np.shape(probabilities))}.",
        )
    probabilities = probabilities.cpu()
    sums = probabilities.float().sum(0)
    if not bool(sums.isfinite().all()):
        raise InvalidArgument("probabilities", "holds NaN or infinity.")
    if not bool((sums - 1).abs().max() <= _SUM_TOLERANCE) or bool(probabilities.amin() < 0):
        raise InvalidArgument("probabilities", "have to be at least 0 and sum to 1 over the classes at each pixel.")
    for name, value in (("per_class", per_class), ("spacing_px", spacing_px)):
        if value < 0:
            raise InvalidArgument(name, f"cannot be negative ({value!r}).")
    if exclude is not None and tuple(exclude.shape) != tuple(probabilities.shape[1:]):
        raise InvalidArgument(
            "exclude", f"is {tuple(exclude.shape)} for probabilities of {tuple(probabilities.shape[1:])}."
        )
    count, height, width = probabilities.shape
    top = top_two(probabilities) if top is None else top
    margin = top.margin.flatten()
    inside = inner_mask(top.guess).flatten()
    free = None if exclude is None else ~torch.as_tensor(exclude).cpu().bool().flatten()
    pools = _pools(top.guess.flatten(), free, count, generator)

    blocked = np.zeros((height, width), dtype=np.bool_)
    chosen: list[int] = []
    for pool in sorted((pool for pool in pools if len(pool)), key=len):
        taken = 0
        for place in _hardest(pool[:_POOL], margin, inside):
            if taken == per_class:
                break
            y, x = divmod(place, width)
            if blocked[y, x]:
                continue
            blocked[max(0, y - spacing_px + 1) : y + spacing_px, max(0, x - spacing_px + 1) : x + spacing_px] = True
            blocked[y, x] = True
            taken += 1
            chosen.append(place)
    return _described(sorted(chosen, key=lambda place: float(margin[place])), probabilities, top)


def _pools(guess: Tensor, free: Tensor | None, count: int, generator: torch.Generator) -> list[Tensor]:
    """The places of each predicted class, in random order; those that are not free are left out."""
    order = torch.randperm(len(guess), generator=generator)
    if free is not None:
        order = order[free[order]]
    # numpy sorts bytes by counting them.
    by_class = order[torch.from_numpy(np.argsort(guess[order].numpy(), kind="stable"))]
    ends = list(accumulate(torch.bincount(guess[order], minlength=count).tolist()))
    return [by_class[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _hardest(pool: Tensor, margin: Tensor, inside: Tensor) -> Iterator[int]:
    """A class's places, inner ones first, then by rising margin. The hardest may come twice."""
    is_inner = inside[pool]
    for part in (pool[is_inner], pool[~is_inner]):
        if len(part) > _HARDEST:
            yield from part[margin[part].topk(_HARDEST, largest=False).indices].tolist()
        yield from part[torch.argsort(margin[part], stable=True)].tolist()


def _described(places: list[int], probabilities: Tensor, top: TopTwo) -> list[Candidate]:
    width = probabilities.shape[2]
    at = torch.tensor(places, dtype=torch.int64)
    guess, second_guess, confidence, margin = (plane.flatten()[at].tolist() for plane in top)
    return [
        Candidate(y=place // width, x=place % width, guess=g, second_guess=s, confidence=c, margin=m, entropy=e)
        for place, g, s, c, m, e in zip(
            places, guess, second_guess, confidence, margin, _entropy(probabilities.flatten(1)[:, at]), strict=True
        )
    ]


def _entropy(probabilities_CP: Tensor) -> list[float]:
    """Of each column, as a share of the largest possible."""
    count = len(probabilities_CP)
    if count == 1:
        return [0.0] * probabilities_CP.shape[1]
    given = probabilities_CP.double().clamp_min(0)
    shares = torch.special.entr(given).sum(0) / math.log(count)
    found: list[float] = shares.clamp(0, 1).tolist()
    return found

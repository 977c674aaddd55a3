"""How sure a prediction is, pixel by pixel, and which pixels are worth a question. Letters: C classes, H W pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import InvalidArgument

BORDER_PX = 2
"""Questions keep this far from predicted borders where they can: there a person cannot tell which side is meant."""

_SUM_TOLERANCE = 2e-2  # half precision's
_POOL = 20_000  # pixels of a class that are looked at; more would cost time and change little


@dataclass(frozen=True)
class Candidate:
    """A pixel worth asking about. `guess` and `second_guess` are class indices, the same one if there is only one."""

    y: int
    x: int
    guess: int
    second_guess: int
    confidence: float  # probability of the guess, 0..1
    margin: float  # confidence minus the second guess's probability, 0..1; small is hard


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
    classes = prediction[None, None].float()
    window, reach = 2 * distance_px + 1, distance_px
    highest = F.max_pool2d(classes, window, 1, reach)
    lowest = -F.max_pool2d(-classes, window, 1, reach)
    return (highest == lowest)[0, 0]


def propose_candidates(
    probabilities: Tensor,
    per_class: int,
    spacing_px: int,
    exclude: Tensor | NDArray[np.bool_] | None = None,
    *,
    generator: torch.Generator,
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
    if not bool(probabilities.isfinite().all()):
        raise InvalidArgument("probabilities", "holds NaN or infinity.")
    if not bool((probabilities.sum(0) - 1).abs().max() <= _SUM_TOLERANCE) or bool((probabilities < 0).any()):
        raise InvalidArgument("probabilities", "have to be at least 0 and sum to 1 over the classes at each pixel.")
    for name, value in (("per_class", per_class), ("spacing_px", spacing_px)):
        if value < 0:
            raise InvalidArgument(name, f"cannot be negative ({value!r}).")
    if exclude is not None and tuple(exclude.shape) != tuple(probabilities.shape[1:]):
        raise InvalidArgument(
            "exclude", f"is {tuple(exclude.shape)} for probabilities of {tuple(probabilities.shape[1:])}."
        )
    count, height, width = probabilities.shape
    probabilities = probabilities.cpu()
    order = probabilities.topk(min(2, count), dim=0)
    guess = order.indices[0].flatten()
    second = order.indices[-1].flatten()
    margin = margin_map(probabilities).flatten()
    confidence = order.values[0].flatten()
    inside = inner_mask(order.indices[0]).flatten()
    free = torch.ones(height * width, dtype=torch.bool)
    if exclude is not None:
        free &= ~torch.as_tensor(exclude).cpu().bool().flatten()

    queues = [_hardest(((guess == c) & free).nonzero().flatten(), margin, inside, generator) for c in range(count)]
    blocked = torch.zeros(height, width, dtype=torch.bool)
    chosen: list[Candidate] = []
    for queue in sorted((queue for queue in queues if len(queue)), key=len):
        taken = 0
        for place in queue.tolist():
            y, x = divmod(place, width)
            if taken == per_class:
                break
            if blocked[y, x]:
                continue
            blocked[max(0, y - spacing_px + 1) : y + spacing_px, max(0, x - spacing_px + 1) : x + spacing_px] = True
            blocked[y, x] = True
            taken += 1
            chosen.append(
                Candidate(
                    y=y,
                    x=x,
                    guess=int(guess[place]),
                    second_guess=int(second[place]),
                    confidence=float(confidence[place]),
                    margin=float(margin[place]),
                )
            )
    return sorted(chosen, key=lambda candidate: candidate.margin)


def _hardest(places: Tensor, margin: Tensor, inside: Tensor, generator: torch.Generator) -> Tensor:
    """A class's pixels, inner ones first, then by rising margin; a random part of them when they are many."""
    shuffled = places[torch.randperm(len(places), generator=generator)][:_POOL]
    by_margin = shuffled[torch.argsort(margin[shuffled], stable=True)]
    return by_margin[torch.argsort((~inside[by_margin]).to(torch.uint8), stable=True)]

"""An image through a network: prediction, confidence and candidates, handed in as a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from recolabel.contract import questions
from recolabel.contract.labels import Pixel, SnapshotImage
from recolabel_worker.job import Job, JobImpossible
from recolabel_worker.outputs import add_map
from recolabel_worker.reco import Candidate, DeepLabV3Plus, predict, propose_candidates, to_byte
from recolabel_worker.reco.config import UNLABELLED
from recolabel_worker.reco.uncertainty import TopTwo, top_two

_CANDIDATES = 256
"""Candidates of an image at most, shared by the classes."""

_CANDIDATES_OF_CLASS = 24
_SPACING_SHARE = 40
"""Candidates keep a fortieth of the image's shorter side apart: two answers in one spot teach little."""

_LEAST_SPACING_PX = 4


def draw(
    job: Job,
    image: SnapshotImage,
    pixels: npt.NDArray[np.uint8],
    network: DeepLabV3Plus,
    class_uids: Sequence[str],
    *,
    step: int,
    label_map: npt.NDArray[np.uint8] | None = None,
) -> bool:
    """Predict an image and upload the map; False when the image was removed or replaced meanwhile.

    Args:
        pixels: (H, W, 3) RGB of the image.
        label_map: (H, W); pixels that carry a label are not proposed as candidates.

    Raises:
        JobImpossible: the network gives numbers that are not finite.
    """
    device = next(network.parameters()).device
    probabilities = predict(network, pixels, device)
    if not bool(probabilities.isfinite().all()):
        raise JobImpossible("The network's prediction is not finite; nothing was drawn. Train again.")
    top = top_two(probabilities)
    return (
        add_map(
            job,
            image,
            prediction=top.guess.numpy(),
            confidence=to_byte(top.confidence).numpy(),
            candidates=candidates_of(probabilities, top, None if label_map is None else label_map != UNLABELLED),
            class_uids=class_uids,
            step=step,
        )
        is not None
    )


def label_map_of(probabilities: torch.Tensor) -> npt.NDArray[np.uint8]:
    """(C, H, W) -> (H, W) index of the most probable class."""
    prediction: npt.NDArray[np.uint8] = top_two(probabilities).guess.numpy()
    return prediction


def candidates_of(
    probabilities: torch.Tensor, top: TopTwo, labelled: npt.NDArray[np.bool_] | None
) -> list[questions.Candidate]:
    """Pixels worth a question, hardest first, at most 256.

    Args:
        probabilities: (C, H, W).
        top: `top_two` of them.
        labelled: (H, W) bool, pixels that are not to be asked about again.
    """
    classes, height, width = probabilities.shape
    proposed = propose_candidates(
        probabilities,
        max(1, min(_CANDIDATES_OF_CLASS, _CANDIDATES // classes)),
        max(_LEAST_SPACING_PX, min(height, width) // _SPACING_SHARE),
        labelled,
        generator=torch.Generator().manual_seed(0),
        top=top,
    )
    return [_for_the_wire(candidate) for candidate in proposed]


def _for_the_wire(candidate: Candidate) -> questions.Candidate:
    return questions.Candidate(
        pixel=Pixel(x=candidate.x, y=candidate.y),
        guess=candidate.guess,
        second_guess=None if candidate.second_guess == candidate.guess else candidate.second_guess,
        confidence=min(1.0, max(0.0, candidate.confidence)),
        margin=min(1.0, max(0.0, candidate.margin)),
        entropy=candidate.entropy,
    )

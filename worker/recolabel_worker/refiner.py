"""The fast head of one project while people click: what it knows of each image, and what it draws. Knows no server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from recolabel.contract import questions
from recolabel.contract.labels import SnapshotImage
from recolabel_worker.drawing import candidates_of
from recolabel_worker.encoders import Encoder
from recolabel_worker.inputs import Pixels
from recolabel_worker.reco import TrainConfig, to_byte
from recolabel_worker.reco.config import UNLABELLED
from recolabel_worker.reco.data import Labels
from recolabel_worker.reco.fast_head import FastHead, FastHeadFitter
from recolabel_worker.reco.features import Features
from recolabel_worker.reco.uncertainty import top_two

CLASSES_NEEDED = 2
"""So many classes need a label before there is anything to tell apart."""


_NO_LABELS = Labels(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


class Legs:
    """Where the time of one map goes, in milliseconds; a leg that is gone twice adds up."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    def add(self, leg: str, seconds: float) -> None:
        """Note a leg."""
        self.timings_ms[leg] = round(self.timings_ms.get(leg, 0.0) + 1000 * seconds, 2)

    @contextmanager
    def measure(self, leg: str) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(leg, time.perf_counter() - began)


@dataclass(frozen=True)
class Drawing:
    """What a map consists of."""

    prediction: npt.NDArray[np.uint8]  # (H, W) class index
    confidence: npt.NDArray[np.uint8]  # (H, W) round(255 * confidence)
    candidates: Sequence[questions.Candidate]


class Refiner:
    """The fast head on the features of one encoder, for one class list.

    A refit that fails leaves the head as it was.
    """

    def __init__(self, encoder: Encoder, class_uids: Sequence[str], model_version: int | None) -> None:
        """
        Args:
            class_uids: class index -> class, of all label maps that it learns and of all maps that it draws.
            model_version: whose encoder that is; None for the pretrained one.

        Raises:
            InvalidArgument: there are none or too many classes.
        """
        self.encoder = encoder
        self.class_uids = tuple(class_uids)
        self.model_version = model_version
        cfg = TrainConfig(len(class_uids)).fast_head
        self._fitter = FastHeadFitter(encoder.starting_network(class_uids), cfg)
        self._labels: dict[str, Labels] = {}
        self._pixels: dict[str, str] = {}  # image_id -> sha256 of the pixels that it was learnt or seen with
        self._head: FastHead | None = None
        self._is_fitted = False

    @property
    def can_fit(self) -> bool:
        """Whether enough classes have a label."""
        return len(self._fitter.classes) >= CLASSES_NEEDED

    @property
    def is_behind(self) -> bool:
        """Whether a fit would have anything new to look at."""
        return self.can_fit and not self._is_fitted

    @property
    def can_draw(self) -> bool:
        """Whether there is a head, and are labels enough for one."""
        return self._head is not None and self.can_fit

    def learn(self, image: SnapshotImage, features: Features, label_map: Pixels) -> None:
        """Take the labels of an image in place of those that it had, also when its pixels are others by now.

        Args:
            features: as the encoder gave them.
            label_map: (H, W) class index, VOID or UNLABELLED.

        Raises:
            InvalidArgument: a label names a class that there is not.
        """
        labels = _labels_of(label_map)
        self._forget_other_pixels(image)
        before = self._labels.get(image.image_id)
        if before is not None and _same(before, labels):
            return
        self._is_fitted = False
        self._set(image, features, labels)
        self._labels[image.image_id] = labels

    def has_seen(self, image: SnapshotImage) -> bool:
        """Whether the next fit knows what the pixels of this image are like."""
        return self._pixels.get(image.image_id) == image.sha256

    def see(self, image: SnapshotImage, features: Features) -> None:
        """Look at an image without labels, so that the next fit does not take what it was clicked on for all there is.

        Standardised by one image alone, features of another lie so far out that one class takes all of it.
        """
        self._forget_other_pixels(image)
        if not self.has_seen(image):
            self._set(image, features, _NO_LABELS)

    def forget(self, image_id: str) -> None:
        """Leave an image out from now on, if it was in."""
        if self._labels.pop(image_id, None) is not None:
            self._is_fitted = False
        self._pixels.pop(image_id, None)
        self._fitter.forget(image_id)

    def _set(self, image: SnapshotImage, features: Features, labels: Labels) -> None:
        self._fitter.set_labels(image.image_id, self.encoder.for_classes(features, self.class_uids), labels)
        self._pixels[image.image_id] = image.sha256

    def _forget_other_pixels(self, image: SnapshotImage) -> None:
        if self._pixels.get(image.image_id, image.sha256) != image.sha256:
            self.forget(image.image_id)

    def fit(self) -> None:
        """Fit the head on all labels there are.

        Raises:
            InvalidArgument: there are none.
            ArithmeticError: the result is not finite.
        """
        # Whatever happens now would happen again with the same labels.
        self._is_fitted = True
        self._head = self._fitter.fit(keep_temperature=True)

    def draw(self, image: SnapshotImage, features: Features, legs: Legs) -> Drawing:
        """Draw an image with the head of the last fit; labelled pixels are no candidates.

        Raises:
            InvalidArgument: the probabilities are not finite.
        """
        assert self._head is not None
        with legs.measure("predict"):
            probabilities = self._head.probabilities(self.encoder.for_classes(features, self.class_uids))
            top = top_two(probabilities)
            confidence = to_byte(top.confidence).numpy()
        with legs.measure("candidates"):
            candidates = candidates_of(probabilities, top, self._labelled(image))
        return Drawing(top.guess.numpy(), confidence, candidates)

    def _labelled(self, image: SnapshotImage) -> npt.NDArray[np.bool_] | None:
        labels = self._labels.get(image.image_id)
        if labels is None or not self.has_seen(image):
            return None
        labelled = np.zeros((image.height, image.width), np.bool_)
        labelled[tuple(labels.places.T.numpy())] = True
        return labelled


def _labels_of(label_map: Pixels) -> Labels:
    y, x = np.nonzero(label_map != UNLABELLED)
    places = torch.from_numpy(np.stack([y, x], axis=1).astype(np.int64))
    return Labels(places, torch.from_numpy(label_map[y, x].astype(np.int64)))


def _same(first: Labels, second: Labels) -> bool:
    return torch.equal(first.places, second.places) and torch.equal(first.classes, second.classes)

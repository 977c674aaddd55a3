"""What a simulation trains on the clicks it has: the fast head on kept features, or the whole network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from recolabel.formats.indexed_png import LabelMap
from recolabel_worker.dataset_folder import LabelledImage
from recolabel_worker.reco import SparseImage, TrainConfig, build_network, create_state, predict, train
from recolabel_worker.reco.data import labels_of
from recolabel_worker.reco.fast_head import fit_on_features
from recolabel_worker.reco.features import Features, extract_features
from recolabel_worker.reco.network import DeepLabV3Plus
from recolabel_worker.reco.train import Source

Tick = Callable[[], None]
Probabilities = Callable[[LabelledImage], Tensor]
"""Image -> (C, H, W) float32, on the CPU."""


@dataclass(frozen=True)
class Fitted:
    """What a fit gave: the networks there are, and which of them is the model."""

    networks: Mapping[Source, Probabilities]
    source: Source  # chosen without a look at the images that models are judged on

    def probabilities(self, item: LabelledImage) -> Tensor:
        """(C, H, W) of the model."""
        return self.networks[self.source](item)


class Learner(Protocol):
    """Trains anew from the clicks of a round; nothing is carried over from the round before."""

    work: int  # ticks of one fit

    def fit(self, images: Sequence[LabelledImage], clicks: Sequence[LabelMap], seed: int, tick: Tick) -> Fitted:
        """Train on the label maps `clicks`, one for each image.

        Raises:
            InvalidArgument: no pixel carries a class.
            NonFiniteLoss: the training went wrong.
        """


def fresh_network(cfg: TrainConfig, weights: Path | None = None) -> DeepLabV3Plus:
    """The network that a fit begins at; what is random in it follows from `cfg.seed`.

    Args:
        weights: a file of ImageNet weights of the backbone; left out, those that are installed, if any are.

    Raises:
        InvalidArgument: there is no such backbone, or the weights are not its own.
        FileNotFoundError: the pretrained weights are not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        return build_network(cfg.num_classes, **cfg.architecture, weights=weights)


class FastLearner:
    """The head that the app fits within a second, on features that are extracted once.

    Features of the default backbone take about 2.7 MB for an image of 480x360 pixels.
    """

    work = 5

    def __init__(
        self,
        cfg: TrainConfig,
        images: Iterable[LabelledImage],
        device: torch.device,
        tick: Tick = lambda: None,
        *,
        weights: Path | None = None,
    ) -> None:
        self._cfg = cfg
        self._network = fresh_network(cfg, weights).to(device).eval()
        self._features: dict[LabelledImage, Features] = {}
        for item in images:
            self._features[item] = extract_features(self._network, item.pixels)
            tick()

    def fit(self, images: Sequence[LabelledImage], clicks: Sequence[LabelMap], seed: int, tick: Tick) -> Fitted:
        """As `Learner.fit`. The fit is convex: `seed` has no say in it."""
        del seed
        labels = [
            labels_of(SparseImage(item.pixels, label_map), self._cfg.num_classes)
            for item, label_map in zip(images, clicks, strict=True)
        ]
        features = [self._features[item] for item in images]
        head = fit_on_features(self._network, features, labels, self._cfg.fast_head)
        for _ in range(self.work):
            tick()
        return Fitted({"fast head": lambda item: head.probabilities(self._features[item]).cpu()}, "fast head")


class DeepLearner:
    """A whole training for each round, from the pretrained backbone; the model is the network that it would publish.

    The fast head beside it is the one that the training began at: fitted on the same clicks, without the held-out ones.
    """

    def __init__(self, cfg: TrainConfig, device: torch.device, *, weights: Path | None = None) -> None:
        self._cfg = cfg
        self._device = device
        self._weights = weights
        self.work = cfg.steps

    def fit(self, images: Sequence[LabelledImage], clicks: Sequence[LabelMap], seed: int, tick: Tick) -> Fitted:
        """As `Learner.fit`; `seed` decides about views, samples and the heads' first weights."""
        sparse = [SparseImage(item.pixels, label_map) for item, label_map in zip(images, clicks, strict=True)]
        cfg = replace(self._cfg, seed=seed)
        state = create_state(cfg, sparse, network=fresh_network(cfg, self._weights), device=self._device)
        for _ in train(state):
            tick()
        networks: dict[Source, Probabilities] = {"teacher": self._predictor(state.teacher)}
        choice = state.choose()
        source = choice.source
        if source == "midpoint":
            networks[source] = self._predictor(choice.network)
        # A run that began at a random decoder has no fast head, and is none before its first step either.
        if self._cfg.fast_start or source == "fast head":
            networks["fast head"] = self._predictor(state.start)
        return Fitted(networks, source)

    def _predictor(self, network: nn.Module) -> Probabilities:
        network.eval()
        return lambda item: predict(network, item.pixels, self._device)

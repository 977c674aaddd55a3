"""Networks as far as they make features of images, and the features themselves: in memory, on disk, or made."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_of_tensors
from torch import Tensor, nn

from recolabel.contract.labels import SnapshotImage
from recolabel_worker.inputs import FileCache, Pixels
from recolabel_worker.reco import DeepLabV3Plus, InvalidArgument, TrainConfig, build_network
from recolabel_worker.reco.config import MAX_CLASSES, SIDE_MULTIPLE
from recolabel_worker.reco.features import FeatureCache, Features, extract_features
from recolabel_worker.reco.network import DirectHead, export_state_dict, load_warm

logger = logging.getLogger(__name__)

_STRIDES = (4, 8, 16, 16)


class Encoder:
    """A network that makes features: the pretrained one, or that of a model version with what its decoder adds.

    Args:
        network: in eval mode, on its device.
        class_uids: of the version, in its order; None for the pretrained network, whose head knows nothing yet.
    """

    def __init__(self, network: DeepLabV3Plus, class_uids: Sequence[str] | None) -> None:
        self._network = network
        self._class_uids = class_uids
        self.has_correction = network.has_correction
        self.name = _name_of(network)
        """sha256 of all weights that features depend on: versions that share them share the features."""

    def extract(self, pixels: Pixels) -> Features:
        """Features of an (H, W, 3) RGB image, on the CPU, the correction in the order of the version's classes."""
        return extract_features(self._network, pixels).cpu()

    def starting_network(self, class_uids: Sequence[str]) -> DeepLabV3Plus:
        """A network for these classes whose direct head, on the CPU, is where a fit begins: the version's, or zero.

        It shares everything but its last layers with the encoder: built anew it would take a third of a second.

        Raises:
            InvalidArgument: there are none or too many classes.
        """
        count = len(class_uids)
        if not 1 <= count <= MAX_CLASSES:
            raise InvalidArgument("class_uids", f"have to be 1 to {MAX_CLASSES}, not {count}.")
        network = copy.copy(self._network)
        network._modules = dict(self._network._modules)
        network.num_classes = count
        network.direct = DirectHead(self._stage_channels, count)
        network.correction = nn.Conv2d(self._network.correction.in_channels, count, 1)
        with torch.no_grad():
            for layer in network.correction.parameters():
                layer.zero_()
        if self._class_uids is not None:
            load_warm(network, self._network.state_dict(), self._places(class_uids))
        return network

    def for_classes(self, features: Features, class_uids: Sequence[str]) -> Features:
        """The same features with the correction in the order of `class_uids`: nothing for a class that is new."""
        if features.correction is None or self._class_uids is None:
            return features
        given = features.correction
        empty = torch.zeros_like(given[:, 0])
        layers = [empty if place is None else given[:, place] for place in self._places(class_uids)]
        return replace(features, correction=torch.stack(layers, dim=1))

    def fits(self, features: Features, image: SnapshotImage) -> bool:
        """Whether these can be features of such an image by this network, and are finite."""
        height, width = (side + -side % SIDE_MULTIPLE for side in (image.height, image.width))
        expected = [(1, c, height // s, width // s) for c, s in zip(self._stage_channels, _STRIDES, strict=True)]
        tensors = list(features.stages)
        if self.has_correction:
            expected.append((1, self._network.num_classes, height // _STRIDES[0], width // _STRIDES[0]))
        if features.correction is not None:
            tensors.append(features.correction)
        return (
            features.size == (image.height, image.width)
            and [tuple(tensor.shape) for tensor in tensors] == expected
            and all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in tensors)
        )

    @property
    def _stage_channels(self) -> tuple[int, int, int, int]:
        channels = self._network.backbone.stage_channels
        assert isinstance(channels, tuple)
        return channels

    def _places(self, class_uids: Sequence[str]) -> list[int | None]:
        """For each class its index in the version, None for a new one."""
        earlier = {uid: index for index, uid in enumerate(self._class_uids or ())}
        return [earlier.get(uid) for uid in class_uids]


def pretrained_encoder(device: torch.device) -> Encoder:
    """The encoder of a project without a version: the network that a first training starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(2, **TrainConfig(2).architecture, for_training=False)
    return Encoder(network.to(device).eval(), None)


# What `DeepLabV3Plus.stages` looks at: features kept by a program that saw less are not those of this one.
_LOOKS = "image and mirror image"


def _name_of(network: DeepLabV3Plus) -> str:
    has_correction = network.has_correction
    digest = hashlib.sha256(json.dumps([_LOOKS, network.build_arguments], sort_keys=True, default=str).encode())
    for name, tensor in sorted(export_state_dict(network).items()):
        if name.startswith("backbone.") or (has_correction and not name.startswith("direct.")):
            digest.update(name.encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class FeatureStore:
    """Features by encoder and image: those in memory at once, those on disk within milliseconds. Threads may share it.

    What lies on disk is believed only as far as it fits encoder and image.
    """

    def __init__(self, memory: FeatureCache, disk: FileCache) -> None:
        self._memory = memory
        self._disk = disk
        self._lock = threading.Lock()

    def has(self, encoder: Encoder, image: SnapshotImage) -> bool:
        """Whether the features are at hand; from now on in memory."""
        with self._lock:
            if _key(encoder, image) in self._memory:
                return True
        return self.find(encoder, image) is not None

    def find(self, encoder: Encoder, image: SnapshotImage) -> Features | None:
        """The features in float32, or None when they have to be extracted."""
        key = _key(encoder, image)
        with self._lock:
            features = self._memory.get(key)
        if features is not None:
            return features
        content = self._disk.find(f"{key}.safetensors")
        if content is None:
            return None
        try:
            features = Features.from_tensors(tensors_from_bytes(content))
        except (SafetensorError, InvalidArgument) as error:
            logger.warning("Kept features cannot be read and are made again: %s", error)
            features = None
        if features is None or not encoder.fits(features, image):
            self._disk.forget(f"{key}.safetensors")
            return None
        with self._lock:
            self._memory.put(key, features)
        return features.unpacked()

    def keep(self, encoder: Encoder, image: SnapshotImage, features: Features) -> None:
        """Keep features that were extracted: in memory, and on disk for the time after."""
        key = _key(encoder, image)
        packed = features.packed()
        with self._lock:
            self._memory.put(key, packed)
        tensors: dict[str, Tensor] = packed.to_tensors()
        self._disk.put(f"{key}.safetensors", bytes_of_tensors(tensors))


def _key(encoder: Encoder, image: SnapshotImage) -> str:
    return f"{encoder.name}/{image.sha256}"

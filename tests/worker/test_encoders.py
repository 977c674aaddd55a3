"""Features of images: by encoder and pixels, kept in memory and on disk, believed only where they fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as bytes_of_tensors

from recolabel.contract.labels import SnapshotImage
from recolabel_worker.encoders import Encoder, FeatureStore, pretrained_encoder
from recolabel_worker.inputs import FileCache
from recolabel_worker.reco import DeepLabV3Plus, build_network
from recolabel_worker.reco.features import FeatureCache, Features
from tests.worker.exported_model import noise

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = SnapshotImage(
    image_id="00000000-0000-0000-0000-000000000000", sha256="a" * 64, name="a", width=60, height=44, labelled_pixels=0
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return pretrained_encoder(torch.device("cpu"))


@pytest.fixture(scope="module")
def features(encoder: Encoder) -> Features:
    return encoder.extract(noise(44, 60))


def store(folder: Path) -> FeatureStore:
    return FeatureStore(FeatureCache(10**8), FileCache(folder, 10**8))


def version(seed: int, *, decoder_has_learnt: bool = False) -> DeepLabV3Plus:
    torch.manual_seed(seed)
    network = build_network(2, pretrained=False, for_training=False).eval()
    if decoder_has_learnt:
        torch.nn.init.normal_(network.correction.weight, std=0.3)
    return network


def test_features_outlive_the_process_and_their_folder_is_worth_its_time_only(
    encoder: Encoder, features: Features, tmp_path: Path
) -> None:
    store(tmp_path / "features").keep(encoder, IMAGE, features)

    found = store(tmp_path / "features").find(encoder, IMAGE)
    assert found is not None
    torch.testing.assert_close(found.stages, features.stages, atol=2e-3, rtol=2e-3)

    shutil.rmtree(tmp_path / "features")
    again = store(tmp_path / "features")
    assert again.find(encoder, IMAGE) is None
    again.keep(encoder, IMAGE, features)
    assert again.has(encoder, IMAGE)
    assert store(tmp_path / "features").has(encoder, IMAGE)


@pytest.mark.parametrize(
    "damage",
    [
        "cut off",
        "no features",
        "of another size",
        "with a decoder's share",  # of a version
        "not finite",
    ],
)
def test_a_file_that_is_damaged_or_foreign_is_made_again(
    encoder: Encoder, features: Features, tmp_path: Path, damage: str
) -> None:
    # Given a file in the place of the features
    kept = store(tmp_path)
    kept.keep(encoder, IMAGE, features)
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    tensors = features.packed().to_tensors()
    if damage == "not finite":
        tensors["stage_1"] = torch.full_like(tensors["stage_1"], float("nan"))
    elif damage == "with a decoder's share":
        tensors["correction"] = torch.zeros(1, 2, 12, 16)
    elif damage == "of another size":
        tensors = encoder.extract(noise(80, 64)).packed().to_tensors()
    elif damage == "no features":
        tensors = {"weights": torch.zeros(3)}
    whole = bytes_of_tensors(tensors)
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else whole)

    # I expect that nobody reads it twice, and that the right ones take its place
    fresh = store(tmp_path)
    assert fresh.find(encoder, IMAGE) is None
    assert not file.exists()
    fresh.keep(encoder, IMAGE, features)
    assert store(tmp_path).has(encoder, IMAGE)


def test_versions_share_features_as_far_as_they_share_weights() -> None:
    first, other_head, other_backbone = version(0), version(0), version(1)
    torch.nn.init.normal_(other_head.direct.weight)
    learnt, learnt_more = version(0, decoder_has_learnt=True), version(0, decoder_has_learnt=True)
    torch.nn.init.normal_(learnt_more.correction.weight)

    names = [Encoder(network, ["a", "b"]).name for network in (first, other_head, other_backbone, learnt, learnt_more)]

    assert names[0] == names[1]
    assert len(set(names[1:])) == 4


def test_the_decoders_share_follows_the_order_of_classes() -> None:
    encoder = Encoder(version(0, decoder_has_learnt=True), ["a", "b"])
    features = encoder.extract(noise(44, 60))
    assert features.correction is not None

    turned = encoder.for_classes(features, ["b", "new", "a"]).correction

    assert turned is not None
    assert torch.equal(turned[:, [2, 0]], features.correction)
    assert not turned[:, 1].any()


def test_a_fit_begins_at_the_versions_head_in_the_order_of_classes() -> None:
    network = version(0)
    torch.nn.init.normal_(network.direct.weight)

    start = Encoder(network, ["a", "b"]).starting_network(["b", "new", "a"])

    assert torch.equal(start.direct.weight[[2, 0]], network.direct.weight)
    assert not start.direct.weight[1].any()

"""Kept features: bounded, and as good as new ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recolabel_worker.reco import InvalidArgument, build_network
from recolabel_worker.reco.features import FeatureCache, Features, extract_features, grid_size


@pytest.fixture(scope="module")
def features() -> Features:
    return extract_features(build_network(2, pretrained=False), np.zeros((30, 50, 3), np.uint8))


def test_features_cover_an_image_of_odd_size(features: Features) -> None:
    assert features.size == (30, 50)
    assert grid_size(features) == (8, 16)
    assert features.stages[0].shape[-2:] == (8, 16)
    assert features.correction is None


def test_features_made_in_tiles_are_those_of_the_whole_image() -> None:
    network = build_network(2)
    image = np.random.default_rng(0).integers(0, 256, (70, 410, 3), dtype=np.uint8)

    whole, tiled = extract_features(network, image), extract_features(network, image, tile_px=320, margin_px=112)

    for expected, found in zip(whole.stages, tiled.stages, strict=True):
        assert found.shape == expected.shape
        assert float((found - expected).abs().mean()) < 0.05 * float(expected.abs().mean())


def test_features_of_a_mirror_image_are_the_mirror_image_of_the_features() -> None:
    network = build_network(2)
    image = np.random.default_rng(1).integers(0, 256, (48, 80, 3), dtype=np.uint8)

    seen, mirrored = extract_features(network, image), extract_features(network, image[:, ::-1].copy())

    for stage, other in zip(seen.stages, mirrored.stages, strict=True):
        torch.testing.assert_close(other, stage.flip(3), atol=1e-4, rtol=1e-4)


def test_the_cache_stays_below_its_bound_and_forgets_the_longest_unused(features: Features) -> None:
    cache = FeatureCache(limit_bytes=2 * features.packed().size_bytes)
    cache.put("a", features)
    cache.put("b", features)
    cache.get("a")

    cache.put("c", features)

    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.held_bytes <= cache.limit_bytes


def test_features_larger_than_the_cache_are_not_kept(features: Features) -> None:
    cache = FeatureCache(limit_bytes=10)

    cache.put("a", features)

    assert len(cache) == cache.held_bytes == 0


def test_kept_features_take_half_the_memory_and_lose_three_digits_at_most() -> None:
    features = extract_features(build_network(2), np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    cache = FeatureCache(limit_bytes=features.size_bytes)

    cache.put("a", features)

    kept = cache.get("a")
    assert kept is not None
    assert cache.held_bytes * 2 == features.size_bytes
    for expected, found in zip(features.stages, kept.stages, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_numbers_beyond_half_precision_stay_finite() -> None:
    stage = torch.full((1, 1, 2, 2), 1e6)

    packed = Features((stage, stage, stage, -stage), None, (8, 8)).packed()

    assert all(bool(kept.isfinite().all()) for kept in packed.stages)


def test_features_come_back_from_the_tensors_of_a_file(features: Features) -> None:
    packed = features.packed()

    read = Features.from_tensors(packed.to_tensors())

    assert read.size == features.size
    assert all(torch.equal(a, b) for a, b in zip(read.stages, packed.stages, strict=True))
    with pytest.raises(InvalidArgument, match="extract them again"):
        Features.from_tensors({"stage_0": features.stages[0]})

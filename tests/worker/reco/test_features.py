"""Kept features: bounded, and as good as new ones."""

from __future__ import annotations

import numpy as np
import pytest

from recolabel_worker.reco import build_network
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


def test_the_cache_stays_below_its_bound_and_forgets_the_longest_unused(features: Features) -> None:
    cache = FeatureCache(limit_bytes=2 * features.size_bytes)
    cache.put("a", features)
    cache.put("b", features)
    cache.get("a")

    cache.put("c", features)

    assert cache.get("b") is None
    assert cache.get("a") is features
    assert cache.held_bytes <= cache.limit_bytes


def test_features_larger_than_the_cache_are_not_kept(features: Features) -> None:
    cache = FeatureCache(limit_bytes=10)

    cache.put("a", features)

    assert len(cache) == cache.held_bytes == 0

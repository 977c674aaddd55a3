"""The network starts where the fast head stands, and leaves without the representation head."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recolabel_worker.reco import (
    DeepLabV3Plus,
    InvalidArgument,
    SparseImage,
    TrainConfig,
    build_network,
    export_state_dict,
)
from recolabel_worker.reco.config import DECODERS, Decoder
from recolabel_worker.reco.fast_head import fit_fast_head
from recolabel_worker.reco.features import extract_features
from recolabel_worker.reco.network import load_warm


def test_a_fresh_network_says_every_class_with_the_same_probability() -> None:
    network = build_network(3, pretrained=False).eval()

    with torch.no_grad():
        logits = network(torch.rand(2, 3, 32, 48) * 255)

    assert logits.shape == (2, 3, 8, 12)
    assert not logits.any()


def test_at_step_zero_the_network_computes_what_the_fast_head_computes(
    pictures: list[SparseImage], tiny: TrainConfig
) -> None:
    network = build_network(2).eval()
    head = fit_fast_head(network, pictures, tiny)
    features = extract_features(network, pictures[0].image)

    network.start_from(head)

    with torch.no_grad():
        logits = network(torch.as_tensor(pictures[0].image).permute(2, 0, 1)[None].float())
    torch.testing.assert_close(logits[0], head.logits(features), atol=1e-4, rtol=1e-4)


def test_an_exported_network_has_no_trace_of_the_representation_head() -> None:
    network = build_network(2, pretrained=False)

    exported = export_state_dict(network)

    assert "direct.weight" in exported
    assert not any("representation" in name for name in exported)


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_exported_network_works_as_little_as_one_that_never_had_a_representation_head(decoder: Decoder) -> None:
    trained = build_network(2, pretrained=False, decoder=decoder).eval()
    exported = export_state_dict(trained)
    lean = build_network(2, pretrained=False, decoder=decoder, for_training=False).eval()
    lean.load_state_dict(exported)

    assert {name: tensor.shape for name, tensor in exported.items()} == {
        name: tensor.shape for name, tensor in lean.state_dict().items()
    }
    picture = torch.rand(1, 3, 32, 48) * 255
    with torch.no_grad():
        assert _operations(trained, picture) == _operations(lean, picture) > 0
        assert torch.equal(trained(picture), lean(picture))


def _operations(network: DeepLabV3Plus, picture: torch.Tensor) -> int:
    """Multiplications and additions of an inference; where they are equal, so is the time."""
    with FlopCounterMode(display=False) as counter:
        network(picture)
    return int(counter.get_total_flops())


def test_a_warm_start_keeps_old_classes_where_they_now_stand() -> None:
    old = build_network(2, pretrained=False)
    torch.nn.init.normal_(old.direct.weight)
    torch.nn.init.normal_(old.correction.weight)
    new = build_network(3, pretrained=False)

    load_warm(new, export_state_dict(old), [1, None, 0])

    images = torch.rand(1, 3, 32, 32) * 255
    with torch.no_grad():
        before, after = old.eval()(images), new.eval()(images)
    torch.testing.assert_close(after[:, [2, 0]], before, atol=1e-5, rtol=1e-5)
    assert not after[:, 1].any()


@pytest.mark.parametrize(("remark", "mapping"), [("too few", [0]), ("a class the version never had", [0, 2])])
def test_a_warm_start_with_a_wrong_mapping_is_refused(remark: str, mapping: list[int | None]) -> None:
    network = build_network(2, pretrained=False)

    with pytest.raises(InvalidArgument, match="class_mapping"):
        load_warm(network, export_state_dict(network), mapping)


def test_a_batch_of_one_trains_as_a_batch_of_two_does() -> None:
    # ASPP with BatchNorm over a pooled map cannot take one image; ours has no batch statistics outside the backbone.
    network = build_network(2, pretrained=False)
    network.backbone.eval()
    torch.nn.init.normal_(network.correction.weight)
    images = torch.rand(2, 3, 32, 32) * 255

    with torch.no_grad():
        together = network.forward_training(images).logits
        alone = network.forward_training(images[:1]).logits

    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)

"""Start weights from a file: the right one fills the trunk, a wrong one is refused with the argument's name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recolabel_worker.reco import InvalidArgument, build_network
from recolabel_worker.reco.backbones import build_backbone, load_weights


def small_trunk(depth: int = 1, channels: int = 2) -> nn.Module:
    """`depth` blocks, named as in a deeper network of the family."""
    return nn.Sequential(
        *(nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)) for _ in range(depth))
    )


def published(trunk: nn.Module) -> dict[str, Tensor]:
    """Recognisable tensors with a classifier that the trunk has no place for."""
    return {name: torch.full_like(tensor, 3) for name, tensor in trunk.state_dict().items()} | {
        "fc.bias": torch.zeros(9)
    }


@pytest.mark.parametrize("kind", ["w.safetensors", "w.pth", "wrapped.pth"])
def test_a_published_file_fills_the_trunk(kind: str, tmp_path: Path) -> None:
    tensors, file = published(small_trunk()), tmp_path / kind
    if kind == "w.safetensors":
        save_file(tensors, file)
    else:
        torch.save({"state_dict": tensors, "epoch": 90} if kind.startswith("wrapped") else tensors, file)
    trunk = small_trunk()

    load_weights(trunk, file, sha256=hashlib.sha256(file.read_bytes()).hexdigest(), ignored=("fc.",))

    assert all(bool((tensor == 3).all()) for tensor in trunk.state_dict().values())


def test_a_file_older_than_the_batch_counters_is_complete(tmp_path: Path) -> None:
    tensors = {name: t for name, t in published(small_trunk()).items() if not name.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "old.pth")
    trunk = small_trunk()

    load_weights(trunk, tmp_path / "old.pth", ignored=("fc.",))

    assert bool((trunk.state_dict()["0.1.running_mean"] == 3).all())


class _Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


def _write_sick(file: Path) -> None:
    torch.save(published(small_trunk()) | {"0.0.weight": torch.full((2, 2, 1, 1), float("nan"))}, file)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda file: file.parent, "cannot be read"),
    "text": (lambda file: file.write_text("<html>404</html>"), "neither"),
    "a pickle that runs code": (lambda file: torch.save(_Trap(), file), "neither"),
    "a number instead of tensors": (lambda file: torch.save(4, file), "tensors by name"),
    "a shallower network": (lambda file: torch.save({}, file), "lacks"),
    "a deeper network of the family": (lambda file: torch.save(published(small_trunk(2)), file), "too many"),
    "a wider network": (lambda file: torch.save(published(small_trunk(channels=4)), file), "other shapes"),
    "numbers that are not finite": (_write_sick, "not finite"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_another_file_is_refused_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    write, complaint = REFUSED[kind]
    write(tmp_path / "w.pth")
    trunk = small_trunk()
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}

    with pytest.raises(InvalidArgument, match=complaint) as refusal:
        load_weights(trunk, tmp_path / "w.pth", ignored=("fc.",))

    assert refusal.value.argument == "weights"
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


@pytest.mark.parametrize(
    ("remark", "sha256"), [("another file's", "0" * 64), ("cut short", "abc"), ("no sum", "z" * 64)]
)
def test_a_wrong_sha256_is_refused_before_the_file_is_opened(remark: str, sha256: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("not even weights")

    with pytest.raises(InvalidArgument) as refusal:
        load_weights(small_trunk(), tmp_path / "w.pth", sha256=sha256)

    assert refusal.value.argument == "weights_sha256"


def test_a_resnet_starts_from_a_torch_file_with_its_classifier(tmp_path: Path) -> None:
    trunk = build_backbone("resnet50", pretrained=False)
    torch.save(
        trunk.state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, tmp_path / "w"
    )

    network = build_network(2, backbone="resnet50", weights=tmp_path / "w")

    assert torch.equal(network.backbone.get_parameter("conv1.weight"), trunk.get_parameter("conv1.weight"))


@pytest.mark.parametrize(
    ("remark", "arguments", "named"),
    [
        ("no backbone of this name", {"backbone": "resnet18"}, "backbone"),
        ("a prefix and no name", {"backbone": "hf:"}, "backbone"),
        ("no ResNet weights are installed", {"backbone": "resnet50", "pretrained": True}, "weights"),
        ("a sum of no file", {"weights_sha256": "0" * 64}, "weights_sha256"),
        ("no decoder of this name", {"decoder": "heavy", "pretrained": False}, "decoder"),
        ("no normalisation of this name", {"norm": "layer", "pretrained": False}, "norm"),
        ("more classes than a byte holds", {"num_classes": 255}, "num_classes"),
    ],
)
def test_a_network_that_cannot_be_built_names_the_argument(
    remark: str, arguments: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        build_network(**({"num_classes": 2} | arguments))  # type: ignore[arg-type]

    assert refusal.value.argument == named

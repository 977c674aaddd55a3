"""Checkpoints: damage is noticed, nothing half-written counts. That resuming is exact is shown in `test_resume.py`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recolabel_worker.reco import InvalidArgument, SparseImage, TrainConfig, build_network, create_state
from recolabel_worker.reco.checkpoint import DamagedCheckpoint, NoCheckpoint, load, load_file, save

from .conftest import clicked

PICTURES = [clicked(0)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the checkpoints of steps 1, 2 and 3 were saved one after the other."""
    folder = tmp_path_factory.mktemp("checkpoints")
    state = create_state(TrainConfig(num_classes=2), PICTURES, network=build_network(2, pretrained=False))
    for step in (1, 2, 3):
        state.step = step
        save(state, folder)
    return folder


@pytest.fixture
def two_checkpoints(written: Path, tmp_path: Path) -> Path:
    for file in written.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_newest_two_checkpoints_stay(two_checkpoints: Path) -> None:
    names = sorted(file.name for file in two_checkpoints.iterdir())

    assert names == [f"step-0000000{step}.{kind}" for step in (2, 3) for kind in ("json", "safetensors")]


def _flip_a_byte(folder: Path) -> None:
    file = folder / "step-00000003.safetensors"
    blob = bytearray(file.read_bytes())
    blob[-7] ^= 1
    file.write_bytes(bytes(blob))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip_a_byte,
    "a tensors file cut short": lambda folder: (folder / "step-00000003.safetensors").write_bytes(b"short"),
    "a tensors file that is gone": lambda folder: (folder / "step-00000003.safetensors").unlink(),
    "a summary cut short": lambda folder: (folder / "step-00000003.json").write_text('{"format":'),
    "a summary that is no object": lambda folder: (folder / "step-00000003.json").write_text("[]"),
    "a write that never ended": lambda folder: (folder / "step-00000003.json").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_previous_checkpoint_is_taken_when_the_newest_is_damaged(kind: str, two_checkpoints: Path) -> None:
    DAMAGE[kind](two_checkpoints)

    assert load(two_checkpoints, PICTURES).step == 2


def test_an_empty_folder_is_answered_with_a_sentence(tmp_path: Path, pictures: list[SparseImage]) -> None:
    with pytest.raises(NoCheckpoint, match="No readable checkpoint"):
        load(tmp_path / "nowhere", pictures)


def test_other_labels_than_those_of_the_run_are_refused(two_checkpoints: Path) -> None:
    with pytest.raises(InvalidArgument, match="labels"):
        load(two_checkpoints, [clicked(0, clicks_per_class=1)])


def test_a_checkpoint_file_can_travel_alone(pictures: list[SparseImage], tiny: TrainConfig, tmp_path: Path) -> None:
    state = create_state(replace(tiny, seed=11), pictures, network=build_network(2, pretrained=False))
    blob = save(state, tmp_path / "here").read_bytes()
    (tmp_path / "there.safetensors").write_bytes(blob)

    assert load_file(tmp_path / "there.safetensors", pictures).cfg == state.cfg


def test_a_pickle_is_not_opened(tmp_path: Path, pictures: list[SparseImage]) -> None:
    torch.save({"step": torch.tensor(1)}, tmp_path / "x.safetensors")

    with pytest.raises(DamagedCheckpoint):
        load_file(tmp_path / "x.safetensors", pictures)


def test_the_summary_says_what_the_checkpoint_is(two_checkpoints: Path) -> None:
    summary = json.loads((two_checkpoints / "step-00000003.json").read_text())

    assert summary["step"] == 3
    assert summary["config"]["num_classes"] == 2
    assert len(summary["sha256"]) == 64

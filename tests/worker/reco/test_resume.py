"""A run that was broken off, anywhere and by force, ends with the bits of one that was not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recolabel_worker.reco import Losses, TrainState, create_state, train
from recolabel_worker.reco.checkpoint import load, save

from . import killed_run
from .killed_run import CONFIG, LAST_SAVED, MOMENTS, PICTURES

ROOT = Path(__file__).parents[3]


def bits(state: TrainState) -> dict[str, Tensor]:
    """Every tensor that a later step, or the published network, depends on."""
    found = {"rng": state.rng.get_state()}
    for part, network in (("student", state.student), ("teacher", state.teacher), ("start", state.start)):
        found |= {f"{part}.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    for index, slots in state.optimiser.state_dict()["state"].items():
        found |= {f"optimiser.{index}.{name}": torch.as_tensor(value).clone() for name, value in slots.items()}
    return found


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, tensor in found.items() if not torch.equal(tensor, expected[name])] == []


@dataclass(frozen=True)
class Uninterrupted:
    """A whole run, with the checkpoint that a crash behind each step would have left."""

    losses: list[Losses]
    end: dict[str, Tensor]
    folders: list[Path]  # by finished steps, from 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    folder, threads = tmp_path_factory.mktemp("steps"), torch.get_num_threads()
    torch.set_num_threads(1)
    state = create_state(CONFIG, PICTURES)
    folders = [folder / str(step) for step in range(CONFIG.steps + 1)]
    save(state, folders[0])
    losses = []
    for report in train(state):
        losses.append(report.losses)
        save(state, folders[report.step])
    torch.set_num_threads(threads)
    return Uninterrupted(losses, bits(state), folders)


@pytest.mark.parametrize("step", range(CONFIG.steps + 1))
def test_a_run_resumed_behind_any_step_ends_with_the_same_weights_and_optimiser(
    step: int, uninterrupted: Uninterrupted
) -> None:
    resumed = load(uninterrupted.folders[step], PICTURES)

    rest = [report.losses for report in train(resumed)]

    assert rest == uninterrupted.losses[step:]
    assert_same(bits(resumed), uninterrupted.end)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_process_loses_nothing_but_the_step_it_was_in(
    moment: str, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", killed_run.__name__, str(tmp_path), moment]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()

    resumed = load(tmp_path, PICTURES)

    assert resumed.step == LAST_SAVED
    assert [report.losses for report in train(resumed)] == uninterrupted.losses[LAST_SAVED:]
    assert_same(bits(resumed), uninterrupted.end)

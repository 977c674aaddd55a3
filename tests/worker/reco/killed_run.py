"""A training that saves every step and stands still at a named moment, to be killed there: `killed_run FOLDER MOMENT`.

It says `here` on stdout once it stands at that moment, behind the checkpoint of step 2 and before that of step 3.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from recolabel_worker.reco import TrainConfig, checkpoint, create_state, train
from tests.worker.reco.conftest import clicked

BETWEEN_STEPS = "between two steps"
INSIDE_A_STEP = "inside a step: the weights have moved, the teacher has not"
INSIDE_A_WRITE = "inside a write: the tensors are there, their summary is not"
MOMENTS = (BETWEEN_STEPS, INSIDE_A_STEP, INSIDE_A_WRITE)

LAST_SAVED = 2
CONFIG = TrainConfig(num_classes=2, steps=4, crop=(48, 64), warm_up_steps=1, seed=3)
PICTURES = [clicked(0), clicked(1)]


def _stand_still() -> None:
    print("here", flush=True)
    sys.stdin.read()
    os._exit(1)


def _main(folder: Path, moment: str) -> None:
    torch.set_num_threads(1)
    state = create_state(CONFIG, PICTURES)
    training = sys.modules["recolabel_worker.reco.train"]
    follow, write = training.follow, checkpoint._write

    def follow_or_stand(*arguments: Any) -> None:
        if moment == INSIDE_A_STEP and state.step == LAST_SAVED:
            _stand_still()
        follow(*arguments)

    def write_or_stand(file: Path, blob: bytes) -> None:
        if moment == INSIDE_A_WRITE and state.step > LAST_SAVED and file.suffix == ".json":
            _stand_still()
        write(file, blob)

    training.follow = follow_or_stand  # type: ignore[attr-defined]
    checkpoint._write = write_or_stand
    for report in train(state):
        checkpoint.save(state, folder)
        if moment == BETWEEN_STEPS and report.step == LAST_SAVED:
            _stand_still()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])

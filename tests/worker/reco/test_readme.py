"""What worker/README.md shows of the engine as a library runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

README = Path(__file__).parents[3] / "worker" / "README.md"


def examples() -> list[str]:
    """The Python blocks of the section on the library."""
    section = README.read_text("utf-8").split("## The engine as a library\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_starting_training_choosing_and_predicting_works_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}

    exec(examples()[0], names)  # noqa: S102 - our own words

    assert len(capsys.readouterr().out.splitlines()) == names["state"].cfg.steps
    assert names["probabilities"].shape == (2, 96, 128)
    torch.testing.assert_close(names["probabilities"].sum(0), torch.ones(96, 128))


def test_the_loss_serves_a_network_of_ones_own_as_shown() -> None:
    names: dict[str, Any] = {}

    exec(examples()[1], names)  # noqa: S102 - our own words

    assert bool(names["representation"].grad.any())

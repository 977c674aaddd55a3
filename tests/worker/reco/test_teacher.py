"""The mean teacher, by its limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recolabel_worker.reco.teacher import copy_as_teacher, ema_decay, follow, longest_memory


def test_a_decay_of_zero_copies_the_student() -> None:
    student = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    teacher = copy_as_teacher(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))

    follow(teacher, student, 0.0)

    assert all(
        torch.equal(a, b) for a, b in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True)
    )


def test_the_teacher_follows_batch_norm_buffers_too() -> None:
    student = nn.BatchNorm2d(2)
    teacher = copy_as_teacher(student)
    student(torch.randn(4, 2, 3, 3) + 5)

    follow(teacher, student, 0.75)

    torch.testing.assert_close(teacher.running_mean, 0.25 * student.running_mean)  # type: ignore[operator]
    assert int(teacher.num_batches_tracked) == 1  # type: ignore[arg-type]


def test_a_teacher_gets_no_gradient_and_stays_in_eval_mode() -> None:
    teacher = copy_as_teacher(nn.BatchNorm2d(2))

    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (1, 0.5), (9, 0.9), (99, 0.99), (10_000, 0.99)])
def test_the_decay_grows_to_its_bound(step: int, expected: float) -> None:
    assert ema_decay(step, 0.99) == pytest.approx(expected)


MEMORIES = [
    (0, 0.0, "a run without steps"),
    (4, 0.0, "too short to average over anything"),
    (60, 0.9, "the app's run: ten steps"),
    (300, 0.98, "fifty steps"),
    (40_000, 0.99, "the paper's run keeps the paper's bound"),
]


@pytest.mark.parametrize(("steps", "expected", "remark"), MEMORIES)
def test_a_short_run_has_a_teacher_with_a_short_memory(steps: int, expected: float, remark: str) -> None:
    assert longest_memory(steps, 0.99) == pytest.approx(expected), remark

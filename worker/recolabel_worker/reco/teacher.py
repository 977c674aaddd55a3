"""The mean teacher: an exponential moving average of the student (paper, section 3.3)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def ema_decay(step: int, bound: float) -> float:
    """Weight of the old teacher after `step` (from 0): 0 at first, so the start is forgotten, then up to `bound`."""
    return min(1.0 - 1.0 / (step + 1), bound)


def longest_memory(steps: int, most: float) -> float:
    """Upper bound of the decay in a run of `steps`: the teacher averages over a sixth of the run, `most` at most.

    With the paper's 0.99 a run of 60 steps ends with the average of all its students, which lags behind the last ones.
    """
    return max(0.0, min(most, 1.0 - 6.0 / max(steps, 1)))


def copy_as_teacher(student: Network) -> Network:
    """A copy in eval mode that no gradient reaches."""
    return copy.deepcopy(student).eval().requires_grad_(False)


def midpoint(one: Network, other: Network) -> Network:
    """A copy of `one`, in eval mode, whose floating-point weights and buffers lie halfway to those of `other`."""
    middle = copy_as_teacher(one)
    follow(middle, other, 0.5)
    return middle


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move the teacher towards the student: floating-point weights and buffers are averaged, counters are copied.

    teacher <- decay x teacher + (1 - decay) x student, decay in 0..1.

    Buffers are followed too: own weights with somebody else's normalisation are no average of anything.
    """
    targets = teacher.state_dict()
    for name, source in student.state_dict().items():
        target = targets[name]
        if target.is_floating_point():
            target.lerp_(source.to(target.dtype), 1.0 - decay) if decay else target.copy_(source)
        else:
            target.copy_(source)

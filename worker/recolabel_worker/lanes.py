"""The two lanes of a worker: jobs that take minutes, and the one that answers clicks. Each has a child of its own."""

from __future__ import annotations

from dataclasses import dataclass

from recolabel.contract.jobs import JobKind


@dataclass(frozen=True)
class Lane:
    """What a supervisor and its child do."""

    name: str
    kinds: tuple[JobKind, ...]
    niceness: int  # of the child
    is_rung_for: bool  # bells come and the server is asked now and then; else one long question stays open


TRAINING = Lane("training", (JobKind.TRAIN, JobKind.PREDICT), niceness=10, is_rung_for=True)
REFINING = Lane("refining", (JobKind.REFINE,), niceness=0, is_rung_for=False)

LANES = {lane.name: lane for lane in (TRAINING, REFINING)}

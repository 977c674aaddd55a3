"""One job in the child's hands: its lease, the way to the server, the wish to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from recolabel.client import Client
from recolabel.contract.jobs import Lease, Progress
from recolabel_worker.patience import patiently
from recolabel_worker.settings import WorkerSettings

_Type = TypeVar("_Type")

NO_LONGER_OURS = frozenset({"lease_lost", "job_ended", "job_not_found", "project_not_found"})
"""Codes of refusals that mean: this job is over for this worker."""


class JobImpossible(Exception):
    """The job cannot be done, and another attempt would not help. The message is for people."""


@dataclass(frozen=True)
class Job:
    """What a job runner works with."""

    client: Client
    lease: Lease
    settings: WorkerSettings
    stop: threading.Event  # set when a person wants the job to end
    report: Callable[[Progress], None]
    wind_up: Callable[[], None]  # says that the wish to stop is understood and results are being handed in

    @property
    def job_id(self) -> str:
        """The row in the server's database."""
        return self.lease.job.job_id

    @property
    def fence(self) -> int:
        """Named in every write."""
        return self.lease.fence

    def ask(self, call: Callable[[Client, str, int], _Type]) -> _Type:
        """Call the server as `call(client, job_id, fence)`, patiently: it may be restarting."""
        return patiently(lambda: call(self.client, self.job_id, self.fence), seconds=self.settings.out_of_touch_seconds)

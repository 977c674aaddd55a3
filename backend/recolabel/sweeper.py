"""The repair loop: gives on the jobs of silent workers, rings for what waits, starts trainings that are due.

One thread. It holds nothing that matters: what one look misses, the next one does.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import structlog

from recolabel.contract.jobs import NewTraining
from recolabel.doorbell import Doorbell
from recolabel.errors import NothingToTrain, ProjectNotFound
from recolabel.retraining import should_train
from recolabel.settings import Settings
from recolabel.store import Store

_log = structlog.get_logger(__name__)

RING_AGAIN_AFTER = timedelta(seconds=15)
_STOP_SECONDS = 10.0


class Sweeper:
    """Looks every `settings.sweep_seconds`, and never dies of one look that failed."""

    def __init__(self, store: Store, doorbell: Doorbell, settings: Settings) -> None:
        self._store = store
        self._doorbell = doorbell
        self._settings = settings
        self._stopping = threading.Event()
        self._rung_at: dict[str, datetime] = {}
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for the look that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def sweep(self, now: datetime) -> None:
        """One look: jobs first, since a training that was given up makes room for the next."""
        waiting = self._store.jobs.sweep(now)
        # A job that waits because all workers are busy is not rung for again at every look.
        self._rung_at = {job_id: at for job_id, at in self._rung_at.items() if job_id in waiting}
        for job_id in waiting:
            if job_id not in self._rung_at or now - self._rung_at[job_id] >= RING_AGAIN_AFTER:
                self._rung_at[job_id] = now
                self._doorbell.ring(job_id)
        for progress in self._store.jobs.projects_that_may_train():
            if should_train(now, progress, self._settings):
                self._start_training(progress.project_id)

    def _start_training(self, project_id: str) -> None:
        try:
            job, created = self._store.jobs.start_training(project_id, NewTraining())
        except (NothingToTrain, ProjectNotFound):
            return  # labels were taken back, or the project was put away, since the look
        if created:
            _log.info("new labels start a training", project_id=project_id, job_id=job.job_id)
            self._doorbell.ring(job.job_id)

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.sweep_seconds):
            try:
                self.sweep(datetime.now(UTC))
            except Exception:
                _log.exception("sweep failed; the next one tries again")

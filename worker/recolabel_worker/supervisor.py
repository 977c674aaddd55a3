"""Claims jobs, hands each to the warm child, keeps the lease alive, stops what has to stop. Never imports torch."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recolabel.client import Client
from recolabel.contract.jobs import Failure, JobKind, Lease, Progress
from recolabel.errors import ServerRefused, ServerUnreachable
from recolabel_worker.lanes import TRAINING, Lane
from recolabel_worker.patience import patiently
from recolabel_worker.protocol import Failed, Finished, Lost, Progressed, RunJob, StopJob, WindingUp
from recolabel_worker.settings import ServerAddress, WorkerSettings
from recolabel_worker.warm_child import Died, WarmChild

logger = logging.getLogger(__name__)

CHILD_COMMAND = (sys.executable, "-m", "recolabel_worker.child")
_TICK_SECONDS = 0.1
_LEAST_WAIT = 0.5  # share of the time that a long question should have taken; one that ends sooner went wrong
_SERVER_ERROR = 500


@dataclass(frozen=True)
class _Dropped:
    """The supervisor itself ended the job: the lease is lost, the server silent, or the worker stops."""

    why: str


class _Unwanted(NamedTuple):
    """Since when the server no longer wants a job from this worker, and what it said."""

    since: float
    why: str


_Outcome = Finished | Failed | Lost | Died | _Dropped


class Supervisor:
    """One job at a time: bells and polls go through one lock.

    Args:
        find_server: says where the server is; asked again after it was out of reach, since a server that was
            started anew may listen elsewhere.
        worker_id: names this worker to the server.
        lane: which jobs it takes, and how it hears of them.
        child_command: what to start as the child; tests give another.
    """

    def __init__(
        self,
        find_server: Callable[[], ServerAddress],
        settings: WorkerSettings,
        *,
        worker_id: str,
        lane: Lane = TRAINING,
        child_command: Sequence[str] = CHILD_COMMAND,
    ) -> None:
        self._find_server = find_server
        self._settings = settings
        self._worker_id = worker_id
        self._lane = lane
        self._child_command = (*child_command, lane.name)
        self._busy = threading.Lock()
        self._child_lock = threading.Lock()
        self._stopping = threading.Event()
        self._address = ServerAddress("", "")
        self._client: Client | None = None
        self._child: WarmChild | None = None
        self._last_complaint = ""

    def warm_up(self) -> None:
        """Start the child now, so that the first job does not wait for torch."""
        self._ready_child()

    def answer(self, job_id: str) -> None:
        """A bell rang: wait for the job that runs, then take this one, then whatever else is queued."""
        with self._busy:
            self._work_through(job_id)

    def ask(self) -> None:
        """Ask for work, unless a job runs already."""
        if self._busy.acquire(blocking=False):
            try:
                self._work_through(None)
            finally:
                self._busy.release()

    def poll(self) -> None:
        """Ask again and again until `stop`; an error of one round never ends the next."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self.ask()
            except Exception:
                logger.exception("Asking for work failed.")
            # After a question that waited itself the next may follow at once: a person waits for its answer.
            if self._lane.is_rung_for or time.monotonic() - began < _LEAST_WAIT * self._settings.wait_seconds:
                self._stopping.wait(self._settings.poll_seconds)

    def stop(self) -> None:
        """End the child and give the job back. Safe to call from any thread, also twice."""
        self._stopping.set()
        with self._child_lock:
            if self._child is not None:
                self._child.kill()

    # --- claiming ---------------------------------------------------------------------------------------------

    def _work_through(self, job_id: str | None) -> None:
        while not self._stopping.is_set():
            lease = self._claim(job_id)
            if lease is not None:
                self._do(lease)
            elif job_id is None:
                return
            job_id = None

    def _claim(self, job_id: str | None) -> Lease | None:
        try:
            if self._client is None:
                self._address = self._find_server()
                self._client = Client(*self._address)
            lease = self._client.claim(
                self._worker_id,
                job_id,
                kinds=self._lane.kinds,
                wait_seconds=0.0 if self._lane.is_rung_for else self._settings.wait_seconds,
            )
        except ServerUnreachable as error:
            self._complain(error.sentence)
            self._disconnect()
            return None
        except ServerRefused as error:
            self._complain(error.sentence)
            if error.status < _SERVER_ERROR:
                self._disconnect()
            return None
        self._last_complaint = ""
        return lease

    def _complain(self, sentence: str) -> None:
        """Once for each reason: a worker asks every two seconds."""
        if sentence != self._last_complaint:
            logger.warning("No work: %s", sentence)
            self._last_complaint = sentence

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    # --- one job ----------------------------------------------------------------------------------------------

    def _do(self, lease: Lease) -> None:
        assert self._client is not None
        client = self._client
        job = lease.job
        logger.info("%s job %s, attempt %d", job.kind.value, job.job_id, job.attempt)
        child = self._ready_child()
        if child is None:
            outcome: _Outcome = _Dropped("the worker is stopping")
        else:
            child.send(RunJob(url=self._address.url, token=self._address.token, lease=lease))
            outcome = self._watch(client, lease, child)
            child.jobs += 1
            if not isinstance(outcome, Finished | Failed | Lost) or child.jobs >= self._settings.jobs_per_child:
                self._discard(child)
        self._tell(client, lease, outcome)
        if not self._stopping.is_set():
            self._ready_child()

    def _watch(self, client: Client, lease: Lease, child: WarmChild) -> _Outcome:
        """Keep the lease alive and pass progress on until the child is through with the job or has to be ended."""
        settings = self._settings
        started = time.monotonic()
        heard_at, renewed_at = started, started - settings.renew_seconds
        progress: Progress | None = None
        stop = _StopWish(settings)
        unwanted: _Unwanted | None = None
        while True:
            report = child.next_report(_TICK_SECONDS)
            match report:
                case Progressed():
                    progress = report.progress
                case WindingUp():
                    stop.answered()
                case Finished() | Failed() | Lost() | Died():
                    return report
                case _:
                    pass

            now = time.monotonic()
            if self._stopping.is_set():
                return _Dropped("the worker is stopping")
            if now - renewed_at >= (settings.report_seconds if progress else settings.renew_seconds):
                renewed_at = now
                try:
                    reply = client.renew(lease.job.job_id, lease.fence, progress)
                except ServerUnreachable:
                    pass
                except ServerRefused as refusal:
                    if refusal.status < _SERVER_ERROR and unwanted is None:
                        # The child will hear the same at its next request; a warm child is worth that moment.
                        unwanted = _Unwanted(now, refusal.sentence)
                        child.send(StopJob())
                else:
                    progress = None
                    heard_at = time.monotonic()
                    if reply.cancel_requested and stop.wish(heard_at):
                        child.send(StopJob())
            if unwanted is not None and now - unwanted.since >= settings.term_seconds:
                return _Dropped(unwanted.why)
            if now - heard_at >= settings.out_of_touch_seconds:
                return _Dropped("the server did not answer")
            stop.insist(child, now)

    def _tell(self, client: Client, lease: Lease, outcome: _Outcome) -> None:
        """Tell the server how the job ended, unless it knows."""
        match outcome:
            case Finished():
                return
            case Failed():
                failure = Failure(error=outcome.error[:2000] or "The job failed without a reason.", retry=outcome.retry)
            case Died():
                goes_on = "It goes on from its last checkpoint. " if lease.job.kind is JobKind.TRAIN else ""
                failure = Failure(
                    error=f"The worker's {lease.job.kind.value} process ended unexpectedly ({outcome.how}). "
                    f"{goes_on}If this repeats, the machine may be short of memory.",
                    retry=True,
                )
            case Lost():
                logger.info("Job %s is no longer ours.", lease.job.job_id)
                return
            case _Dropped():
                logger.info("Job %s dropped: %s", lease.job.job_id, outcome.why)
                failure = Failure(error=f"The job was given back: {outcome.why}.".replace("..", "."), retry=True)
        hurries = isinstance(outcome, _Dropped) or self._stopping.is_set()
        patience = 0.0 if hurries else self._settings.out_of_touch_seconds
        try:
            patiently(lambda: client.fail(lease.job.job_id, lease.fence, failure), seconds=patience)
        except ServerRefused as refusal:
            logger.info("Job %s: %s", lease.job.job_id, refusal.sentence)
        except ServerUnreachable as error:
            logger.warning("Job %s could not be given back, its lease runs out by itself: %s", lease.job.job_id, error)

    # --- the child --------------------------------------------------------------------------------------------

    def _ready_child(self) -> WarmChild | None:
        """The living child, started when there is none; None once the worker stops."""
        with self._child_lock:
            if self._stopping.is_set():
                return None
            if self._child is None or not self._child.is_alive:
                if self._child is not None:
                    self._child.kill()
                self._child = WarmChild(self._child_command)
            return self._child

    def _discard(self, child: WarmChild) -> None:
        with self._child_lock:
            child.kill()
            if self._child is child:
                self._child = None


class _StopWish:
    """A person's wish to stop a job: asked once, then insisted on."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._wished_at: float | None = None
        self._allowance = 0.0
        self._terminated = False

    def wish(self, now: float) -> bool:
        """Note the wish; True the first time."""
        if self._wished_at is not None:
            return False
        self._wished_at = now
        return True

    def answered(self) -> None:
        """The child hands in what it has: that may take longer than stopping at once."""
        self._allowance = self._settings.wind_up_seconds

    def insist(self, child: WarmChild, now: float) -> None:
        """SIGTERM, then SIGKILL, when the child does not end."""
        if self._wished_at is None:
            return
        waited = now - self._wished_at - self._allowance
        if waited >= self._settings.kill_seconds:
            child.kill()
        elif waited >= self._settings.term_seconds and not self._terminated:
            self._terminated = True
            child.terminate()

"""The child's main: takes one order after the other on stdin, writes reports to stdout, holds torch and the GPU.

Started by `warm_child.py` as `python -m recolabel_worker.child`. Ends when stdin closes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import queue
import sys
import threading
from typing import BinaryIO

from pydantic import ValidationError

from recolabel.client import Client
from recolabel.contract.jobs import JobKind, Progress
from recolabel.contract.projects import Contract
from recolabel.errors import RecolabelError, ServerRefused, ServerUnreachable
from recolabel_worker.job import Job, JobImpossible
from recolabel_worker.protocol import ORDERS, Failed, Finished, Lost, Progressed, Ready, RunJob, WindingUp, line
from recolabel_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_NICENESS = 5
_NO_LONGER_OURS = {"lease_lost", "job_ended", "job_not_found", "project_not_found"}


class Reports:
    """The way to the supervisor. Everything else that is printed goes to stderr and cannot tear a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, report: Contract) -> None:
        """Send a report; ends the process when nobody listens any more."""
        try:
            with self._lock:
                self._stream.write(line(report))
                self._stream.flush()
        except OSError:
            os._exit(1)


def main() -> None:
    """Serve until stdin closes."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="child: %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    reports = Reports(_take_stdout())
    orders: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read_orders, args=(orders, stop), name="orders", daemon=True).start()

    settings = WorkerSettings()
    _load_torch(settings)
    reports.say(Ready())
    while True:
        reports.say(run(orders.get(), settings, reports, stop))


def run(order: RunJob, settings: WorkerSettings, reports: Reports, stop: threading.Event) -> Finished | Failed | Lost:
    """Do one job; whatever goes wrong becomes a report."""
    from recolabel_worker import predict_job, train_job

    def progressed(progress: Progress) -> None:
        reports.say(Progressed(progress=progress))

    kind = order.lease.job.kind
    try:
        with Client(order.url, order.token) as client:
            job = Job(client, order.lease, settings, stop, progressed, lambda: reports.say(WindingUp()))
            (train_job if kind is JobKind.TRAIN else predict_job).run(job)
    except JobImpossible as error:
        return Failed(error=str(error), retry=False)
    except ServerRefused as refusal:
        if refusal.problem_code in _NO_LONGER_OURS:
            return Lost()
        logger.exception("The server refused.")
        return Failed(error=refusal.sentence, retry=False)
    except ServerUnreachable as error:
        return Failed(error=error.sentence, retry=True)
    except RecolabelError as error:
        logger.exception("The job failed.")
        return Failed(error=error.sentence, retry=False)
    except MemoryError:
        return Failed(error="The machine has too little memory for this job.", retry=False)
    except Exception as error:
        logger.exception("The job failed.")
        if type(error).__name__ == "OutOfMemoryError":
            return Failed(error="The GPU has too little memory for this job.", retry=False)
        return Failed(error=f"The {kind.value} job failed: {type(error).__name__}: {error}", retry=True)
    return Finished()


def _take_stdout() -> BinaryIO:
    """Keep stdout for reports alone: libraries that print write to stderr from now on."""
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(private, "wb")


def _read_orders(orders: queue.SimpleQueue[RunJob], stop: threading.Event) -> None:
    for raw in sys.stdin.buffer:
        try:
            order = ORDERS.validate_json(raw)
        except ValidationError:
            logger.exception("An order cannot be read.")
            continue
        if isinstance(order, RunJob):
            stop.clear()
            orders.put(order)
        else:
            stop.set()
    os._exit(0)


def _load_torch(settings: WorkerSettings) -> None:
    torch = importlib.import_module("torch")
    torch.set_num_threads(settings.threads)
    for name in ("train_job", "predict_job"):
        importlib.import_module(f"recolabel_worker.{name}")


if __name__ == "__main__":
    main()

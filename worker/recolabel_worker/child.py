"""The child's main: takes one order after the other on stdin, writes reports to stdout, holds torch and the GPU.

Started by `warm_child.py` as `python -m recolabel_worker.child LANE`. Ends when stdin closes.
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
from recolabel_worker.job import NO_LONGER_OURS, Job, JobImpossible
from recolabel_worker.lanes import LANES, Lane
from recolabel_worker.protocol import ORDERS, Failed, Finished, Lost, Progressed, Ready, RunJob, WindingUp, line
from recolabel_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_RUNNERS = {JobKind.TRAIN: "train_job", JobKind.PREDICT: "predict_job", JobKind.REFINE: "refine_job"}
"""Modules with a `run(job)`."""


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


def main(arguments: list[str]) -> None:
    """Serve the lane that is named until stdin closes."""
    lane = LANES[arguments[0]]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="child: %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with contextlib.suppress(OSError):
        os.nice(lane.niceness)
    reports = Reports(_take_stdout())
    orders: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read_orders, args=(orders, stop), name="orders", daemon=True).start()

    settings = WorkerSettings()
    _load_torch(settings, lane)
    reports.say(Ready())
    while True:
        reports.say(run(orders.get(), settings, reports, stop))


def run(order: RunJob, settings: WorkerSettings, reports: Reports, stop: threading.Event) -> Finished | Failed | Lost:
    """Do one job; whatever goes wrong becomes a report."""

    def progressed(progress: Progress) -> None:
        reports.say(Progressed(progress=progress))

    kind = order.lease.job.kind
    try:
        with Client(order.url, order.token) as client:
            job = Job(client, order.lease, settings, stop, progressed, lambda: reports.say(WindingUp()))
            importlib.import_module(f"recolabel_worker.{_RUNNERS[kind]}").run(job)
    except JobImpossible as error:
        return Failed(error=str(error), retry=False)
    except ServerRefused as refusal:
        if refusal.problem_code in NO_LONGER_OURS:
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


def _load_torch(settings: WorkerSettings, lane: Lane) -> None:
    torch = importlib.import_module("torch")
    is_refining = JobKind.REFINE in lane.kinds
    torch.set_num_threads(settings.refine_threads if is_refining else settings.threads)
    for kind in lane.kinds:
        importlib.import_module(f"recolabel_worker.{_RUNNERS[kind]}")
    if is_refining:
        importlib.import_module("recolabel_worker.refine_job").warm_up(settings)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The child process as its parent sees it: started warm, spoken to in lines, killed for certain."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from recolabel_worker.protocol import (
    REPORTS,
    Failed,
    Finished,
    Lost,
    Progressed,
    Ready,
    RunJob,
    StopJob,
    WindingUp,
    line,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Died:
    """The child is gone. `status` as `Popen.returncode`: negative is a signal."""

    status: int

    @property
    def how(self) -> str:
        """In words, for people."""
        if self.status >= 0:
            return f"exit status {self.status}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-self.status).name}"
        return f"signal {-self.status}"


FromChild = Ready | Progressed | WindingUp | Finished | Failed | Lost | Died


def polite_environment() -> dict[str, str]:
    """The environment for a process that computes with torch beside other programs.

    OpenMP's threads spin while they wait for each other. Where they have not a core each, that made training steps
    ten times as slow as threads that sleep (measured: two threads on two cores with other load, 4.5 s against 0.4 s).
    """
    return {"OMP_WAIT_POLICY": "passive"} | os.environ


class WarmChild:
    """A fresh interpreter in a process group of its own, which reads orders and writes reports.

    It ends by itself when its stdin closes, so it never outlives its parent.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=polite_environment(),
        )
        self._reports: queue.SimpleQueue[FromChild] = queue.SimpleQueue()
        self.jobs = 0
        self._reader = threading.Thread(target=self._read, name="child-reports", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can take an order."""
        return self._process.poll() is None

    def send(self, order: RunJob | StopJob) -> None:
        """Give an order. A child that is dead by now says so in `next_report`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line(order))
            self._process.stdin.flush()

    def next_report(self, seconds: float) -> FromChild | None:
        """The next report in the order given, or None when there was none for so long."""
        try:
            return self._reports.get(timeout=seconds)
        except queue.Empty:
            return None

    def terminate(self) -> None:
        """Ask the whole group to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group (SIGKILL) and wait for it."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            try:
                self._reports.put(REPORTS.validate_json(raw))
            except ValidationError:
                logger.warning("The child wrote a line that is no report: %r", raw[:200])
        self._reports.put(Died(self._process.wait()))

"""Rings at the workers' door: a Celery message with a job id and nothing else.

The only file of the server that knows Celery. A ring may be lost, doubled or late without harm: the database row is
the job, and every worker also looks for work by itself. So ringing never waits and never fails.
"""

from __future__ import annotations

import queue
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from recolabel.contract.jobs import TASK_NAME

_log = structlog.get_logger(__name__)

_MAX_WAITING = 1_000
_SOCKET_SECONDS = 2.0
_RING_SECONDS = 60.0
"""A worker that hears a ring later than this ignores it; the sweep has rung again since."""


class Doorbell:
    """One thread that rings, one ring after the other."""

    def __init__(self, broker_url: str | None = None) -> None:
        """
        Args:
            broker_url: Redis or Valkey (`redis://`, `redis+socket://`) or a folder (`filesystem://`).
                None: nobody is rung for until `connect` is called.
        """
        self._broker_url = broker_url
        self._waiting: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def connect(self, broker_url: str) -> None:
        """Ring through this broker from now on: the embedded one starts after the server listens."""
        self._broker_url = broker_url

    def ring(self, job_id: str) -> None:
        """Tell the workers that this job waits. Returns at once."""
        if self._broker_url is None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="doorbell", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(job_id)
        except queue.Full:
            _log.warning("doorbell: too many rings wait, this one is dropped", job_id=job_id)

    def close(self) -> None:
        """Ring no more. Waits for the ring that is under way, a few seconds at most."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(2 * _SOCKET_SECONDS)

    def _work(self) -> None:
        app: Any = None
        url: str | None = None
        while (job_id := self._waiting.get()) is not None:
            try:
                if app is None or url != self._broker_url:
                    if app is not None:
                        app.close()
                    url = self._broker_url
                    assert url is not None
                    app = celery_app(url)
                app.send_task(TASK_NAME, args=[job_id], ignore_result=True, retry=False, expires=_RING_SECONDS)
            except Exception:
                _log.warning("doorbell: nobody heard it; workers will find the job by themselves", exc_info=True)
        if app is not None:
            app.close()


def celery_app(broker_url: str) -> Any:
    """The sending side: JSON only, no results, short waits."""
    from celery import Celery  # half a second: paid by the thread that rings first, not by the start of the server

    app: Any = Celery("recolabel", broker=broker_url, set_as_current=False)  # type: ignore[no-untyped-call]
    options: dict[str, object] = {"socket_timeout": _SOCKET_SECONDS, "socket_connect_timeout": _SOCKET_SECONDS}
    if broker_url.startswith("filesystem:"):
        folder = unquote(urlsplit(broker_url).path)
        options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder}
        app.conf.broker_url = "filesystem://"
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        broker_transport_options=options,
        broker_connection_timeout=_SOCKET_SECONDS,
        broker_connection_retry=False,
    )
    return app

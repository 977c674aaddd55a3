"""The doorbell's other end: a Celery worker with one task. The row in the database is the job, a message wakes us."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from recolabel.contract.jobs import TASK_NAME

_NEVER_GIVE_UP = None


def make_celery_app(broker_url: str, answer: Callable[[str], None]) -> Celery:
    """Build the Celery app whose task `run(job_id)` calls `answer` and ends when `answer` returns.

    Args:
        broker_url: Redis, Valkey (`redis+socket://` as well) or `filesystem:///folder`.
        answer: has to return at once for a job that is gone or taken; bells may come twice or late.
    """
    is_folder = broker_url.startswith("filesystem:")
    app = Celery(  # type: ignore[no-untyped-call]
        "recolabel", broker="filesystem://" if is_folder else broker_url, set_as_current=False
    )
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        # The lease is the acknowledgement: a redelivered message would only ring for a job that is taken.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        # Prefetching holds a bell behind a long job while another worker idles; only Redis can do without.
        worker_disable_prefetch=broker_url.startswith(("redis", "valkey")),
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=_NEVER_GIVE_UP,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options=_folder_options(broker_url) if is_folder else {},
    )

    @app.task(name=TASK_NAME, ignore_result=True)  # type: ignore[no-untyped-call,untyped-decorator]
    def run(job_id: str) -> None:
        answer(job_id)

    return app


def _folder_options(broker_url: str) -> dict[str, str]:
    """Both ends of the filesystem transport share one folder; kombu wants it outside the address."""
    folder = unquote(urlsplit(broker_url).path)
    return {"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder}


def listen(app: Celery, on_stop: Callable[[], None]) -> None:
    """Listen to bells in the calling (main) thread until SIGTERM or SIGINT; `on_stop` is called first then.

    The pool is `threads` with one thread: it answers pings while a job runs, and needs no fork.
    """

    def stopping(**_: object) -> None:
        on_stop()

    # Celery warns root because a message may carry code. Ours carry an id, as JSON, and root is normal in a container.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.worker_shutting_down.connect(stopping, weak=False)  # type: ignore[no-untyped-call]
    try:
        app.Worker(
            pool="threads",
            concurrency=1,
            loglevel=logging.WARNING,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        ).start()
    finally:
        signals.worker_shutting_down.disconnect(stopping)  # type: ignore[no-untyped-call]

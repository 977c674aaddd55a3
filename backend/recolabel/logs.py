"""Logging: sentences for people on a terminal, one JSON object a line elsewhere. Set up once per process."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog


def set_up(*, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Send our own log and that of the standard library to `stream` (standard error when None).

    Whatever is bound with `structlog.contextvars.bind_contextvars` (the request id, a job id) stands in every line.
    """
    target = stream or sys.stderr
    for_people = target.isatty()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=not for_people),
        _without_control_characters,
    ]
    last: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx2", "httpcore2", "amqp", "kombu", "celery", "alembic", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_control_characters(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A name with a line break or a terminal code in it must not forge a line of the log."""
    for key, value in entry.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            entry[key] = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in value)
    return entry

"""The log of a server that has no terminal: one JSON object a line, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from recolabel import logs


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    logs.set_up(stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_what_is_bound_stands_in_every_line_of_ours_and_of_libraries(log: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("ours").info("saved", count=2)
        logging.getLogger("theirs").warning("slow %s", "disk")

    ours, theirs = (json.loads(line) for line in log.getvalue().splitlines())
    assert (ours["event"], ours["count"], ours["request_id"]) == ("saved", 2, "r1")
    assert (theirs["event"], theirs["level"], theirs["request_id"]) == ("slow disk", "warning", "r1")


def test_a_name_cannot_forge_a_line(log: io.StringIO) -> None:
    structlog.get_logger().info("refused", name='a.png\n{"event": "all is well"}\x1b[2J')

    [line] = log.getvalue().splitlines()
    assert "\x1b" not in json.loads(line)["name"]


def test_a_traceback_stays_readable(log: io.StringIO) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        structlog.get_logger().exception("failed")

    assert "KeyError: 'lost'" in json.loads(log.getvalue())["exception"]

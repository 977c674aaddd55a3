"""Ringing never waits and never fails, whatever the broker does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recolabel.contract.jobs import TASK_NAME
from recolabel.doorbell import Doorbell
from tests.servers import wait_for

JOB = "01a20c3c-8f1a-7855-af6a-2b746a90534d"


@pytest.fixture
def bells(tmp_path: Path) -> Path:
    folder = tmp_path / "bells here"
    folder.mkdir()
    return folder


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    made = Doorbell()
    yield made
    made.close()


def messages(bells: Path) -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in bells.glob("*.celery.msg") if file.stat().st_size]


def test_a_ring_is_a_message_with_a_job_id_and_nothing_else(doorbell: Doorbell, bells: Path) -> None:
    doorbell.connect(f"filesystem://{bells}".replace(" ", "%20"))

    doorbell.ring(JOB)

    wait_for(lambda: messages(bells), seconds=20, what="the message")
    [message] = messages(bells)
    headers = message["headers"]
    assert isinstance(headers, dict)
    assert (headers["task"], message["content-type"]) == (TASK_NAME, "application/json")
    assert headers["argsrepr"] == f"['{JOB}']"


def test_without_a_broker_a_ring_is_no_error(doorbell: Doorbell) -> None:
    doorbell.ring(JOB)


def test_a_broker_that_is_away_costs_nobody_time_and_the_next_one_is_rung(doorbell: Doorbell, bells: Path) -> None:
    doorbell.connect("redis://127.0.0.1:1/0")
    started = time.monotonic()
    doorbell.ring(JOB)
    assert time.monotonic() - started < 0.5

    doorbell.connect(f"filesystem://{bells}")
    doorbell.ring(JOB)

    wait_for(lambda: messages(bells), seconds=20, what="the second ring")


def test_celery_is_imported_by_the_first_ring_only() -> None:
    code = """
import sys
from recolabel.doorbell import Doorbell
bell = Doorbell("redis://127.0.0.1:1/0")
print("celery" in sys.modules)
bell.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "False"

"""One job at a time: claimed, handed to the child, kept alive, stopped when it has to be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recolabel_worker.lanes import REFINING, TRAINING, Lane
from recolabel_worker.settings import ServerAddress, WorkerSettings
from recolabel_worker.supervisor import Supervisor
from tests.worker.fake_server import FakeServer, new_lease

FAKE_CHILD = Path(__file__).with_name("fake_child.py")
QUICK = {"report_seconds": 0.02, "renew_seconds": 0.1, "term_seconds": 0.3, "kill_seconds": 0.6, "poll_seconds": 0.05}

Start = Callable[..., Supervisor]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def supervise(server: FakeServer) -> Iterator[Start]:
    started: list[Supervisor] = []

    def start(behaviour: str, lane: Lane = TRAINING, **settings: float) -> Supervisor:
        supervisor = Supervisor(
            lambda: ServerAddress(server.url, "token"),
            WorkerSettings(**(QUICK | settings)),  # type: ignore[arg-type]
            worker_id="test",
            lane=lane,
            child_command=(sys.executable, str(FAKE_CHILD), behaviour),
        )
        started.append(supervisor)
        return supervisor

    yield start
    for supervisor in started:
        supervisor.stop()


def pids(server: FakeServer) -> list[str]:
    """Which child reported, in the order of reports."""
    stages = [renewal["progress"]["stage"] for renewal in server.renewals if renewal["progress"]]
    return list(dict.fromkeys(stage for stage in stages if stage.startswith("pid")))


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid.removeprefix("pid ")), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("lane", "kinds", "wait_seconds"),
    [
        (TRAINING, ["train", "predict"], 0.0),  # bells ring for these
        (REFINING, ["refine"], 7.0),  # a person waits
    ],
)
def test_each_lane_asks_for_its_own_jobs(
    server: FakeServer, supervise: Start, lane: Lane, kinds: list[str], wait_seconds: float
) -> None:
    supervise("finishes", lane, wait_seconds=7).ask()

    [claim] = server.claims
    assert (claim["kinds"], claim["wait_seconds"]) == (kinds, wait_seconds)


def test_a_question_that_waited_by_itself_is_followed_by_the_next_at_once(server: FakeServer, supervise: Start) -> None:
    supervisor = supervise("finishes", REFINING, wait_seconds=0, poll_seconds=600)
    asking = threading.Thread(target=supervisor.poll)
    asking.start()

    server.wait_for(lambda: len(server.claims) >= 3)

    supervisor.stop()
    asking.join(timeout=20)
    assert not asking.is_alive()


def test_a_job_goes_to_the_child_and_its_progress_to_the_server(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]

    supervise("chatters").ask()

    done = [renewal["progress"]["done"] for renewal in server.renewals if renewal["progress"]]
    assert done == sorted(done)
    assert done[-1] > 1
    assert server.failures == []


def test_progress_is_not_passed_on_faster_than_agreed(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]

    supervise("chatters", report_seconds=0.25).ask()

    assert 1 <= len(server.renewals) <= 20  # of a hundred reports within half a second, on a slow day


def test_one_warm_child_serves_many_jobs(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease() for _ in range(3)]

    supervise("chatters").ask()

    assert len(pids(server)) == 1
    assert [claim["job_id"] for claim in server.claims] == [None] * 4


def test_a_child_is_replaced_after_so_many_jobs(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease() for _ in range(3)]

    supervise("chatters", jobs_per_child=1).ask()

    assert len(pids(server)) == 3


def test_a_dead_child_gives_its_job_back_at_once_and_the_next_job_gets_a_new_one(
    server: FakeServer, supervise: Start
) -> None:
    server.leases = [new_lease(), new_lease()]

    supervise("dies").ask()

    assert [failure["retry"] for failure in server.failures] == [True, True]
    assert "SIGKILL" in server.failures[0]["error"]


def test_a_failure_in_the_child_is_told_in_its_own_words(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]

    supervise("fails").ask()

    assert server.failures == [{"error": "The labels do not suffice.", "retry": False}]


def test_a_cancelled_child_that_answers_lives_on(server: FakeServer, supervise: Start) -> None:
    server.leases, server.cancel_requested = [new_lease(), new_lease()], True

    supervise("stops when asked").ask()

    assert server.failures == []
    assert len(pids(server)) == 1


def test_a_cancelled_child_may_hand_in_its_work(server: FakeServer, supervise: Start) -> None:
    server.leases, server.cancel_requested = [new_lease()], True

    supervise("winds up slowly").ask()

    assert server.failures == []


@pytest.mark.parametrize(
    ("behaviour", "ended_by"),
    [
        ("hangs", "SIGTERM"),  # stuck in a step
        ("deaf", "SIGKILL"),  # ignores SIGTERM as well
    ],
)
def test_a_cancelled_child_that_does_not_answer_is_ended(
    server: FakeServer, supervise: Start, behaviour: str, ended_by: str
) -> None:
    server.leases, server.cancel_requested = [new_lease()], True

    supervise(behaviour).ask()

    [failure] = server.failures
    assert ended_by in failure["error"]
    assert not is_alive(pids(server)[0])


def test_a_job_whose_lease_is_lost_is_stopped_and_the_child_kept(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]
    supervisor = supervise("stops when asked")
    working = threading.Thread(target=supervisor.ask)
    working.start()
    server.wait_for(lambda: pids(server))

    server.lease_lost = True
    working.join(timeout=20)

    assert not working.is_alive()
    assert is_alive(pids(server)[0])


def test_a_job_is_dropped_when_the_server_is_silent_too_long(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]
    supervisor = supervise("hangs", out_of_touch_seconds=0.5)
    working = threading.Thread(target=supervisor.ask)
    working.start()
    server.wait_for(lambda: pids(server))

    server.silent = True
    working.join(timeout=20)

    assert not working.is_alive()
    assert not is_alive(pids(server)[0])


def test_a_bell_waits_for_the_job_that_runs(server: FakeServer, supervise: Start) -> None:
    first, second = new_lease(), new_lease()
    server.leases = [first]
    supervisor = supervise("stops when asked")
    working = threading.Thread(target=supervisor.ask)
    working.start()
    server.wait_for(lambda: pids(server))
    server.leases = [second]
    ringing = threading.Thread(target=supervisor.answer, args=(second.job.job_id,))
    ringing.start()
    assert server.leases == [second]

    server.cancel_requested = True
    for thread in (working, ringing):
        thread.join(timeout=20)

    assert server.leases == []
    assert len(pids(server)) == 1


def test_a_poll_during_a_job_asks_for_nothing(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]
    supervisor = supervise("stops when asked")
    working = threading.Thread(target=supervisor.ask)
    working.start()
    server.wait_for(lambda: pids(server))

    supervisor.ask()

    assert len(server.claims) == 1
    server.cancel_requested = True
    working.join(timeout=20)


def test_work_is_found_without_any_bell(server: FakeServer, supervise: Start) -> None:
    supervisor = supervise("finishes")
    polling = threading.Thread(target=supervisor.poll)
    polling.start()
    server.wait_for(lambda: len(server.claims) >= 2)

    server.leases = [new_lease()]
    server.wait_for(lambda: not server.leases)

    supervisor.stop()
    polling.join(timeout=20)
    assert not polling.is_alive()


def test_stopping_gives_the_job_back_and_leaves_no_child(server: FakeServer, supervise: Start) -> None:
    server.leases = [new_lease()]
    supervisor = supervise("hangs")
    working = threading.Thread(target=supervisor.ask)
    working.start()
    server.wait_for(lambda: pids(server))

    supervisor.stop()
    working.join(timeout=20)

    assert not working.is_alive()
    assert [failure["retry"] for failure in server.failures] == [True]
    assert not is_alive(pids(server)[0])


def test_a_child_ends_with_its_parent(server: FakeServer, tmp_path: Path) -> None:
    # Given a worker process with a child in the middle of a job
    server.leases = [new_lease()]
    code = f"""
import sys
from recolabel_worker.settings import ServerAddress, WorkerSettings
from recolabel_worker.supervisor import Supervisor
settings = WorkerSettings(report_seconds=0.02, renew_seconds=0.1)
command = (sys.executable, {str(FAKE_CHILD)!r}, "hangs")
Supervisor(lambda: ServerAddress({server.url!r}, "token"), settings, worker_id="w", child_command=command).ask()
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    server.wait_for(lambda: pids(server))

    worker.kill()
    worker.wait()

    deadline = time.monotonic() + 10
    while is_alive(pids(server)[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pids(server)[0])

"""Asking again: only when nobody answered or the server cannot right now, and not for ever."""

from __future__ import annotations

import pytest

from recolabel.errors import RecolabelError, ServerRefused, ServerUnreachable
from recolabel_worker.patience import patiently


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def refused(status: int) -> ServerRefused:
    return ServerRefused("No.", status=status, problem_code="no")


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        (["yes"], 1),
        ([ServerUnreachable(), ServerUnreachable(), "yes"], 3),  # a server that restarts
        ([refused(503), "yes"], 2),  # a server that is busy
        ([refused(409)], 1),  # the lease is lost: asking again changes nothing
        ([ServerUnreachable()] * 50, 8),  # pauses grow to two seconds, ten seconds are over
    ],
)
def test_a_call_is_repeated_while_the_server_cannot_answer(answers: list[str | RecolabelError], calls: int) -> None:
    clock, made = Clock(), 0

    def call() -> str:
        nonlocal made
        made += 1
        answer = answers[made - 1]
        if isinstance(answer, RecolabelError):
            raise answer
        return answer

    if answers[-1] == "yes":
        assert patiently(call, seconds=10, sleep=clock.sleep, now=clock.now) == "yes"
    else:
        with pytest.raises(RecolabelError):
            patiently(call, seconds=10, sleep=clock.sleep, now=clock.now)

    assert made == calls
    assert clock.seconds <= 10

"""Asking a server again that restarts or is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from recolabel.errors import ServerRefused, ServerUnreachable

_Type = TypeVar("_Type")
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_SERVER_ERROR = 500


def patiently(
    call: Callable[[], _Type],
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> _Type:
    """Call until the server answers, for at most `seconds`; every request of a lease may be sent twice.

    Raises:
        ServerUnreachable: nobody answered for so long.
        ServerRefused: the server said no (at once), or that it cannot right now (status 5xx, for so long).
    """
    deadline = now() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except ServerUnreachable:
            if now() + pause > deadline:
                raise
        except ServerRefused as refusal:
            if refusal.status < _SERVER_ERROR or now() + pause > deadline:
                raise
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

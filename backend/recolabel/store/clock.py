"""Where the stores take the time from. Tests hand in their own clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment, with a time zone."""


def system_clock() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)

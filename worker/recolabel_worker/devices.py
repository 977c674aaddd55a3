"""Which device a network runs on."""

from __future__ import annotations

import torch

from recolabel.errors import BadArgument
from recolabel_worker.reco import InvalidArgument
from recolabel_worker.reco.devices import as_device

MOST_THREADS = 1024
"""Of a processor; more is a slip of the keyboard, and beyond what torch counts in."""


def choose_device(wish: str) -> torch.device:
    """`auto` is the first GPU, or the CPU when there is none.

    Raises:
        BadArgument: this machine has no such device.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return as_device(wish)
    except InvalidArgument as error:
        raise BadArgument(f"This machine has no device {wish!r}; try cpu, cuda or auto.") from error

"""Which device a network runs on."""

from __future__ import annotations

import torch

from recolabel.errors import BadArgument


def choose_device(wish: str) -> torch.device:
    """`auto` is the first GPU, or the CPU when there is none.

    Raises:
        BadArgument: this machine has no such device.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadArgument(f"This machine has no device {wish!r}; try cpu, cuda or auto.") from error
    return device

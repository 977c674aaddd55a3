"""Where tensors live and numbers are computed, by name."""

from __future__ import annotations

import torch

from recolabel_worker.reco.config import InvalidArgument


def as_device(device: torch.device | str) -> torch.device:
    """The device of that name, which this machine has: "cpu", "cuda", "cuda:1" ...

    Raises:
        InvalidArgument: torch knows no such device, or the machine has none.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidArgument(
            "device", f'names none that this machine has ({str(device)!r}); "cpu" is always there.'
        ) from error
    return found

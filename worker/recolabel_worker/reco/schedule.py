"""How fast each part of the network learns at each step."""

from __future__ import annotations


def polynomial(step: int, steps: int, power: float) -> float:
    """Factor (1 - step / steps) ** power of the learning rate; 1 at the first step, above 0 at the last."""
    return float(max(0.0, 1.0 - step / max(steps, 1)) ** power)


def warm_up(step: int, wait_steps: int) -> float:
    """Factor of the parts that wait for fresh heads: 0 for `wait_steps`, then a ramp of the same length up to 1."""
    if not wait_steps:
        return 1.0
    return min(1.0, max(0.0, (step + 1 - wait_steps) / wait_steps))

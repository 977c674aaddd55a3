"""Of every class the same share is put aside, for ever."""

from __future__ import annotations

import math

import pytest

from recolabel.holding_out import class_phase, is_held_out


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.5, 0.999])
def test_of_the_first_clicks_the_share_is_put_aside_but_for_a_rounding(share: float, phase: float) -> None:
    put_aside = 0
    for ordinal in range(1, 200):
        put_aside += is_held_out(ordinal, share, phase)

        assert math.floor(ordinal * share) <= put_aside + 1e-9
        assert put_aside <= math.floor(ordinal * share) + 1


def test_the_first_click_is_as_likely_put_aside_as_any_other() -> None:
    phases = [step / 1000 for step in range(1000)]

    for ordinal in range(1, 8):
        share = sum(is_held_out(ordinal, 0.3, phase) for phase in phases) / len(phases)

        assert share == pytest.approx(0.3, abs=0.002)


def test_the_phase_of_a_class_is_always_the_same_and_spread_over_classes() -> None:
    phases = [class_phase("project", f"class {number}") for number in range(500)]

    assert class_phase("project", "class 0") == phases[0]
    assert class_phase("another", "class 0") != phases[0]
    assert all(0 <= phase < 1 for phase in phases)
    assert sum(phases) / len(phases) == pytest.approx(0.5, abs=0.05)

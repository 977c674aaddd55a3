"""Learning rates."""

from __future__ import annotations

from recolabel_worker.reco.schedule import polynomial, warm_up


def test_the_rate_falls_from_one_and_stays_above_zero_to_the_last_step() -> None:
    rates = [polynomial(step, 10, 0.9) for step in range(10)]

    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0.0


def test_a_waiting_part_stands_still_and_then_ramps_up() -> None:
    assert [warm_up(step, 2) for step in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert warm_up(0, 0) == 1.0

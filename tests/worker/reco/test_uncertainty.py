"""Confidence and candidates."""

from __future__ import annotations

import pytest
import torch

from recolabel_worker.reco.uncertainty import (
    confidence_map,
    inner_mask,
    margin_map,
    propose_candidates,
    to_byte,
    top_two,
)


def halves() -> torch.Tensor:
    """Three classes on 40 x 60: left 0, right 1 (both sure), a small uncertain patch of 2 in the right half."""
    logits = torch.zeros(3, 40, 60)
    logits[0, :, :30] = 4
    logits[1, :, 30:] = 4
    logits[2, 10:20, 40:50] = 4.5
    return logits.softmax(0)


def test_confidence_is_the_largest_probability_and_its_byte_is_rounded() -> None:
    probabilities = torch.tensor([0.2, 0.8]).view(2, 1, 1)

    confidence = confidence_map(probabilities)

    assert float(confidence) == torch.tensor(0.8)
    assert int(to_byte(confidence)) == 204
    assert to_byte(torch.tensor([0.0, 1.0])).tolist() == [0, 255]


def test_candidates_come_from_every_class_hardest_first(generator: torch.Generator) -> None:
    found = propose_candidates(halves(), 4, 5, generator=generator)

    assert {candidate.guess for candidate in found} == {0, 1, 2}
    assert [c.margin for c in found] == sorted(c.margin for c in found)
    assert found[0].guess == 2
    assert found[0].second_guess == 1
    assert all(sum(c.guess == wanted for c in found) <= 4 for wanted in range(3))


def test_candidates_keep_their_distance(generator: torch.Generator) -> None:
    found = propose_candidates(halves(), 10, 8, generator=generator)

    pairs = [(a, b) for a in found for b in found if a is not b]
    assert all(max(abs(a.y - b.y), abs(a.x - b.x)) >= 8 for a, b in pairs)


def test_candidates_stay_away_from_borders_when_there_is_room(generator: torch.Generator) -> None:
    probabilities = halves()
    inside = inner_mask(probabilities.argmax(0))

    found = propose_candidates(probabilities, 3, 4, generator=generator)

    assert all(inside[c.y, c.x] for c in found)


def test_a_thin_object_is_asked_about_although_it_is_all_border(generator: torch.Generator) -> None:
    probabilities = torch.zeros(2, 20, 20)
    probabilities[0] = 0.9
    probabilities[0, :, 10] = 0.4

    found = propose_candidates(torch.stack([probabilities[0], 1 - probabilities[0]]), 2, 4, generator=generator)

    assert any(candidate.guess == 1 and candidate.x == 10 for candidate in found)


def test_excluded_pixels_are_never_asked_about(generator: torch.Generator) -> None:
    exclude = torch.ones(40, 60, dtype=torch.bool)
    exclude[5, 7] = False

    found = propose_candidates(halves(), 5, 3, exclude, generator=generator)

    assert [(candidate.y, candidate.x) for candidate in found] == [(5, 7)]
    assert propose_candidates(halves(), 5, 3, torch.ones(40, 60), generator=generator) == []


def test_a_project_of_one_class_has_candidates_without_a_rival(generator: torch.Generator) -> None:
    found = propose_candidates(torch.ones(1, 8, 8), 1, 4, generator=generator)

    assert len(found) == 1
    assert found[0].guess == found[0].second_guess == 0
    assert float(margin_map(torch.ones(1, 8, 8)).min()) == 1.0


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.2, 0.5, 0.3], (1, 2, 0.5, 0.2)),
        ([0.5, 0.2, 0.3], (0, 2, 0.5, 0.2)),
        ([0.1, 0.3, 0.6], (2, 1, 0.6, 0.3)),
        ([0.4, 0.4, 0.2], (0, 1, 0.4, 0.0)),  # of equal ones the lower index is first
        ([0.2, 0.4, 0.4], (1, 2, 0.4, 0.0)),
        ([1.0, 0.0, 0.0], (0, 1, 1.0, 1.0)),
        ([1.0], (0, 0, 1.0, 1.0)),  # no rival
    ],
)
def test_the_two_most_probable_classes_of_a_pixel(
    probabilities: list[float], expected: tuple[int, int, float, float]
) -> None:
    found = top_two(torch.tensor(probabilities).view(-1, 1, 1))

    assert [plane.item() for plane in found] == pytest.approx(expected)


def test_all_pixels_are_compared_as_topk_would(generator: torch.Generator) -> None:
    probabilities = torch.randn(7, 33, 45, generator=generator).softmax(0)

    found, order = top_two(probabilities), probabilities.topk(2, dim=0)

    assert torch.equal(found.guess.long(), order.indices[0])
    assert torch.equal(found.second_guess.long(), order.indices[1])
    assert torch.equal(found.margin, margin_map(probabilities))


@pytest.mark.parametrize(
    ("probabilities", "entropy"),
    [
        ([0.25, 0.25, 0.25, 0.25], 1.0),
        ([0.5, 0.5, 0.0, 0.0], 0.5),
        ([1.0, 0.0, 0.0, 0.0], 0.0),
        ([1.0], 0.0),
    ],
)
def test_candidates_say_their_entropy_as_a_share(
    probabilities: list[float], entropy: float, generator: torch.Generator
) -> None:
    [candidate] = propose_candidates(torch.tensor(probabilities).view(-1, 1, 1), 1, 1, generator=generator)

    assert candidate.entropy == pytest.approx(entropy)

"""Which pixels are chosen: by distribution, on cases small enough to count."""

from __future__ import annotations

import pytest
import torch

from recolabel_worker.reco import sampling
from recolabel_worker.reco.config import QuerySampling

LABELS = torch.tensor([2, 0, 0, 1, 2, 0, 255, 254])


def test_cells_are_grouped_by_class_and_void_belongs_to_none() -> None:
    cells = sampling.group_by_class(LABELS, 4)

    assert cells.size.tolist() == [3, 1, 2, 0]
    assert cells.order.tolist() == [1, 2, 5, 3, 0, 4]


def test_class_means_are_means_over_all_images() -> None:
    representation = torch.arange(16.0).view(2, 2, 2, 2)  # image, dimension, height, width

    sums = sampling.class_sums(representation, torch.tensor([0, 1, 1, 255, 0, 0, 255, 255]), 2)
    means = sampling.class_means(sums, torch.tensor([3, 2]))

    torch.testing.assert_close(means, torch.tensor([[(0 + 8 + 9) / 3, (4 + 12 + 13) / 3], [1.5, 5.5]]))
    # What belongs to no class is summed too: nothing that is not finite stays unseen.
    assert sums.sum() == representation.sum()


def test_negative_classes_never_include_the_own_class_or_an_absent_one() -> None:
    directions, _ = sampling.direction_and_length(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]))
    graph = sampling.class_graph(directions)

    shares = sampling.negative_class_probabilities(graph, torch.tensor([True, True, False, True]))

    assert shares.diagonal().tolist() == [0, 0, 0, 0]
    assert shares[:, 2].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    # Class 0 is nearer to class 1 (45 degrees) than to class 3 (90 degrees): softmax of 0.707 and 0.
    torch.testing.assert_close(shares[0, 1] / shares[0, 3], torch.tensor(0.5).sqrt().exp())


def test_negative_keys_follow_the_class_graph_and_are_uniform_within_a_class(generator: torch.Generator) -> None:
    cells = sampling.group_by_class(LABELS, 3)

    keys = sampling.draw_negative_keys(torch.tensor([0.0, 0.25, 0.75]), cells, 20_000, generator)

    share = torch.bincount(keys, minlength=8) / 20_000
    torch.testing.assert_close(share[3], torch.tensor(0.25), atol=0.015, rtol=0)
    torch.testing.assert_close(share[[0, 4]], torch.tensor([0.375, 0.375]), atol=0.015, rtol=0)
    assert share[[1, 2, 5, 6, 7]].sum() == 0


def test_uniform_keys_are_as_likely_from_any_cell_of_the_other_classes() -> None:
    shares = sampling.negative_cell_shares(torch.tensor([3, 1, 2, 0]))

    torch.testing.assert_close(
        shares,
        torch.tensor([[0, 1 / 3, 2 / 3, 0], [3 / 5, 0, 2 / 5, 0], [3 / 4, 1 / 4, 0, 0], [1 / 2, 1 / 6, 1 / 3, 0]]),
    )


def test_each_class_takes_its_number_of_keys_from_the_pool_by_its_own_shares(generator: torch.Generator) -> None:
    cells = sampling.group_by_class(LABELS, 4)
    shares = torch.tensor([[0.0, 0.25, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])

    pool = sampling.draw_key_pool(shares, cells, 20_000, generator)

    assert pool.taken.sum(1).tolist() == [20_000, 20_000, 20_000, 0]
    seen = torch.stack([torch.bincount(pool.cells[taken], minlength=8) for taken in pool.taken[:3]]) / 20_000
    expected = torch.tensor(
        [
            [0.375, 0, 0, 0.25, 0.375, 0, 0, 0],
            [0, 1 / 3, 1 / 3, 0, 0, 1 / 3, 0, 0],
            [0, 1 / 6, 1 / 6, 0.5, 0, 1 / 6, 0, 0],
        ]
    )
    torch.testing.assert_close(seen, expected, atol=0.015, rtol=0)


QUERY_KINDS: list[tuple[QuerySampling, list[bool]]] = [
    ("hard", [True, False, False]),
    ("easy", [False, True, True]),  # exactly delta_s is easy (Eq. 4)
    ("random", [True, True, True]),
]


@pytest.mark.parametrize(("kind", "wanted"), QUERY_KINDS)
def test_queries_are_told_apart_by_the_probability_of_their_label(kind: QuerySampling, wanted: list[bool]) -> None:
    assert sampling.query_candidates(torch.tensor([0.2, 0.97, 1.0]), kind, 0.97).tolist() == wanted


def test_queries_are_candidates_of_their_class_each_at_most_once(generator: torch.Generator) -> None:
    hard = torch.tensor([True, True, False, True, True, True, True, True])
    candidates = sampling.only(sampling.group_by_class(LABELS, 4), LABELS, hard)

    few = sampling.draw_queries(candidates, 10, generator)
    seen = {tuple(sampling.draw_queries(candidates, 1, generator)[0].tolist()) for _ in range(50)}

    assert [own.tolist() for own in few] == [[1, 5], [3], [0, 4], []]
    assert seen == {(1,), (5,)}

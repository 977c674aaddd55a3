"""Which pixels are chosen: by distribution, on cases small enough to count."""

from __future__ import annotations

import torch

from recolabel_worker.reco import sampling

LABELS = torch.tensor([2, 0, 0, 1, 2, 0, 255, 254])


def test_cells_are_grouped_by_class_and_void_belongs_to_none() -> None:
    cells = sampling.group_by_class(LABELS, 4)

    assert cells.size.tolist() == [3, 1, 2, 0]
    assert cells.order.tolist() == [1, 2, 5, 3, 0, 4]


def test_class_means_are_means_over_all_images() -> None:
    representation = torch.arange(16.0).view(2, 2, 2, 2)  # image, dimension, height, width

    means = sampling.class_means(representation, torch.tensor([0, 1, 1, 255, 0, 0, 255, 255]), torch.tensor([3, 2]))

    torch.testing.assert_close(means, torch.tensor([[(0 + 8 + 9) / 3, (4 + 12 + 13) / 3], [1.5, 5.5]]))


def test_negative_classes_never_include_the_own_class_or_an_absent_one() -> None:
    graph = sampling.class_graph(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]))

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


def test_queries_are_hard_pixels_of_their_class_each_at_most_once(generator: torch.Generator) -> None:
    cells = sampling.group_by_class(LABELS, 3)
    hard = torch.tensor([True, True, False, True, True, True, True, True])

    few = sampling.draw_queries(hard, cells, 0, 10, generator)
    seen = {tuple(sampling.draw_queries(hard, cells, 0, 1, generator).tolist()) for _ in range(50)}

    assert sorted(few.tolist()) == [1, 5]
    assert seen == {(1,), (5,)}

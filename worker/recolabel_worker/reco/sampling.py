"""Which pixels the contrast looks at: class means, class graph, hard queries, negative keys. No gradients, no loss.

Letters: B images, C classes, D representation, h w cells at output stride 4, N = B h w cells, Q queries, K keys.
Cells are numbered b h w + y w + x, in one dimension, so that a choice is a vector of int64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ClassCells(NamedTuple):
    """The labelled cells, sorted by class: class c owns `order[start[c] : start[c] + size[c]]`."""

    order: Tensor  # int64, one entry for each labelled cell
    start: Tensor  # (C,) int64
    size: Tensor  # (C,) int64


def uniform(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`count` numbers in [0, 1), drawn where the generator lives, given where they are needed."""
    return torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64).to(device)


def group_by_class(labels_N: Tensor, num_classes: int) -> ClassCells:
    """Sort cells by class; values of `num_classes` and above (void, unlabelled) belong to none."""
    count = torch.bincount(labels_N.clamp_max(num_classes), minlength=num_classes + 1)[:num_classes]
    order = torch.argsort(labels_N, stable=True)[: int(count.sum())]
    return ClassCells(order=order, start=count.cumsum(0) - count, size=count)


def class_means(representation: Tensor, labels_N: Tensor, count_C: Tensor) -> Tensor:
    """Mean representation of each class (Eq. 2, positive keys), (C, D) float32; zero for an absent class."""
    num_images, dim = representation.shape[:2]
    num_classes = len(count_C)
    sums = torch.zeros(dim, num_classes, device=representation.device)
    # One matrix product an image: no (N, D) copy of the representation is made.
    for index, labels in enumerate(labels_N.view(num_images, -1)):
        members = torch.nn.functional.one_hot(labels.clamp_max(num_classes), num_classes + 1)[:, :num_classes]
        sums += representation[index].detach().reshape(dim, -1).float() @ members.float()
    return (sums / count_C.clamp_min(1)).T


def class_graph(means_CD: Tensor) -> Tensor:
    """Pairwise similarity of the class means, (C, C) (Eq. 3); cosine is the normalised dot product."""
    unit = torch.nn.functional.normalize(means_CD, dim=1)
    return unit @ unit.T


def negative_class_probabilities(graph_CC: Tensor, present_C: Tensor) -> Tensor:
    """Softmax over the class graph without the query's own class (Eq. 3), (C, C); a row without rivals is zero."""
    allowed = present_C[None, :] & ~torch.eye(len(present_C), dtype=torch.bool, device=present_C.device)
    weights = torch.where(allowed, graph_CC.exp(), 0.0)
    return weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def draw_queries(hard: Tensor, cells: ClassCells, c: int, num_queries: int, generator: torch.Generator) -> Tensor:
    """Choose hard cells of class c uniformly (Eq. 4), each at most once: all of them when there are few.

    Without replacement, because gradients of a cell drawn twice would be added in whatever order threads arrive.

    Args:
        hard: (N,) bool, the probability of the cell's label is below delta_s.
    """
    own = cells.order[int(cells.start[c]) : int(cells.start[c] + cells.size[c])]
    own = own[hard[own]]
    if len(own) <= num_queries:
        return own
    order = torch.randperm(len(own), generator=generator, device=generator.device)
    return own[order[:num_queries].to(own.device)]


def draw_negative_keys(probabilities_C: Tensor, cells: ClassCells, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` cells: a class by `probabilities_C`, then one of its cells uniformly, both with replacement."""
    device = cells.order.device
    steps = probabilities_C.double().cumsum(0)
    classes = torch.searchsorted(steps / steps[-1], uniform(count, generator, device), right=True)
    # Rounding could end one class behind the last one that has a share.
    classes = classes.clamp_max(int(probabilities_C.nonzero().max()))
    within = (uniform(count, generator, device) * cells.size[classes]).long()
    return cells.order[cells.start[classes] + within]

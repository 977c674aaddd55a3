"""The three terms of Eq. 5: worked by hand, against a naive loop, and on every kind of emptiness."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import RecoConfig, regional_contrast_loss
from recolabel_worker.reco.config import UNLABELLED, VOID, InvalidArgument
from recolabel_worker.reco.losses import eta, info_nce, pseudo_label_loss, supervised_loss


def scene(seed: int = 0, classes: int = 4, size: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Representation, label map with void and unlabelled cells, and probabilities of two images."""
    g = torch.Generator().manual_seed(seed)
    label_map = torch.randint(classes, (2, size, size), generator=g)
    centres = torch.randn(classes, 8, generator=g)
    representation = centres[label_map].permute(0, 3, 1, 2) + torch.randn(2, 8, size, size, generator=g)
    probabilities = torch.randn(2, classes, size, size, generator=g).softmax(1)
    label_map[0, :3] = UNLABELLED
    label_map[1, -2:] = VOID
    return representation.requires_grad_(), label_map, probabilities


def naive_loss(rep: Tensor, labels: Tensor, prob: Tensor, cfg: RecoConfig, g: torch.Generator) -> Tensor:
    pixels, labels = rep.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()
    said = prob.permute(0, 2, 3, 1).flatten(0, 2)
    present = [c for c in range(prob.shape[1]) if (labels == c).any()]
    means = {c: pixels[labels == c].mean(0) for c in present}
    terms = []
    for c in present:
        others = [o for o in present if o != c]
        share = torch.stack([F.cosine_similarity(means[c], means[o], dim=0) for o in others]).softmax(0)
        own = ((labels == c) & (said[:, c] < cfg.delta_s)).nonzero().flatten()
        for q in own[torch.randint(len(own), (cfg.num_queries,), generator=g)]:
            drawn = [others[int(k)] for k in torch.multinomial(share, cfg.num_keys, True, generator=g)]
            pools = [(labels == o).nonzero().flatten() for o in drawn]
            keys = torch.stack([pixels[p[int(torch.randint(len(p), (1,), generator=g))]] for p in pools])
            all_keys = torch.cat([means[c][None], keys])
            similar = F.cosine_similarity(pixels[q][None], all_keys, dim=1) / cfg.temperature
            terms.append(F.cross_entropy(similar[None], torch.tensor([0])))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("fresh_keys", [False, True])
def test_both_ways_to_draw_keys_have_the_expected_loss_of_the_naive_loop(fresh_keys: bool) -> None:
    representation, label_map, probabilities = scene()
    cfg = RecoConfig(delta_s=0.4, num_queries=16, num_keys=8, fresh_keys=fresh_keys)

    with torch.no_grad():
        g = torch.Generator().manual_seed(1)
        naive = torch.stack([naive_loss(representation, label_map, probabilities, cfg, g) for _ in range(25)])
        ours = torch.stack(
            [
                regional_contrast_loss(representation, label_map, probabilities, config=cfg, generator=g)
                for _ in range(400)
            ]
        )

    error = math.hypot(float(naive.std()) / 25**0.5, float(ours.std()) / 400**0.5)
    assert abs(float(naive.mean() - ours.mean())) < 4 * error


def test_info_nce_is_the_formula_worked_by_hand() -> None:
    # The query equals the positive (similarity 1) and is at right angles to two negatives (similarity 0), t = 0.5.
    query, negatives = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -3.0]])

    loss = info_nce(query, torch.tensor([5.0, 0.0]), negatives, temperature=0.5)

    assert float(loss) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))


EMPTINESS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "nothing labelled": lambda labels, prob: (torch.full_like(labels, UNLABELLED), prob),
    "everything void": lambda labels, prob: (torch.full_like(labels, VOID), prob),
    "one class only, so no rival": lambda labels, prob: (torch.zeros_like(labels), prob),
    "all pixels easy": lambda labels, _: (
        labels,
        F.one_hot(labels.clamp_max(3), 4).permute(0, 3, 1, 2).float(),
    ),
}


@pytest.mark.parametrize("kind", EMPTINESS)
def test_every_emptiness_gives_exactly_zero_with_a_zero_gradient(kind: str) -> None:
    representation, label_map, probabilities = scene()
    label_map, probabilities = EMPTINESS[kind](label_map, probabilities)

    loss = regional_contrast_loss(representation, label_map, probabilities, generator=torch.Generator())
    loss.backward()  # type: ignore[no-untyped-call]

    assert loss.ndim == 0
    assert float(loss.detach()) == 0.0
    assert representation.grad is not None
    assert not representation.grad.any()


def test_cross_entropy_without_a_labelled_pixel_is_zero_not_nan() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    nobody_spoke = torch.full((1, 4, 4), UNLABELLED)

    loss = supervised_loss(logits, nobody_spoke) + pseudo_label_loss(logits, nobody_spoke, torch.zeros(1, 4, 4), 0.97)
    loss.backward()  # type: ignore[no-untyped-call]

    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_gradients_flow_through_queries_only() -> None:
    representation, label_map, probabilities = scene()
    easy = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(5)) < 0.7
    sure = F.one_hot(label_map.clamp_max(3), 4).permute(0, 3, 1, 2).float()
    probabilities = torch.where(easy[:, None], sure, probabilities)

    loss = regional_contrast_loss(representation, label_map, probabilities, generator=torch.Generator())
    loss.backward()  # type: ignore[no-untyped-call]

    assert representation.grad is not None
    touched = representation.grad.abs().sum(1) > 0
    label_probability = probabilities.gather(1, label_map.clamp_max(3)[:, None])[:, 0]
    may_be_query = (label_map < 4) & (label_probability < 0.97)
    assert touched.any()
    assert not (touched & ~may_be_query).any()


def test_the_loss_ignores_what_stands_under_void_and_unlabelled_pixels() -> None:
    representation, label_map, probabilities = scene()
    changed = torch.where((label_map >= VOID)[:, None], representation.detach() + 100.0, representation.detach())

    before, after = (
        float(regional_contrast_loss(r, label_map, probabilities, generator=torch.Generator().manual_seed(2)))
        for r in (representation.detach(), changed)
    )

    assert before == after


def test_the_contrast_of_a_gigantic_representation_is_finite() -> None:
    representation, label_map, probabilities = scene()

    loss = regional_contrast_loss(representation * 1e30, label_map, probabilities, generator=torch.Generator())

    assert torch.isfinite(loss)


def test_the_same_generator_state_gives_the_same_loss() -> None:
    representation, label_map, probabilities = scene()

    values = {
        float(
            regional_contrast_loss(
                representation.detach(), label_map, probabilities, generator=torch.Generator().manual_seed(9)
            )
        )
        for _ in range(3)
    }

    assert len(values) == 1


BAD_ARGUMENTS: dict[str, list[tuple[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]]]] = {
    "representation": [
        ("three dimensions", lambda r, y, p: (r[0], y, p)),
        ("integers", lambda r, y, p: (r.detach().long(), y, p)),
        ("a NaN", lambda r, y, p: (torch.where(torch.rand(r.shape) < 0.1, float("nan"), r.detach()), y, p)),
        ("an infinity", lambda r, y, p: (r.detach() + float("inf"), y, p)),
    ],
    "label_map": [
        ("another height", lambda r, y, p: (r, y[:, 1:], p)),
        ("another batch", lambda r, y, p: (r, y[:1], p)),
        ("bytes", lambda r, y, p: (r, y.to(torch.uint8), p)),
        ("a class too many", lambda r, y, p: (r, torch.where(y == 0, 4, y), p)),
        ("a negative class", lambda r, y, p: (r, torch.where(y == 0, -1, y), p)),
    ],
    "probabilities": [
        ("another width", lambda r, y, p: (r, y, p[..., 1:])),
        ("logits", lambda r, y, p: (r, y, p.log())),
        ("twice too large", lambda r, y, p: (r, y, 2 * p)),
        ("a NaN", lambda r, y, p: (r, y, p * float("nan"))),
    ],
}


@pytest.mark.parametrize(
    ("argument", "case"), [(name, case) for name, cases in BAD_ARGUMENTS.items() for case in range(len(cases))]
)
def test_a_bad_argument_is_refused_by_its_name(argument: str, case: int) -> None:
    remark, spoil = BAD_ARGUMENTS[argument][case]

    with pytest.raises(ValueError, match=f"^{argument}") as refused:
        regional_contrast_loss(*spoil(*scene()), generator=torch.Generator())

    assert isinstance(refused.value, InvalidArgument), remark
    assert refused.value.argument == argument


def test_a_temperature_of_zero_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidArgument, match="temperature: "):
        RecoConfig(temperature=0.0)


def test_eta_is_the_share_of_confident_pixels_of_each_image() -> None:
    confidence = torch.tensor([[[0.99, 0.5], [0.98, 0.99]], [[0.5, 0.5], [0.5, 0.5]]])
    counted = torch.tensor([[[True, True], [True, False]], [[True, True], [True, True]]])

    assert eta(confidence, counted, 0.97).tolist() == pytest.approx([2 / 3, 0.0])


def test_an_image_without_a_confident_pixel_teaches_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)

    assert float(pseudo_label_loss(logits, labels, torch.full((1, 4, 4), 0.6), 0.97)) == 0.0


def test_class_weights_let_a_rare_class_count() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 1, 0, 3] = -5.0  # the one pixel of class 1 is wrong
    labels = torch.tensor([[[0, 0, 0, 1]]])

    balanced = supervised_loss(logits, labels, torch.tensor([1 / 3, 1.0]))

    assert float(balanced) > float(supervised_loss(logits, labels))

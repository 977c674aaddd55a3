"""The three terms of Eq. 5: worked by hand, against a naive loop, and on every kind of emptiness."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco import RecoConfig, losses, regional_contrast_loss
from recolabel_worker.reco.config import KEY_SAMPLINGS, UNLABELLED, VOID, InvalidArgument
from recolabel_worker.reco.losses import eta, info_nce, pseudo_label_loss, supervised_loss
from recolabel_worker.reco.sampling import direction_and_length


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
    """Eq. 1-4, query by query and key by key."""
    pixels, labels = rep.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()
    said = prob.permute(0, 2, 3, 1).flatten(0, 2)
    present = [c for c in range(prob.shape[1]) if (labels == c).any()]
    pools = {c: (labels == c).nonzero().flatten() for c in present}
    means = {c: pixels[pools[c]].mean(0).detach() for c in present}
    terms = []
    for c in present:
        others = [o for o in present if o != c]
        near = torch.stack([F.cosine_similarity(means[c], means[o], dim=0) for o in others])
        many = torch.tensor([float(len(pools[o])) for o in others])
        share = near.softmax(0) if cfg.key_sampling == "active" else many / many.sum()
        chance = said[pools[c], c]
        kinds = {"hard": chance < cfg.delta_s, "easy": chance >= cfg.delta_s, "random": chance >= 0}
        own = pools[c][kinds[cfg.query_sampling]]
        for q in own[torch.randint(len(own), (cfg.num_queries,), generator=g)]:
            drawn = [pools[others[int(k)]] for k in torch.multinomial(share, cfg.num_keys, True, generator=g)]
            keys = torch.stack([pixels[p[int(torch.randint(len(p), (1,), generator=g))]] for p in drawn]).detach()
            similar = F.cosine_similarity(pixels[q][None], torch.cat([means[c][None], keys]), dim=1) / cfg.temperature
            terms.append(F.cross_entropy(similar[None], torch.tensor([0])))
    return torch.stack(terms).mean()


WAYS: list[tuple[str, dict[str, Any]]] = [
    ("the paper's, keys shared by the queries of a class", {}),
    ("the paper's wording, keys drawn for each query", {"fresh_keys": True}),
    ("uniform keys", {"key_sampling": "uniform"}),
    ("uniform keys drawn for each query", {"key_sampling": "uniform", "fresh_keys": True}),
    ("easy queries", {"query_sampling": "easy"}),
    ("random queries and uniform keys", {"query_sampling": "random", "key_sampling": "uniform"}),
]


@pytest.mark.parametrize(("remark", "options"), WAYS, ids=[remark for remark, _ in WAYS])
def test_each_way_of_drawing_has_the_expected_loss_and_gradient_of_the_naive_loop(
    remark: str, options: dict[str, Any]
) -> None:
    representation, label_map, probabilities = scene(size=8)
    cfg = RecoConfig(delta_s=0.4, num_queries=8, num_keys=6, **options)
    g = torch.Generator().manual_seed(1)

    def draw(loss_of: Callable[[], Tensor], times: int) -> tuple[Tensor, Tensor]:
        losses = [loss_of() for _ in range(times)]
        gradients = [torch.autograd.grad(loss, representation)[0] for loss in losses]
        # Seen through a few fixed directions: each pixel alone is touched too rarely to judge.
        probe = torch.randn(5, representation.numel(), generator=torch.Generator().manual_seed(7))
        probe[0] = (representation.detach() * (label_map == 1)[:, None]).roll(1, dims=1).flatten()
        return torch.stack(losses).detach(), torch.stack(gradients).flatten(1) @ probe.T

    naive_losses, naive_seen = draw(lambda: naive_loss(representation, label_map, probabilities, cfg, g), 20)
    losses, seen = draw(
        lambda: regional_contrast_loss(representation, label_map, probabilities, config=cfg, generator=g), 200
    )

    error = (naive_losses.var() / 20 + losses.var() / 200).sqrt()
    assert abs(naive_losses.mean() - losses.mean()) < 4 * error, remark
    error = (naive_seen.var(0) / 20 + seen.var(0) / 200).sqrt()
    assert ((naive_seen.mean(0) - seen.mean(0)).abs() < 4 * error).all(), remark


def test_active_and_uniform_keys_differ_where_classes_differ_in_size() -> None:
    representation, label_map, probabilities = scene()
    label_map[label_map == 1] = torch.where(torch.arange(int((label_map == 1).sum())) < 3, 1, 0)

    means = {
        way: torch.stack(
            [
                regional_contrast_loss(
                    representation.detach(),
                    label_map,
                    probabilities,
                    config=RecoConfig(key_sampling=way),
                    generator=torch.Generator().manual_seed(seed),
                )
                for seed in range(20)
            ]
        )
        for way in KEY_SAMPLINGS
    }

    assert abs(means["active"].mean() - means["uniform"].mean()) > 5 * means["active"].std()


def test_info_nce_is_the_formula_worked_by_hand() -> None:
    # The query points along the positive (cosine 1) and is at right angles to two negatives (cosine 0), t = 0.5.
    query, negatives = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, -1.0]]])

    loss, gradient = info_nce(*direction_and_length(query), torch.tensor([[1.0, 0.0]]), negatives, temperature=0.5)

    assert float(loss) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))
    # The negatives push in opposite directions, and the positive cannot pull the query any closer.
    torch.testing.assert_close(gradient, torch.zeros(1, 1, 2))


@pytest.mark.parametrize(("groups", "queries"), [(2, 5), (10, 1)], ids=["keys shared", "keys of their own"])
@pytest.mark.parametrize("temperature", [0.5, 0.03, 0.01])
def test_the_gradient_that_info_nce_gives_is_the_one_autograd_finds(
    groups: int, queries: int, temperature: float
) -> None:
    g = torch.Generator().manual_seed(0)
    lengths = torch.tensor([1.0, 0.1, 10.0, 1.0, 3.0, 1.0, 0.5, 2.0, 7.0, 1.0]).view(groups, queries, 1)
    representations = torch.randn(groups, queries, 6, generator=g) * lengths
    positive = F.normalize(torch.randn(groups, 6, generator=g), dim=-1)
    negatives = F.normalize(torch.randn(groups, 7, 6, generator=g), dim=-1)

    value, gradient = info_nce(*direction_and_length(representations), positive, negatives, temperature, weight=0.3)

    leaf = representations.double().requires_grad_()
    keys = torch.cat([positive[:, None], negatives], dim=1).double()
    similar = torch.einsum("gqd,gkd->gqk", F.normalize(leaf, dim=-1), keys).flatten(0, 1) / temperature
    expected = 0.3 * F.cross_entropy(similar, torch.zeros(10, dtype=torch.int64), reduction="sum")
    expected.backward()  # type: ignore[no-untyped-call]
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-4)
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=1e-3, atol=1e-6)


def test_a_query_of_no_length_is_left_where_it_is() -> None:
    nowhere = direction_and_length(torch.zeros(1, 1, 2))

    _, gradient = info_nce(*nowhere, torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]]), 0.5)

    assert not gradient.any()


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-6), (torch.float64, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_precision_and_memory_layout_change_nothing_but_rounding(
    dtype: torch.dtype, tolerance: float, layout: torch.memory_format
) -> None:
    plain, label_map, probabilities = scene()
    other = plain.detach().to(dtype).contiguous(memory_format=layout).requires_grad_()

    losses = [
        regional_contrast_loss(r, label_map, probabilities, generator=torch.Generator().manual_seed(3))
        for r in (plain, other)
    ]
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]

    assert losses[1].dtype == torch.float32
    assert float(losses[1].detach()) == pytest.approx(float(losses[0].detach()), rel=tolerance)
    assert other.grad is not None
    assert other.grad.is_contiguous(memory_format=layout)
    assert plain.grad is not None
    torch.testing.assert_close(other.grad.float(), plain.grad, rtol=0.1, atol=tolerance * float(plain.grad.abs().max()))


def test_a_representation_in_an_unusual_order_of_memory_gets_the_same_gradient() -> None:
    plain, label_map, probabilities = scene()
    turned = plain.detach().permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3).requires_grad_()
    assert not turned.is_contiguous()

    for r in (plain, turned):
        loss = regional_contrast_loss(r, label_map, probabilities, generator=torch.Generator().manual_seed(3))
        (2 * loss).backward()  # type: ignore[no-untyped-call]

    assert plain.grad is not None
    assert turned.grad is not None
    torch.testing.assert_close(turned.grad, plain.grad)


def test_the_same_seed_gives_the_same_bits_of_loss_and_gradient() -> None:
    representation, label_map, probabilities = scene(size=40)

    def bits() -> tuple[Tensor, Tensor]:
        loss = regional_contrast_loss(
            representation, label_map, probabilities, generator=torch.Generator().manual_seed(9)
        )
        return loss.detach(), torch.autograd.grad(loss, representation)[0]

    first, second = bits(), bits()

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("queries", [5, 20])
def test_whether_classes_are_computed_one_by_one_or_side_by_side_changes_nothing_but_rounding(
    queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    representation, label_map, probabilities = scene(classes=9)
    rare = (label_map == 2) | (label_map == 5)
    label_map[rare & (torch.rand(label_map.shape, generator=torch.Generator().manual_seed(1)) < 0.8)] = UNLABELLED

    def outcome(at_once: int) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr(losses, "_CLASSES_AT_ONCE", at_once)
        loss = regional_contrast_loss(
            representation,
            label_map,
            probabilities,
            config=RecoConfig(num_queries=queries),
            generator=torch.Generator().manual_seed(4),
        )
        return loss.detach(), torch.autograd.grad(loss, representation)[0]

    torch.testing.assert_close(outcome(4), outcome(1))


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


def test_a_batch_of_no_images_gives_zero() -> None:
    representation = torch.zeros(0, 8, 4, 4, requires_grad=True)
    label_map, probabilities = torch.zeros(0, 4, 4, dtype=torch.int64), torch.zeros(0, 3, 4, 4)

    loss = regional_contrast_loss(representation, label_map, probabilities, generator=torch.Generator())

    assert float(loss.detach()) == 0.0


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


@pytest.mark.parametrize("factor", [1e-6, 1e30, 3e38])
def test_the_contrast_does_not_care_how_long_representations_are(factor: float) -> None:
    representation, label_map, probabilities = scene()

    gigantic = representation.detach() / representation.detach().abs().max() * factor
    gigantic.requires_grad_()

    loss = regional_contrast_loss(gigantic, label_map, probabilities, generator=torch.Generator().manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]

    same = regional_contrast_loss(representation, label_map, probabilities, generator=torch.Generator().manual_seed(0))
    assert float(loss.detach()) == pytest.approx(float(same.detach()), rel=1e-4)
    assert gigantic.grad is not None
    assert torch.isfinite(gigantic.grad).all()


def _with_one(representation: Tensor, where: Tensor, value: float) -> Tensor:
    """A copy in which one number of the first such cell is `value`."""
    image, y, x = (int(part) for part in where.nonzero()[0])
    spoilt = representation.detach().clone()
    spoilt[image, 3, y, x] = value
    return spoilt


BAD_ARGUMENTS: dict[str, list[tuple[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]]]] = {
    "representation": [
        ("three dimensions", lambda r, y, p: (r[0], y, p)),
        ("integers", lambda r, y, p: (r.detach().long(), y, p)),
        ("a NaN", lambda r, y, p: (torch.where(torch.rand(r.shape) < 0.1, float("nan"), r.detach()), y, p)),
        ("an infinity", lambda r, y, p: (r.detach() + float("inf"), y, p)),
        ("a NaN where nobody spoke", lambda r, y, p: (_with_one(r, y == UNLABELLED, float("nan")), y, p)),
        ("an infinity under void", lambda r, y, p: (_with_one(r, y == VOID, -float("inf")), y, p)),
        ("a NaN in half precision", lambda r, y, p: (_with_one(r.bfloat16(), y == 1, float("nan")), y, p)),
    ],
    "label_map": [
        ("another height", lambda r, y, p: (r, y[:, 1:], p)),
        ("another batch", lambda r, y, p: (r, y[:1], p)),
        ("bytes", lambda r, y, p: (r, y.to(torch.uint8), p)),
        ("a class too many", lambda r, y, p: (r, torch.where(y == 0, 4, y), p)),
        ("a value between the classes and void", lambda r, y, p: (r, torch.where(y == 0, 253, y), p)),
        ("a value beyond unlabelled", lambda r, y, p: (r, torch.where(y == 0, 256, y), p)),
        ("a negative class", lambda r, y, p: (r, torch.where(y == 0, -1, y), p)),
    ],
    "probabilities": [
        ("another width", lambda r, y, p: (r, y, p[..., 1:])),
        ("logits", lambda r, y, p: (r, y, p.log())),
        ("no class", lambda r, y, p: (r, y, p[:, :0])),
        ("more classes than a label map can name", lambda r, y, p: (r, y, p.repeat(1, 64, 1, 1) / 64)),
        ("a negative share", lambda r, y, p: (r, y, torch.cat([p[:, :2] - 1, p[:, 2:] + 1], dim=1))),
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


BAD_NUMBERS: list[tuple[str, Any]] = [
    ("temperature", 0.0),
    ("temperature", -0.5),
    ("temperature", float("nan")),
    ("temperature", float("inf")),
    ("delta_s", 1.5),
    ("delta_w", float("nan")),
    ("num_queries", 0),
    ("num_keys", 2.5),
    ("key_sampling", "activ"),
    ("query_sampling", "medium"),
]


@pytest.mark.parametrize(("argument", "value"), BAD_NUMBERS)
def test_a_bad_number_or_word_is_refused_by_its_name(argument: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=f"^{argument}: ") as refused:
        RecoConfig(**{argument: value})  # type: ignore[arg-type]

    assert refused.value.argument == argument


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

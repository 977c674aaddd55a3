"""From clicks on pixels that were drawn evenly to numbers with intervals. Pure: numpy only, chance comes in.

Each interval is meant to hold the true value in 95 of 100 projects; `tests/backend/test_estimates.py` measures in how
many simulated projects it does. Where clicks are too few for a number that says anything, there is a sentence instead.

A class's IoU is TP / (TP + FP + FN). Of the pixels in that union, drawn evenly, each is a true positive with
probability IoU: so given their number, the hits are binomial, and the interval is that of a binomial share.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recolabel.contract.evaluation import Calibration, CalibrationBin, Figure

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
MIN_UNION = 8
"""Clicks in a class's union below which its IoU is not shown: the interval would span half of what is possible."""
MIN_CLICKS = 10
"""The same for shares of all clicks."""
MIN_CORRECTIONS = 3
DRAWS = 1_000
EXACT_UP_TO = 5_000
"""Clicks up to which the binomial tails are summed; beyond, the normal approximation is as good."""
BIN_EDGES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
PRIOR = 0.5
"""Jeffreys' prior for a share: half a hit and half a miss."""

Counts = NDArray[np.int64]


def too_few(clicks: int, wanted: int, of_what: str) -> Figure:
    """No number, and how many more it takes."""
    more = wanted - clicks
    sentence = f"{more} more {of_what} {'is' if more == 1 else 'are'} needed for a number."
    return Figure(value=None, low=None, high=None, clicks=clicks, missing=sentence)


def share(hits: int, clicks: int, *, wanted: int = MIN_CLICKS, of_what: str = "clicks") -> Figure:
    """A share of clicks with its interval."""
    if clicks < max(1, wanted):
        return too_few(clicks, max(1, wanted), of_what)
    low, high = share_interval(hits, clicks)
    return Figure(value=hits / clicks, low=low, high=high, clicks=clicks)


@functools.lru_cache(maxsize=4096)
def share_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a binomial share: Clopper and Pearson's with half of the observed point in each tail.

    The "mid-P" form: the exact interval covers too much with few clicks, Wald's far too little.
    """
    assert 0 <= hits <= total
    assert total > 0
    if total > EXACT_UP_TO:
        return _wilson(hits, total)
    low = 0.0 if hits == 0 else _solve(hits, total, upper_tail=True)
    high = 1.0 if hits == total else _solve(hits, total, upper_tail=False)
    return low, high


def _wilson(hits: int, total: int) -> tuple[float, float]:
    z = 1.959964
    middle = (hits + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(hits * (total - hits) / total + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


@functools.lru_cache(maxsize=512)
def _log_choose(total: int) -> NDArray[np.float64]:
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    ways: NDArray[np.float64] = log_factorial[total] - log_factorial - log_factorial[::-1]
    return ways


def _solve(hits: int, total: int, *, upper_tail: bool) -> float:
    """The share at which the tail beyond `hits` holds 2.5 %, by halving."""
    ways, counts = _log_choose(total), np.arange(total + 1)
    low, high = 1e-12, 1 - 1e-12
    for _ in range(40):
        middle = (low + high) / 2
        mass = np.exp(ways + counts * math.log(middle) + (total - counts) * math.log1p(-middle))
        tail = (mass[hits + 1 :] if upper_tail else mass[:hits]).sum() + mass[hits] / 2
        if (tail < TAIL) == upper_tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def unions(confusion: Counts) -> tuple[Counts, Counts]:
    """True positives and union of each class, from (K, K) counts with what people said in the rows."""
    hits = np.diag(confusion)
    return hits, confusion.sum(axis=0) + confusion.sum(axis=1) - hits


def class_ious(confusion: Counts) -> list[Figure]:
    """The IoU of each class, from (K, K) counts of evenly drawn pixels."""
    hits, union = unions(confusion)
    of_what = "random clicks that meet this class"
    return [
        share(int(hit), int(size), wanted=MIN_UNION, of_what=of_what) for hit, size in zip(hits, union, strict=True)
    ]


def counted_classes(confusion: Counts) -> NDArray[np.bool_]:
    """Which classes have enough clicks for a number."""
    enough: NDArray[np.bool_] = unions(confusion)[1] >= MIN_UNION
    return enough


def common_classes(counted: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """The classes over which to take the mean, the same for all versions, or a curve would rise by leaving out a class.

    Those that the newest version counts, but for up to a quarter of them that older versions do not count. Versions
    that lack one of the others get no mean. A version that still draws counts few classes: while those are less than
    half of what another counted, the newest before it leads.

    Args:
        counted: of each version, oldest first; at least one.
    """
    most = max(int(each.sum()) for each in counted)
    leader = max(place for place, each in enumerate(counted) if 2 * each.sum() >= most)
    newest = counted[leader]
    common = newest.copy()
    for older in reversed(counted[:leader]):
        both = common & older
        if both.sum() * 4 < newest.sum() * 3:
            break
        common = both
    return common


def mean_iou(confusion: Counts, counted: NDArray[np.bool_], rng: np.random.Generator) -> Figure:
    """The mean IoU over the classes that are counted.

    The interval comes from draws of the whole confusion matrix, because one wrong click lowers two classes at once.
    The prior is spread over the cells such that each single IoU has Jeffreys' prior. With few clicks it pulls every
    class towards one half, and the mean of many classes would be pulled out of its interval: so the interval is
    widened to hold both the draws and the draws moved onto the plain mean.
    """
    clicks = int(confusion.sum())
    classes = len(confusion)
    if not counted.any() or classes < 2:
        largest = int(unions(confusion)[1].max(initial=0))
        return too_few(largest, MIN_UNION, "random clicks that meet one class").model_copy(update={"clicks": clicks})
    hits, union = unions(confusion)
    value = float((hits[counted] / np.maximum(union[counted], 1)).mean())
    prior = np.full((classes, classes), PRIOR / (2 * (classes - 1)))
    np.fill_diagonal(prior, PRIOR)
    cells = rng.gamma(confusion + prior, size=(DRAWS, classes, classes))
    drawn_hits = np.einsum("rii->ri", cells)
    drawn_unions = cells.sum(axis=1) + cells.sum(axis=2) - drawn_hits
    drawn = (drawn_hits / np.maximum(drawn_unions, 1e-300))[:, counted].mean(axis=1)
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    move = value - float(drawn.mean())
    return Figure(
        value=value,
        low=max(0.0, float(min(low, low + move))),
        high=min(1.0, float(max(high, high + move))),
        clicks=clicks,
    )


def mean_iou_of_images(confusions: Counts, rng: np.random.Generator) -> Figure:
    """The mean IoU over the classes that occur, from whole masks; the interval over images that might have been others.

    Args:
        confusions: (images, K, K) pixel counts, truth in the rows.
    """
    images, classes = confusions.shape[:2]
    value = float(_means_of_masks(confusions.sum(axis=0, keepdims=True))[0])
    if math.isnan(value):
        return too_few(0, 1, "masks with a class")
    if images < 2:
        missing = "One image gives a number but no interval: import masks for more images."
        return Figure(value=value, low=None, high=None, clicks=0, missing=missing)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=DRAWS).astype(np.float64)
    drawn = _means_of_masks((weights @ confusions.reshape(images, -1)).reshape(DRAWS, classes, classes))
    low, high = np.nanquantile(drawn, [TAIL, 1 - TAIL])
    return Figure(value=value, low=float(min(low, value)), high=float(max(high, value)), clicks=0)


def _means_of_masks(confusions: NDArray[Any]) -> NDArray[np.float64]:
    """The mean IoU of each (K, K) matrix over the classes that occur in its rows; nan where none does."""
    hits = np.einsum("rii->ri", confusions).astype(np.float64)
    union = confusions.sum(axis=1) + confusions.sum(axis=2) - hits
    occurs = confusions.sum(axis=2) > 0
    total = np.where(occurs, hits / np.maximum(union, 1), 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.where(occurs.any(axis=1), total / np.maximum(occurs.sum(axis=1), 1), np.nan)
    return means


def ratio(hits: int, clicks: int, other_hits: int, other_clicks: int, rng: np.random.Generator) -> Figure:
    """How many times as large one share is as another, from draws of both."""
    if min(clicks, other_clicks) < MIN_CLICKS:
        return too_few(min(clicks, other_clicks), MIN_CLICKS, "answers of the rarer kind")
    if other_hits < MIN_CORRECTIONS:
        few = too_few(other_hits, MIN_CORRECTIONS, "random answers that contradict the map")
        return few.model_copy(update={"clicks": clicks + other_clicks})
    drawn = rng.beta(hits + PRIOR, clicks - hits + PRIOR, DRAWS)
    other = rng.beta(other_hits + PRIOR, other_clicks - other_hits + PRIOR, DRAWS)
    low, high = np.quantile(drawn / other, [TAIL, 1 - TAIL])
    value = (hits / clicks) / (other_hits / other_clicks)
    return Figure(value=value, low=float(min(low, value)), high=float(max(high, value)), clicks=clicks + other_clicks)


def calibration(confidence: Sequence[float], right: Sequence[bool], rng: np.random.Generator) -> Calibration:
    """Whether confidences (0..1) match how often they are right, on evenly drawn pixels."""
    sure, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    clicks = len(sure)
    places = np.clip(np.digitize(sure, BIN_EDGES[1:-1]), 0, len(BIN_EDGES) - 2)
    bins = []
    for place, (low, high) in enumerate(pairwise(BIN_EDGES)):
        inside = places == place
        if inside.any():
            figure = share(int(hit[inside].sum()), int(inside.sum()), wanted=MIN_UNION)
            bins.append(CalibrationBin(low=low, high=high, sure=float(sure[inside].mean()), right=figure))
    if clicks < 3 * MIN_CLICKS:
        missing = too_few(clicks, 3 * MIN_CLICKS, "random clicks")
        return Calibration(bins=bins, error=missing, error_by_chance=None, overconfidence=missing)
    picks = rng.integers(clicks, size=(DRAWS, clicks))
    drawn_error = _errors(sure[picks], hit[picks], places[picks])
    error = float(_errors(sure[None], hit[None], places[None])[0])
    by_chance = _errors(
        np.broadcast_to(sure, (DRAWS, clicks)),
        (rng.random((DRAWS, clicks)) < sure).astype(np.float64),
        np.broadcast_to(places, (DRAWS, clicks)),
    )
    low, high = np.quantile(drawn_error, [TAIL, 1 - TAIL])
    gap = float((sure - hit).mean())
    right_low, right_high = share_interval(int(hit.sum()), clicks)
    return Calibration(
        bins=bins,
        error=Figure(value=error, low=float(min(low, error)), high=float(max(high, error)), clicks=clicks),
        error_by_chance=float(np.quantile(by_chance, LEVEL)),
        overconfidence=Figure(
            value=gap, low=float(sure.mean()) - right_high, high=float(sure.mean()) - right_low, clicks=clicks
        ),
    )


def _errors(sure: NDArray[np.float64], hit: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected calibration error of each row."""
    total = np.zeros(len(sure))
    for place in range(len(BIN_EDGES) - 1):
        total += np.abs(((sure - hit) * (places == place)).sum(axis=1))
    errors: NDArray[np.float64] = total / sure.shape[1]
    return errors

"""`recolabel simulate FOLDER`: mean IoU against clicks, with a simulated annotator; no server needed.

Protocol, after PixelPick (Shin et al., ICCV workshops 2021): in the first round the annotator clicks the same number of
random pixels in every training image; a model is trained; in each further round the strategy asks about as many
pixels of every image, the annotator answers from the mask, and a new model is trained on all clicks so far. Every
round's model is judged on all pixels of `val`, which neither training nor strategy ever sees. The strategies share the
first round of a seed.

Instead, some images may carry their whole mask and the others nothing: the paper's Partial Dataset, Full Labels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import re
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recolabel.errors import BadArgument, RecolabelError
from recolabel.formats.indexed_png import UNLABELLED
from recolabel_worker.annotator import (
    STRATEGIES,
    Mask,
    Pixels,
    Strategy,
    answer,
    answerable_pixels,
    check_strategy,
    choose_pixels,
    class_pixels,
    draw_masks,
)
from recolabel_worker.curve_svg import Line, draw_chart
from recolabel_worker.dataset_folder import DataSet, LabelledImage, read_data_set
from recolabel_worker.devices import MOST_THREADS, choose_device
from recolabel_worker.learners import DeepLearner, FastLearner, Fitted, Learner, Tick, fresh_network
from recolabel_worker.reco import InvalidArgument, NonFiniteLoss, TrainConfig, confusion_matrix, iou, mean_iou
from recolabel_worker.reco.config import BACKBONES, SIDE_MULTIPLE
from recolabel_worker.reco.metrics import calibration_bins, calibration_error
from recolabel_worker.reco.train import Source

RESULT_FILE = "result.json"
CURVE_FILE = "curve.svg"
DEEP_AT_END = "deep-at-end"
"""The head that asks with the fast head and ends with a deep training, as the app is used."""
FIRST_CLICKS = "per-class"
"""Name of the curve that `--clicks-per-class` gives: random clicks of each class, no strategy."""
FULL_MASKS = "full-masks"
"""Name of the curve that `--full-masks` gives."""

_ROUNDS = 5
_X_TITLES = {"clicks_per_image": "clicks per image", "masks": "whole masks"}
_COLUMN_TITLES = {"clicks_per_image": "clicks/image", "masks": "masks"}
_INTERRUPTED = 130


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    strategies: tuple[Strategy, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]  # clicks an image at the end of each round, rising
    clicks_per_class: int | None = None  # instead: so many clicks of each class of an image, one round
    full_masks: int | None = None  # instead: the whole masks of so many images and no click, one round
    border_px: int = 0
    error_rate: float = 0.0

    @property
    def fits(self) -> int:
        """How many models are trained."""
        return len(self.seeds) * (1 + len(self.strategies) * (len(self.budgets) - 1))


@dataclass(frozen=True)
class Point:
    """A model and what it was worth."""

    strategies: tuple[str, ...]  # all of them in the first round, which they share
    seed: int
    round: int  # from 1
    masks: list[str]  # names of the images whose mask is given whole; no click is given then
    clicks: int  # answers so far, in all training images
    clicks_per_image: float
    class_clicks: list[int]  # answers by class
    miou: float  # 0..1 on val; mean over classes that occur
    calibration_error: float  # expected calibration error on val, 0..1
    class_iou: list[float]  # NaN for a class neither in val nor predicted
    fast_head_miou: float | None  # of the fast head, be it the model or not; None where there is none
    trained_miou: float | None  # of the trained network (the teacher) likewise
    source: Source  # which of the networks the model is; held-out clicks choose, never val
    fit_seconds: float


# --- the protocol ---------------------------------------------------------------------------------------------


def simulate(
    plan: Plan,
    data: DataSet,
    learner: Learner,
    *,
    finisher: Learner | None = None,
    tick: Tick = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Point]:
    """Run a plan; one point a trained model. Everything random follows from the seeds of the plan.

    Args:
        finisher: what trains in the last round instead of `learner`.

    Raises:
        BadArgument: as `check`, or no pixel of the training images can be answered.
        InvalidArgument, NonFiniteLoss: as `Learner.fit`.
    """
    check(plan, data)
    learners = [learner] * (len(plan.budgets) - 1) + [finisher or learner]
    first: tuple[str, ...] = plan.strategies
    if plan.clicks_per_class is not None:
        first = (FIRST_CLICKS,)
    if plan.full_masks is not None:
        first = (FULL_MASKS,)
    for seed in plan.seeds:
        start = _Clicks(plan, data, seed)
        if plan.full_masks is None:
            start.answer_at_random()
        else:
            start.take_masks(plan.full_masks)
        fitted, point = _fit(start, first, 1, learners[0], tick, clock)
        yield point
        for strategy in plan.strategies:
            clicks, model = start.copy(), fitted
            for number in range(2, len(plan.budgets) + 1):
                clicks.answer_questions(strategy, number, model, tick)
                model, point = _fit(clicks, (strategy,), number, learners[number - 1], tick, clock)
                yield point


def check(plan: Plan, data: DataSet) -> None:
    """Refuse a plan that a data set cannot serve.

    Raises:
        BadArgument: no pixel of val can be judged, or there are fewer training images than masks to give.
    """
    if not any((item.label_map < len(data.class_names)).any() for item in data.val):
        raise BadArgument("No pixel of the val masks has a class; there is nothing to judge by.")
    if plan.full_masks is not None and plan.full_masks > len(data.train):
        raise BadArgument(f"--full-masks {plan.full_masks} needs as many training images; there are {len(data.train)}.")


class _Clicks:
    """The answers of one annotator so far: a sparse label map for each training image."""

    def __init__(self, plan: Plan, data: DataSet, seed: int) -> None:
        self.plan, self.data, self.seed = plan, data, seed
        count = len(data.class_names)
        self.answerable = [answerable_pixels(item.label_map, count, plan.border_px) for item in data.train]
        if not any(mask.any() for mask in self.answerable):
            raise BadArgument("No pixel of the training masks has a class; there is nothing to click.")
        self.label_maps = [np.full(item.label_map.shape, UNLABELLED, np.uint8) for item in data.train]
        self.class_clicks = np.zeros(count, np.int64)
        self.masks: list[str] = []

    def copy(self) -> _Clicks:
        twin = _Clicks.__new__(_Clicks)
        twin.plan, twin.data, twin.seed, twin.answerable = self.plan, self.data, self.seed, self.answerable
        twin.label_maps = [label_map.copy() for label_map in self.label_maps]
        twin.class_clicks = self.class_clicks.copy()
        twin.masks = list(self.masks)
        return twin

    def answer_at_random(self) -> None:
        """The first round."""
        for index, item in enumerate(self.data.train):
            rng = self._rng(1, index)
            if self.plan.clicks_per_class is not None:
                pixels = class_pixels(item.label_map, self.answerable[index], self.plan.clicks_per_class, rng)
            else:
                pixels = self._choose("random", None, index, self.plan.budgets[0], rng)
            self._answer(index, pixels, rng)

    def take_masks(self, count: int) -> None:
        """Take the masks of `count` images whole, void and unlabelled pixels as they are."""
        train = self.data.train
        truths = [item.label_map for item in train]
        for index in draw_masks(truths, count, len(self.class_clicks), np.random.default_rng([self.seed, 1])):
            self.label_maps[index] = truths[index].copy()
            self.masks.append(train[index].name)

    def answer_questions(self, strategy: Strategy, number: int, model: Fitted, tick: Tick) -> None:
        """Round `number` by a strategy; probabilities of all images are those of the round before."""
        count = self.plan.budgets[number - 1] - self.plan.budgets[number - 2]
        for index, item in enumerate(self.data.train):
            rng = self._rng(number, index)
            probabilities = None if strategy == "random" else model.probabilities(item)
            self._answer(index, self._choose(strategy, probabilities, index, count, rng), rng)
            tick()

    def _rng(self, number: int, index: int) -> np.random.Generator:
        # A stream for each image and round: a strategy's answers do not depend on what others drew before.
        return np.random.default_rng([self.seed, number, index])

    def _choose(
        self,
        strategy: Strategy,
        probabilities: torch.Tensor | None,
        index: int,
        count: int,
        rng: np.random.Generator,
    ) -> Pixels:
        clicks = self.label_maps[index]
        free: Mask = self.answerable[index] & (clicks == UNLABELLED)
        return choose_pixels(
            strategy,
            probabilities,
            free,
            count,
            clicks=clicks,
            rng=rng,
        )

    def _answer(self, index: int, pixels: Pixels, rng: np.random.Generator) -> None:
        truth = self.data.train[index].label_map
        for y, x in pixels.tolist():
            said = answer(truth, y, x, len(self.class_clicks), self.plan.error_rate, rng)
            self.label_maps[index][y, x] = said
            self.class_clicks[said] += 1


def _fit(
    clicks: _Clicks,
    strategies: tuple[str, ...],
    number: int,
    learner: Learner,
    tick: Tick,
    clock: Callable[[], float],
) -> tuple[Fitted, Point]:
    data = clicks.data
    began = clock()
    fitted = learner.fit(data.train, clicks.label_maps, clicks.seed, tick)
    seconds = clock() - began
    confusions, binned = _judge(fitted, data.val, len(data.class_names), tick)
    mious = {source: mean_iou(confusion) for source, confusion in confusions.items()}
    total = int(clicks.class_clicks.sum())
    point = Point(
        strategies=strategies,
        seed=clicks.seed,
        round=number,
        masks=clicks.masks,
        clicks=total,
        clicks_per_image=total / len(data.train),
        class_clicks=clicks.class_clicks.tolist(),
        miou=mious[fitted.source],
        calibration_error=calibration_error(binned),
        class_iou=iou(confusions[fitted.source]).tolist(),
        fast_head_miou=mious.get("fast head"),
        trained_miou=mious.get("teacher"),
        source=fitted.source,
        fit_seconds=seconds,
    )
    return fitted, point


def _judge(
    fitted: Fitted, val: Sequence[LabelledImage], class_count: int, tick: Tick
) -> tuple[dict[Source, torch.Tensor], torch.Tensor]:
    """The (C, C) confusion of each network there is, and the model's `calibration_bins`; image by image."""
    binned: list[torch.Tensor] = []
    confusions = {source: torch.zeros(class_count, class_count, dtype=torch.int64) for source in fitted.networks}
    for item in val:
        truth = torch.from_numpy(item.label_map)
        for source, predicted in fitted.networks.items():
            probabilities = predicted(item)
            confusions[source] += confusion_matrix(probabilities.argmax(0), truth, class_count)
            if source == fitted.source:
                binned.append(calibration_bins(probabilities.flatten(1).T, truth.flatten()))
        tick()
    return confusions, torch.stack(binned).sum(0)


# --- what comes out -------------------------------------------------------------------------------------------


def curves(points: Sequence[Point], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean over seeds by strategy and round; `spread` is the sample standard deviation, null for one seed."""
    found: dict[str, dict[int, list[Point]]] = {}
    for point in points:
        for strategy in point.strategies:
            found.setdefault(strategy, {}).setdefault(point.round, []).append(point)
    return [
        {
            "strategy": strategy,
            "points": [_summary(rounds[number], class_names) for number in sorted(rounds)],
        }
        for strategy, rounds in found.items()
    ]


def _summary(points: Sequence[Point], class_names: Sequence[str]) -> dict[str, Any]:
    mean, spread = _mean_and_spread([point.miou for point in points])
    error, error_spread = _mean_and_spread([point.calibration_error for point in points])
    fast, fast_spread = _mean_and_spread([point.fast_head_miou for point in points])
    trained, trained_spread = _mean_and_spread([point.trained_miou for point in points])
    per_class = np.array([point.class_iou for point in points])
    return {
        "round": points[0].round,
        "masks": len(points[0].masks),
        "clicks_per_image": statistics.fmean(point.clicks_per_image for point in points),
        "clicks": statistics.fmean(point.clicks for point in points),
        "miou": mean,
        "spread": spread,
        "seeds": [point.seed for point in points],
        "mious": [_number(point.miou) for point in points],
        "calibration_error": error,
        "calibration_spread": error_spread,
        "fast_head_miou": fast,
        "fast_head_spread": fast_spread,
        "trained_miou": trained,
        "trained_spread": trained_spread,
        "class_iou": {name: _number(_mean_of_known(per_class[:, index])) for index, name in enumerate(class_names)},
    }


def _mean_and_spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; no mean when a value is missing, no deviation of fewer than two."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return _number(statistics.fmean(known)), _number(statistics.stdev(known)) if len(known) > 1 else None


def _mean_of_known(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _number(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None


def abscissa(plan: Plan) -> str:
    """Which field of a curve's points the curve is drawn over."""
    return "clicks_per_image" if plan.full_masks is None else "masks"


def chart(found: Sequence[dict[str, Any]], title: str, x: str = "clicks_per_image") -> str | None:
    """The curves as SVG, in points of mean IoU over the field `x`; None while there is nothing to draw."""
    lines = []
    for curve in found:
        points = [point for point in curve["points"] if point["miou"] is not None]
        if points:
            lines.append(
                Line(
                    name=curve["strategy"],
                    x=[point[x] for point in points],
                    y=[100 * point["miou"] for point in points],
                    spread=[100 * (point["spread"] or 0.0) for point in points],
                )
            )
    if not lines:
        return None
    return draw_chart(lines, title=title, x_title=_X_TITLES[x], y_title="mean IoU on val, %")


def _run(point: Point, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        **asdict(point),
        "miou": _number(point.miou),
        "calibration_error": _number(point.calibration_error),
        "fast_head_miou": _number(point.fast_head_miou),
        "trained_miou": _number(point.trained_miou),
        "class_iou": {name: _number(value) for name, value in zip(class_names, point.class_iou, strict=True)},
        "class_clicks": dict(zip(class_names, point.class_clicks, strict=True)),
        "fit_seconds": round(point.fit_seconds, 3),
    }


def _write(out: Path, document: dict[str, Any], title: str) -> None:
    _replace(out / RESULT_FILE, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    drawing = chart(document["curves"], title, document["x"])
    if drawing is not None:
        _replace(out / CURVE_FILE, drawing)


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".part-", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


# --- the command ----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status is 0 when all of the plan was simulated, 1 when not, 2 for bad usage."""
    given = _parser().parse_args(arguments)
    try:
        return _simulate(given, shlex.join(["recolabel", "simulate", *arguments]))
    except RecolabelError as error:
        problem = error.sentence
    except (InvalidArgument, NonFiniteLoss) as error:
        problem = str(error)
    except OSError as error:
        problem = f"{given.out} cannot be written: {error.strerror or error}."
    print(f"recolabel: {problem}", file=sys.stderr)
    return 1


def _simulate(given: argparse.Namespace, command: str) -> int:
    plan = _plan(given)
    # What cannot work is said before a minute is spent on reading pictures.
    _check_network(_config(given, class_count=2, crop=None), given.weights)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    device = choose_device(given.device)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    data = read_data_set(
        given.folder,
        size=_size(given.size),
        train_limit=given.images,
        val_limit=given.val_images,
        void_indices=given.void_index,
    )
    check(plan, data)
    cfg = _config(given, class_count=len(data.class_names), crop=_largest(data.train))
    document: dict[str, Any] = {
        "command": command,
        "complete": False,
        "classes": data.class_names,
        "images": {"train": len(data.train), "val": len(data.val)},
        "plan": asdict(plan),
        "x": abscissa(plan),
        "head": _head(given),
        "config": cfg.to_dict(),
        "weights": None if given.weights is None else str(given.weights),
        "machine": _machine(device),
        "curves": [],
        "runs": [],
    }
    title = f"{given.folder.resolve().name}: {_head(given)} head"
    points: list[Point] = []
    try:
        with _progress() as bar:
            for point in _points(plan, data, cfg, device, bar, head=_head(given), weights=given.weights):
                points.append(point)
                bar.console.print(_told(point), markup=False, highlight=False)
                document["runs"] = [_run(each, data.class_names) for each in points]
                document["curves"] = curves(points, data.class_names)
                document["complete"] = len(points) == plan.fits
                if given.out is not None:
                    _write(given.out, document, title)
    except KeyboardInterrupt:
        kept = f"; {len(points)} of {plan.fits} models are in {given.out}" if given.out and points else ""
        print(f"recolabel: The simulation was stopped{kept}.", file=sys.stderr)
        return _INTERRUPTED
    if given.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(_table(document["curves"], document["x"]))
    return 0


def _points(
    plan: Plan,
    data: DataSet,
    cfg: TrainConfig,
    device: torch.device,
    bar: Progress,
    *,
    head: str,
    weights: Path | None,
) -> Iterator[Point]:
    deep = DeepLearner(cfg, device, weights=weights)
    learner: Learner = deep
    if head != "deep":
        images = [*data.train, *data.val]
        reading = bar.add_task("features", total=len(images))
        learner = FastLearner(cfg, images, device, tick=lambda: bar.advance(reading), weights=weights)
    finisher = deep if head == DEEP_AT_END else learner
    rounds = len(plan.budgets)
    finished = len(plan.seeds) * (len(plan.strategies) if rounds > 1 else 1)
    total = finished * finisher.work + (plan.fits - finished) * learner.work
    total += plan.fits * len(data.val) + (plan.fits - len(plan.seeds)) * len(data.train)
    running = bar.add_task("models", total=total)
    yield from simulate(plan, data, learner, finisher=finisher, tick=lambda: bar.advance(running))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ends in"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _told(point: Point) -> str:
    given = f"{len(point.masks)} whole masks" if point.masks else f"{point.clicks_per_image:.1f} clicks an image"
    return f"seed {point.seed}, {', '.join(point.strategies)}: {given}, mean IoU {100 * point.miou:.1f}"


def _table(found: Sequence[dict[str, Any]], x: str = "clicks_per_image") -> str:
    """The curves in columns, in percent; the two networks of deep training besides the one that was chosen of them."""
    is_deep = any(point["trained_miou"] is not None for curve in found for point in curve["points"])
    rows = [
        f"{'strategy':<18}{_COLUMN_TITLES[x]:>12}  {'mean IoU':<16}{'calibration error':<19}"
        + ("fast head       trained" if is_deep else "")
    ]
    for curve in found:
        for point in curve["points"]:
            row = f"{curve['strategy']:<18}{point[x]:>12{'d' if x == 'masks' else '.1f'}}  "
            row += f"{_percent(point['miou'], point['spread']):<16}"
            row += f"{_percent(point['calibration_error'], point['calibration_spread']):<19}"
            if is_deep:
                row += f"{_percent(point['fast_head_miou'], point['fast_head_spread']):<16}"
                row += _percent(point["trained_miou"], point["trained_spread"])
            rows.append(row)
    return "\n".join(row.rstrip() for row in rows)


def _percent(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "unknown"
    return f"{100 * mean:.1f}" + ("" if spread is None else f" +- {100 * spread:.1f}")


def _machine(device: torch.device) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


# --- what the options mean ------------------------------------------------------------------------------------


def _plan(given: argparse.Namespace) -> Plan:
    strategies = tuple(dict.fromkeys(part.strip() for part in given.strategy.split(",") if part.strip()))
    for name in strategies or ("",):
        check_strategy(name)
    amounts = (given.clicks_per_image, given.clicks_per_class, given.full_masks)
    if sum(amount is not None for amount in amounts) != 1:
        raise BadArgument("Say how much is labelled: one of --clicks-per-image, --clicks-per-class and --full-masks.")
    if not 0 <= given.error_rate <= 1:
        raise BadArgument(f"--error-rate is a share from 0 to 1, not {given.error_rate:g}.")
    for name in ("clicks_per_image", "clicks_per_class", "full_masks", "rounds", "images", "val_images"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise BadArgument(f"--{name.replace('_', '-')} has to be at least 1, not {value}.")
    if given.threads is not None and not 1 <= given.threads <= MOST_THREADS:
        raise BadArgument(f"--threads is a number from 1 to {MOST_THREADS}, not {given.threads}.")
    if given.border < 0:
        raise BadArgument(f"--border is a number of pixels, not {given.border}.")
    if any(not 0 <= index <= 255 for index in given.void_index):
        raise BadArgument("--void-index takes values from 0 to 255.")
    plan = Plan(
        strategies=cast("tuple[Strategy, ...]", strategies),
        seeds=_seeds(given.seeds),
        budgets=(),
        border_px=given.border,
        error_rate=given.error_rate,
    )
    if given.full_masks is not None:
        if given.rounds not in (None, 1) or strategies != ("random",) or given.border or given.error_rate:
            raise BadArgument(
                "--full-masks is one round without a click; leave out --rounds, --strategy, --border and --error-rate."
            )
        return replace(plan, budgets=(0,), full_masks=given.full_masks)
    if given.clicks_per_class is not None:
        if given.rounds not in (None, 1) or strategies != ("random",):
            raise BadArgument("--clicks-per-class is one round of random clicks; leave out --rounds and --strategy.")
        return replace(plan, budgets=(0,), clicks_per_class=given.clicks_per_class)
    # Random clicks ask no model: the rounds on the way would only cost time.
    rounds = given.rounds or (1 if strategies == ("random",) else min(_ROUNDS, given.clicks_per_image))
    if rounds > given.clicks_per_image:
        raise BadArgument(f"{rounds} rounds need at least as many clicks an image, not {given.clicks_per_image}.")
    if rounds == 1 and strategies != ("random",):
        raise BadArgument(
            "The first round is random clicks whatever the strategy; the others need --rounds 2 or more, and as many "
            "clicks an image."
        )
    return replace(plan, budgets=tuple(given.clicks_per_image * n // rounds for n in range(1, rounds + 1)))


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadArgument(f"--seeds are whole numbers like 0,1,2, not {text!r}.") from None
    if min(seeds) < 0 or max(seeds) >= 2**31 or len(set(seeds)) < len(seeds):
        raise BadArgument(f"--seeds have to differ and lie from 0 to {2**31 - 1}, not {text!r}.")
    return seeds


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(32 <= side <= 8192 for side in size):
        raise BadArgument(f"--size is HEIGHTxWIDTH in pixels from 32 to 8192, like 240x320, not {text!r}.")
    return size


def _head(given: argparse.Namespace) -> str:
    """`fast` unless an option of deep training was given."""
    heads = ("fast", "deep", DEEP_AT_END)
    for_deep = [
        option
        for option, is_given in (
            ("--method", given.method is not None),
            ("--no-reco", given.no_reco),
            ("--steps", given.steps is not None),
        )
        if is_given
    ]
    if given.head is None:
        return "deep" if for_deep else "fast"
    if given.head not in heads:
        raise BadArgument(f"There is no head {given.head!r}; there are {', '.join(heads)}.")
    if given.head == "fast" and for_deep:
        raise BadArgument(f"{for_deep[0]} is about deep training; leave it out, or say --head deep.")
    return str(given.head)


def _config(given: argparse.Namespace, *, class_count: int, crop: tuple[int, int] | None) -> TrainConfig:
    _head(given)
    values = TrainConfig(class_count).to_dict()
    if crop is not None:
        values["crop"] = [min(side, own + -own % SIDE_MULTIPLE) for side, own in zip(values["crop"], crop, strict=True)]
    values |= {
        name: value
        for name, value in (("method", given.method), ("steps", given.steps), ("backbone", given.backbone))
        if value is not None
    }
    values["use_reco"] = not given.no_reco
    for setting in given.set:
        name, equals, text = setting.partition("=")
        if not equals:
            raise BadArgument(f"--set is NAME=VALUE, like reco.temperature=0.1, not {setting!r}.")
        *groups, last = name.strip().split(".")
        place = values
        for group in groups:
            place = place.get(group) if isinstance(place.get(group), dict) else {}  # type: ignore[assignment]
        if last not in place or name in ("num_classes", "seed"):
            raise BadArgument(f"There is no setting {name!r}; settings are the fields of TrainConfig.")
        place[last] = _value(text)
    return TrainConfig.from_dict(values)


def _check_network(cfg: TrainConfig, weights: Path | None) -> None:
    try:
        fresh_network(cfg, weights)
    except FileNotFoundError as error:
        raise BadArgument(str(error)) from error


def _value(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


def _largest(images: Sequence[LabelledImage]) -> tuple[int, int]:
    return max(item.pixels.shape[0] for item in images), max(item.pixels.shape[1] for item in images)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recolabel simulate",
        description="Mean IoU against clicks on a data set folder (train/images train/masks val/images val/masks "
        "classes.txt), with a simulated annotator.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="data set folder")
    parser.add_argument("--clicks-per-image", type=int, metavar="N", help="clicks in each image at the end")
    parser.add_argument("--clicks-per-class", type=int, metavar="N", help="instead: so many of each class it shows")
    parser.add_argument(
        "--full-masks", type=int, metavar="N", help="instead: the whole masks of N images, the others unlabelled"
    )
    parser.add_argument("--strategy", default="random", help=f"one or more of {','.join(STRATEGIES)}")
    parser.add_argument("--rounds", type=int, help=f"rounds, random clicks first; {_ROUNDS}, or 1 for random alone")
    parser.add_argument("--seeds", default="0", help="comma-separated, like 0,1,2")
    parser.add_argument(
        "--head",
        help=f"fast (linear head, seconds), deep (deep if --method, --no-reco or --steps) or {DEEP_AT_END}: fast, and "
        "deep in the last round",
    )
    parser.add_argument("--method", help="supervised, cutout, cutmix or classmix")
    parser.add_argument("--no-reco", action="store_true", help="without the regional contrast")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps of each round's model")
    parser.add_argument("--backbone", metavar="NAME", help=f"{', '.join(BACKBONES)} or hf:MODEL")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="ImageNet weights of the backbone")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a field of TrainConfig: reco.temperature=0.1"
    )
    parser.add_argument("--size", metavar="HxW", help="bring images and masks to this size first")
    parser.add_argument("--images", type=int, metavar="N", help="training images, evenly spread; all when left out")
    parser.add_argument("--val-images", type=int, metavar="N", help="validation images, evenly spread; all")
    parser.add_argument(
        "--border", type=int, default=0, metavar="PX", help="the annotator clicks nothing that close to a border"
    )
    parser.add_argument("--error-rate", type=float, default=0.0, metavar="SHARE", help="share of wrong answers")
    parser.add_argument(
        "--void-index", type=int, action="append", default=[], metavar="N", help="mask value that means void; again"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads; all cores when left out")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"where {RESULT_FILE} and {CURVE_FILE} go")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser

"""`recolabel bench loss|step|fast-head`: how long the engine takes, beside the least that the machine could take.

Times of a shared machine mean little alone. What is compared is timed in turns, and ratios of one run are given; beside
them ratios of processor time (all threads of this process), which others on the machine stretch least. On a GPU those
say nothing.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recolabel.errors import RecolabelError
from recolabel_worker.devices import MOST_THREADS, choose_device
from recolabel_worker.reco import (
    UNLABELLED,
    DeepLabV3Plus,
    FastHeadFitter,
    SparseImage,
    TrainConfig,
    build_network,
    create_state,
    regional_contrast_loss,
)
from recolabel_worker.reco.data import Labels, labels_of
from recolabel_worker.reco.features import Features, extract_features
from recolabel_worker.reco.train import TrainState, train_step

AIMS = {
    "loss_to_floor": 3.0,
    "extra_memory": 0.25,
    "reco_share": 0.10,
    "fit_500_clicks_s": 0.15,
    "fit_5000_clicks_s": 1.0,
    "repaint_s": 0.05,
}
"""What the measured figures are held against."""

VALID_SHARE = 0.6  # of the cells that carry a label


@dataclass(frozen=True)
class LossSize:
    """Sizes of one call of the loss: (B, D, h, w) and classes."""

    shape: tuple[int, int, int, int]
    num_classes: int


LOSS_SIZES = (
    LossSize((8, 256, 90, 120), 11),  # CamVid at 480x360
    LossSize((20, 256, 81, 81), 21),  # VOC, crop 321
    LossSize((4, 256, 128, 128), 19),  # Cityscapes, crop 512
)
_QUICK_LOSS_SIZES = (LossSize((2, 64, 30, 40), 4),)


@dataclass(frozen=True)
class LossFigures:
    """Forward and backward of the contrast beside the floor: read the representation once, write its gradient once.

    The floor is what torch's own operations take for that: on Linux the contrast can get the memory for its gradient
    faster, in large pages.
    """

    shape: tuple[int, int, int, int]
    num_classes: int
    floor_ms: float  # fastest round
    loss_ms: float
    ratio: float  # of the fastest rounds: other users of the machine only add
    median_ratio: float  # of the rounds' own ratios
    processor_ratio: float  # the same of processor time
    extra_memory: float  # peak beside the gradient, in sizes of the representation


@dataclass(frozen=True)
class StepFigures:
    """Seconds of a training step, median over rounds, and what the contrast adds to a ClassMix step."""

    crop: tuple[int, int]
    views: int
    num_classes: int
    supervised_s: float
    classmix_s: float
    reco_s: float  # ClassMix + ReCo as it is by default: the contrast moves the heads and the backbone
    reco_waiting_s: float  # the same while `contrast_wait_steps` last: the contrast moves the heads alone
    reco_share: float  # median over rounds of reco / classmix - 1
    reco_waiting_share: float
    reco_processor_share: float  # the same of processor time
    reco_waiting_processor_share: float


@dataclass(frozen=True)
class FastHeadFigures:
    """Seconds between a click and the new overlay, median over rounds."""

    size: tuple[int, int]  # H, W
    num_classes: int
    features_s: float  # of one image, once in its life
    fit_500_clicks_s: float  # one click more on one image: its labelled cells' features, and the fit on all clicks
    fit_5000_clicks_s: float
    repaint_s: float  # probabilities of an image whose features are at hand


@dataclass
class _Seconds:
    """One entry a round."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status is 0 when the figures are there, whatever they are."""
    given = _parser().parse_args(arguments)
    try:
        device = choose_device(given.device)
    except RecolabelError as error:
        print(f"recolabel: {error.sentence}", file=sys.stderr)
        return 1
    torch.set_num_threads(given.threads)
    figures: list[dict[str, Any]]
    if given.what == "loss":
        sizes = _QUICK_LOSS_SIZES if given.quick else LOSS_SIZES
        figures = [asdict(bench_loss(size, rounds=given.rounds, device=device)) for size in sizes]
    elif given.what == "step":
        crop, size = ((64, 96), (96, 128)) if given.quick else (TrainConfig(2).crop, (360, 480))
        figures = [asdict(bench_step(crop, size, rounds=given.rounds, device=device))]
    else:
        size = (96, 128) if given.quick else (360, 480)
        figures = [asdict(bench_fast_head(size, rounds=given.rounds, device=device))]
    if given.json:
        document = {"bench": given.what, "machine": machine(device), "aims": AIMS, "figures": figures}
        print(json.dumps(document, ensure_ascii=False))
    else:
        for row in figures:
            print("\n".join(_lines(row)), end="\n\n")
    return 0


def bench_loss(size: LossSize, *, rounds: int, device: torch.device, seed: int = 0) -> LossFigures:
    """Time floor and loss in turns, then measure the peak of memory in a round of its own."""
    generator = torch.Generator().manual_seed(seed)
    images, _, height, width = size.shape
    representation = torch.randn(size.shape, generator=generator).to(device).requires_grad_()
    label_map = torch.randint(size.num_classes, (images, height, width), generator=generator)
    label_map[torch.rand(label_map.shape, generator=generator) > VALID_SHARE] = UNLABELLED
    label_map = label_map.to(device)
    probabilities = torch.randn(images, size.num_classes, height, width, generator=generator).softmax(1).to(device)

    def floor() -> None:
        representation.mean((0, 2, 3)).sum().backward()  # type: ignore[no-untyped-call]

    def loss() -> None:
        value = regional_contrast_loss(representation, label_map, probabilities, generator=generator)
        value.backward()  # type: ignore[no-untyped-call]

    def forget() -> None:
        representation.grad = None

    times = _in_turns({"floor": floor, "loss": loss}, rounds, device, before=forget)
    forget()
    size_bytes = representation.numel() * representation.element_size()
    peak = peak_bytes(loss, device)
    return LossFigures(
        shape=size.shape,
        num_classes=size.num_classes,
        floor_ms=1e3 * min(times["floor"].wall),
        loss_ms=1e3 * min(times["loss"].wall),
        ratio=min(times["loss"].wall) / min(times["floor"].wall),
        median_ratio=_median_ratio(times["loss"].wall, times["floor"].wall),
        processor_ratio=_median_ratio(times["loss"].processor, times["floor"].processor),
        extra_memory=(peak - size_bytes) / size_bytes,
    )


def bench_step(
    crop: tuple[int, int], size: tuple[int, int], *, rounds: int, device: torch.device, num_classes: int = 11
) -> StepFigures:
    """Train four networks on the same pictures, a step each in turns."""
    images = [picture(seed, size, num_classes, clicks=20) for seed in range(4)]
    base = TrainConfig(num_classes, crop=crop, steps=10_000)
    plans = {
        "supervised": replace(base, method="supervised", use_reco=False),
        "classmix": replace(base, method="classmix", use_reco=False),
        "reco": replace(base, method="classmix", use_reco=True),
        "waiting": replace(base, method="classmix", use_reco=True, contrast_wait_steps=base.steps),
    }
    network = _network(num_classes)
    states = {
        name: create_state(plan, images, network=copy.deepcopy(network), device=device) for name, plan in plans.items()
    }

    def step_of(state: TrainState) -> Callable[[], None]:
        def step() -> None:
            train_step(state)

        return step

    times = _in_turns({name: step_of(state) for name, state in states.items()}, rounds, device)
    return StepFigures(
        crop=crop,
        views=base.batch_labelled + base.batch_unlabelled,
        num_classes=num_classes,
        supervised_s=statistics.median(times["supervised"].wall),
        classmix_s=statistics.median(times["classmix"].wall),
        reco_s=statistics.median(times["reco"].wall),
        reco_waiting_s=statistics.median(times["waiting"].wall),
        reco_share=_median_ratio(times["reco"].wall, times["classmix"].wall) - 1,
        reco_waiting_share=_median_ratio(times["waiting"].wall, times["classmix"].wall) - 1,
        reco_processor_share=_median_ratio(times["reco"].processor, times["classmix"].processor) - 1,
        reco_waiting_processor_share=_median_ratio(times["waiting"].processor, times["classmix"].processor) - 1,
    )


def bench_fast_head(
    size: tuple[int, int], *, rounds: int, device: torch.device, num_classes: int = 11, num_images: int = 10
) -> FastHeadFigures:
    """Click on one of ten images, fit the fast head anew and repaint the image, as the app does.

    A fitter that holds all images has been fitted before; each round adds one click to the first image.
    """
    network = _network(num_classes).to(device).eval()
    # One round more than is counted, and a click each.
    pictures = [picture(seed, size, num_classes, clicks=5000 // num_images + rounds + 1) for seed in range(num_images)]
    features = [extract_features(network, item.image) for item in pictures]
    few, many = (_Clicking(network, features, pictures, clicks // num_images) for clicks in (500, 5000))
    times = _in_turns(
        {
            "features": lambda: extract_features(network, pictures[0].image),
            "few": few.click_and_fit,
            "many": many.click_and_fit,
            "repaint": lambda: few.head.probabilities(features[0]),
        },
        rounds,
        device,
    )
    median = {name: statistics.median(measured.wall) for name, measured in times.items()}
    return FastHeadFigures(
        size=size,
        num_classes=num_classes,
        features_s=median["features"],
        fit_500_clicks_s=median["few"],
        fit_5000_clicks_s=median["many"],
        repaint_s=median["repaint"],
    )


class _Clicking:
    """A person who adds one click at a time to the first of some images."""

    def __init__(
        self, network: DeepLabV3Plus, features: Sequence[Features], pictures: Sequence[SparseImage], clicks: int
    ) -> None:
        """Begin with `clicks` clicks on each image, and a head fitted to them."""
        self._clicks, self._features = clicks, features[0]
        self._labels = [_shuffled(labels_of(item, network.num_classes)) for item in pictures]
        self._fitter = FastHeadFitter(network, TrainConfig(network.num_classes).fast_head)
        for number, (item, labels) in enumerate(zip(features, self._labels, strict=True)):
            self._fitter.set_labels(str(number), item, _first(labels, clicks))
        self.head = self._fitter.fit()

    def click_and_fit(self) -> None:
        self._clicks += 1
        self._fitter.set_labels("0", self._features, _first(self._labels[0], self._clicks))
        self.head = self._fitter.fit()


def _shuffled(labels: Labels) -> Labels:
    order = torch.randperm(len(labels.classes), generator=torch.Generator().manual_seed(0))
    return Labels(labels.places[order], labels.classes[order])


def _first(labels: Labels, count: int) -> Labels:
    return Labels(labels.places[:count], labels.classes[:count])


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most memory that was held at any moment of `work`, beyond what was held before.

    On the processor torch's most and the most of numpy and Python are added, as though they fell on one moment.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Garbage of earlier work, freed meanwhile, would count against the peak.
    gc.collect()
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        tracemalloc.start()
        work()
        elsewhere = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert profile.kineto_results is not None
    changes = [
        (event.start_ns(), event.nbytes()) for event in profile.kineto_results.events() if event.name() == "[memory]"
    ]
    held = peak = 0
    for _, change in sorted(changes, key=lambda moment: moment[0]):
        held += change
        peak = max(peak, held)
    return peak + elsewhere


def picture(seed: int, size: tuple[int, int], num_classes: int, *, clicks: int) -> SparseImage:
    """A noisy picture of coloured regions, (H, W) large, with about as many clicked pixels."""
    rng = np.random.default_rng(seed)
    height, width = size
    seeds = rng.uniform(0, 1, (3 * num_classes, 2)) * (height, width)
    y, x = np.mgrid[:height, :width]
    nearest = ((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2).argmin(-1)
    truth = nearest % num_classes
    colours = np.random.default_rng(0).uniform(40, 215, (num_classes, 3))
    noisy = colours[truth] + rng.normal(0, 40, (height, width, 3))
    label_map = np.full(size, UNLABELLED, np.uint8)
    places = rng.choice(height * width, clicks, replace=False)
    label_map.flat[places] = truth.flat[places]
    return SparseImage(np.clip(noisy, 0, 255).astype(np.uint8), label_map)


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _in_turns(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    before: Callable[[], None] = lambda: None,
) -> dict[str, _Seconds]:
    """Of each work in each round; a first round, in which memory is fetched, does not count."""
    times = {name: _Seconds() for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            before()
            _wait(device)
            wall, processor = time.perf_counter(), time.process_time()
            work()
            _wait(device)
            if number:
                times[name].wall.append(time.perf_counter() - wall)
                times[name].processor.append(time.process_time() - processor)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(own / other for own, other in zip(ours, theirs, strict=True))


def _network(num_classes: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_network(num_classes)


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _lines(row: Mapping[str, Any]) -> list[str]:
    return [f"{name.replace('_', ' '):20} {_shown(value)}" for name, value in row.items()]


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "x".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def _at_least_one(text: str, most: int | None = None) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1 or (most is not None and number > most):
        allowed = "at least 1" if most is None else f"from 1 to {most}"
        raise argparse.ArgumentTypeError(f"has to be a whole number {allowed}, not {text!r}")
    return number


def _threads(text: str) -> int:
    return _at_least_one(text, MOST_THREADS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recolabel bench", description="Time the engine on this machine.")
    parser.add_argument(
        "what",
        choices=("loss", "step", "fast-head"),
        help="loss: the regional contrast beside the floor; step: training steps; fast-head: features, fit and repaint",
    )
    parser.add_argument("--rounds", type=_at_least_one, default=9, metavar="N", help="times each work is done (9)")
    parser.add_argument("--threads", type=_threads, default=os.cpu_count() or 1, metavar="N", help="of torch")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser

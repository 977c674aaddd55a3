"""What the numbers of a project mean for the people who label it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recolabel.contract.evaluation import Figure, NextClass, StopSignal

VERSIONS_TO_STOP = 3
LABELS_TO_STOP = 30
"""Labels between the oldest and the newest of the versions compared: without new ones nothing could have changed."""
MIN_GAIN = 0.01
"""Mean IoU that is worth another session. With true masks the interval can be narrower than anybody cares about."""
FEW_LABELS = 5


@dataclass(frozen=True)
class ClassState:
    """A class that is not retired: its labels, and its IoU by the newest version if there is one."""

    class_uid: str
    name: str
    labels: int
    iou: Figure | None


@dataclass(frozen=True)
class CurvePoint:
    """A version: its mean IoU over classes that all points count."""

    version: int
    label_count: int
    mean_iou: Figure


def next_class(classes: Sequence[ClassState]) -> NextClass:
    """The class that needs labels most: one with hardly any, else the one that is certainly found worst."""
    if not classes:
        return NextClass(class_uid=None, why="The project has no class.")
    fewest = min(classes, key=lambda state: state.labels)
    if fewest.labels < FEW_LABELS:
        labels = {0: "no label yet", 1: "only one label"}.get(fewest.labels, f"only {fewest.labels} labels")
        return NextClass(class_uid=fewest.class_uid, why=f"{fewest.name} has {labels}.")
    rated = [(state.iou.high, state) for state in classes if state.iou is not None and state.iou.high is not None]
    if not rated:
        why = f"{fewest.name} has the fewest labels, {fewest.labels}; there are too few random clicks to say more."
        return NextClass(class_uid=fewest.class_uid, why=why)
    high, worst = min(rated, key=lambda pair: pair[0])
    why = f"{worst.name} is found worst: its IoU is at most {high:.2f}."
    unknown = [state.name for state in classes if state.iou is None or state.iou.high is None]
    if unknown:
        why += f" Of {_listed(unknown)} too few random clicks are known to tell."
    return NextClass(class_uid=worst.class_uid, why=why)


def stop_signal(points: Sequence[CurvePoint]) -> StopSignal:
    """Whether the curve is flat within its interval.

    Args:
        points: one per version, oldest first; where a version has no number, its Figure says why.
    """
    last = points[-VERSIONS_TO_STOP:]
    if len(last) < VERSIONS_TO_STOP:
        missing = VERSIONS_TO_STOP - len(last)
        more = "one more version" if missing == 1 else f"{missing} more versions"
        return StopSignal(stop=False, why=f"It takes {more} to see whether the curve is flat.")
    for point in last:
        if point.mean_iou.missing is not None:
            why = f"Version {point.version} cannot be compared yet: {point.mean_iou.missing}"
            return StopSignal(stop=False, why=why)
    labels = last[-1].label_count - last[0].label_count
    if labels < LABELS_TO_STOP:
        why = f"The last {VERSIONS_TO_STOP} versions are only {labels} labels apart; {LABELS_TO_STOP} are needed."
        return StopSignal(stop=False, why=why)
    values = [_triple(point.mean_iou) for point in last]
    overlap = max(low for _, low, _ in values) <= min(high for _, _, high in values) + MIN_GAIN
    newest, low, high = values[-1]
    best_before = max(value for value, _, _ in values[:-1])
    if not overlap or newest > best_before + max(MIN_GAIN, (high - low) / 2):
        why = f"The model still gets better: {values[0][0]:.2f} before, {newest:.2f} with {labels} more labels."
        if newest <= best_before:
            why = "The last versions differ by more than chance; wait for the next one."
        return StopSignal(stop=False, why=why)
    why = (
        f"{labels} more labels changed nothing beyond chance: mean IoU {newest:.2f}, between {low:.2f} and {high:.2f}. "
        "You can stop, or label another kind of image."
    )
    return StopSignal(stop=True, why=why)


def guidance_in_words(ratio: Figure) -> str:
    """What the ratio of corrections says."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return f"What guided questions are worth here cannot be told yet: {_lower_first(ratio.missing or '')}"
    times = f"{ratio.value:.1f} times (between {ratio.low:.1f} and {ratio.high:.1f})"
    if ratio.low > 1:
        return f"A guided question corrects the model {times} as often as a random one: guidance pays."
    if ratio.high < 1:
        return f"A guided question corrects the model {times} as often as a random one: ask at random instead."
    return f"A guided question corrects the model {times} as often as a random one: no difference beyond chance."


def _triple(figure: Figure) -> tuple[float, float, float]:
    assert figure.value is not None
    assert figure.low is not None
    assert figure.high is not None
    return figure.value, figure.low, figure.high


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:5]) + ([f"{len(names) - 5} more"] if len(names) > 5 else [])
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

"""How good a project's model is: judgements that count, put into numbers.

A judgement counts when its click still holds and is what the pixel says (`labels.at_pixels`), its class is not
retired, and no label that training sees told the map's author about the pixel. That is looked up when it is read, so
taking a click back, or painting over it, is enough.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, func, select

from recolabel import advice, estimates
from recolabel.contract.evaluation import (
    AccuracyByQuestion,
    ClassFigures,
    Confusion,
    Evaluation,
    Figure,
    Guidance,
    LabelCount,
    ScreenPoint,
    TruthFigures,
    VersionEvaluation,
    Work,
)
from recolabel.contract.labels import ClickEvent, StoredEvent
from recolabel.contract.projects import LabelClass
from recolabel.labels.at_pixels import PixelFacts, facts_at
from recolabel.labels.fold import HoldingLabel, fold
from recolabel.store import schema
from recolabel.store.database import Database
from recolabel.store.held_out import held_out_of_project
from recolabel.store.label_counts import labels_by_class, stored_event
from recolabel.store.projects import classes_of, project_row

PAUSE_SECONDS = 60.0
"""A longer gap between two events of a tab is no work."""
SCREEN_CLICKS = 20
"""Random answers in a stretch of the curve of what was on screen."""
WRONG_CLASS = "-"
"""Stands for predicted classes that are retired by now: always wrong, never counted as a class."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """A judgement that counts."""

    seq: int
    drawn_by: str
    model_version: int
    said: str
    predicted: str
    confidence: float
    asked: str | None
    live: bool

    @property
    def is_right(self) -> bool:
        return self.said == self.predicted


@dataclass(frozen=True)
class Pace:
    """When people worked: for each event its seq, and the minutes of work up to it."""

    seqs: Sequence[int]
    minutes: Sequence[float]
    click_gaps: Sequence[float]
    clicks: int

    def minutes_at(self, seq: int) -> float:
        """Minutes of work up to and with a position of the log."""
        place = bisect_right(self.seqs, seq)
        return self.minutes[place - 1] if place else 0.0

    @property
    def active_minutes(self) -> float:
        return self.minutes[-1] if self.minutes else 0.0


class Evaluations:
    """The numbers of all projects. What did not change is not computed again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Evaluation]] = {}
        self._versions: dict[tuple[str, int], tuple[object, VersionEvaluation]] = {}

    def of(self, project_id: str) -> Evaluation:
        """Everything that is known about how good the project's model is. Raises ProjectNotFound."""
        with self._database.reading() as connection:
            state = _state(connection, project_id)
            with self._lock:
                known = self._known.get(project_id)
            if known is not None and known[0] == state:
                return known[1]
            evaluation = self._evaluate(connection, project_id)
        with self._lock:
            self._known[project_id] = (state, evaluation)
        return evaluation

    def _evaluate(self, connection: Connection, project_id: str) -> Evaluation:
        project = project_row(connection, project_id)
        classes = [each for each in classes_of(connection, project_id) if not each.retired]
        class_uids = [each.class_uid for each in classes]
        held_out = held_out_of_project(connection, project_id)
        judged, held_out_counts = _judgements_that_count(connection, project_id, class_uids, held_out)
        pace = _pace(_events_but_masks(connection, project_id))
        rows = connection.execute(
            select(schema.model_version)
            .where(schema.model_version.c.project_id == project_id)
            .order_by(schema.model_version.c.version)
        ).all()
        truths = _truth_counts(connection, project_id, class_uids)
        common = _common_classes([row.version for row in rows], judged, class_uids)
        versions = [self._version(row, judged, class_uids, common, pace, truths.get(row.version, [])) for row in rows]
        counts = labels_by_class(connection, project_id)
        on_screen = [each for each in judged if each.live]
        rng = np.random.default_rng(0)
        return Evaluation(
            project_id=project_id,
            label_seq=project.label_seq,
            label_count=project.label_count,
            label_counts=[
                LabelCount(class_uid=uid, labels=counts.get(uid, 0), held_out=held_out_counts.get(uid, 0))
                for uid in class_uids
            ],
            versions=versions,
            on_screen=_screen_points([each for each in on_screen if each.asked == "random"], pace),
            guidance=_guidance(on_screen, rng),
            work=_work(pace),
            next_class=advice.next_class(_class_states(classes, counts, versions)),
            stop=advice.stop_signal(_curve(versions)),
        )

    def _version(
        self,
        row: Row[Any],
        judged: Sequence[Judged],
        class_uids: Sequence[str],
        common: NDArray[np.bool_],
        pace: Pace,
        truths: Sequence[Counts],
    ) -> VersionEvaluation:
        of_version = [each for each in judged if each.model_version == row.version]
        minutes = pace.minutes_at(row.label_seq)
        signature = (
            tuple(class_uids),
            common.tobytes(),
            minutes,
            tuple((each.seq, each.drawn_by, each.said, each.predicted) for each in of_version),
            hash(b"".join(each.tobytes() for each in truths)),
        )
        key = (row.project_id, row.version)
        with self._lock:
            known = self._versions.get(key)
        if known is not None and known[0] == signature:
            return known[1]
        evaluation = _evaluate_version(row, of_version, class_uids, common, minutes, truths)
        with self._lock:
            self._versions[key] = (signature, evaluation)
        return evaluation


def _state(connection: Connection, project_id: str) -> object:
    """What an evaluation depends on, in short: all of it only grows, but for classes and images, which have marks."""
    project = project_row(connection, project_id)
    judgement, truth, version = schema.judgement.c, schema.truth_score.c, schema.model_version.c
    return (
        project.label_seq,
        project.label_count,
        project.image_count,
        connection.execute(
            select(func.count()).select_from(schema.judgement).where(judgement.project_id == project_id)
        ).scalar(),
        connection.execute(
            select(func.count(), func.sum(func.length(truth.pairs))).where(truth.project_id == project_id)
        ).one(),
        connection.execute(select(func.max(version.version)).where(version.project_id == project_id)).scalar(),
        tuple((each.class_uid, each.name, each.retired) for each in classes_of(connection, project_id)),
    )


# --- what counts ----------------------------------------------------------------------------------------------


def _judgements_that_count(
    connection: Connection, project_id: str, class_uids: Sequence[str], held_out: frozenset[str]
) -> tuple[list[Judged], dict[str, int]]:
    """The judgements that count, by seq, and how many held-out clicks of each class hold."""
    rows_of: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(
        select(schema.judgement)
        .where(schema.judgement.c.project_id == project_id)
        .order_by(schema.judgement.c.seq, schema.judgement.c.model_version)
    ):
        rows_of[row.image_id].append(row)
    judged: list[Judged] = []
    held_out_counts: dict[str, int] = defaultdict(int)
    for image in _images_with_numbers(connection, project_id):
        labels = fold(_events_of(connection, image.image_id), image.sha256)
        clicks = {label.seq: label for label in labels if isinstance(label.event, ClickEvent)}
        out = {seq for seq, label in clicks.items() if label.event.event_id in held_out}
        rows = [row for row in rows_of[image.image_id] if row.seq in clicks]
        places = {seq: _place(clicks[seq], image.width) for seq in out | {row.seq for row in rows}}
        facts = facts_at(
            labels,
            set(places.values()),
            height=image.height,
            width=image.width,
            silent_classes={uid for label in labels for uid in label.class_uids} - {*class_uids, "void"},
            without=held_out,
        )
        for seq in out:
            if _says(facts[places[seq]], clicks[seq]):
                held_out_counts[clicks[seq].class_uids[0]] += 1
        newest: dict[tuple[int, str, int], Judged] = {}  # two answers about a pixel are one witness
        for row in rows:
            known = facts[places[row.seq]]
            is_taught = known.taught_from is not None and known.taught_from <= row.map_label_seq
            if is_taught or not _says(known, clicks[row.seq]) or row.said not in class_uids:
                continue
            newest[places[row.seq], row.drawn_by, row.model_version] = Judged(
                seq=row.seq,
                drawn_by=row.drawn_by,
                model_version=row.model_version,
                said=row.said,
                predicted=row.predicted if row.predicted in class_uids else WRONG_CLASS,
                confidence=row.confidence / 255,
                asked=row.asked,
                live=bool(row.live),
            )
        judged += newest.values()
    return sorted(judged, key=lambda each: (each.seq, each.model_version)), held_out_counts


def _images_with_numbers(connection: Connection, project_id: str) -> list[Row[Any]]:
    """The images that are there and have a judgement or a random click."""
    image = schema.image.c
    of_interest = (
        select(schema.judgement.c.image_id)
        .where(schema.judgement.c.project_id == project_id)
        .union(select(schema.random_click.c.image_id).where(schema.random_click.c.project_id == project_id))
    )
    statement = select(schema.image).where(image.image_id.in_(of_interest), image.removed_at.is_(None))
    return list(connection.execute(statement).all())


def _place(label: HoldingLabel, width: int) -> int:
    assert isinstance(label.event, ClickEvent)
    return label.event.pixel.y * width + label.event.pixel.x


def _says(known: PixelFacts, click: HoldingLabel) -> bool:
    """Whether a click is what its pixel says: not erased, painted over or contradicted."""
    return known.class_uid == click.class_uids[0]


def _events_of(connection: Connection, image_id: str) -> list[StoredEvent]:
    rows = connection.execute(
        select(schema.label_event).where(schema.label_event.c.image_id == image_id).order_by(schema.label_event.c.seq)
    )
    return [stored_event(row) for row in rows]


# --- versions -------------------------------------------------------------------------------------------------


def _evaluate_version(
    row: Row[Any],
    judged: Sequence[Judged],
    class_uids: Sequence[str],
    common: NDArray[np.bool_],
    minutes: float,
    truths: Sequence[Counts],
) -> VersionEvaluation:
    rng = np.random.default_rng(row.version)
    own = [each for each in judged if each.drawn_by == "version"]
    even = _even(judged, row.version)
    confusion = _confusion(even, class_uids)
    mean_iou = _mean_iou(confusion, common, rng)
    true_ious = _true_ious(truths, len(class_uids))
    counted = common[:-1] & (mean_iou.missing is None)
    truth = _truth_figures(truths, [iou for iou, is_counted in zip(true_ious, counted, strict=True) if is_counted], rng)
    ious = estimates.class_ious(confusion)[: len(class_uids)]
    return VersionEvaluation(
        version=row.version,
        label_seq=row.label_seq,
        label_count=row.label_count,
        active_minutes=minutes,
        created_at=row.created_at,
        accuracy=_agreement(even, of_what="random clicks"),
        mean_iou=mean_iou,
        mean_over=[uid for uid, is_counted in zip(class_uids, counted, strict=True) if is_counted],
        classes=[
            ClassFigures(class_uid=uid, iou=iou, true_iou=true)
            for uid, iou, true in zip(class_uids, ious, true_ious, strict=True)
        ],
        confusion=Confusion(class_uids=list(class_uids), counts=confusion[:-1, :-1].tolist()),
        calibration=estimates.calibration([each.confidence for each in even], [each.is_right for each in even], rng),
        after=_by_question([each for each in own if each.seq > row.label_seq]),
        on_screen=_by_question([each for each in judged if each.live]),
        truth=truth,
    )


def _confusion(judged: Iterable[Judged], class_uids: Sequence[str]) -> Counts:
    """(K + 1, K + 1): what people said in the rows; the last column is for retired classes."""
    index = {uid: place for place, uid in enumerate([*class_uids, WRONG_CLASS])}
    confusion = np.zeros((len(index), len(index)), dtype=np.int64)
    for each in judged:
        confusion[index[each.said], index[each.predicted]] += 1
    return confusion


def _counted(confusion: Counts, classes: int) -> NDArray[np.bool_]:
    counted = estimates.counted_classes(confusion)
    counted[classes:] = False
    return counted


def _agreement(judged: Sequence[Judged], of_what: str = "clicks") -> Figure:
    return estimates.share(sum(each.is_right for each in judged), len(judged), of_what=of_what)


def _by_question(judged: Sequence[Judged]) -> AccuracyByQuestion:
    of: dict[str | None, list[Judged]] = defaultdict(list)
    for each in judged:
        of[each.asked].append(each)
    return AccuracyByQuestion(
        guided=_agreement(of["guided"], "answers to guided questions"),
        random=_agreement(of["random"], "answers to random questions"),
        free=_agreement(of[None], "clicks on a pixel of one's own choice"),
    )


def _even(judged: Sequence[Judged], version: int) -> list[Judged]:
    """A version on pixels that were drawn evenly."""
    return [
        each
        for each in judged
        if each.asked == "random" and each.drawn_by == "version" and each.model_version == version
    ]


def _common_classes(versions: Sequence[int], judged: Sequence[Judged], class_uids: Sequence[str]) -> NDArray[np.bool_]:
    """Over which classes to take the mean IoU, the same for all versions; the last place is for retired classes."""
    if not versions:
        return np.zeros(len(class_uids) + 1, dtype=np.bool_)
    counted = [_counted(_confusion(_even(judged, version), class_uids), len(class_uids)) for version in versions]
    return estimates.common_classes(counted)


def _mean_iou(confusion: Counts, common: NDArray[np.bool_], rng: np.random.Generator) -> Figure:
    lacking = common & ~_counted(confusion, len(common) - 1)
    if lacking.any() and not lacking.all():
        missing = "There are too few random clicks for the same classes as the newest version has."
        return Figure(value=None, low=None, high=None, clicks=int(confusion.sum()), missing=missing)
    return estimates.mean_iou(confusion, common & ~lacking, rng)


def _curve(versions: Sequence[VersionEvaluation]) -> list[advice.CurvePoint]:
    """The last versions: by true masks where all have been scored by some, else by random clicks."""
    last = versions[-advice.VERSIONS_TO_STOP :]
    by_truth = [each.truth.mean_iou for each in last if each.truth is not None and each.truth.mean_iou.low is not None]
    figures = by_truth if len(by_truth) == len(last) else [each.mean_iou for each in last]
    return [
        advice.CurvePoint(each.version, each.label_count, figure) for each, figure in zip(last, figures, strict=True)
    ]


def _class_states(
    classes: Sequence[LabelClass], counts: dict[str, int], versions: Sequence[VersionEvaluation]
) -> list[advice.ClassState]:
    ious = {each.class_uid: each.iou for each in versions[-1].classes} if versions else {}
    return [
        advice.ClassState(each.class_uid, each.name, counts.get(each.class_uid, 0), ious.get(each.class_uid))
        for each in classes
    ]


# --- ground truth ---------------------------------------------------------------------------------------------


def _truth_counts(connection: Connection, project_id: str, class_uids: Sequence[str]) -> dict[int, list[Counts]]:
    """Version -> (K + 1, K + 1) pixel counts of each image that is there and still has the pixels of its mask."""
    index = {uid: place for place, uid in enumerate(class_uids)}
    score, truth, image = schema.truth_score, schema.ground_truth, schema.image
    rows = connection.execute(
        select(score.c.model_version, score.c.pairs)
        .join(truth, truth.c.image_id == score.c.image_id)
        .join(image, image.c.image_id == score.c.image_id)
        .where(
            score.c.project_id == project_id,
            image.c.removed_at.is_(None),
            image.c.sha256 == truth.c.image_sha256,
        )
        .order_by(image.c.position)
    )
    found: dict[int, list[Counts]] = defaultdict(list)
    for row in rows:
        counts = np.zeros((len(class_uids) + 1, len(class_uids) + 1), dtype=np.int64)
        for true, predicted, pixels in json.loads(row.pairs):
            if true in index:
                counts[index[true], index.get(predicted, len(class_uids))] += pixels
        found[row.model_version].append(counts)
    return found


def _truth_figures(
    truths: Sequence[Counts], ious_of_counted: Sequence[float | None], rng: np.random.Generator
) -> TruthFigures | None:
    total = sum(truths, np.int64(0))
    if not truths or not total.sum():
        return None
    known = [iou for iou in ious_of_counted if iou is not None]
    return TruthFigures(
        images=len(truths),
        mean_iou=estimates.mean_iou_of_images(np.stack(truths), rng),
        same_classes=float(np.mean(known)) if known else None,
        accuracy=float(np.trace(total) / total.sum()),
    )


def _true_ious(truths: Sequence[Counts], classes: int) -> list[float | None]:
    """Per class, None where it does not occur in the masks."""
    if not truths:
        return [None] * classes
    total = np.sum(truths, axis=0)
    hits, union = estimates.unions(total)
    occurs = total.sum(axis=1) > 0
    return [float(hits[k] / union[k]) if occurs[k] else None for k in range(classes)]


# --- people ---------------------------------------------------------------------------------------------------


def _events_but_masks(connection: Connection, project_id: str) -> list[tuple[int, str, str, datetime]]:
    """(seq, tab, kind, when the person did it) of the log without imported masks, which nobody drew here."""
    event = schema.label_event.c
    rows = connection.execute(
        select(event.seq, event.client_id, event.kind, func.json_extract(event.payload, "$.client_time").label("at"))
        .where(event.project_id == project_id, event.kind != "mask")
        .order_by(event.seq)
    )
    return [(row.seq, row.client_id, row.kind, datetime.fromisoformat(row.at)) for row in rows]


def _pace(events: Sequence[tuple[int, str, str, datetime]]) -> Pace:
    by_tab: dict[str, list[tuple[datetime, int, str]]] = defaultdict(list)
    for seq, tab, kind, at in events:
        by_tab[tab].append((at, seq, kind))
    gaps: dict[int, float] = {}
    click_gaps: list[float] = []
    for done in by_tab.values():
        for (before, _, kind_before), (at, seq, kind) in pairwise(sorted(done)):
            gap = (at - before).total_seconds()
            if gap <= PAUSE_SECONDS:
                gaps[seq] = gap
                if kind == kind_before == "click":
                    click_gaps.append(gap)
    seqs = [seq for seq, _, _, _ in events]
    minutes = np.cumsum([gaps.get(seq, 0.0) for seq in seqs]) / 60
    clicks = sum(kind == "click" for _, _, kind, _ in events)
    return Pace(seqs=seqs, minutes=minutes.tolist(), click_gaps=click_gaps, clicks=clicks)


def _work(pace: Pace) -> Work:
    gaps = pace.click_gaps
    if len(gaps) < estimates.MIN_CLICKS:
        missing = estimates.too_few(len(gaps), estimates.MIN_CLICKS, "clicks without a long pause before them").missing
        return Work(
            answers=pace.clicks,
            active_minutes=pace.active_minutes,
            seconds_per_answer=None,
            answers_per_minute=None,
            missing=missing,
        )
    return Work(
        answers=pace.clicks,
        active_minutes=pace.active_minutes,
        seconds_per_answer=float(median(gaps)),
        answers_per_minute=60 * len(gaps) / sum(gaps) if sum(gaps) > 0 else None,
        missing=None,
    )


def _guidance(on_screen: Sequence[Judged], rng: np.random.Generator) -> Guidance:
    corrections: dict[str | None, list[bool]] = defaultdict(list)
    for each in on_screen:
        corrections[each.asked].append(not each.is_right)
    guided, drawn_evenly = corrections["guided"], corrections["random"]
    ratio = estimates.ratio(sum(guided), len(guided), sum(drawn_evenly), len(drawn_evenly), rng)
    return Guidance(
        guided=estimates.share(sum(guided), len(guided), of_what="answers to guided questions"),
        random=estimates.share(sum(drawn_evenly), len(drawn_evenly), of_what="answers to random questions"),
        ratio=ratio,
        said=advice.guidance_in_words(ratio),
    )


def _screen_points(random_answers: Sequence[Judged], pace: Pace) -> list[ScreenPoint]:
    points = []
    for start in range(0, len(random_answers) - SCREEN_CLICKS + 1, SCREEN_CLICKS):
        stretch = random_answers[start : start + SCREEN_CLICKS]
        last = stretch[-1].seq
        points.append(
            ScreenPoint(
                label_count=bisect_right(pace.seqs, last),
                active_minutes=pace.minutes_at(last),
                right=_agreement(stretch),
            )
        )
    return points

"""Questions: candidates of the newest maps, judged with the newest labels. Only what was skipped is stored.

A page of questions is a stretch of the project's stream. Its first position is the number of labels, skips and
questions under way, so the same state gives the same page, and each answer moves on by one. At each position chance,
by position, says whether the question is drawn evenly; all others are guided.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from recolabel.acquisition import (
    BATCH,
    START_LABELS_PER_CLASS,
    AskableImage,
    ImageNeed,
    Proposal,
    Queue,
    draw_evenly,
    is_random,
    mix_images,
    queue_of_start,
    queue_of_strategy,
    spread_positions,
)
from recolabel.blobs import Blobs
from recolabel.contract.labels import Asked, Pixel
from recolabel.contract.projects import ProjectSettings
from recolabel.contract.questions import Candidate, Question, QuestionPage, SkippedQuestion
from recolabel.errors import BadArgument, BlobNotFound, ImageNotFound, ImageReplaced, OutsideImage
from recolabel.labels.fold import fold, pixels_left
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.images import candidate_list, image_row
from recolabel.store.label_counts import labels_by_class
from recolabel.store.labels import events_of_image
from recolabel.store.projects import classes_of, project_row

IMAGES_PER_LOOK = 32
IMAGES_LOOKED_AT = 128
"""Beyond so many images without anything left to ask, the answer is that nothing is left."""
EVENTS_LOOKED_BACK = 64
MOST_DRAWS = 200
"""Where so many draws in a row hit labelled pixels, nearly everything is labelled: a guided question comes instead."""
NO_IMAGES = "There is no image yet."
NOTHING_LEFT = "Nothing is left to ask: every doubtful pixel has an answer close by."

WHY_UNSEEN = "No model has seen this image yet, so this is a random pixel of a part of it that was asked about least."
WHY_START = "There are few answers yet, so this is a random pixel where the model sees {guess}."
WHY_GUIDED = "The model is {confidence:.0%} sure here, {margin:.0%} ahead of its second guess."
WHY_SPREAD = "A random pixel of this image, away from those that were asked about."
WHY_RANDOM = "Drawn evenly from all pixels of all images: such answers tell how good the model is."

# Statements stand here, made once: making them costs more than SQLite takes to run them.
_IMAGE, _MAP, _EVENT, _SKIPPED = schema.image.c, schema.image_map.c, schema.label_event.c, schema.skipped_question.c
_TRUTH = schema.ground_truth.c
_HAS_TRUTH = exists().where(_TRUTH.image_id == _IMAGE.image_id, _TRUTH.image_sha256 == _IMAGE.sha256)
_OF_PROJECT = (
    (_IMAGE.project_id == bindparam("of_project"))
    & _IMAGE.removed_at.is_(None)
    & (bindparam("asks_about_truth", type_=Boolean) | ~_HAS_TRUTH)
)
_NEED: ColumnElement[float] = literal_column("uncertainty / (1 + label_count)")  # spelt as in the index
_AREA: ColumnElement[int] = literal_column("width * height")

_HAS_MAP = select(_IMAGE.image_id).where(_OF_PROJECT, _IMAGE.uncertainty.is_not(None)).limit(1)
_NEEDIEST = (
    select(schema.image)
    .where(_OF_PROJECT, _IMAGE.uncertainty.is_not(None))
    .order_by(_NEED.desc(), _IMAGE.position)
    .limit(IMAGES_PER_LOOK)
    .offset(bindparam("start"))
)
_AT_PLACES = select(schema.image).where(_OF_PROJECT, _IMAGE.position.in_(bindparam("places", expanding=True)))
_AT_OTHER_PLACES = (
    select(schema.image)
    .where(_OF_PROJECT, _IMAGE.position.not_in(bindparam("places", expanding=True)))
    .order_by(_IMAGE.position)
    .limit(IMAGES_LOOKED_AT)
)
_NEWEST_PLACE = select(func.max(_IMAGE.position)).where(_IMAGE.project_id == bindparam("of_project"))
_LARGEST = select(_AREA).select_from(schema.image).where(_OF_PROJECT).order_by(_AREA.desc()).limit(1)
_SIZES = select(_IMAGE.position, _IMAGE.height, _IMAGE.width, _IMAGE.image_id).where(_OF_PROJECT)
_SIZE_AT = _SIZES.where(_IMAGE.position == bindparam("place"))
_ALL_SIZES = _SIZES.order_by(_IMAGE.position)
_IMAGE_BY_ID = select(schema.image).where(_IMAGE.image_id == bindparam("of_image"))
_TRUTH_OF = select(_TRUTH.image_id).where(
    _TRUTH.image_id == bindparam("of_image"), _TRUTH.image_sha256 == bindparam("of_pixels")
)
_MAP_OF = select(
    _MAP.class_uids, _MAP.model_version, _MAP.candidates, _MAP.prediction_sha256, _MAP.confidence_sha256
).where(_MAP.image_id == bindparam("of_image"))
_NEWEST_EVENTS = (
    select(
        _EVENT.image_id,
        _EVENT.annotator_id,
        _EVENT.kind,
        _EVENT.server_time,
        func.json_extract(_EVENT.payload, "$.asked").label("asked"),
    )
    .where(_EVENT.project_id == bindparam("of_project"))
    .order_by(_EVENT.seq.desc())
    .limit(EVENTS_LOOKED_BACK)
)
_NEWEST_SKIPS = (
    select(_SKIPPED.image_id, _SKIPPED.at)
    .where(_SKIPPED.project_id == bindparam("of_project"), _SKIPPED.annotator_id == bindparam("of_annotator"))
    .order_by(_SKIPPED.at.desc())
    .limit(BATCH)
)
_SKIP_COUNTS = (
    select(_SKIPPED.image_id, func.count(_SKIPPED.question_id.distinct()).label("skips"))
    .where(_SKIPPED.project_id == bindparam("of_project"))
    .group_by(_SKIPPED.image_id)
)
_SKIPS_OF = select(_SKIPPED.y, _SKIPPED.x).where(
    _SKIPPED.image_id == bindparam("of_image"), _SKIPPED.image_sha256 == bindparam("of_pixels")
)


class Questions:
    """The next pixels to ask about."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def next(
        self,
        project_id: str,
        image_id: str | None,
        limit: int,
        *,
        under_way: Collection[str] = (),
        annotator_id: str = "",
    ) -> QuestionPage:
        """The most useful questions, first of the image given, then of those that need them most.

        Args:
            image_id: the image on screen, if any.
            under_way: question_ids that the page holds; their pixels count as asked.
            annotator_id: whose last answers tell how long the image on screen has been asked about.

        Raises:
            ProjectNotFound, ImageNotFound.
        """
        with self._database.reading() as connection:
            project = project_row(connection, project_id)
            first = None if image_id is None else image_row(connection, image_id)
            if first is not None and first.project_id != project_id:
                raise ImageNotFound
            if not project.image_count:
                return QuestionPage(questions=[], note=NO_IMAGES)
            questions = _Asking(connection, self._blobs, project, under_way, annotator_id).ask(first, limit)
        return QuestionPage(questions=questions, note=None if questions else NOTHING_LEFT)

    def skip(self, project_id: str, question_id: str, skipped: SkippedQuestion, annotator_id: str) -> None:
        """Keep that a question cannot be answered, so that its pixel is not asked about again; idempotent.

        Raises:
            ProjectNotFound, ImageNotFound, OutsideImage.
            ImageReplaced: the question was about other pixels than the image has now.
            BadArgument: the question was about another pixel.
        """
        now = self._clock()

        def work(connection: Connection) -> None:
            project_row(connection, project_id)
            row = image_row(connection, skipped.image_id)
            if row.project_id != project_id:
                raise ImageNotFound
            y, x = skipped.pixel.y, skipped.pixel.x
            if point_of(question_id) != (y, x):
                raise BadArgument("This question is about another pixel. Nothing was changed.")
            if question_id != question_id_of(row.image_id, row.sha256, y, x):
                raise ImageReplaced
            if x >= row.width or y >= row.height:
                raise OutsideImage
            connection.execute(
                upsert(schema.skipped_question)
                .values(
                    question_id=question_id,
                    annotator_id=annotator_id,
                    project_id=project_id,
                    image_id=row.image_id,
                    image_sha256=row.sha256,
                    x=x,
                    y=y,
                    at=now,
                )
                .on_conflict_do_nothing()
            )

        self._database.write(work)

    def take_back_skip(self, project_id: str, question_id: str, annotator_id: str) -> None:
        """Forget that this annotator skipped the question; idempotent. Raises ProjectNotFound."""
        skipped = schema.skipped_question.c

        def work(connection: Connection) -> None:
            project_row(connection, project_id)
            connection.execute(
                delete(schema.skipped_question).where(
                    skipped.question_id == question_id,
                    skipped.annotator_id == annotator_id,
                    skipped.project_id == project_id,
                )
            )

        self._database.write(work)


# --- a question's id ------------------------------------------------------------------------------------------

_PICTURE_BITS = 74


def question_id_of(image_id: str, image_sha256: str, y: int, x: int) -> str:
    """A UUID (version 8, RFC 9562) of 24 bits y, 24 bits x and 74 bits that stand for the picture.

    So a page that names the questions it holds names their pixels, also when newer maps no longer propose them.
    """
    picture = _picture_of(image_id, image_sha256)
    value = y << 104 | x << 80 | 8 << 76 | (picture >> 62) << 64 | 2 << 62 | picture & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


def point_of(question_id: str) -> tuple[int, int]:
    """The pixel (y, x) that a question is about."""
    value = uuid.UUID(question_id).int
    return value >> 104, value >> 80 & 0xFFFFFF


def _picture_in(question_id: str) -> int:
    value = uuid.UUID(question_id).int
    return (value >> 64 & 0xFFF) << 62 | value & ((1 << 62) - 1)


def _picture_of(image_id: str, image_sha256: str) -> int:
    digest = hashlib.sha256(f"{image_id} {image_sha256}".encode()).digest()
    return int.from_bytes(digest, "big") >> 256 - _PICTURE_BITS


# --- one page -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """An image with its newest map, if any, and what was asked about it."""

    row: Row[Any]
    map: Row[Any] | None
    asked: AskableImage

    @cached_property
    def class_uids(self) -> Sequence[str]:
        """Class index of the map -> class."""
        return [] if self.map is None else json.loads(self.map.class_uids)


class _Asking:
    """One request: what it looked up already."""

    def __init__(
        self, connection: Connection, blobs: Blobs, project: Row[Any], under_way: Collection[str], annotator_id: str
    ) -> None:
        self._connection = connection
        self._blobs = blobs
        self._project = project
        self._settings = ProjectSettings.model_validate_json(project.settings)
        self._annotator_id = annotator_id
        self._names = {
            each.class_uid: each.name for each in classes_of(connection, project.project_id) if not each.retired
        }
        # What a model is judged by stays unseen, unless there is nothing else.
        self._asks_about_truth = False
        self._asks_about_truth = not self._rows(_LARGEST)
        self._known: dict[str, _Known] = {}
        self._under_way: dict[int, list[tuple[int, int]]] = {}
        held = set(under_way)
        for question_id in held:
            self._under_way.setdefault(_picture_in(question_id), []).append(point_of(question_id))
        self._skips = {row.image_id: row.skips for row in self._rows(_SKIP_COUNTS)}
        self._position = project.label_count + sum(self._skips.values()) + len(held)

    def ask(self, first: Row[Any] | None, limit: int) -> list[Question]:
        """Up to `limit` questions; fewer where no guided one is left when it is a guided one's turn."""
        guided = self._guided(first)
        questions = []
        for position in range(self._position, self._position + limit):
            question = None
            if is_random(self._project.project_id, position, self._settings.random_share):
                question = self._random(position)
            if question is None:
                question = next(guided, None)
            if question is None:
                break
            questions.append(question)
        return questions

    # --- guided ---------------------------------------------------------------------------------------------

    def _guided(self, first: Row[Any] | None) -> Iterator[Question]:
        is_start = self._is_start
        on_screen, stay = None, 0
        if first is not None and (self._asks_about_truth or not self._has_truth(first)):
            uncertainty = 1.0 if is_start or first.uncertainty is None else first.uncertainty
            on_screen = self._need_of(first, uncertainty)
            stay = max(0, BATCH - self._run_length(first))
        images = self._unlabelled_images() if is_start else self._uncertain_images()

        def open_queue(image_id: str) -> Queue:
            known = self._image(image_id)
            if is_start or known.map is None:
                return queue_of_start(known.asked, self._labels_by_index(known))
            candidates = candidate_list.validate_json(known.map.candidates)
            return queue_of_strategy(self._settings.strategy, known.asked, candidates)

        for image_id, proposal in mix_images(islice(images, IMAGES_LOOKED_AT), on_screen, stay, open_queue):
            yield self._question(self._image(image_id), proposal, "guided")

    def _has_truth(self, row: Row[Any]) -> bool:
        return bool(self._rows(_TRUTH_OF, of_image=row.image_id, of_pixels=row.sha256))

    @cached_property
    def _is_start(self) -> bool:
        """Whether there are too few labels, or no map, for a strategy to work with."""
        if not self._rows(_HAS_MAP):
            return True
        wanted = START_LABELS_PER_CLASS * len(self._names)
        # Asked only while there are few: a mask counts for each of its classes, so a label is one at least.
        return self._project.label_count < wanted and sum(self._labels_by_class.values()) < wanted

    @cached_property
    def _labels_by_class(self) -> Mapping[str, int]:
        return labels_by_class(self._connection, self._project.project_id)

    def _labels_by_index(self, known: _Known) -> dict[int, int]:
        return {index: self._labels_by_class.get(uid, 0) for index, uid in enumerate(known.class_uids)}

    def _uncertain_images(self) -> Iterator[ImageNeed]:
        """The images with a map, neediest first."""
        start = 0
        while rows := self._rows(_NEEDIEST, start=start):
            needs = [self._need_of(row, row.uncertainty) for row in rows]
            yield from sorted(needs, key=lambda each: -each.need)
            start += len(rows)

    def _unlabelled_images(self) -> Iterator[ImageNeed]:
        """Images far apart in the project, those that were asked about least first; with a map or without."""
        places = spread_positions(self._place_count, 2 * IMAGES_PER_LOOK)
        order = {place: rank for rank, place in enumerate(places)}
        spread = sorted(self._rows(_AT_PLACES, places=places), key=lambda row: order[row.position])
        # Where images were removed the places are empty, so others take them.
        others = [] if self._place_count == len(spread) else self._rows(_AT_OTHER_PLACES, places=places)
        needs = [self._need_of(row, 1.0) for row in [*spread, *others]]
        yield from sorted(needs, key=lambda each: each.asked)

    def _need_of(self, row: Row[Any], uncertainty: float) -> ImageNeed:
        under_way = self._under_way.get(_picture_of(row.image_id, row.sha256), ())
        asked = row.label_count + self._skips.get(row.image_id, 0) + len(under_way)
        return ImageNeed(row.image_id, uncertainty, asked)

    def _run_length(self, first: Row[Any]) -> int:
        """How many answers in a row, the newest one last, this annotator gave about the image, with those under way.

        Random questions lead away for one answer only, so they are passed over.
        """
        clicks = self._rows(_NEWEST_EVENTS)
        skips = self._rows(_NEWEST_SKIPS, of_annotator=self._annotator_id)
        answers = [
            (row.server_time, row.image_id)
            for row in clicks
            if row.kind == "click" and row.annotator_id == self._annotator_id and row.asked != "random"
        ]
        answers += [(row.at, row.image_id) for row in skips]
        run = len(self._under_way.get(_picture_of(first.image_id, first.sha256), ()))
        for _, image_id in sorted(answers, key=lambda answer: answer[0], reverse=True):
            if image_id != first.image_id:
                break
            run += 1
        return run

    # --- random ---------------------------------------------------------------------------------------------

    def _random(self, position: int) -> Question | None:
        """The question drawn evenly for this position; None when only labelled pixels were drawn."""
        ids: dict[int, str] = {}

        def size_at(place: int) -> tuple[int, int] | None:
            found = self._rows(_SIZE_AT, place=place)
            ids.update({row.position: row.image_id for row in found})
            return (found[0].height, found[0].width) if found else None

        def all_sizes() -> list[tuple[int, int, int]]:
            found = self._rows(_ALL_SIZES)
            ids.update({row.position: row.image_id for row in found})
            return [(row.position, row.height, row.width) for row in found]

        draws = draw_evenly(
            self._project.project_id, position, self._place_count, self._largest_area, size_at, all_sizes
        )
        for place, y, x in islice(draws, MOST_DRAWS):
            known = self._image(ids[place])
            # Only the very pixel: keeping away from labels or borders would make the sample a partial one.
            if not known.asked.taken[y, x]:
                known.asked.taken[y, x] = True
                return self._question(known, Proposal(y, x, rank=0), "random")
        return None

    # --- what is known --------------------------------------------------------------------------------------

    def _rows(self, statement: Select[Any], **values: object) -> Sequence[Row[Any]]:
        project: dict[str, object] = {
            "of_project": self._project.project_id,
            "asks_about_truth": self._asks_about_truth,
        }
        return self._connection.execute(statement, {**project, **values}).all()

    @cached_property
    def _place_count(self) -> int:
        """One more than the newest image's position."""
        return int(self._rows(_NEWEST_PLACE)[0][0]) + 1

    @cached_property
    def _largest_area(self) -> int:
        return int(self._rows(_LARGEST)[0][0])

    def _image(self, image_id: str) -> _Known:
        if image_id not in self._known:
            (row,) = self._rows(_IMAGE_BY_ID, of_image=image_id)
            drawn = next(iter(self._rows(_MAP_OF, of_image=image_id)), None)
            taken = np.zeros((row.height, row.width), dtype=np.bool_)
            asked = [*self._spoken(row, taken), *self._skipped(row), *self._held(row)]
            for y, x in asked:
                taken[y, x] = True
            prediction = None if drawn is None else self._plane(drawn.prediction_sha256, row)
            self._known[image_id] = _Known(row, drawn, AskableImage(taken, asked, prediction, seed=image_id))
        return self._known[image_id]

    def _spoken(self, row: Row[Any], taken: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Mark the pixels of all labels that hold, of retired classes as well: asking again would be tiresome.

        Returns:
            The middle pixel (y, x) of each label.
        """
        if not row.label_count:
            return []
        asked = []
        for label in fold(events_of_image(self._connection, row.image_id, row.last_seq), row.sha256):
            parts = [pixels for _, pixels in pixels_left(label, height=row.height, width=row.width) if pixels.size]
            for pixels in parts:
                taken.reshape(-1)[pixels] = True
                y, x = divmod(int(pixels[pixels.size // 2]), row.width)
                asked.append((y, x))
        return asked

    def _skipped(self, row: Row[Any]) -> list[tuple[int, int]]:
        if row.image_id not in self._skips:
            return []
        return [(each.y, each.x) for each in self._rows(_SKIPS_OF, of_image=row.image_id, of_pixels=row.sha256)]

    def _held(self, row: Row[Any]) -> list[tuple[int, int]]:
        held = self._under_way.get(_picture_of(row.image_id, row.sha256), ())
        return [(y, x) for y, x in held if y < row.height and x < row.width]

    def _plane(self, sha256: str, row: Row[Any]) -> NDArray[np.uint8] | None:
        """A plane of the image's newest map; None when its file is gone, which costs the checks that need it."""
        try:
            plane = np.frombuffer(self._blobs.read(sha256), dtype=np.uint8)
        except BlobNotFound:
            return None
        return plane.reshape(row.height, row.width) if plane.size == row.height * row.width else None

    # --- as people see it -----------------------------------------------------------------------------------

    def _question(self, known: _Known, proposal: Proposal, asked: Asked) -> Question:
        row, y, x = known.row, proposal.y, proposal.x
        candidate = proposal.candidate
        guess, second, confidence = None, None, None
        if candidate is not None:
            guess, confidence = self._class_at(known, candidate.guess), candidate.confidence
            second = None if candidate.second_guess is None else self._class_at(known, candidate.second_guess)
        elif known.asked.prediction is not None and known.map is not None:
            guess = self._class_at(known, int(known.asked.prediction[y, x]))
            plane = self._plane(known.map.confidence_sha256, row)
            confidence = None if plane is None else int(plane[y, x]) / 255
        if guess is None:  # the model's first choice is a class that was retired: its other numbers help nobody
            second, confidence = None, None
        return Question(
            question_id=question_id_of(row.image_id, row.sha256, y, x),
            image_id=row.image_id,
            image_name=row.name,
            pixel=Pixel(x=x, y=y),
            guess=guess,
            second_guess=second,
            confidence=confidence,
            model_version=None if known.map is None else known.map.model_version,
            asked=asked,
            why=self._why(known, candidate, guess, asked),
        )

    def _why(self, known: _Known, candidate: Candidate | None, guess: str | None, asked: Asked) -> str:
        if asked == "random":
            return WHY_RANDOM
        if candidate is not None:
            return WHY_GUIDED.format(confidence=candidate.confidence, margin=candidate.margin)
        if known.map is None:
            return WHY_UNSEEN
        if not self._is_start:
            return WHY_SPREAD
        return WHY_START.format(guess=self._names[guess] if guess is not None else "a class that was retired")

    def _class_at(self, known: _Known, index: int) -> str | None:
        """The class of a map's index; None where it was retired."""
        uid = known.class_uids[index] if index < len(known.class_uids) else None
        return uid if uid in self._names else None

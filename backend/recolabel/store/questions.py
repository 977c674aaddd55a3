"""Questions: candidates of the newest maps, judged with the newest labels. Nothing is stored."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select

from recolabel.acquisition import ImageCandidates, choose_questions, spread_pixels
from recolabel.contract.labels import Pixel
from recolabel.contract.projects import MAX_CLASSES
from recolabel.contract.questions import Candidate, Question, QuestionPage
from recolabel.errors import ImageNotFound
from recolabel.labels.fold import UNLABELLED_INDEX
from recolabel.snapshots import image_label_map
from recolabel.store import schema
from recolabel.store.database import Database
from recolabel.store.images import candidate_list, image_row
from recolabel.store.labels import events_of_image, facts_of
from recolabel.store.projects import classes_of, project_row

IMAGES_LOOKED_AT = 32
"""Beyond so many images without anything left to ask, the answer is that nothing is left."""
TOO_FEW_IMAGES = "There is no image yet."
NOTHING_LEFT = "Nothing is left to ask: every doubtful pixel has an answer close by."


class Questions:
    """The next pixels to ask about."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next(self, project_id: str, image_id: str | None, limit: int, rng: random.Random) -> QuestionPage:
        """The most useful questions, first of the image given, then of the most uncertain ones.

        Before any model has spoken they are random pixels, without a guess.

        Args:
            image_id: the image on screen, if any.
            rng: for the questions without a guess.

        Raises:
            ProjectNotFound, ImageNotFound.
        """
        with self._database.reading() as connection:
            project_row(connection, project_id)
            first = None if image_id is None else image_row(connection, image_id)
            if first is not None and first.project_id != project_id:
                raise ImageNotFound
            class_uids = [label_class.class_uid for label_class in classes_of(connection, project_id)][:MAX_CLASSES]
            drawn = {row.image_id: row for row in _images_with_map(connection, project_id, first)}
            if not drawn:
                return _without_model(connection, project_id, first, class_uids, limit, rng)
            chosen = choose_questions(_candidates(connection, drawn, class_uids), limit)
        questions = [_question(drawn[choice.image_id], choice.candidate) for choice in chosen]
        return QuestionPage(questions=questions, note=None if questions else NOTHING_LEFT)


def _images_with_map(connection: Connection, project_id: str, first: Row[Any] | None) -> list[Row[Any]]:
    """The images that have a map: the one on screen, then the most uncertain ones."""
    image, image_map = schema.image.c, schema.image_map.c
    statement = (
        select(schema.image, image_map.map_id, image_map.candidates, image_map.class_uids, image_map.model_version)
        .join(schema.image_map, image_map.image_id == image.image_id)
        .where(image.project_id == project_id, image.removed_at.is_(None), image.uncertainty.is_not(None))
    )
    rows = list(connection.execute(statement.order_by(image.uncertainty.desc()).limit(IMAGES_LOOKED_AT)).all())
    if first is not None:
        shown = connection.execute(statement.where(image.image_id == first.image_id)).all()
        rows = [*shown, *(row for row in rows if row.image_id != first.image_id)]
    return rows


def _candidates(connection: Connection, drawn: dict[str, Row[Any]], class_uids: list[str]) -> Iterator[ImageCandidates]:
    for row in drawn.values():
        yield ImageCandidates(
            image_id=row.image_id,
            candidates=candidate_list.validate_json(row.candidates),
            labelled=_labelled(connection, row, class_uids),
        )


def _labelled(connection: Connection, row: Row[Any], class_uids: list[str]) -> NDArray[np.bool_]:
    """Pixels about which somebody spoke, retired classes included: asking again would be tiresome."""
    if not row.label_count:
        return np.zeros((row.height, row.width), dtype=np.bool_)
    events = events_of_image(connection, row.image_id, row.last_seq)
    labelled: NDArray[np.bool_] = image_label_map(facts_of(row), events, class_uids) != UNLABELLED_INDEX
    return labelled


def _question(row: Row[Any], candidate: Candidate) -> Question:
    class_uids = json.loads(row.class_uids)
    return Question(
        question_id=_question_id(row.map_id, candidate.pixel),
        image_id=row.image_id,
        image_name=row.name,
        pixel=candidate.pixel,
        guess=_class_at(class_uids, candidate.guess),
        second_guess=None if candidate.second_guess is None else _class_at(class_uids, candidate.second_guess),
        confidence=candidate.confidence,
        model_version=row.model_version,
        asked="guided",
        why=f"The model is {candidate.confidence:.0%} sure here, {candidate.margin:.0%} ahead of its second guess.",
    )


def _without_model(
    connection: Connection,
    project_id: str,
    first: Row[Any] | None,
    class_uids: list[str],
    limit: int,
    rng: random.Random,
) -> QuestionPage:
    row = first
    if row is None:
        row = connection.execute(
            select(schema.image)
            .where(schema.image.c.project_id == project_id, schema.image.c.removed_at.is_(None))
            .order_by(schema.image.c.label_count, schema.image.c.position)
            .limit(1)
        ).one_or_none()
    if row is None:
        return QuestionPage(questions=[], note=TOO_FEW_IMAGES)
    pixels = spread_pixels(_labelled(connection, row, class_uids), limit, np.random.default_rng(rng.getrandbits(64)))
    questions = [
        Question(
            question_id=_question_id(row.image_id, Pixel(x=x, y=y)),
            image_id=row.image_id,
            image_name=row.name,
            pixel=Pixel(x=x, y=y),
            guess=None,
            second_guess=None,
            confidence=None,
            model_version=None,
            asked="guided",
            why="No model has seen this project yet, so this is a random pixel.",
        )
        for y, x in pixels
    ]
    return QuestionPage(questions=questions, note=None if questions else NOTHING_LEFT)


def _question_id(map_id: str, pixel: Pixel) -> str:
    """The same pixel of the same map is the same question, however often it is asked for."""
    return str(uuid.uuid5(uuid.UUID(map_id), f"{pixel.x},{pixel.y}"))


def _class_at(class_uids: list[str], index: int) -> str | None:
    return class_uids[index] if index < len(class_uids) else None

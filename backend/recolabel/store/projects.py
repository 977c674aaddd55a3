"""Projects and their classes. Classes are never deleted, only retired: old labels keep their meaning."""

from __future__ import annotations

import builtins
import colorsys
import string
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from recolabel.contract.projects import (
    MAX_CLASSES,
    ClassPatch,
    LabelClass,
    NewLabelClass,
    NewProject,
    Project,
    ProjectPatch,
    ProjectSettings,
)
from recolabel.contract.updates import ProjectChanged
from recolabel.errors import ClassNameTaken, ClassNotFound, ProjectNameTaken, ProjectNotFound, TooManyClasses
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.ids import new_id
from recolabel.store.job_states import cancel_active
from recolabel.store.updates import tell

COLOURS = (
    "#4477dd",
    "#ee7733",
    "#22aa66",
    "#dd3377",
    "#eecc33",
    "#55ccee",
    "#aa66dd",
    "#99bb22",
    "#bb5533",
    "#ff99bb",
    "#118899",
    "#ccbb99",
)
"""Colours for classes that come without one, far apart from each other, also for most colour-blind eyes."""
GOLDEN_ANGLE = 0.618_034


PROJECT = select(schema.project).where(
    schema.project.c.project_id == bindparam("of_project"), schema.project.c.deleted_at.is_(None)
)
CLASSES = (
    select(schema.label_class)
    .where(schema.label_class.c.project_id == bindparam("of_project"))
    .order_by(schema.label_class.c.position)
)

NEWEST_VERSION = select(func.max(schema.model_version.c.version)).where(
    schema.model_version.c.project_id == bindparam("of_project")
)
PINNED_VERSION = select(schema.project.c.pinned_version).where(schema.project.c.project_id == bindparam("of_project"))


class Projects:
    """The projects of a data folder."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, new: NewProject) -> Project:
        """Create a project. Raises ProjectNameTaken."""
        now = self._clock()
        project_id = new_id(now)

        def work(connection: Connection) -> Project:
            try:
                connection.execute(
                    insert(schema.project).values(
                        project_id=project_id,
                        name=new.name,
                        name_key=new.name.casefold(),
                        created_at=now,
                        settings=ProjectSettings().model_dump_json(),
                        image_count=0,
                        label_count=0,
                        label_seq=0,
                        image_seq=0,
                    )
                )
            except IntegrityError as error:
                raise ProjectNameTaken from error
            for label_class in new.classes:
                _insert_class(connection, project_id, label_class, now)
            return project_of(connection, project_id)

        return self._database.write(work)

    def list(self) -> builtins.list[Project]:
        """All projects, oldest first."""
        statement = select(schema.project).where(schema.project.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(schema.project.c.project_id)).all()
            return [_project(connection, row) for row in rows]

    def get(self, project_id: str) -> Project:
        """One project. Raises ProjectNotFound."""
        with self._database.reading() as connection:
            return project_of(connection, project_id)

    def by_name(self, name: str) -> Project:
        """The project of this name, upper and lower case alike. Raises ProjectNotFound."""
        statement = select(schema.project).where(
            schema.project.c.name_key == name.strip().casefold(), schema.project.c.deleted_at.is_(None)
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise ProjectNotFound(f"There is no project called {name!r}.")
            return _project(connection, row)

    def patch(self, project_id: str, patch: ProjectPatch) -> Project:
        """Change name or settings. Raises ProjectNotFound, ProjectNameTaken."""
        changes: dict[str, Any] = {}
        if patch.name is not None:
            changes |= {"name": patch.name, "name_key": patch.name.casefold()}

        def work(connection: Connection) -> Project:
            row = project_row(connection, project_id)
            if patch.settings is not None:
                wanted = patch.settings.model_dump(exclude_none=True)
                settings = ProjectSettings.model_validate_json(row.settings).model_copy(update=wanted)
                changes["settings"] = settings.model_dump_json()
            if changes:
                try:
                    _change_project(connection, project_id, changes)
                except IntegrityError as error:
                    raise ProjectNameTaken from error
                tell(connection, project_id, ProjectChanged())
            return project_of(connection, project_id)

        return self._database.write(work)

    def delete(self, project_id: str) -> None:
        """Put a tombstone on the project: nobody sees it any more, its label log stays. Raises ProjectNotFound."""
        now = self._clock()

        def work(connection: Connection) -> None:
            project_row(connection, project_id)
            cancel_active(connection, project_id, now, why="the project was deleted")
            _change_project(connection, project_id, {"deleted_at": now})
            tell(connection, project_id, ProjectChanged())

        self._database.write(work)

    def add_class(self, project_id: str, new: NewLabelClass) -> LabelClass:
        """Add a class at the end. Raises ProjectNotFound, ClassNameTaken, TooManyClasses."""
        now = self._clock()

        def work(connection: Connection) -> LabelClass:
            project_row(connection, project_id)
            _refuse_too_many(connection, project_id)
            class_uid = _insert_class(connection, project_id, new, now)
            tell(connection, project_id, ProjectChanged())
            return _class(_class_row(connection, project_id, class_uid))

        return self._database.write(work)

    def patch_class(self, project_id: str, class_uid: str, patch: ClassPatch) -> LabelClass:
        """Rename, recolour, retire or bring back a class. A key that another class has is taken over from it.

        Raises:
            ProjectNotFound, ClassNotFound, ClassNameTaken, TooManyClasses.
        """
        now = self._clock()
        changes: dict[str, Any] = {}
        if patch.name is not None:
            changes |= {"name": patch.name, "name_key": patch.name.casefold()}
        if patch.colour is not None:
            changes["colour"] = patch.colour
        if patch.key is not None:
            changes["key"] = patch.key

        def work(connection: Connection) -> LabelClass:
            project_row(connection, project_id)
            row = _class_row(connection, project_id, class_uid)
            if patch.retired is True and row.retired_at is None:
                changes["retired_at"] = now
            if patch.retired is False and row.retired_at is not None:
                _refuse_too_many(connection, project_id)
                changes["retired_at"] = None
            if patch.key is not None:
                _release_key(connection, project_id, patch.key)
            if changes:
                try:
                    connection.execute(
                        update(schema.label_class).where(schema.label_class.c.class_uid == class_uid).values(changes)
                    )
                except IntegrityError as error:
                    raise ClassNameTaken from error
                tell(connection, project_id, ProjectChanged())
            return _class(_class_row(connection, project_id, class_uid))

        return self._database.write(work)


def project_row(connection: Connection, project_id: str) -> Row[Any]:
    """The row of a project that is not deleted. Raises ProjectNotFound."""
    row = connection.execute(PROJECT, {"of_project": project_id}).one_or_none()
    if row is None:
        raise ProjectNotFound
    return row


def project_of(connection: Connection, project_id: str) -> Project:
    """The project as people see it. Raises ProjectNotFound."""
    return _project(connection, project_row(connection, project_id))


def classes_of(connection: Connection, project_id: str) -> list[LabelClass]:
    """All classes of a project in order of position, retired ones as well."""
    rows = connection.execute(CLASSES, {"of_project": project_id}).all()
    return [_class(row) for row in rows]


def newest_version(connection: Connection, project_id: str) -> int | None:
    """The number of the project's newest model version, None before the first."""
    return connection.execute(NEWEST_VERSION, {"of_project": project_id}).scalar()


def working_version(connection: Connection, project_id: str) -> int | None:
    """The number of the version that the project works with: the pinned one, else the newest, None before the first.

    Maps are drawn by it, the fast head takes its features, and a training starts from it.
    """
    pinned: int | None = connection.execute(PINNED_VERSION, {"of_project": project_id}).scalar()
    return newest_version(connection, project_id) if pinned is None else pinned


def _project(connection: Connection, row: Row[Any]) -> Project:
    return Project(
        project_id=row.project_id,
        name=row.name,
        created_at=row.created_at,
        classes=classes_of(connection, row.project_id),
        settings=ProjectSettings.model_validate_json(row.settings),
        image_count=row.image_count,
        label_count=row.label_count,
        label_seq=row.label_seq,
        newest_version=newest_version(connection, row.project_id),
        pinned_version=row.pinned_version,
    )


def _change_project(connection: Connection, project_id: str, changes: dict[str, Any]) -> None:
    connection.execute(update(schema.project).where(schema.project.c.project_id == project_id).values(changes))


def _class_row(connection: Connection, project_id: str, class_uid: str) -> Row[Any]:
    row = connection.execute(
        select(schema.label_class).where(
            schema.label_class.c.project_id == project_id, schema.label_class.c.class_uid == class_uid
        )
    ).one_or_none()
    if row is None:
        raise ClassNotFound
    return row


def _class(row: Row[Any]) -> LabelClass:
    return LabelClass(
        class_uid=row.class_uid,
        name=row.name,
        colour=row.colour,
        key=row.key,
        position=row.position,
        retired=row.retired_at is not None,
    )


def _insert_class(connection: Connection, project_id: str, new: NewLabelClass, now: datetime) -> str:
    present = classes_of(connection, project_id)
    class_uid = new_id(now)
    key = new.key
    if key is None or any(label_class.key == key for label_class in present):
        key = choose_key(new.name, [label_class.key for label_class in present])
    try:
        connection.execute(
            insert(schema.label_class).values(
                class_uid=class_uid,
                project_id=project_id,
                name=new.name,
                name_key=new.name.casefold(),
                colour=new.colour or choose_colour([label_class.colour for label_class in present]),
                key=key,
                position=len(present),
            )
        )
    except IntegrityError as error:
        raise ClassNameTaken from error
    return class_uid


def _refuse_too_many(connection: Connection, project_id: str) -> None:
    if sum(not label_class.retired for label_class in classes_of(connection, project_id)) >= MAX_CLASSES:
        raise TooManyClasses


def _release_key(connection: Connection, project_id: str, key: str) -> None:
    connection.execute(
        update(schema.label_class)
        .where(schema.label_class.c.project_id == project_id, schema.label_class.c.key == key)
        .values(key=None)
    )


def choose_key(name: str, taken: Iterable[str | None]) -> str | None:
    """The first letter of the name that is free, else the first free letter of the alphabet, else none."""
    used = set(taken)
    wishes = [letter for letter in name.casefold() if letter in string.ascii_lowercase]
    return next((letter for letter in [*wishes, *string.ascii_lowercase] if letter not in used), None)


def choose_colour(taken: Sequence[str]) -> str:
    """The first of `COLOURS` that is free; after those, hues a golden angle apart."""
    free = next((colour for colour in COLOURS if colour not in taken), None)
    if free is not None:
        return free
    turns = len(taken)
    red, green, blue = colorsys.hls_to_rgb(turns * GOLDEN_ANGLE % 1.0, 0.45 + 0.1 * (turns % 3), 0.65)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"

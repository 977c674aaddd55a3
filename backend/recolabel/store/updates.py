"""The feed of hints to browsers. A hint is written in the transaction that causes it, so none tells of what is not."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, func, insert, select

from recolabel.contract.updates import Hint, Update
from recolabel.store import schema
from recolabel.store.database import Database

KEPT_UPDATES = 20_000
"""A browser that was away for longer than these loads everything again, as a new one does."""

TELL = insert(schema.update)


def tell(connection: Connection, project_id: str, hint: Hint) -> None:
    """Add a hint to the feed, inside the caller's transaction."""
    connection.execute(TELL, {"project_id": project_id, "hint": hint.model_dump_json()})


def forget_old(connection: Connection) -> None:
    """Drop the updates before the newest `KEPT_UPDATES`."""
    newest = connection.execute(select(func.max(schema.update.c.update_id))).scalar()
    if newest is not None:
        connection.execute(delete(schema.update).where(schema.update.c.update_id <= newest - KEPT_UPDATES))


class Updates:
    """Reads the feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, project_id: str | None, after_id: int, limit: int) -> list[Update]:
        """The updates after `after_id`, oldest first, of one project or (None) of all."""
        statement = select(schema.update).where(schema.update.c.update_id > after_id)
        if project_id is not None:
            statement = statement.where(schema.update.c.project_id == project_id)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(schema.update.c.update_id).limit(limit)).all()
        return [
            Update(update_id=row.update_id, project_id=row.project_id, hint=_hint.validate_json(row.hint))
            for row in rows
        ]

    def newest_id(self, project_id: str | None = None) -> int:
        """The id of the newest update, 0 when there is none: where a listener that wants only news begins."""
        statement = select(func.coalesce(func.max(schema.update.c.update_id), 0))
        if project_id is not None:
            statement = statement.where(schema.update.c.project_id == project_id)
        with self._database.reading() as connection:
            return int(connection.execute(statement).scalar_one())


_hint: TypeAdapter[Hint] = TypeAdapter(Hint)

"""The answers to random questions, and which of them are held out of all training.

Decided once, when the click is appended, and kept in `random_click`, which is append-only like the log itself:

* Of each class the share that the project's settings name at that moment (`recolabel.holding_out`).
* A pixel that was answered before, in whatever way, keeps what was decided then: a network may have seen it.
* The first label of a class always goes to training: what nobody teaches needs no judge. Void is never held out,
  since it enters no loss and no figure.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, insert, select

from recolabel.contract.labels import VOID, ClickEvent
from recolabel.contract.projects import ProjectSettings
from recolabel.holding_out import class_phase, is_held_out
from recolabel.store import schema
from recolabel.store.label_counts import labels_by_class
from recolabel.store.projects import project_row

ADD = insert(schema.random_click)
OF_CLASSES = (
    select(
        schema.random_click.c.class_uid,
        func.count().label("counted"),
        func.sum(schema.random_click.c.held_out).label("held_out"),
    )
    .where(schema.random_click.c.project_id == bindparam("of_project"), schema.random_click.c.decided_here == 1)
    .group_by(schema.random_click.c.class_uid)
)
AT_PIXEL = (
    select(schema.random_click.c.held_out)
    .where(
        schema.random_click.c.image_id == bindparam("of_image"),
        schema.random_click.c.image_sha256 == bindparam("of_pixels"),
        schema.random_click.c.y == bindparam("at_y"),
        schema.random_click.c.x == bindparam("at_x"),
    )
    .order_by(schema.random_click.c.seq)
    .limit(1)
)

HELD_OUT_OF_IMAGE = select(schema.random_click.c.event_id).where(
    schema.random_click.c.image_id == bindparam("of_image"), schema.random_click.c.held_out == 1
)


def decide(connection: Connection, project_id: str, clicks: Iterable[tuple[int, ClickEvent]]) -> set[str]:
    """Decide about the random ones among new clicks, and write it down.

    Args:
        clicks: (seq, click) of one batch, before the derived counts know of them.

    Returns:
        The event_ids of those that are held out.
    """
    random_clicks = [(seq, click) for seq, click in clicks if click.asked == "random"]
    if not random_clicks:
        return set()
    share = ProjectSettings.model_validate_json(project_row(connection, project_id).settings).held_out_share
    counted: dict[str, int] = {}
    trained = labels_by_class(connection, project_id)
    for row in connection.execute(OF_CLASSES, {"of_project": project_id}):
        counted[row.class_uid] = row.counted
        trained[row.class_uid] = trained.get(row.class_uid, 0) - row.held_out
    held_out: set[str] = set()
    for seq, click in random_clicks:
        at = {
            "of_image": click.image_id,
            "of_pixels": click.image_sha256,
            "at_y": click.pixel.y,
            "at_x": click.pixel.x,
        }
        class_uid = click.class_uid
        before = connection.execute(AT_PIXEL, at).scalar()
        is_new = before is None and class_uid != VOID and trained.get(class_uid, 0) > 0
        if is_new:
            counted[class_uid] = counted.get(class_uid, 0) + 1
            is_out = is_held_out(counted[class_uid], share, class_phase(project_id, class_uid))
        else:
            is_out = bool(before)
        if is_out:
            held_out.add(click.event_id)
        else:
            trained[class_uid] = trained.get(class_uid, 0) + 1
        connection.execute(
            ADD,
            {
                "seq": seq,
                "event_id": click.event_id,
                "project_id": project_id,
                "image_id": click.image_id,
                "image_sha256": click.image_sha256,
                "y": click.pixel.y,
                "x": click.pixel.x,
                "class_uid": class_uid,
                "held_out": int(is_out),
                "decided_here": int(is_new),
            },
        )
    return held_out


def held_out_of_project(connection: Connection, project_id: str) -> frozenset[str]:
    """The event_ids of all clicks of the project that no training may see, whether they hold or not."""
    click = schema.random_click.c
    statement = select(click.event_id).where(click.project_id == project_id, click.held_out == 1)
    return frozenset(connection.execute(statement).scalars())


def held_out_of_image(connection: Connection, image_id: str) -> frozenset[str]:
    """The same for one image."""
    return frozenset(connection.execute(HELD_OUT_OF_IMAGE, {"of_image": image_id}).scalars())

"""The label log leaves as JSON lines and comes back the same."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recolabel.contract.images import ImageInfo
from recolabel.contract.labels import (
    ClassSpans,
    ClickEvent,
    EraseEvent,
    FixedPoint,
    LabelEvent,
    MaskEvent,
    Pixel,
    StoredEvent,
    StrokeEvent,
    UndoEvent,
)
from recolabel.contract.projects import LabelClass
from recolabel.errors import BadArgument
from recolabel.formats.jsonl import bind, read_lines, write_lines

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
SHA = "ab" * 32


def an_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def project_with(offset: int) -> tuple[str, list[LabelClass], dict[str, ImageInfo]]:
    """Project id, classes and images; another offset gives other ids and nothing else."""
    project_id = an_id(offset)
    classes = [
        LabelClass(class_uid=an_id(offset + 10 + n), name=name, colour=f"#0000{n:02x}", key=None, position=n)
        for n, name in enumerate(("road", "void? no, Größe", "car"))
    ]
    image = ImageInfo(
        image_id=an_id(offset + 20),
        project_id=project_id,
        name="day 1/a.jpg",
        width=64,
        height=48,
        sha256=SHA,
        position=0,
        added_at=NOW,
        label_count=0,
        last_seq=0,
        uncertainty=None,
    )
    return project_id, classes, {image.image_id: image}


def one_of_each(classes: list[LabelClass], image_id: str) -> list[LabelEvent]:
    line = [FixedPoint(x=-8, y=16), FixedPoint(x=160, y=90)]

    def base(number: int) -> dict[str, Any]:
        return {
            "event_id": an_id(1000 + number),
            "image_id": image_id,
            "image_sha256": SHA,
            "client_id": an_id(99),
            "client_seq": number,
            "client_time": NOW + timedelta(milliseconds=number),
        }

    road, size, car = (label_class.class_uid for label_class in classes)
    return [
        ClickEvent(**base(0), class_uid=road, pixel=Pixel(x=1, y=2), question_id=an_id(5)),
        ClickEvent(**base(1), class_uid="void", pixel=Pixel(x=3, y=4)),
        StrokeEvent(**base(2), class_uid=size, points=line, radius=40),
        EraseEvent(**base(3), points=line, radius=8, targets=[an_id(1002)]),
        UndoEvent(**base(4), targets=[an_id(1000)]),
        MaskEvent(
            **base(5),
            classes=[ClassSpans(class_uid=car, spans=[0, 1, 2]), ClassSpans(class_uid="void", spans=[3, 4, 5])],
        ),
    ]


def stored(events: list[LabelEvent], annotator_id: str, first_seq: int) -> list[StoredEvent]:
    return [
        StoredEvent(seq=first_seq + n, annotator_id=annotator_id, server_time=NOW, event=event)
        for n, event in enumerate(events)
    ]


def without_what_a_server_gives(lines: list[str]) -> list[Any]:
    """Lines with ids replaced by the order in which they first stand there."""
    seen: dict[str, int] = {}
    cleaned: list[Any] = []
    for line in lines:
        fields = json.loads(line)
        for name in ("seq", "annotator", "server_time"):
            fields.pop(name, None)
        for name in ("event_id", "client_id"):
            if name in fields:
                fields[name] = seen.setdefault(fields[name], len(seen))
        if "targets" in fields:
            fields["targets"] = [seen[target] for target in fields["targets"]]
        cleaned.append(fields)
    return cleaned


def test_export_import_export_gives_the_same_lines_but_for_ids_and_times() -> None:
    # Given a log with every kind of event
    _, classes, images = project_with(0)
    lines = list(write_lines("Street", classes, images, stored(one_of_each(classes, an_id(20)), "anna", 7)))

    # When it is imported into an empty project and exported from there
    project_id, new_classes, new_images = project_with(5000)
    _, exported = read_lines(lines)
    class_uids = {label_class.name: label_class.class_uid for label_class in new_classes}
    events = [bind(e, project_id=project_id, image_id=an_id(5020), class_uids=class_uids) for e in exported]
    again = list(write_lines("Street", new_classes, new_images, stored(events, "local", 100)))

    # I expect the same lines, and ids of its own in every event
    assert without_what_a_server_gives(again) == without_what_a_server_gives(lines)
    assert {event.event_id for event in events}.isdisjoint({an_id(1000 + n) for n in range(6)})


def test_importing_twice_makes_the_same_ids() -> None:
    project_id, classes, images = project_with(0)
    lines = list(write_lines("Street", classes, images, stored(one_of_each(classes, an_id(20)), "anna", 1)))
    class_uids = {label_class.name: label_class.class_uid for label_class in classes}

    first, second = (
        [bind(e, project_id=project_id, image_id=an_id(20), class_uids=class_uids) for e in read_lines(lines)[1]]
        for _ in range(2)
    )

    assert first == second


def test_labels_of_removed_images_stay_away_and_those_of_replaced_ones_say_so() -> None:
    _, classes, images = project_with(0)
    events = one_of_each(classes, an_id(20))[:1]
    replaced = {an_id(20): images[an_id(20)].model_copy(update={"sha256": "cd" * 32})}

    assert len(list(write_lines("Street", classes, {}, stored(events, "anna", 1)))) == 1
    [event] = read_lines(write_lines("Street", classes, replaced, stored(events, "anna", 1)))[1]
    assert event.image_replaced


HEADER = '{"format":"recolabel-labels","version":1,"project":"p","classes":[]}'
WRONG = [
    # lines, part of the sentence
    ([], "empty"),
    (["nonsense"], "first line"),
    (["[]"], "first line"),
    (['{"format":"coco","version":1,"project":"p","classes":[]}'], "'coco'"),
    (['{"format":"recolabel-labels","version":2,"project":"p","classes":[]}'], "Upgrade"),
    ([HEADER, "{"], "Line 2"),
    ([HEADER, "", '{"kind":"click"}'], "Line 3"),
    ([HEADER, '{"image":"a","image_sha256":"x","kind":"click"}'], "Line 2"),
    ([HEADER, f'{{"image":"a","image_sha256":"{SHA}","event_id":"a","client_id":"b","kind":"jump"}}'], "Line 2"),
    ([HEADER, '{"image":"a","image_sha256":"x","event_id":"a","client_id":"b","class":"lorry"}'], "'lorry'"),
]


@pytest.mark.parametrize(("lines", "words"), WRONG)
def test_a_file_that_is_no_label_log_says_which_line(lines: list[str], words: str) -> None:
    def read_all() -> list[LabelEvent]:
        return [bind(e, project_id=an_id(1), image_id=an_id(2), class_uids={}) for e in read_lines(lines)[1]]

    with pytest.raises(BadArgument, match=words):
        read_all()

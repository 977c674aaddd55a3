"""The label log: nothing acknowledged is lost, nothing is stored twice, nothing wrong gets in."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from recolabel.contract.labels import VOID, ClassSpans, Fate, LabelEvent, MaskEvent
from recolabel.contract.projects import ClassPatch
from recolabel.contract.updates import LabelsChanged
from recolabel.labels.fold import count_by_class, fold
from recolabel.settings import Settings
from recolabel.store import Store, open_store
from tests.backend.store.street import HEIGHT, WIDTH, Street, new_uuid


def test_a_stored_event_is_there_after_the_store_was_opened_again(settings: Settings) -> None:
    with open_store(settings) as store:
        street = Street(store)
        event = street.click(street.road, 3, 4)
        street.append(event)

    with open_store(settings) as store:
        found = store.labels.of_image(street.first.image_id)

    assert [stored.event for stored in found.events] == [event]
    assert found.last_seq == 1


def test_a_stroke_that_would_take_minutes_to_draw_is_refused(street: Street) -> None:
    there_and_back = [(0, 0), (500_000, 0)] * 100
    stroke = street.stroke(street.road, *there_and_back, radius=4_096)

    [ack] = street.append(stroke)

    assert (ack.fate, ack.code) == (Fate.REFUSED, "stroke_too_long")
    assert street.label_count() == 0


def test_a_retried_event_is_stored_once(street: Street) -> None:
    event = street.click(street.road, 3, 4)

    acks = [*street.append(event), *street.append(event), *street.append(event, event)]

    assert [(ack.fate, ack.seq) for ack in acks] == [(Fate.STORED, 1)] + 3 * [(Fate.DUPLICATE, 1)]
    assert len(street.store.labels.log(street.project_id)) == 1
    assert street.label_count() == 1


def test_another_event_with_the_same_id_is_refused(street: Street) -> None:
    event = street.click(street.road, 3, 4)
    street.append(event)

    [ack] = street.append(event.model_copy(update={"class_uid": street.car}))

    assert (ack.fate, ack.code) == (Fate.REFUSED, "event_id_taken")
    assert [stored.event for stored in street.store.labels.log(street.project_id)] == [event]


BAD_EVENTS: list[tuple[str, str, Callable[[Street], LabelEvent]]] = [
    ("outside_image", "a click right of the image", lambda s: s.click(s.road, WIDTH, 0)),
    ("outside_image", "a click below the image", lambda s: s.click(s.road, 0, HEIGHT)),
    ("outside_image", "a stroke that stays away", lambda s: s.stroke(s.road, (-100, -100), (-50, -60), radius=16)),
    ("outside_image", "an eraser that stays away", lambda s: s.erase([new_uuid()], (-100, -100))),
    ("unknown_class", "a class of nobody", lambda s: s.click(new_uuid(), 0, 0)),
    ("unknown_class", "a mask with a class of nobody", lambda s: mask(s, new_uuid(), [0, 0, 1])),
    ("outside_image", "a run that leaves the image", lambda s: mask(s, s.road, [0, WIDTH - 1, 2])),
    ("outside_image", "a run above the image", lambda s: mask(s, s.road, [-1, 0, 1])),
    ("outside_image", "a run whose end overflows 64 bits", lambda s: mask(s, s.road, [0, 1, 2**63 - 1])),
    ("outside_image", "a run beyond 64 bits", lambda s: mask(s, s.road, [0, 1, 2**70])),
    ("label_refused", "a run without a pixel", lambda s: mask(s, s.road, [0, 0, 0])),
    ("label_refused", "half a run", lambda s: mask(s, s.road, [0, 0, 1, 0])),
    ("unknown_image", "an image of nobody", lambda s: s.click(s.road, 0, 0, image_id=new_uuid())),
    ("image_replaced", "other pixels than the image has", lambda s: s.click(s.road, 0, 0, image_sha256="0" * 64)),
    ("unknown_target", "an undo of nothing", lambda s: s.undo(new_uuid())),
    ("unknown_target", "an eraser of nothing", lambda s: s.erase([new_uuid()], (8, 8))),
]


def mask(street: Street, class_uid: str, spans: list[int]) -> MaskEvent:
    return MaskEvent(classes=[ClassSpans(class_uid=class_uid, spans=spans)], **street.signed(street.first))


@pytest.mark.parametrize(("code", "remark", "make"), BAD_EVENTS, ids=[remark for _, remark, _ in BAD_EVENTS])
def test_a_bad_event_is_refused_with_its_reason_and_does_not_block_its_neighbours(
    street: Street, code: str, remark: str, make: Callable[[Street], LabelEvent]
) -> None:
    acks = street.append(street.click(street.road, 0, 0), make(street), street.click(street.car, 1, 1))

    assert [ack.fate for ack in acks] == [Fate.STORED, Fate.REFUSED, Fate.STORED]
    assert acks[1].code == code
    assert (acks[1].reason or "").endswith(("Nothing was changed.", "repeat the label."))
    assert street.label_count() == 2


def test_a_label_of_a_retired_class_is_refused_until_the_class_comes_back(street: Street) -> None:
    event = street.click(street.car, 0, 0)

    street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=True))
    [refused] = street.append(event)
    street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=False))
    [stored] = street.append(event)

    assert (refused.code, stored.fate) == ("class_retired", Fate.STORED)


def test_an_eraser_names_labels_of_its_own_image_only(street: Street) -> None:
    click = street.click(street.road, 0, 0)
    undo = street.undo(click.event_id)
    street.append(click, undo)

    acks = street.append(
        street.erase([undo.event_id], (8, 8)),  # not a label
        street.erase([click.event_id], (8, 8), image=street.second),  # not of this image
        street.undo(click.event_id, image=street.second),
    )

    assert [ack.code for ack in acks] == 3 * ["unknown_target"]


def test_an_event_may_name_an_earlier_one_of_its_own_batch(street: Street) -> None:
    click = street.click(street.road, 0, 0)

    acks = street.append(click, street.undo(click.event_id))

    assert [ack.fate for ack in acks] == 2 * [Fate.STORED]
    assert street.label_count() == 0


def test_a_duplicate_is_still_a_duplicate_after_the_image_was_replaced(street: Street) -> None:
    event = street.click(street.road, 0, 0)
    street.append(event)

    street.store.images.replace(street.first.image_id, street.pixels("other pixels"))

    assert [ack.fate for ack in street.append(event)] == [Fate.DUPLICATE]


@pytest.mark.parametrize("statement", ["UPDATE label_event SET annotator_id = 'x'", "DELETE FROM label_event"])
def test_the_database_itself_refuses_to_change_the_log(street: Street, statement: str) -> None:
    street.append(street.click(street.road, 0, 0))

    with pytest.raises(IntegrityError, match="append-only"):
        street.store._database.write(lambda connection: connection.execute(text(statement)))

    assert len(street.store.labels.log(street.project_id)) == 1


def test_counts_follow_clicks_undos_erasers_and_replaced_pixels(street: Street) -> None:
    store, road, car = street.store, street.road, street.car
    clicks = [street.click(road, 0, 0), street.click(car, 1, 0), street.click(VOID, 2, 0)]

    def counts() -> tuple[int, int, int]:
        by_class = store.labels.class_counts(street.project_id)
        return street.label_count(), by_class[road], by_class[car]

    street.append(*clicks)
    assert counts() == (3, 1, 1)
    street.append(street.undo(clicks[1].event_id))
    assert counts() == (2, 1, 0)
    street.append(street.erase([clicks[0].event_id], (8, 8)))
    assert counts() == (1, 0, 0)
    store.images.replace(street.first.image_id, street.pixels("other pixels"))
    assert counts() == (0, 0, 0)
    store.images.replace(street.first.image_id, street.pixels("pixels of first.png"))
    assert counts() == (1, 0, 0)
    store.images.remove(street.first.image_id)
    assert counts() == (0, 0, 0)


def test_the_log_is_read_in_stretches_up_to_a_position(street: Street) -> None:
    street.append(*(street.click(street.road, x, 0) for x in range(5)))

    stretch = street.store.labels.log(street.project_id, after=1, limit=10, up_to=4)

    assert [stored.seq for stored in stretch] == [2, 3, 4]
    assert [stored.seq for stored in street.store.labels.of_image_up_to(street.first.image_id, 2)] == [1, 2]
    assert [stored.seq for stored in street.store.labels.of_image(street.first.image_id, 3).events] == [4, 5]


def test_browsers_are_told_of_stored_events_only(street: Street) -> None:
    before = street.store.updates.newest_id(street.project_id)

    street.append(street.click(street.road, WIDTH, 0))
    nothing = street.store.updates.since(street.project_id, before, 10)
    street.append(street.click(street.road, 0, 0), street.click(street.road, 1, 0))
    [update] = street.store.updates.since(street.project_id, before, 10)

    assert nothing == []
    assert update.hint == LabelsChanged(image_id=street.first.image_id, last_seq=2, client_id=street.client_id)


Step = tuple[str, int, int, int]  # kind, class, x, which earlier event is meant


def perform(street: Street, steps: list[Step], batch: int) -> list[list[int]]:
    """Say the steps in batches of a size; return the label map."""
    classes = (street.road, street.car, VOID)
    events: list[LabelEvent] = []
    for kind, which_class, x, which_event in steps:
        clicks = [event for event in events if event.kind == "click"]
        if kind == "click" or not clicks:
            events.append(street.click(classes[which_class], x, 0))
        elif kind == "undo":
            events.append(street.undo(events[which_event % len(events)].event_id))
        else:
            events.append(street.erase([clicks[which_event % len(clicks)].event_id], (16 * x + 8, 8)))
    for start in range(0, len(events), batch):
        assert all(ack.fate is Fate.STORED for ack in street.append(*events[start : start + batch]))
    return street.store.labels.label_map(street.first.image_id).tolist()  # type: ignore[no-any-return]


steps_of_a_person = st.lists(
    st.tuples(st.sampled_from(["click", "undo", "erase"]), st.integers(0, 2), st.integers(0, 2), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


@hypothesis.settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps_of_a_person, batch=st.integers(2, 12))
def test_what_holds_does_not_depend_on_how_events_were_batched(store: Store, steps: list[Step], batch: int) -> None:
    alone, together = Street(store, name=new_uuid()), Street(store, name=new_uuid())

    maps = [perform(alone, steps, 1), perform(together, steps, batch)]

    assert maps[0] == maps[1]
    assert alone.label_count() == together.label_count()
    log = store.labels.of_image(alone.first.image_id).events
    counted, _ = count_by_class(fold(log, alone.first.sha256), height=HEIGHT, width=WIDTH)
    assert alone.label_count() == counted

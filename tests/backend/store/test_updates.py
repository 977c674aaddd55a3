"""The feed of hints."""

from __future__ import annotations

import pytest

from recolabel.contract.updates import ImagesChanged
from recolabel.store import Store, updates
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street


def test_a_listener_that_resumes_gets_what_it_missed_of_its_project(store: Store, street: Street) -> None:
    other = Street(store, name="Other")
    seen = store.updates.newest_id()

    street.add_image("third.png")
    other.add_image("third.png")

    [mine] = store.updates.since(street.project_id, seen, 10)
    assert mine.hint == ImagesChanged(image_count=3)
    assert len(store.updates.since(None, seen, 10)) == 2
    assert len(store.updates.since(None, seen, 1)) == 1
    assert store.updates.newest_id(street.project_id) == mine.update_id


def test_old_updates_are_forgotten_and_their_ids_never_come_again(
    street: Street, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "KEPT_UPDATES", 0)
    newest = street.store.updates.newest_id()

    street.store.jobs.sweep(clock.now)
    street.add_image("third.png")

    assert [update.update_id for update in street.store.updates.since(None, 0, 10)] == [newest + 1]

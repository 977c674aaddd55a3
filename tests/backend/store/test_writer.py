"""One writer: group commit, nobody is told of success before COMMIT, and a disk that fails loses nothing."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from recolabel.contract.labels import Fate
from recolabel.errors import Busy, NotFound, StorageBroken, StorageFull
from recolabel.settings import Settings
from recolabel.store import Store, open_store
from recolabel.store.writer import Writer
from tests.backend.store.street import Street


def orphan(name: str) -> Callable[[Connection], None]:
    """Work that inserts a row of its own."""

    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO orphan VALUES (:name, '2026-01-01 00:00:00.000000')"), {"name": name})

    return work


def names(store: Store) -> list[str]:
    with store._database.reading() as connection:
        return list(connection.execute(text("SELECT sha256 FROM orphan ORDER BY 1")).scalars())


class Gate:
    """Holds the writer inside one item until it is opened, so that others queue up behind."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(20)


def test_items_that_wait_together_are_committed_together(store: Store) -> None:
    commits: list[Connection] = []
    event.listen(store._database._writing_engine, "commit", commits.append)
    gate = Gate()

    with ThreadPoolExecutor(12) as people:
        first = people.submit(store._database.write, gate)
        assert gate.entered.wait(20)
        others = [people.submit(store._database.write, orphan(f"{n}")) for n in range(10)]
        while store._database.writer._waiting.qsize() < 10:
            pass
        gate.opened.set()
        for done in [first, *others]:
            done.result(20)

    assert len(commits) == 1
    assert len(names(store)) == 10


def test_an_item_that_fails_takes_only_itself_back(store: Store) -> None:
    gate = Gate()

    def writes_then_fails(connection: Connection) -> None:
        orphan("half done")(connection)
        raise NotFound("on purpose")

    with ThreadPoolExecutor(4) as people:
        first = people.submit(store._database.write, gate)
        assert gate.entered.wait(20)
        before = people.submit(store._database.write, orphan("before"))
        bad = people.submit(store._database.write, writes_then_fails)
        gate.opened.set()
        first.result(20)
        before.result(20)
        with pytest.raises(NotFound, match="on purpose"):
            bad.result(20)

    store._database.write(orphan("later"))
    assert names(store) == ["before", "later"]


def test_a_full_queue_says_busy_and_does_nothing(store: Store, tmp_path: Path) -> None:
    gate = Gate()
    engine = store._database._writing_engine
    writer = Writer(engine.connect, lambda _: None, tmp_path, queue_items=1)

    with ThreadPoolExecutor(3) as people:
        first = people.submit(writer.write, gate)
        assert gate.entered.wait(20)
        second = people.submit(writer.write, orphan("second"))
        while not writer._waiting.full():
            pass
        with pytest.raises(Busy):
            writer.write(orphan("third"))
        gate.opened.set()
        first.result(20)
        second.result(20)
    writer.close()

    assert names(store) == ["second"]


def test_a_closed_store_says_busy(settings: Settings) -> None:
    store = open_store(settings)
    store.close()

    with pytest.raises(Busy, match="stopping"):
        store._database.write(orphan("late"))


def test_a_full_disk_refuses_labels_until_there_is_space_again(street: Street) -> None:
    kept = street.click(street.road, 0, 0)
    street.append(kept)
    writer = street.store._database.writer

    def limit(pages: int) -> None:
        raw = writer._connection.connection.dbapi_connection  # type: ignore[union-attr]
        raw.execute(f"PRAGMA max_page_count = {pages}").fetchone()  # type: ignore[union-attr]

    limit(1)  # SQLite takes the present size then
    refused = [street.click(street.car, x % 40, x // 40) for x in range(256)]
    with pytest.raises(StorageFull):
        street.append(*refused)
    assert [stored.event for stored in street.store.labels.log(street.project_id)] == [kept]

    limit(1_000_000)
    assert {ack.fate for ack in street.append(kept, *refused)} == {Fate.DUPLICATE, Fate.STORED}
    assert street.label_count() == 257


def test_after_a_write_error_of_the_disk_the_database_is_examined_and_goes_on(
    street: Street, settings: Settings
) -> None:
    kept = street.click(street.road, 0, 0)
    street.append(kept)
    log_size = Path(f"{settings.database}-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (log_size, hard))  # the next write to the log fails with EFBIG
    try:
        with pytest.raises(StorageBroken):
            street.append(street.click(street.car, 1, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    [ack] = street.append(street.click(street.car, 2, 2))
    assert (ack.fate, ack.seq) == (Fate.STORED, 2)
    assert len(street.store.labels.log(street.project_id)) == 2


def test_a_log_that_lost_acknowledged_events_is_not_built_upon(street: Street, settings: Settings) -> None:
    street.append(street.click(street.road, 0, 0))
    street.store._database.remember_seq(7)  # as if seven had been acknowledged

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{settings.database}-wal").stat().st_size, hard))
    try:
        with pytest.raises(StorageBroken):
            street.append(street.click(street.car, 1, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(StorageBroken, match="ends at 1, but 7 was acknowledged"):
        street.append(street.click(street.car, 2, 2))

"""The feed of hints: in order, once each, resumed after a break, ended by a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from recolabel.api.feed import Feed
from recolabel.contract.updates import ProjectChanged, Update

STREET, FIELD = "0" * 8 + "-0000-0000-0000-" + "0" * 12, "1" * 8 + "-0000-0000-0000-" + "0" * 12


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolabel.api.feed.POLL_SECONDS", 0.005)


class Table:
    """An update table in memory; answers like `store.updates`."""

    def __init__(self) -> None:
        self.rows: list[Update] = []

    @property
    def updates(self) -> Table:
        return self

    def write(self, *project_ids: str) -> None:
        for project_id in project_ids:
            self.rows.append(Update(update_id=len(self.rows) + 1, project_id=project_id, hint=ProjectChanged()))

    def since(self, project_id: str | None, after_id: int, limit: int) -> list[Update]:
        return [row for row in self.rows if row.update_id > after_id and project_id in (None, row.project_id)][:limit]

    def newest_id(self, project_id: str | None) -> int:
        return max((row.update_id for row in self.since(project_id, 0, len(self.rows))), default=0)


def with_feed(story: Callable[[Feed, Table], Awaitable[None]], *earlier: str) -> None:
    async def run() -> None:
        table = Table()
        table.write(*earlier)
        feed = Feed(table)  # type: ignore[arg-type]
        tail = asyncio.create_task(feed.run())
        try:
            await asyncio.wait_for(story(feed, table), 10)
        finally:
            feed.close()
            await tail

    asyncio.run(run())


@pytest.mark.parametrize(
    ("after", "expected", "remark"),
    [
        (None, [3, 4], "starts at now"),
        (0, [0, 1, 2, 3, 4], "from the beginning"),
        (2, [2, 3, 4], "resumes after the last one seen"),
        (99, [3, 4], "an id of another data folder: from now on, not silence"),
    ],
)
def test_a_listener_gets_what_came_after_its_position(after: int | None, expected: list[int], remark: str) -> None:
    async def story(feed: Feed, table: Table) -> None:
        listener = feed.listen(STREET, after)
        seen = [await anext(listener)]
        table.write(FIELD, STREET)
        seen += [await anext(listener) for _ in expected[1:]]
        assert [item if isinstance(item, int) else item.update_id for item in seen] == [
            each if each < 4 else 5 for each in expected
        ], remark
        await listener.aclose()  # type: ignore[attr-defined]

    with_feed(story, STREET, STREET, STREET)


def test_two_listeners_hear_the_same_and_nothing_twice() -> None:
    async def story(feed: Feed, table: Table) -> None:
        listeners = [feed.listen(None, 0), feed.listen(None, 0)]
        assert [await anext(listener) for listener in listeners] == [0, 0]
        table.write(*[STREET] * 50)
        heard = [[(await anext(each)).update_id for _ in range(50)] for each in listeners]  # type: ignore[union-attr]
        assert heard == [list(range(1, 51))] * 2
        for listener in listeners:
            await listener.aclose()  # type: ignore[attr-defined]

    with_feed(story)


def test_a_commit_of_this_process_is_told_without_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolabel.api.feed.POLL_SECONDS", 60.0)

    async def story(feed: Feed, table: Table) -> None:
        listener = feed.listen(STREET, None)
        assert await anext(listener) == 0
        waiting = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0.05)

        table.write(STREET)
        await asyncio.to_thread(feed.stir)

        assert (await waiting).update_id == 1  # type: ignore[union-attr]
        await listener.aclose()  # type: ignore[attr-defined]

    with_feed(story)


def test_what_another_process_wrote_wakes_whoever_waits_for_a_change() -> None:
    async def story(feed: Feed, table: Table) -> None:
        await asyncio.sleep(0.05)
        beat = feed.next_beat()
        table.write(FIELD)
        await beat.wait()

    with_feed(story)


def test_open_streams_end_when_the_feed_closes() -> None:
    async def story(feed: Feed, table: Table) -> None:
        listener = feed.listen(STREET, None)
        await anext(listener)
        asyncio.get_running_loop().call_later(0.05, feed.close)
        assert [item async for item in listener] == []

    with_feed(story)


def test_a_listener_that_cannot_follow_is_let_go_and_can_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolabel.api.feed._MAX_WAITING", 10)

    async def story(feed: Feed, table: Table) -> None:
        slow, quick = feed.listen(None, 0), feed.listen(None, 0)
        assert [await anext(slow), await anext(quick)] == [0, 0]
        waiting = [asyncio.ensure_future(anext(slow)), asyncio.ensure_future(anext(quick))]
        await asyncio.sleep(0.05)  # both have read the past and wait for what comes
        table.write(STREET)
        assert [(await each).update_id for each in waiting] == [1, 1]  # type: ignore[union-attr]
        for _ in range(30):
            table.write(STREET)
            await anext(quick)

        heard = [item.update_id async for item in slow]  # type: ignore[union-attr]

        assert heard == list(range(2, 2 + len(heard)))
        assert len(heard) <= 10
        resumed = feed.listen(None, 1 + len(heard))
        assert await anext(resumed) == 1 + len(heard)
        assert (await anext(resumed)).update_id == 2 + len(heard)  # type: ignore[union-attr]
        await resumed.aclose()  # type: ignore[attr-defined]

    with_feed(story)

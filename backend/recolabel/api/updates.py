"""The server-sent feed of hints; a stream resumes behind the last id that its browser saw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from recolabel.api.deps import PartsDep
from recolabel.contract.projects import Id

RETRY_MILLISECONDS = 1_000

router = APIRouter(tags=["updates"])


@router.get("/updates", response_class=EventSourceResponse)
async def follow_updates(
    parts: PartsDep,
    project_id: Annotated[Id | None, Query(description="hints of this project only")] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="an update_id; hints after it are sent")] = None,
    last_event_id: Annotated[
        str | None, Header(description="sent by browsers that come back; wins over `after`")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Hints that something changed, as server-sent events: `id:` is the update_id, data an Update. Starts at now."""
    start = int(last_event_id) if last_event_id is not None and _is_id(last_event_id) else after
    async for item in parts.feed.listen(project_id, start):
        if isinstance(item, int):
            # Data-less: it is not delivered as an event, but a browser that loses the line resumes from here.
            yield ServerSentEvent(id=str(item), retry=RETRY_MILLISECONDS)
        else:
            yield ServerSentEvent(id=str(item.update_id), raw_data=item.model_dump_json())


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18

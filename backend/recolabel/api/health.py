"""Whether the server can work. Needs no token and tells nothing else."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from recolabel.api.deps import StoreDep

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Ready to work."""

    status: Literal["ok"]


@router.get("/healthz")
def is_ready(store: StoreDep) -> Health:
    """200 when the server is ready: the store answers a question."""
    store.updates.newest_id(None)
    return Health(status="ok")

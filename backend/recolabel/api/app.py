"""The server as one value: `create_app` wires the parts together and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from recolabel.api import (
    docs,
    evaluation,
    exports,
    health,
    images,
    jobs,
    label_maps,
    labels,
    leases,
    model_versions,
    problems,
    projects,
    questions,
    ui,
    updates,
    users,
    version_maps,
)
from recolabel.api.deps import Parts, prepare_run_folder
from recolabel.api.feed import Feed
from recolabel.api.guard import Guard
from recolabel.api.login import Login
from recolabel.contract import CONTRACT_VERSION
from recolabel.doorbell import Doorbell
from recolabel.imaging import Decoder
from recolabel.settings import Settings
from recolabel.store import Store, open_store
from recolabel.sweeper import Sweeper

_DESCRIPTION = "Label pictures for semantic segmentation with a few clicks. Every refusal is application/problem+json."


def create_app(settings: Settings, *, store: Store | None = None, doorbell: Doorbell | None = None) -> FastAPI:
    """Put a server together. Nothing is opened before it starts, but for the token, which is made when missing.

    Args:
        store: one that is open already; it stays open when the server stops. None: the data folder's own.
        doorbell: rings for waiting jobs. None: one for the broker of the settings.
    """
    login = Login(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = store or open_store(settings)
        prepare_run_folder(settings)
        parts = Parts(
            settings=settings,
            store=opened,
            blobs=opened.blobs,
            decoder=Decoder(settings),
            feed=Feed(opened),
            doorbell=doorbell or Doorbell(settings.broker_url),
        )
        app.state.parts = parts
        stop_stirring = opened.on_commit(parts.feed.stir)
        sweeper = Sweeper(opened, parts.doorbell, settings)
        sweeper.start()
        tail = asyncio.create_task(parts.feed.run())
        try:
            yield
        finally:
            parts.feed.close()
            await tail
            await asyncio.to_thread(sweeper.stop)
            await asyncio.to_thread(parts.doorbell.close)
            await asyncio.to_thread(parts.decoder.close)
            stop_stirring()
            if store is None:
                await asyncio.to_thread(opened.close)

    app = FastAPI(
        title="ReCoLabel",
        version=CONTRACT_VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    app.add_middleware(problems.LastResort)
    app.add_middleware(Guard, settings=settings, login=login)  # the last one added is the first in line
    app.include_router(_api_v1())
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(ui.router)  # catches every address that is left
    return app


def _api_v1() -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    for nouns in (
        projects,
        images,
        labels,
        label_maps,
        questions,
        jobs,
        model_versions,
        version_maps,
        evaluation,
        exports,
        users,
        updates,
        leases,
    ):
        router.include_router(nouns.router)
    return router

"""Everything that is kept, behind one class per noun. The only package that imports SQLAlchemy.

`open_store` gives a `Store`; its parts answer with contract types, never with rows. All writes go through one writer
(`writer.py`), and what a call returned is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from recolabel.blobs import Blobs
from recolabel.settings import Settings
from recolabel.store.clock import Clock, system_clock
from recolabel.store.database import Database
from recolabel.store.evaluation import Evaluations
from recolabel.store.ground_truth import GroundTruth
from recolabel.store.images import BlobRef, ImageFiles, Images, NewImage
from recolabel.store.jobs import Jobs
from recolabel.store.labels import Labels
from recolabel.store.model_versions import ModelVersions
from recolabel.store.projects import Projects
from recolabel.store.questions import Questions
from recolabel.store.refining import Refining
from recolabel.store.reproductions import Reproductions
from recolabel.store.updates import Updates
from recolabel.store.version_maps import VersionMaps

__all__ = ["BlobRef", "ImageFiles", "NewImage", "Store", "open_store"]


class Store:
    """An open data folder."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database = database
        self.blobs = Blobs(settings.blobs)
        self.projects = Projects(database, clock)
        self.images = Images(database, self.blobs, clock)
        self.labels = Labels(database, self.blobs, clock)
        self.questions = Questions(database, self.blobs, clock)
        self.refining = Refining(database, self.blobs, self.images, clock)
        self.jobs = Jobs(database, self.blobs, self.images, self.refining, settings, clock)
        self.model_versions = ModelVersions(database, self.blobs, clock)
        self.version_maps = VersionMaps(database, self.blobs, clock)
        self.reproductions = Reproductions(database, clock)
        self.ground_truth = GroundTruth(database, self.blobs, clock)
        self.evaluations = Evaluations(database)
        self.updates = Updates(database)

    def on_commit(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called after each commit, in the writer's thread: it must not wait. Gives what ends that."""
        return self._database.on_commit(listener)

    def close(self) -> None:
        """Finish what waits to be written, then close."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(settings: Settings, clock: Clock = system_clock) -> Store:
    """Open the store of a data folder, made or migrated when needed.

    Raises:
        UnsafeSqlite, DataFolderTooNew: nothing was touched.
        StorageFull, StorageBroken: the folder cannot be used.
    """
    store = Store(Database(settings.database, clock()), settings, clock)
    store.refining.drop_damaged_maps()
    return store

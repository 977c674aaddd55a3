"""Opens the database of a data folder: start-up gate, migrations, pragmas, one writer, many readers."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from recolabel.errors import DataFolderTooNew, StorageBroken, StorageFull, UnsafeSqlite
from recolabel.store.migrations import REVISIONS
from recolabel.store.writer import Writer, is_full

T = TypeVar("T")

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5_000
READERS = 16
MORE_READERS = 48


class Database:
    """One open database. `write` for changes, `reading` for everything else."""

    def __init__(self, path: Path, now: datetime) -> None:
        driver = sqlite_driver()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        _make_private(path)
        self._writing_engine = _engine(path, driver, begin="BEGIN IMMEDIATE", read_only=False)
        try:
            bring_up_to_date(self._writing_engine, path, now)
            self._reading_engine = _engine(path, driver, begin="BEGIN", read_only=True)
            self._newest_seq = 0
            self._listeners: list[Callable[[], None]] = []
            self.writer = Writer(
                self._writing_engine.connect, self._examine, path.parent, committed=self._tell_of_commit
            )
        except DBAPIError as error:
            self._writing_engine.dispose()
            if is_full(error):
                raise StorageFull from error
            raise StorageBroken(f"The database {path} cannot be used: {error.orig}.") from error
        except Exception:
            self._writing_engine.dispose()
            raise

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the writer's transaction; return its result once it is on disk. See `Writer.write`."""
        return self.writer.write(work)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment of the database and cannot change it."""
        with self._reading_engine.connect() as connection, connection.begin():
            yield connection

    def on_commit(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called after each commit of this process, in the writer's thread: it must not wait.

        Returns:
            What ends that.
        """
        self._listeners = [*self._listeners, listener]  # a new list: the writer may be walking through the old one

        def leave() -> None:
            self._listeners = [each for each in self._listeners if each is not listener]

        return leave

    def remember_seq(self, seq: int) -> None:
        """Note that the log was seen to reach `seq` on disk: after a failure it must not be shorter."""
        self._newest_seq = max(self._newest_seq, seq)

    def close(self) -> None:
        """Finish what waits, close all connections."""
        self.writer.close()
        self._reading_engine.dispose()
        self._writing_engine.dispose()

    def _tell_of_commit(self) -> None:
        for listener in self._listeners:
            try:
                listener()
            except Exception:
                log.exception("a listener to commits failed; what was committed is on disk")

    def _examine(self, connection: Connection) -> None:
        """After a write failed in a way that leaves doubt: is the file sound, and is every acknowledged event there?"""
        with connection.begin():
            verdict = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
            newest = connection.execute(text("SELECT coalesce(max(seq), 0) FROM label_event")).scalar_one()
        if verdict != "ok":
            raise StorageBroken(f"The database is damaged: {verdict}.")
        if newest < self._newest_seq:
            raise StorageBroken(f"The label log ends at {newest}, but {self._newest_seq} was acknowledged.")


def sqlite_driver() -> ModuleType:
    """Return the newest safe SQLite at hand: pysqlite3, or the standard library's.

    Raises:
        UnsafeSqlite: all of them may lose committed rows when a WAL is reset (fixed in SQLite 3.51.3).
    """
    import sqlite3

    drivers: list[ModuleType] = [sqlite3]
    try:
        import pysqlite3.dbapi2

        drivers.insert(0, pysqlite3.dbapi2)
    except ImportError:
        pass
    for driver in drivers:
        if is_safe_sqlite(driver.sqlite_version_info):
            return driver
    found = ", ".join(str(driver.sqlite_version) for driver in drivers)
    raise UnsafeSqlite(f"This SQLite can lose committed labels (found {found}).")


def is_safe_sqlite(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version keeps what it committed: 3.51.3 on, or a mended 3.50 (.7) or 3.44 (.6)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def bring_up_to_date(engine: Engine, path: Path, now: datetime) -> None:
    """Run the migrations that the database lacks, after a copy of it when it holds anything.

    Raises:
        DataFolderTooNew: it was written by a version that knows more migrations; nothing was touched.
        StorageBroken: it is not one of our databases.
    """
    with engine.connect() as connection:
        tables = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
        connection.commit()
        if tables and "alembic_version" not in tables:
            raise StorageBroken(f"{path} is not a database of ReCoLabel.")
        revision = None
        if tables:
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            connection.commit()
        if revision == REVISIONS[-1]:
            return
        if revision is not None:
            if revision not in REVISIONS:
                raise DataFolderTooNew
            _copy(connection, path, f"{revision}-{now:%Y%m%dT%H%M%S}")
        _migrate(connection)


def _copy(connection: Connection, path: Path, name: str) -> None:
    folder = path.parent / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    copy = folder / f"{path.stem}-{name}.sqlite3"
    _make_private(copy)
    raw: Any = connection.connection.dbapi_connection
    raw.execute("VACUUM INTO ?", (str(copy),))  # outside any transaction, which VACUUM demands


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])
    connection.commit()


def _make_private(path: Path) -> None:
    """Create the file for its owner only. An existing one is not opened: closing it would drop SQLite's locks."""
    if path.exists():
        path.chmod(0o600)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _engine(path: Path, driver: ModuleType, *, begin: str, read_only: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # as a string, a % or ? in the path would change its meaning
        module=driver,
        connect_args={"check_same_thread": False},
        **(
            {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": MORE_READERS}
            if read_only
            else {"poolclass": NullPool}
        ),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:  # noqa: ARG001
        # The driver must not open transactions by itself: ours begin with the word that `begin` says.
        connection.isolation_level = None
        pragmas = [
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            "recursive_triggers = ON",
            "mmap_size = 0",
        ]
        if sys.platform == "darwin":
            pragmas.append("fullfsync = 1")
        if read_only:
            # Only the writer checkpoints: a reader that did would stall behind an fsync.
            pragmas += ["wal_autocheckpoint = 0", "query_only = ON"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine

"""The one writing connection, in one thread. All writes of all stores go through it.

Work items wait in a bounded queue. The thread takes what is there, runs it in one transaction and commits once
(group commit), so a crowd of annotators shares an fsync and a single one waits for nobody. Each item has its own
savepoint: one that fails takes only itself back. A caller hears of success after COMMIT has returned, never before.
"""

from __future__ import annotations

import errno
import logging
import queue
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from recolabel.errors import Busy, RecolabelError, StorageBroken, StorageFull

T = TypeVar("T")
Work = Callable[[Connection], Any]

log = logging.getLogger(__name__)

GROUP_ITEMS = 256
QUEUE_ITEMS = 4_096
LITTLE_SPACE_BYTES = 1 << 20
"""SQLite reports some writes to a full disk as I/O errors; with less free space than this we believe the disk."""


class Writer:
    """Runs work items one after the other on a connection of its own.

    Args:
        connect: opens the writing connection, whose transactions begin as IMMEDIATE.
        examine: looks whether a connection that was reopened after a failure may be trusted; raises otherwise.
        folder: where the database lies, to tell a full disk from a broken one.
        committed: called in the writer's thread after each commit; it must neither wait nor raise.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        examine: Callable[[Connection], None],
        folder: Path,
        queue_items: int = QUEUE_ITEMS,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._examine = examine
        self._folder = folder
        self._committed = committed
        self._waiting: queue.Queue[tuple[Work, Future[Any]] | None] = queue.Queue(queue_items)
        self._connection: Connection | None = connect()
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="recolabel-writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` inside a transaction and return its result once that is on disk.

        Raises:
            Busy: too much is waiting already, or the server is stopping; nothing was done.
            StorageFull, StorageBroken: nothing of it was kept.
            Whatever `work` raises; nothing of it was kept.
        """
        promise: Future[T] = Future()
        with self._door:
            if self._closed:
                raise Busy("The server is stopping.")
            try:
                self._waiting.put_nowait((work, promise))
            except queue.Full:
                raise Busy from None
        return promise.result()

    def close(self) -> None:
        """Finish what waits, then close the connection."""
        with self._door:
            if self._closed:
                return
            self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group: list[Future[Any]] = []
            outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
            item = self._waiting.get()
            if item is None:
                break
            try:
                connection = self._trusted_connection()
                with connection.begin():
                    while item is not None:
                        work, promise = item
                        group.append(promise)
                        outcomes.append((promise, *_attempt(connection, work)))
                        if len(group) == GROUP_ITEMS:
                            break
                        try:
                            item = self._waiting.get_nowait()
                        except queue.Empty:
                            break
                    stopping = item is None
            except Exception as error:
                if item is not None and item[1] not in group:
                    group.append(item[1])
                told = self._told(error)
                for promise in group:
                    promise.set_exception(told)
                continue
            self._committed()
            for promise, result, failure in outcomes:
                if failure is None:
                    promise.set_result(result)
                else:
                    promise.set_exception(failure)
        self._drop_connection()

    def _trusted_connection(self) -> Connection:
        """The connection; after a failure a new one, once it has been looked at."""
        if self._connection is None:
            connection = self._connect()
            try:
                self._examine(connection)
            except Exception:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except DBAPIError:
                log.warning("closing the writing connection failed", exc_info=True)
            self._connection = None

    def _told(self, error: Exception) -> RecolabelError:
        """Say what the failure of a whole group means, and make sure that nothing is built on a doubtful connection."""
        if is_full(error):
            log.warning("the disk is full: labels are refused until there is space")
            return StorageFull()
        self._drop_connection()
        if isinstance(error, OSError | DBAPIError) and _free_bytes(self._folder) < LITTLE_SPACE_BYTES:
            log.warning("the disk is full: labels are refused until there is space")
            return StorageFull()
        log.error("writing to the database failed", exc_info=error)
        return error if isinstance(error, RecolabelError) else StorageBroken()


def _attempt(connection: Connection, work: Work) -> tuple[Any, BaseException | None]:
    """Run one item in its savepoint. Failures of the disk are not the item's own and go up to the group."""
    connection.exec_driver_sql("SAVEPOINT item")
    try:
        result, failure = work(connection), None
    except Exception as error:
        if is_full(error) or is_broken(error):
            raise  # SQLite may have rolled back the whole transaction already, savepoints included
        result, failure = None, error
        connection.exec_driver_sql("ROLLBACK TO item")
    connection.exec_driver_sql("RELEASE item")
    return result, failure


def is_full(error: BaseException) -> bool:
    """Whether the error says that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, DBAPIError) and _sqlite_code(error) == "SQLITE_FULL"


def is_broken(error: BaseException) -> bool:
    """Whether the error comes from the file below the database rather than from what was asked of it."""
    if not isinstance(error, DBAPIError):
        return False
    code = _sqlite_code(error)
    hardware = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_READONLY")
    return code.startswith(hardware) or code in ("SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_PROTOCOL")


def _sqlite_code(error: DBAPIError) -> str:
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name)
    # pysqlite3 builds without error names still carry SQLite's sentences, which are part of its stable interface.
    sentence = str(error.orig)
    sentences = {
        "database or disk is full": "SQLITE_FULL",
        "disk I/O error": "SQLITE_IOERR",
        "database disk image is malformed": "SQLITE_CORRUPT",
        "file is not a database": "SQLITE_NOTADB",
        "unable to open database file": "SQLITE_CANTOPEN",
        "attempt to write a readonly database": "SQLITE_READONLY",
        "database is locked": "SQLITE_BUSY",
    }
    return sentences.get(sentence, "")


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return LITTLE_SPACE_BYTES

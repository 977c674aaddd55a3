"""Opening a data folder: what is refused, what is migrated, and who may read the files."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from recolabel.errors import DataFolderTooNew, StorageBroken
from recolabel.settings import Settings
from recolabel.store import Store, database, open_store, schema
from recolabel.store.database import is_safe_sqlite
from recolabel.store.migrations import REVISIONS
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street

SQLITE_VERSIONS = [
    ((3, 40, 1), False, "Debian 12"),
    ((3, 44, 5), False, "before the mended release of its line"),
    ((3, 44, 6), True, "mended"),
    ((3, 45, 0), False, "a line that was not mended"),
    ((3, 50, 6), False, "before the mended release of its line"),
    ((3, 50, 7), True, "mended"),
    ((3, 51, 2), False, "the last bad one"),
    ((3, 51, 3), True, "the first good one"),
    ((3, 53, 4), True, "newer"),
]


@pytest.mark.parametrize(("version", "is_safe", "remark"), SQLITE_VERSIONS)
def test_a_sqlite_that_can_lose_committed_rows_is_refused(
    version: tuple[int, int, int], is_safe: bool, remark: str
) -> None:
    assert is_safe_sqlite(version) is is_safe


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_give_the_tables_of_the_schema(store: Store) -> None:
    with store._database._writing_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})

        assert compare_metadata(context, schema.metadata) == []
        # Indexes on expressions are left out above.
        present = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars())
    assert {index.name for table in schema.metadata.sorted_tables for index in table.indexes} <= present


def test_a_new_folder_is_made_with_all_tables(tmp_path: Path) -> None:
    with open_store(Settings(data=tmp_path / "%20 new?x=1" / "data")) as store:
        assert Street(store).label_count() == 0


def test_every_migration_is_in_the_list_of_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")

    script = ScriptDirectory.from_config(config)

    assert [revision.revision for revision in script.walk_revisions()] == list(reversed(REVISIONS))


def test_a_database_of_a_newer_version_is_refused_and_left_alone(settings: Settings) -> None:
    open_store(settings).close()
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = settings.database.read_bytes()

    with pytest.raises(DataFolderTooNew):
        open_store(settings)

    assert settings.database.read_bytes() == before


def test_an_older_database_is_copied_before_it_is_migrated(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(settings, clock) as store:
        street = Street(store)
        street.append(street.click(street.road, 0, 0))
    migrated: list[str] = []
    monkeypatch.setattr(database, "REVISIONS", (*REVISIONS, "9999"))
    monkeypatch.setattr(database, "_migrate", lambda _: migrated.append("9999"))

    open_store(settings, clock).close()

    [copy] = (settings.data / "backups").iterdir()
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT count(*) FROM label_event").fetchone() == (1,)
    connection.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert migrated == ["9999"]


@pytest.mark.parametrize("content", [b"this is not a database, and it is long enough to be read " * 20, None])
def test_a_file_that_is_not_our_database_is_refused(tmp_path: Path, content: bytes | None) -> None:
    settings = Settings(data=tmp_path)
    if content is None:
        connection = sqlite3.connect(settings.database)
        connection.execute("CREATE TABLE somebody_elses (x)")
        connection.close()
    else:
        settings.database.write_bytes(content)

    with pytest.raises(StorageBroken):
        open_store(settings)


def test_only_the_owner_may_read_the_data(store: Store, street: Street, settings: Settings) -> None:
    street.append(street.click(street.road, 0, 0))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.data.glob("recolabel.sqlite3*")}

    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert "recolabel.sqlite3-wal" in modes


def test_the_connections_are_set_to_lose_nothing(store: Store) -> None:
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}

    with store._database._writing_engine.connect() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in expected}

    assert found == expected


def test_a_listener_hears_of_each_commit_until_it_leaves_and_cannot_stop_it(street: Street) -> None:
    heard: list[int] = []

    def listen() -> None:
        with street.store._database.reading() as connection:
            heard.append(connection.execute(text("SELECT count(*) FROM label_event")).scalar_one())
        raise RuntimeError("a listener that fails")

    leave = street.store.on_commit(listen)
    street.append(street.click(street.road, 0, 0))
    street.append(street.click(street.road, 1, 1))
    leave()
    street.append(street.click(street.road, 2, 2))

    assert heard == [1, 2]


def test_a_reading_connection_cannot_write(store: Store) -> None:
    with store._database.reading() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("DELETE FROM orphan"))


def test_an_up_to_date_folder_opens_without_alembic(settings: Settings) -> None:
    open_store(settings).close()
    code = f"""
import sys
from pathlib import Path
from recolabel.settings import Settings
from recolabel.store import open_store
open_store(Settings(data=Path({str(settings.data)!r}))).close()
print("alembic" in sys.modules)
"""

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert answer.stdout.strip() == "False"

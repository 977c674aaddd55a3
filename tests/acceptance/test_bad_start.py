"""Starts that cannot work say so in one sentence, end with a status, and touch nothing."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

from tests.servers import StartServer, run_cli


def test_a_port_in_use_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        done = run_cli("serve", "--port", str(taken.getsockname()[1]), data=tmp_path / "data")

    assert done.returncode == 1
    assert "port" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_folder_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    first = start_server("serve", data=tmp_path / "data")

    done = run_cli("serve", "--port", "0", data=tmp_path / "data")

    assert done.returncode == 1
    assert "Another server works in this data folder" in done.stderr
    assert first.client().is_ready()


def test_up_beside_a_running_server_leads_to_it(start_server: StartServer, tmp_path: Path) -> None:
    first = start_server("serve", data=tmp_path / "data")

    again = run_cli("up", "--no-browser", data=first.data)
    elsewhere = run_cli("up", "--no-browser", "--port", "0", data=first.data)

    assert (again.returncode, again.stdout) == (0, f"ReCoLabel runs already: {first.address}\n")
    assert elsewhere.returncode == 1
    assert "Another server works in this data folder" in elsewhere.stderr
    assert first.client().is_ready()


def test_a_data_folder_of_a_newer_version_is_left_alone(start_server: StartServer, tmp_path: Path) -> None:
    # Given a data folder whose database says that it comes from the future
    data = tmp_path / "data"
    start_server("serve", data=data).stop()
    with sqlite3.connect(data / "recolabel.sqlite3") as database:
        database.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    database.close()
    before = (data / "recolabel.sqlite3").read_bytes()

    done = run_cli("serve", "--port", "0", data=data)

    assert done.returncode == 1
    assert "newer version" in done.stderr
    assert "Traceback" not in done.stderr
    assert (data / "recolabel.sqlite3").read_bytes() == before


def test_an_address_of_another_machine_is_not_listened_on(tmp_path: Path) -> None:
    done = run_cli("serve", "--host", "0.0.0.0", "--port", "0", data=tmp_path / "data")  # noqa: S104 - to be refused

    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr


def test_a_client_without_a_server_is_told_what_to_do(tmp_path: Path) -> None:
    done = run_cli("project", "list", data=tmp_path / "nothing")

    assert done.returncode == 1
    assert "recolabel up" in done.stderr
    assert "Traceback" not in done.stderr

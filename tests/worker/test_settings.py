"""Where the worker finds its server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recolabel.errors import ServerUnreachable
from recolabel_worker.settings import WorkerSettings, find_server


def data_folder(folder: Path, address: str = '{"url": "http://127.0.0.1:1", "pid": 1}') -> Path:
    (folder / "token").write_text("secret\n")
    (folder / "server.json").write_text(address)
    return folder


def test_address_and_token_lie_in_the_data_folder(tmp_path: Path) -> None:
    settings = WorkerSettings(data=data_folder(tmp_path))

    assert find_server(settings) == ("http://127.0.0.1:1", "secret")


def test_the_address_is_read_anew_each_time(tmp_path: Path) -> None:
    settings = WorkerSettings(data=data_folder(tmp_path))
    find_server(settings)

    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:2"}))

    assert find_server(settings).url == "http://127.0.0.1:2"


def test_what_is_given_comes_before_the_data_folder(tmp_path: Path) -> None:
    settings = WorkerSettings(data=data_folder(tmp_path), url="http://elsewhere:1", token="other")

    assert find_server(settings) == ("http://elsewhere:1", "other")


def test_without_a_server_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable, match="No server runs"):
        find_server(WorkerSettings(data=tmp_path))
    with pytest.raises(ServerUnreachable, match="RECOLABEL_DATA"):
        find_server(WorkerSettings(data=None, url=None))
    with pytest.raises(ServerUnreachable, match="cannot be read"):
        find_server(WorkerSettings(data=data_folder(tmp_path, address="{")))

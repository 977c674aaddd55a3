"""The command line in a stranger's hands: real processes, a real server, one sentence when something is wrong."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.cli.importing import new_event_id
from recolabel.client import Client
from recolabel.contract.jobs import Failure
from recolabel.contract.labels import ClickEvent, Pixel
from recolabel.formats.indexed_png import read_png, write_png
from tests.hands import demo_project
from tests.servers import Server, StartServer, descendants, run_cli, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server alone for the tests of this file; each test makes projects of its own."""
    running = Server("serve", tmp_path_factory.mktemp("server") / "data", "--port", "0").wait_until_ready()
    yield running
    running.stop()


@pytest.fixture
def project_name() -> str:
    return f"project-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures: two at the top, one in a folder, all different."""
    folder = tmp_path / "pictures"
    (folder / "day 1").mkdir(parents=True)
    for name, colour in (("a.jpg", "red"), ("b.png", "green"), ("day 1/c.png", "blue")):
        Image.new("RGB", (32, 24), colour).save(folder / name)
    return folder


def mask_folder(folder: Path, **masks: list[list[int]]) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, rows in masks.items():
        label_map = np.full((24, 32), 255, np.uint8)
        label_map[: len(rows), : len(rows[0])] = rows
        (folder / f"{stem}.png").write_bytes(write_png(label_map, []))
    return folder


# --- help, errors, where answers go ---------------------------------------------------------------------------


def create_with_masks(server: Server, name: str, pictures: Path, masks: Path) -> None:
    """A project of road and car that holds the pictures with these masks."""
    run_cli("project", "create", name, "--classes", "road,car", data=server.data)
    run_cli("import", name, str(pictures), "--masks", str(masks), data=server.data)


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["recolabel", "--help"]
from recolabel.cli import main
try:
    main()
except SystemExit:
    pass
print([n for n in ("pydantic", "httpx2", "fastapi", "sqlalchemy", "numpy", "celery", "PIL") if n in sys.modules])
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert "export-model" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - began < 5  # 0.3 s on a quiet machine


def test_the_version_is_told() -> None:
    done = run_cli("--version")

    assert (done.returncode, done.stdout) == (0, f"recolabel {version('recolabel')}\n")


def test_a_training_that_waits_says_for_what(server: Server, project_name: str, pictures: Path, tmp_path: Path) -> None:
    # Given two projects that can train, and a worker that holds the training of the first
    masks = mask_folder(tmp_path / "masks", a=[[0, 1]])
    names = [project_name, f"{project_name}-other"]
    for name in names:
        run_cli("project", "create", name, "--classes", "road,car", data=server.data)
        run_cli("import", name, str(pictures), "--masks", str(masks), data=server.data)
    run_cli("train", names[0], data=server.data)
    with server.client() as client:
        lease = client.claim("a worker")
        assert lease is not None

        # When the second is trained and waited for
        with subprocess.Popen(
            [sys.executable, "-m", "recolabel", "train", names[1], "--wait", "--data", str(server.data)],
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            assert waiting.stderr is not None
            first_word = waiting.stderr.readline()
            other = next(p for p in client.projects() if p.name == names[1])
            client.cancel(client.jobs(other.project_id)[0].job_id)
            last_word = waiting.stderr.readlines()[-1]
        client.fail(lease.job.job_id, lease.fence, Failure(error="the test is over", retry=False))

    # I expect the reason, and the end
    assert first_word == "waiting for another training\n"
    assert last_word == "recolabel: the training cancelled\n"
    assert waiting.returncode == 1


def test_a_project_is_tuned_and_what_is_not_named_stays(server: Server, project_name: str) -> None:
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    said = run_cli("project", "set", project_name, "--strategy", "margin", "--random-share", "0.2", data=server.data)
    done = run_cli("project", "set", project_name, "--no-auto-train", "--json", data=server.data)

    assert said.stdout == (
        f"{project_name} asks by margin, 20% of its questions at random; 50% of the answers to those are held out. "
        "Training starts by itself.\n"
    )
    assert json.loads(done.stdout)["settings"] == {
        "auto_train": False,
        "strategy": "margin",
        "random_share": 0.2,
        "held_out_share": 0.5,
    }


WRONG = [
    # arguments, status, part of the sentence
    (["project", "create", "x", "--classes", "a,,b"], 1, "empty name"),
    (["project", "create", "x", "--classes", "a,A"], 1, "stands twice"),
    (["project", "create", "x", "--classes", "a,void"], 1, "has void already"),
    (["project", "create", " ", "--classes", "a"], 1, "name"),
    (["import", "x", "/nonexistent"], 1, "not a folder"),
    (["import", "x"], 1, "Name a folder"),
    (["train", "x", "--method", "magic"], 1, "classmix"),
    (["export", "x", "--out", "y", "--format", "coco"], 1, "indexed-png"),
    (["export-model", "x", "--out", "y", "--format", "pickle"], 1, "safetensors"),
    (["project", "list", "--url", "nonsense"], 1, "RECOLABEL_TOKEN"),
    (["project", "list"], 1, "`make run`"),
    (["project", "create"], 2, "Missing"),
    (["project", "set", "x"], 1, "Say what to change"),
    (["project", "set", "x", "--strategy", "oracle"], 1, "there are random, least-confidence, margin"),
    (["project", "set", "x", "--random-share", "nan"], 2, "--random-share"),
    (["project", "set", "x", "--random-share", "2"], 2, "--random-share"),
    (["paint"], 2, "paint"),
    (["train", "x", "--steps", "0"], 2, "--steps"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_a_wrong_command_says_what_is_wrong_without_a_traceback(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from recolabel.cli import main

    monkeypatch.setattr("sys.argv", ["recolabel", *arguments])
    monkeypatch.setenv("RECOLABEL_DATA", str(tmp_path / "none"))
    monkeypatch.delenv("RECOLABEL_TOKEN", raising=False)

    with pytest.raises(SystemExit) as ended:
        main()

    output = capsys.readouterr()
    assert ended.value.code == status
    assert words in output.err
    assert output.out == ""
    assert "Traceback" not in output.err


def test_a_project_that_is_not_there_is_named(server: Server) -> None:
    done = run_cli("train", "Nowhere", data=server.data)

    assert done.returncode == 1
    assert "There is no project 'Nowhere'. `recolabel project list`" in done.stderr


def test_training_without_labels_says_what_to_do(server: Server, project_name: str) -> None:
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    done = run_cli("train", project_name, "--json", data=server.data)

    assert done.returncode == 1
    assert "at least two classes" in done.stderr
    assert done.stdout == ""


def test_the_doctor_finds_a_running_server(server: Server) -> None:
    done = run_cli("doctor", "--json", data=server.data)

    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    assert findings["server"]["words"] == f"runs at {server.url}"
    assert findings["SQLite"]["state"] == "good"


def test_a_server_elsewhere_is_reached_by_address_and_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RECOLABEL_TOKEN", "wrong")
    refused = run_cli("project", "list", "--url", server.url, data=tmp_path)
    monkeypatch.setenv("RECOLABEL_TOKEN", server.token)
    listed = run_cli("project", "list", "--url", server.url, "--json", data=tmp_path)

    assert refused.returncode == 1
    assert "token" in refused.stderr
    assert isinstance(json.loads(listed.stdout), list)


# --- projects, import, export ---------------------------------------------------------------------------------


def test_bad_files_are_refused_one_by_one_and_the_others_are_imported(
    server: Server, project_name: str, pictures: Path
) -> None:
    # Given a folder with good files, broken ones, a double, a hidden one and strange names
    (pictures / "text.jpg").write_text("not a picture")
    (pictures / "empty.png").touch()
    (pictures / "wrong.jpg").write_bytes((pictures / "b.png").read_bytes())
    (pictures / ".hidden.png").write_text("never looked at")
    (pictures / "again.png").write_bytes((pictures / "b.png").read_bytes())
    Image.new("RGB", (5, 5)).save(pictures / "\N{SLICE OF PIZZA} Größe.png")
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    # When it is imported
    done = run_cli("import", project_name, str(pictures), "--json", data=server.data)

    # I expect a verdict for each, everything good in the project, and a status that says so
    answer = json.loads(done.stdout)
    verdicts = {verdict["file"]: verdict["verdict"] for verdict in answer["images"]}
    codes = {verdict["file"]: verdict["code"] for verdict in answer["images"] if verdict["code"]}
    assert done.returncode == 1
    assert verdicts == {
        "a.jpg": "stored",
        "again.png": "stored",
        "b.png": "duplicate",
        "day 1/c.png": "stored",
        "empty.png": "refused",
        "text.jpg": "refused",
        "wrong.jpg": "refused",
        "\N{SLICE OF PIZZA} Größe.png": "stored",
    }
    assert not any("Nothing was changed" in (verdict["reason"] or "") for verdict in answer["images"])
    assert codes == {"empty.png": "image_empty", "text.jpg": "not_an_image", "wrong.jpg": "bad_name"}
    assert answer["project"]["image_count"] == 4


def test_files_beside_the_pictures_are_ignored_and_fail_nothing(
    server: Server, project_name: str, pictures: Path
) -> None:
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "day 1" / "Table.CSV").touch()
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    told = run_cli("import", project_name, str(pictures), data=server.data)
    answer = json.loads(run_cli("import", project_name, str(pictures), "--json", data=server.data).stdout)
    (pictures / "moving.gif").write_bytes(b"GIF89a")
    unread = run_cli("import", project_name, str(pictures), data=server.data)

    assert told.returncode == 0
    assert "ignored    notes.txt  Its ending is not that of a picture." in told.stdout.splitlines()
    assert "images: 3 stored, 2 ignored" in told.stdout
    assert (answer["refused"], answer["project"]["image_count"]) == (0, 3)
    assert [v["file"] for v in answer["images"] if v["verdict"] == "ignored"] == ["day 1/Table.CSV", "notes.txt"]
    assert unread.returncode == 1
    assert "refused    moving.gif" in unread.stdout


def test_masks_become_labels_and_leave_again_as_the_same_masks(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    masks = mask_folder(tmp_path / "masks", a=[[0, 1, 11], [254, 255, 0]], b=[[1, 1]])
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    imported = run_cli(
        "import", project_name, str(pictures), "--masks", str(masks), "--void-index", "11", data=server.data
    )
    exported = run_cli(
        "export", project_name, "--content", "labels", "--out", str(tmp_path / "out"), "--json", data=server.data
    )

    assert imported.returncode == 0, imported.stderr
    assert "masks: 2 stored" in imported.stdout
    assert exported.returncode == 0, exported.stderr
    assert "masks/a.png" in json.loads(exported.stdout)["files"]
    expected = read_png(masks / "a.png")
    expected[expected == 11] = 254
    assert np.array_equal(read_png(tmp_path / "out" / "masks" / "a.png"), expected)
    assert np.array_equal(read_png(tmp_path / "out" / "masks" / "b.png"), read_png(masks / "b.png"))
    assert (tmp_path / "out" / "classes.txt").read_text() == "road\ncar\n"


def test_an_export_says_how_many_images_have_no_mask(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    masks = mask_folder(tmp_path / "masks", a=[[0, 1]])
    create_with_masks(server, project_name, pictures, masks)

    out = str(tmp_path / "out")
    told = run_cli("export", project_name, "--out", out, data=server.data)
    answer = json.loads(run_cli("export", project_name, "--out", out, "--json", data=server.data).stdout)

    assert told.returncode == 0
    assert told.stdout == f"1 masks of 3 images in {out}; 2 have no prediction yet, and no labels.\n"
    assert {name: answer[name] for name in ("images", "masks", "missing")} == {"images": 3, "masks": 1, "missing": 2}


def test_exported_masks_come_back_and_those_of_no_image_are_listed(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "b.png").rename(pictures / "b:*.png")
    masks = mask_folder(tmp_path / "masks", **{"b:*": [[0, 1]], "stray": [[1, 1]]})
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)
    stray = run_cli("import", project_name, str(pictures), "--masks", str(masks), data=server.data)
    run_cli("export", project_name, "--out", str(tmp_path / "out"), data=server.data)

    again = f"{project_name}-again"
    run_cli("project", "create", again, "--classes", "road,car", data=server.data)
    out = str(tmp_path / "out" / "masks")
    back = run_cli("import", again, str(pictures), "--masks", out, "--json", data=server.data)

    assert stray.returncode == 0
    assert "ignored    stray.png  It is the mask of no image here." in stray.stdout
    assert [(v["file"], v["verdict"]) for v in json.loads(back.stdout)["masks"]] == [("b__.png", "stored")]


def test_masks_that_do_not_fit_are_refused_and_change_nothing(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    masks = mask_folder(tmp_path / "masks", a=[[0, 7]])
    (masks / "b.png").write_bytes(write_png(np.zeros((3, 3), np.uint8), []))
    run_cli("project", "create", project_name, "--classes", "road,car", data=server.data)

    done = run_cli("import", project_name, str(pictures), "--masks", str(masks), "--json", data=server.data)

    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert [verdict["code"] for verdict in answer["masks"]] == ["mask_refused", "mask_refused"]
    assert "value 7" in answer["masks"][0]["reason"]
    assert "3 x 3" in answer["masks"][1]["reason"]
    assert answer["project"]["label_count"] == 0


def test_labels_go_out_and_come_back_into_another_project(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    # Given a project with a mask and a click, exported as JSON lines
    masks = mask_folder(tmp_path / "masks", a=[[0, 1, 254]])
    create_with_masks(server, project_name, pictures, masks)
    with server.client() as client:
        click_on(client, project_name, "b.png")
    out = tmp_path / "out"
    assert run_cli("export", project_name, "--format", "jsonl", "--out", str(out), data=server.data).returncode == 0

    # When they are imported, twice, into a project that has the images and another class
    other = f"{project_name}-again"
    run_cli("project", "create", other, "--classes", "tree", data=server.data)
    labels = str(out / "labels.jsonl")
    first = run_cli("import", other, str(pictures), "--labels", labels, "--json", data=server.data)
    again = run_cli("import", other, "--labels", labels, "--json", data=server.data)

    # I expect the labels once, with classes of the same names and colours
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["labels"]["counts"] == {"stored": 2}
    assert json.loads(again.stdout)["labels"]["counts"] == {"duplicate": 2}
    assert [c["name"] for c in json.loads(first.stdout)["project"]["classes"]] == ["tree", "road", "car"]
    with server.client() as client:
        here, there = label_maps(client, project_name), label_maps(client, other)
    assert (there["a.jpg"] == np.where(here["a.jpg"] < 2, here["a.jpg"] + 1, here["a.jpg"])).all()
    assert (there["b.png"] == 1).sum() == 1


def test_labels_of_no_image_here_change_nothing_not_even_the_classes(
    server: Server, project_name: str, pictures: Path, tmp_path: Path
) -> None:
    # Given labels of two classes, and a project with other pictures
    masks = mask_folder(tmp_path / "masks", a=[[0, 1]])
    create_with_masks(server, project_name, pictures, masks)
    with server.client() as client:
        click_on(client, project_name, "a.jpg")
        click_on(client, project_name, "b.png")
    run_cli("export", project_name, "--format", "jsonl", "--out", str(tmp_path), data=server.data)
    other, labels = f"{project_name}-other", str(tmp_path / "labels.jsonl")
    run_cli("project", "create", other, "--classes", "tree", data=server.data)

    # When the labels are imported without their pictures, and then with one that has a click on road only
    nothing = run_cli("import", other, "--labels", labels, data=server.data)
    (tmp_path / "one").mkdir()
    (pictures / "b.png").rename(tmp_path / "one" / "b.png")
    some = run_cli("import", other, str(tmp_path / "one"), "--labels", labels, "--json", data=server.data)

    # I expect each reason once, and no class but that of the label that was taken
    assert nothing.returncode == 1
    assert nothing.stderr.splitlines() == [
        "recolabel: 2 lines: no image has the pixels of a.jpg",
        "recolabel: line 4: no image has the pixels of b.png",
        "recolabel: Nothing was imported.",
    ]
    answer = json.loads(some.stdout)
    assert answer["labels"]["counts"] == {"refused": 2, "stored": 1}
    assert [c["name"] for c in answer["project"]["classes"]] == ["tree", "road"]


def click_on(client: Client, project_name: str, image_name: str) -> None:
    project = next(p for p in client.projects() if p.name == project_name)
    image = next(i for i in client.all_images(project.project_id) if i.name == image_name)
    click = ClickEvent(
        event_id=new_event_id(),
        image_id=image.image_id,
        image_sha256=image.sha256,
        client_id=str(uuid.uuid4()),
        client_seq=0,
        client_time=datetime.now(UTC),
        class_uid=project.classes[0].class_uid,
        pixel=Pixel(x=3, y=4),
    )
    client.append_labels(project.project_id, [click])


def label_maps(client: Client, project_name: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    project = next(p for p in client.projects() if p.name == project_name)
    return {
        image.name: read_png(client.image_label_map(image.image_id)) for image in client.all_images(project.project_id)
    }


def test_a_project_is_deleted_only_when_it_is_meant(server: Server, project_name: str) -> None:
    run_cli("project", "create", project_name, "--classes", "road", data=server.data)

    asked = run_cli("project", "delete", project_name, data=server.data)  # stdin is no terminal here
    meant = run_cli("project", "delete", project_name, "--yes", data=server.data)

    assert asked.returncode == 1
    [sentence] = asked.stderr.splitlines()
    assert "Say --yes" in sentence
    assert meant.returncode == 0
    assert project_name not in run_cli("project", "list", data=server.data).stdout


def test_event_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    ids = []
    for _ in range(3):
        ids.append(new_event_id())
        time.sleep(0.002)

    assert ids == sorted(ids)
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant) for text in ids} == {(7, uuid.RFC_4122)}


# --- starting and ending --------------------------------------------------------------------------------------


def test_a_server_leaves_its_address_while_it_runs_and_ends_well(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server("serve")
    address = server.data / "server.json"

    assert json.loads(address.read_text()) == {"url": server.url, "pid": server.process.pid}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (address, server.data / "token")} == {0o600}

    assert server.stop() == 0
    assert not address.exists()


def test_up_makes_the_demo_once_and_ends_everything_that_it_started(start_server: StartServer) -> None:
    # Given everything started with the demo
    server = start_server("up", "--demo")
    wait_for(
        lambda: "recolabel_worker" in " ".join(descendants(server.process.pid).values()), seconds=60, what="a worker"
    )
    with server.client() as client:
        project = demo_project(client)
    started = set(descendants(server.process.pid))
    wait_for(lambda: "The demo project is ready." in server.lines, seconds=30, what="the word that the demo is ready")

    # When it is stopped and started again
    assert server.stop() == 0
    wait_for(lambda: not [pid for pid in started if runs(pid)], seconds=5, what="the end of what it started")
    again = start_server("up", "--demo")

    # I expect that nothing was left running (above), how to end it was said, and the same one project
    assert "Ctrl-C stops it; nothing is lost." in server.lines
    assert (project.image_count, len(project.classes)) == (24, 5)
    with again.client() as client:
        assert [p.project_id for p in client.projects()] == [project.project_id]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_server_takes_broker_and_worker_along(start_server: StartServer) -> None:
    server = start_server("up")

    def both_run() -> bool:
        commands = " ".join(descendants(server.process.pid).values())
        return "valkey-server" in commands and "recolabel_worker" in commands

    wait_for(both_run, seconds=60, what="broker and worker")
    started = set(descendants(server.process.pid))

    server.kill()

    wait_for(lambda: not [pid for pid in started if runs(pid)], seconds=30, what="the end of broker and worker")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

"""Versions in a stranger's hands: what each came from, rolling back, and a training that is run again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from recolabel.client import Client
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Lease, NewTraining, ReproductionReport, TrainedImage
from recolabel.contract.model_versions import Metrics, Publication
from recolabel.contract.projects import NewLabelClass, NewProject, Project
from tests.backend.api.requests import png
from tests.hands import Hand
from tests.servers import Server, run_cli

NAME = "Street"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a worker, with a project of two versions; the second was stopped at step 37 of 60."""
    running = Server("serve", tmp_path_factory.mktemp("versions") / "data", "--port", "0").wait_until_ready()
    with running.client() as client:
        classes = [NewLabelClass(name="road"), NewLabelClass(name="car")]
        project = client.create_project(NewProject(name=NAME, classes=classes))
        image = client.add_image(project.project_id, "a.png", png()).image
        hand = Hand()
        clicks = [hand.click(image, each.class_uid, y, 1) for y, each in enumerate(project.classes)]
        client.append_labels(project.project_id, clicks)
        for steps in (60, 37):
            publish(client, project, image, steps)
    yield running
    running.stop()


def publish(client: Client, project: Project, image: ImageInfo, steps: int) -> None:
    client.start_training(project.project_id, NewTraining(seed=4))
    lease = claim(client, "train")
    done = Publication(
        class_uids=[each.class_uid for each in project.classes],
        parent=client.project(project.project_id).newest_version,
        config={"training": {"steps": 60}},
        metrics=Metrics(steps=steps, seconds=1, held_out_pixels=0, accuracy=None, chosen="deep"),
        code_version="0.0.1",
        artifacts={"model.safetensors": client.put_blob(lease.job.job_id, lease.fence, b"bits")},
        images=[TrainedImage(image_id=image.image_id, sha256=image.sha256)],
    )
    client.publish(lease.job.job_id, lease.fence, done)


def claim(client: Client, kind: str) -> Lease:
    """The next job of this kind; predict jobs before it are ended."""
    while True:
        lease = client.claim("a worker")
        assert lease is not None
        if lease.job.kind == kind:
            return lease
        client.finish(lease.job.job_id, lease.fence)


def test_the_list_of_versions_tells_what_each_came_from(server: Server) -> None:
    table = run_cli("versions", NAME, data=server.data).stdout.splitlines()
    as_json = json.loads(run_cli("versions", NAME, "--json", data=server.data).stdout)

    for word in ("version 1", "4", "37 of 60", "classmix + ReCo", "0.0.1"):
        assert word in table[1]
    assert "pretrained" in table[2]
    assert [version["version"] for version in as_json] == [2, 1]
    assert as_json[0].keys() >= {"label_seq", "parent", "spec", "config", "code_version", "class_uids", "metrics"}


def test_a_project_is_rolled_back_and_follows_the_newest_again(server: Server) -> None:
    assert "works with version 1" in run_cli("project", "pin", NAME, "1", data=server.data).stdout
    assert "1 (pinned)" in run_cli("project", "list", data=server.data).stdout
    assert "pinned" in run_cli("versions", NAME, data=server.data).stdout.splitlines()[2]

    assert "version 2 now" in run_cli("project", "pin", NAME, "newest", data=server.data).stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["project", "pin", NAME, "3"], "There is no such model version."),
        (["project", "pin", NAME, "old"], "a number from 1, or the word newest"),
        (["project", "pin", NAME, "99999999999999999999"], "a number from 1, or the word newest"),
        (["train", NAME, "--reproduce", "3"], "There is no such model version."),
        (["train", NAME, "--reproduce", "1", "--seed", "2"], "leave the other settings out"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(server: Server, command: list[str], words: str) -> None:
    done = run_cli(*command, data=server.data)

    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "status", "verdict"),
    [(b"bits", 0, "The same bits as version 1"), (b"others", 1, "Other bits than version 1")],
)
def test_a_training_that_is_run_again_says_whether_the_bits_agree(
    server: Server, content: bytes, status: int, verdict: str
) -> None:
    with (
        server.client() as client,
        subprocess.Popen(
            [sys.executable, "-m", "recolabel", "train", NAME, "--reproduce", "1", "--data", str(server.data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stderr is not None
        first_word = running.stderr.readline()
        lease = claim(client, "train")
        report = ReproductionReport(sha256=hashlib.sha256(content).hexdigest())
        client.reproduced(lease.job.job_id, lease.fence, report)
        said, _ = running.communicate(timeout=30)

    assert "trained by ReCoLabel 0.0.1, this is" in first_word  # said before it began
    assert verdict in said
    assert running.returncode == status

"""A training whose loss stops being a number: the person reads why, and the last version stays what it was."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recolabel.client import Client
from recolabel.contract.jobs import Failure, JobState, NewTraining
from recolabel.contract.projects import NewLabelClass, NewProject, ProjectPatch, SettingsPatch
from recolabel_worker import child, train_job
from recolabel_worker.protocol import Failed, Finished, Lost, RunJob
from recolabel_worker.reco import StepReport, TrainState, train
from recolabel_worker.settings import WorkerSettings
from tests.hands import Hand
from tests.servers import Server


def _breaking_down_behind_step_2(state: TrainState, **options: Any) -> Iterator[StepReport]:
    for report in train(state, **options):
        yield report
        if report.step == 2:
            with torch.no_grad():
                state.student.direct.bias.fill_(float("nan"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server("serve", tmp_path / "data", "--port", "0")
    yield server.wait_until_ready()
    server.stop()


def work(server: Server, client: Client, job_id: str, cache: Path) -> Finished | Failed | Lost:
    """Do what waits until it is this job's turn, as a worker's child does."""
    settings = WorkerSettings(cache=cache, device="cpu", threads=1, checkpoint_seconds=0)
    while True:
        lease = client.claim("test")
        assert lease is not None
        order = RunJob(url=server.url, token=server.token, lease=lease)
        outcome = child.run(order, settings, child.Reports(io.BytesIO()), threading.Event())
        if lease.job.job_id != job_id:
            continue
        if isinstance(outcome, Failed):
            client.fail(job_id, lease.fence, Failure(error=outcome.error, retry=outcome.retry))
        return outcome


def test_a_loss_that_is_not_finite_ends_the_job_names_the_step_and_keeps_the_last_version(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client() as client:
        # Given a project with a trained version
        classes = [NewLabelClass(name="grass"), NewLabelClass(name="water")]
        project = client.create_project(NewProject(name="meadow", classes=classes))
        client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
        file = tmp_path / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(file)
        image = client.add_image(project.project_id, file.name, file).image
        uids, hand = [label_class.class_uid for label_class in project.classes], Hand()
        client.append_labels(project.project_id, [hand.click(image, uid, 9, 9 + 9 * n) for n, uid in enumerate(uids)])
        first, _ = client.start_training(project.project_id, NewTraining(steps=1))
        assert work(server, client, first.job_id, tmp_path / "cache") == Finished()

        # When the next training breaks down
        monkeypatch.setattr(train_job, "train", _breaking_down_behind_step_2)
        second, _ = client.start_training(project.project_id, NewTraining(steps=9, use_reco=False))
        work(server, client, second.job_id, tmp_path / "cache")

        # I expect a job that failed for good with a sentence, and version 1 as it was
        ended = client.job(second.job_id)
        assert ended.state is JobState.FAILED
        assert ended.error is not None
        assert "step 3 is not finite" in ended.error
        assert [version.version for version in client.model_versions(project.project_id)] == [1]
        client.artifact(project.project_id, 1, "model.safetensors", tmp_path / "model.safetensors")

"""The training child is killed three times; the job resumes from its last checkpoint and ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from recolabel.contract.jobs import Job, JobState, NewTraining
from recolabel.contract.projects import ProjectPatch, SettingsPatch
from recolabel.demo import make_demo
from tests.hands import demo_project, label_from_masks, read_mask
from tests.servers import Server, StartServer, descendants, wait_for

STEPS = 36


def child_of(server: Server) -> int | None:
    """Process id of the child that trains; none while a new one starts."""
    processes = descendants(server.process.pid).items()
    return next((pid for pid, command in processes if "recolabel_worker.child training" in command), None)


def trains(job: Job, attempt: int) -> bool:
    """Whether a step of this attempt has been reported."""
    return (
        job.attempt == attempt
        and job.state is JobState.RUNNING
        and job.progress.stage == "training"
        and job.progress.done > 0
    )


def test_a_training_whose_child_is_killed_three_times_resumes_and_ends(
    start_server: StartServer, tmp_path: Path
) -> None:
    # Given a labelled demo project in training
    server = start_server("up", "--demo")
    client = server.client()
    project = demo_project(client)
    client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
    images = client.images(project.project_id).images[:4]
    make_demo(tmp_path / "demo")
    truth = {
        image.name: read_mask(tmp_path / "demo" / "masks" / Path(image.name).with_suffix(".png").name)
        for image in images
    }
    class_uids = [label_class.class_uid for label_class in project.classes]
    label_from_masks(client, images, truth, class_uids, clicks_per_image=10)
    job, _ = client.start_training(project.project_id, NewTraining(steps=STEPS))

    # When the child is killed in each of its first three attempts, once that has trained
    killed: list[int] = []
    for attempt in (1, 2, 3):
        wait_for(lambda: trains(client.job(job.job_id), attempt), seconds=120, what=f"attempt {attempt} to train")  # noqa: B023
        victim = child_of(server)
        assert victim is not None
        assert victim not in killed
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    # I expect the job to end by itself with a version of all its steps
    wait_for(lambda: client.job(job.job_id).finished_at, seconds=240, what="the training to end")
    ended = client.job(job.job_id)
    assert ended.state is JobState.SUCCEEDED, ended.error
    assert ended.attempt == 4
    [version] = client.model_versions(project.project_id)
    assert version.metrics.steps == STEPS

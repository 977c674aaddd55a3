"""`recolabel train` asks the server for a training; what needs no server is handed on to the worker package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, find_project
from recolabel.cli.output import document, remark, say, table
from recolabel.errors import BadArgument, WorkerMissing

if TYPE_CHECKING:
    from pathlib import Path

    from recolabel.client import Client
    from recolabel.contract.jobs import Job
    from recolabel.contract.model_versions import ModelVersion

METHODS = ("supervised", "cutout", "cutmix", "classmix")
HANDED_ON: dict[Any, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}
_LOOK_SECONDS = 0.5


def train(
    project_name: ProjectName,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps; left out: fit for the project.")] = None,
    method: Annotated[str, typer.Option("--method", help=" | ".join(METHODS))] = "classmix",
    no_reco: Annotated[bool, typer.Option("--no-reco", help="Without the regional contrast.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Of everything random.")] = 0,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Do not start from the version that the project works with.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the training has ended.")] = False,
    reproduce: Annotated[
        int | None,
        typer.Option(
            "--reproduce", min=1, help="Repeat this version's training and compare the bits; publish nothing."
        ),
    ] = None,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Train a model on the labels of this moment."""
    if reproduce is not None:
        if (steps, method, no_reco, seed, from_scratch) != (None, "classmix", False, 0, False):
            raise BadArgument("--reproduce repeats what the version was trained with; leave the other settings out.")
        _reproduce(project_name, reproduce, data, url, as_json=as_json)
        return
    from recolabel.contract.jobs import JobState, NewTraining

    if method not in METHODS:
        raise BadArgument(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
    new = NewTraining.model_validate(
        {"method": method, "use_reco": not no_reco, "steps": steps, "seed": seed, "warm_start": not from_scratch}
    )
    with connect(data, url) as client:
        project = find_project(client, project_name)
        job, created = client.start_training(project.project_id, new)
        if not created:
            remark("recolabel: a training of this project is active already; this is that one")
        if wait:
            job = _wait(client, job)
    if as_json:
        document(job)
    elif job.state is JobState.SUCCEEDED:
        say(f"Trained: model version {job.model_version} of {project.name}.")
    else:
        say(f"Training {job.state.value}: job {job.job_id}.")
    if wait and job.state is not JobState.SUCCEEDED:
        remark(f"recolabel: the training {job.state.value}" + (f": {job.error}" if job.error else ""))
        raise typer.Exit(1)


def _reproduce(project_name: str, version: int, data: Path | None, url: str | None, *, as_json: bool) -> None:
    """Repeat a version's training, wait, say whether the bits are the same; exit status 1 when they are not."""
    with connect(data, url) as client:
        project = find_project(client, project_name)
        start = client.reproduce(project.project_id, version)
        for sentence in start.remarks:
            remark(f"recolabel: {sentence}")
        try:
            job = _wait(client, start.job)
        except KeyboardInterrupt:
            client.cancel(start.job.job_id)  # it is of no use to anybody else
            raise
    if as_json:
        document({"version": version, "reproduced": job.reproduced, "remarks": start.remarks, "job_id": job.job_id})
    elif job.reproduced is not None:
        verdict = "The same bits as" if job.reproduced else "Other bits than"
        say(f"{verdict} version {version} of {project.name}.")
    if job.reproduced is None:
        remark(f"recolabel: the repetition {job.state.value}" + (f": {job.error}" if job.error else ""))
    elif not job.reproduced:
        remark("recolabel: code, processor, PyTorch or images are others than those of the training")
    if not job.reproduced:
        raise typer.Exit(1)


def versions(project_name: ProjectName, data: Data = None, url: Url = None, as_json: Json = False) -> None:
    """List a project's model versions and what each came from."""
    with connect(data, url) as client:
        project = find_project(client, project_name)
        found = client.model_versions(project.project_id)
    if as_json:
        document(found)
        return
    if not found:
        say(f"{project.name} has no model version yet. `recolabel train {project.name!r}` makes one.")
        return
    rows: list[tuple[object, ...]] = [
        ("version", "labels", "label position", "started from", "seed", "steps", "method", "accuracy", "code", "")
    ]
    for version in found:
        accuracy = version.metrics.accuracy
        rows.append(
            (
                version.version,
                version.label_count,
                version.label_seq,
                "pretrained" if version.parent is None else f"version {version.parent}",
                version.spec.seed,
                _steps_of(version),
                version.spec.method + (" + ReCo" if version.spec.use_reco else ""),
                "-" if accuracy is None else f"{accuracy:.3f}",
                version.code_version,
                "pinned" if version.version == project.pinned_version else "",
            )
        )
    table(rows)
    remark("recolabel: --json shows all settings of each version (config)")


def _steps_of(version: ModelVersion) -> str:
    """How far a training came: 37 of 60 when somebody stopped it."""
    training = version.config.get("training")
    planned = training.get("steps") if isinstance(training, dict) else None
    done = version.metrics.steps
    return str(done) if planned in (None, done) else f"{done} of {planned}"


def _wait(client: Client, job: Job) -> Job:
    from recolabel.contract.jobs import ACTIVE_STATES, JobState

    told = ""
    while job.state in ACTIVE_STATES:
        progress = job.progress
        now = f"{job.state.value} {progress.done}/{progress.total} {progress.stage}".strip()
        if job.state is JobState.QUEUED:
            # Asked only until there is an answer: it costs a request for each project.
            now = told if told.startswith("waiting") else _waits_for(client, job) or job.state.value
        if now != told:
            remark(now)
            told = now
        time.sleep(_LOOK_SECONDS)
        job = client.job(job.job_id)
    return job


def _waits_for(client: Client, job: Job) -> str | None:
    """What stands before a queued job; None when no worker holds anything."""
    from recolabel.contract.jobs import JobKind, JobState

    for project in client.projects():
        for other in client.jobs(project.project_id, limit=5):
            if other.job_id != job.job_id and other.state in (JobState.LEASED, JobState.RUNNING):
                return "waiting for another training" if other.kind is JobKind.TRAIN else "waiting for predictions"
    return None


def predict(context: typer.Context) -> None:
    """Draw masks for a folder of images with an exported model; needs no server."""
    hand_on("predict", context.args)


def simulate(context: typer.Context) -> None:
    """Mean IoU against clicks on a data set folder, with a simulated annotator; needs no server."""
    hand_on("simulate", context.args)


def hand_on(command: str, arguments: Sequence[str]) -> None:
    """Let the worker package do a command, and end as it ends."""
    if importlib.util.find_spec("recolabel_worker") is None:
        raise WorkerMissing
    with subprocess.Popen([sys.executable, "-m", "recolabel_worker", command, *arguments]) as running:
        while True:
            try:
                status = running.wait()
                break
            except KeyboardInterrupt:
                continue  # Ctrl+C reached the command as well; how it ends is its own affair
    raise typer.Exit(status)

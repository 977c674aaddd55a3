"""`recolabel train` asks the server for a training; what needs no server is handed on to the worker package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, find_project
from recolabel.cli.output import document, remark, say
from recolabel.errors import BadArgument, WorkerMissing

if TYPE_CHECKING:
    from recolabel.client import Client
    from recolabel.contract.jobs import Job

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
        bool, typer.Option("--from-scratch", help="Do not start from the project's newest version.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the training has ended.")] = False,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Train a model on the labels of this moment."""
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
    _hand_on("predict", context)


def simulate(context: typer.Context) -> None:
    """Mean IoU against clicks on a data set folder, with a simulated annotator; needs no server."""
    _hand_on("simulate", context)


def bench(context: typer.Context) -> None:
    """How long the engine takes on this machine (loss | step | refine); needs no server."""
    _hand_on("bench", context)


def _hand_on(command: str, context: typer.Context) -> None:
    if importlib.util.find_spec("recolabel_worker") is None:
        raise WorkerMissing
    with subprocess.Popen([sys.executable, "-m", "recolabel_worker", command, *context.args]) as running:
        while True:
            try:
                status = running.wait()
                break
            except KeyboardInterrupt:
                continue  # Ctrl+C reached the command as well; how it ends is its own affair
    raise typer.Exit(status)

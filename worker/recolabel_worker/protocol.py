"""What supervisor and child say to each other: one JSON object a line, over the child's stdin and stdout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from recolabel.contract.jobs import Lease, Progress
from recolabel.contract.projects import Contract


class RunJob(Contract):
    """Supervisor: do this job. The child speaks with the server itself, under the lease given here."""

    do: Literal["run"] = "run"
    url: str
    token: str
    lease: Lease


class StopJob(Contract):
    """Supervisor: end the job that runs, keep what is good, report `finished`."""

    do: Literal["stop"] = "stop"


class Ready(Contract):
    """Child: torch is loaded, the next job starts at once."""

    say: Literal["ready"] = "ready"


class Progressed(Contract):
    """Child: so far is the job."""

    say: Literal["progress"] = "progress"
    progress: Progress


class WindingUp(Contract):
    """Child: the wish to stop is understood; results are being handed in."""

    say: Literal["winding_up"] = "winding_up"


class Finished(Contract):
    """Child: the job is over and the server knows its result."""

    say: Literal["finished"] = "finished"


class Failed(Contract):
    """Child: the job cannot be done. The supervisor tells the server."""

    say: Literal["failed"] = "failed"
    error: str
    retry: bool


class Lost(Contract):
    """Child: the server no longer wants this job from this worker; nothing is left to tell it."""

    say: Literal["lost"] = "lost"


Order = Annotated[RunJob | StopJob, Field(discriminator="do")]
Report = Annotated[Ready | Progressed | WindingUp | Finished | Failed | Lost, Field(discriminator="say")]

ORDERS: TypeAdapter[RunJob | StopJob] = TypeAdapter(Order)
REPORTS: TypeAdapter[Ready | Progressed | WindingUp | Finished | Failed | Lost] = TypeAdapter(Report)


def line(message: Contract) -> bytes:
    """The message as it goes over a pipe."""
    return message.model_dump_json().encode() + b"\n"

"""Every way to fail, as classes. Knows no HTTP: `recolabel.api.problems` gives each its status.

The docstring of a class says what is wrong; `advice` says what is safe and what to do next. `code` is stable
and made for machines. A message passed to the constructor replaces the docstring where the case can be told better.
"""

from __future__ import annotations

import re
from typing import ClassVar


class RecolabelError(Exception):
    """Something went wrong."""

    advice: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def code(self) -> str:
        """Stable name of the error: the class name in snake case, e.g. `image_replaced`."""
        return code_of(type(self))

    @property
    def sentence(self) -> str:
        """What is wrong and what to do next, for people."""
        return f"{self} {self.advice}".strip()

    @property
    def reason(self) -> str:
        """The sentence for a row of a list, which need not say each time that nothing was changed."""
        return without_reassurance(self.sentence)


def without_reassurance(sentence: str) -> str:
    """A sentence of a refusal without its closing "Nothing was changed."."""
    return sentence.removesuffix("Nothing was changed.").rstrip()


def code_of(error: type[RecolabelError]) -> str:
    """The stable code of an error class."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).lower()


# --- something that is not there ------------------------------------------------------------------------------


class NotFound(RecolabelError):
    """There is no such thing here."""


class ProjectNotFound(NotFound):
    """There is no such project."""

    advice = "`recolabel project list` shows the projects of this server."


class ImageNotFound(NotFound):
    """There is no such image."""


class ClassNotFound(NotFound):
    """There is no such class in this project."""


class JobNotFound(NotFound):
    """There is no such job."""


class ModelVersionNotFound(NotFound):
    """There is no such model version."""


class MapNotFound(NotFound):
    """There is no such map; a newer one may have taken its place."""


class BlobNotFound(NotFound):
    """There is no such stored file."""


class BlobDamaged(RecolabelError):
    """The bytes that arrived do not have the announced sha256."""

    advice = "Nothing was stored. Send the file again."


# --- labels ---------------------------------------------------------------------------------------------------


class LabelRefused(RecolabelError):
    """This label event cannot be stored."""

    advice = "Nothing was changed."


class OutsideImage(LabelRefused):
    """The label lies outside the image."""


class StrokeTooLong(LabelRefused):
    """The stroke is too long for so wide a brush."""

    advice = "Nothing was changed. Paint the same in several shorter strokes, or with a smaller brush."


class ImageReplaced(LabelRefused):
    """The image was replaced since it was opened, so the label may point at other pixels."""

    advice = "Nothing was changed. Open the image again and repeat the label."


class ClassRetired(LabelRefused):
    """The class was retired."""

    advice = "Nothing was changed. Choose another class, or bring it back by adding a class of its name."


class UnknownClass(LabelRefused):
    """The label names a class that this project does not have."""


class UnknownImage(LabelRefused):
    """The label names an image that this project does not have."""


class UnknownTarget(LabelRefused):
    """The event takes back or erases a label that is not in the log of this image."""


class EventIdTaken(LabelRefused):
    """Another event has this id."""


# --- images ---------------------------------------------------------------------------------------------------


class ImageRefused(RecolabelError):
    """This file cannot be taken as an image."""

    advice = "Nothing was changed."


class NotAnImage(ImageRefused):
    """This is not a JPEG, PNG, WebP, TIFF or BMP file."""


class ImageEmpty(ImageRefused):
    """The file has no bytes."""


class ImageDamaged(ImageRefused):
    """The file is damaged or ends too early."""


class ImageTooLarge(ImageRefused):
    """The image has more pixels than are allowed."""


class FileTooLarge(ImageRefused):
    """The file has more bytes than are allowed."""


class ImageUnsupported(ImageRefused):
    """This kind of image has no defined colours here."""


class BadName(ImageRefused):
    """This name cannot be used for a file."""


class MaskRefused(RecolabelError):
    """This mask does not fit its image or the project's classes."""

    advice = "Nothing was changed."


# --- projects, classes, training ------------------------------------------------------------------------------


class ClassNameTaken(RecolabelError):
    """The project has a class of this name already."""

    advice = "Nothing was changed. Choose another name."


class ProjectNameTaken(RecolabelError):
    """There is a project of this name already."""

    advice = "Nothing was changed. Choose another name."


class NothingToTrain(RecolabelError):
    """Training needs labels of at least two classes."""

    advice = "Click at least one pixel of two classes, then train again."


class TrainingActive(RecolabelError):
    """A training of this project is active."""

    advice = "Nothing was changed. Wait until it has ended, or stop it, then repeat."


class TooManyClasses(RecolabelError):
    """A project can have at most 250 classes."""


class NothingToExport(RecolabelError):
    """There is nothing to export yet."""


# --- jobs -----------------------------------------------------------------------------------------------------


class LeaseLost(RecolabelError):
    """This worker no longer holds the job: its lease ran out, or the job was given to another."""


class JobEnded(RecolabelError):
    """The job has ended already."""


class ContractMismatch(RecolabelError):
    """Worker and server speak different versions of the contract."""


# --- doors ----------------------------------------------------------------------------------------------------


class NotLoggedIn(RecolabelError):
    """The token is missing or wrong."""

    advice = "Open the address that `recolabel up` printed, or send `Authorization: Bearer` with the token file's text."


class ForeignHost(RecolabelError):
    """This server does not answer to that host name."""


class ForeignOrigin(RecolabelError):
    """Another web site may not ask this server for anything."""


# --- server, data folder --------------------------------------------------------------------------------------


class StorageFull(RecolabelError):
    """The disk is full, so nothing more can be saved."""

    advice = "Nothing was lost. Free some space; unsent labels are kept in the browser and sent then."


class StorageBroken(RecolabelError):
    """The data folder cannot be written safely."""

    advice = "What was acknowledged is on disk. Check the disk, then start the server again."


class Busy(RecolabelError):
    """The server has more to write than it can."""

    advice = "Nothing was lost. Send the same request again in a moment."


class PortInUse(RecolabelError):
    """Another program listens on this port."""

    advice = "Choose another with --port, or --port 0 for any free one."


class DataFolderInUse(RecolabelError):
    """Another server works in this data folder."""

    advice = "Use that one, stop it first, or name another folder with --data."


class DataFolderTooNew(RecolabelError):
    """This data folder was written by a newer version of ReCoLabel."""

    advice = "Nothing was touched. Upgrade ReCoLabel, or name another folder with --data."


class UnsafeSqlite(RecolabelError):
    """This SQLite can lose committed labels."""

    advice = "Install pysqlite3 (pip install pysqlite3), or a Python with SQLite 3.51.3 or newer."


class UnsafeBind(RecolabelError):
    """Only addresses of this machine (127.0.0.1, localhost, ::1) may be listened on."""

    advice = "Reach the server from elsewhere through an ssh tunnel."


class ServerUnreachable(RecolabelError):
    """No server answers."""

    advice = (
        "Start one with `recolabel up` (in a source checkout: `make run`), "
        "or name its data folder with --data or its address with --url."
    )


class ServerRefused(RecolabelError):
    """The server refused the request; the message is its own sentence."""

    def __init__(self, message: str, *, status: int, problem_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem_code = problem_code


class WorkerMissing(RecolabelError):
    """This needs the worker package (torch), which is not installed."""

    advice = 'Install it: pip install "recolabel[train]".'


class BenchImpossible(RecolabelError):
    """This cannot be measured here."""


class BadArgument(RecolabelError, ValueError):
    """An argument on the command line cannot be used."""

"""Options that many commands share, and what they lead to: a client of the right server, a project by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recolabel.errors import BadArgument, ProjectNotFound

if TYPE_CHECKING:
    from recolabel.client import Client
    from recolabel.contract.projects import Project

Data = Annotated[Path | None, typer.Option("--data", envvar="RECOLABEL_DATA", help="Data folder.", show_default=False)]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Address of a server elsewhere; its token is read from RECOLABEL_TOKEN."),
]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on standard output.")]
ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or id of the project.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write into; made when it is missing.")]


def connect(data: Path | None, url: str | None) -> Client:
    """A client of the server that the options mean.

    Raises:
        ServerUnreachable: no server runs there.
        BadArgument: --url without a token.
    """
    from recolabel.client import Client

    if url is not None:
        token = os.environ.get("RECOLABEL_TOKEN", "").strip()
        if not token:
            raise BadArgument("--url needs the server's token in the environment variable RECOLABEL_TOKEN.")
        return Client(url, token)
    return Client.from_data_dir(data_dir(data))


def data_dir(data: Path | None) -> Path:
    """The folder that --data means; the default one when it is left out."""
    if data is not None:
        return data.expanduser()
    from recolabel.settings import default_data_dir

    return default_data_dir()


def find_project(client: Client, name: str) -> Project:
    """A project by its name or its id.

    Raises:
        ProjectNotFound: neither.
    """
    projects = client.projects()
    for project in projects:
        if project.name == name:
            return project
    for project in projects:
        if project.project_id == name or project.name.casefold() == name.casefold():
            return project
    raise ProjectNotFound(f"There is no project {name!r}.")


def existing_folder(folder: Path) -> Path:
    """The folder, if it is one.

    Raises:
        BadArgument: it is not.
    """
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder.")
    return folder


def made_folder(folder: Path) -> Path:
    """The folder, made when it is missing.

    Raises:
        BadArgument: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadArgument(f"The folder {folder} cannot be made: {error.strerror}.") from error
    return folder

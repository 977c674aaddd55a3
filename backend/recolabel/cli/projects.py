"""`recolabel project`: create, list, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, find_project
from recolabel.cli.output import document, say, table
from recolabel.errors import BadArgument

app = typer.Typer(help="Create, list and delete projects.", no_args_is_help=True, rich_markup_mode=None)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name of the new project.")],
    classes: Annotated[str, typer.Option("--classes", help="Class names, separated by commas: road,car,tree.")],
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Create a project with its classes."""
    from pydantic import ValidationError

    from recolabel.contract.projects import NewLabelClass, NewProject

    names = [piece.strip() for piece in classes.split(",")]
    if any(piece.casefold() == "void" for piece in names):
        raise BadArgument("Every project has void already: it says that no class fits. Leave it out of --classes.")
    if not all(names):
        raise BadArgument("--classes has an empty name. Write names with commas between them: road,car,tree.")
    try:
        new = NewProject(name=name, classes=[NewLabelClass(name=piece) for piece in names])
    except ValidationError as error:
        first = error.errors()[0]
        what = str(first["msg"]).removeprefix("Value error, ")
        where = "" if first["type"] == "value_error" else f"{'.'.join(str(part) for part in first['loc'])}: "
        raise BadArgument(f"The project cannot be made: {where}{what}.") from error
    with connect(data, url) as client:
        project = client.create_project(new)
    if as_json:
        document(project)
    else:
        say(f"Created {project.name} with {len(project.classes)} classes.")


@app.command("list")
def list_(data: Data = None, url: Url = None, as_json: Json = False) -> None:
    """List the projects."""
    with connect(data, url) as client:
        projects = client.projects()
    if as_json:
        document(projects)
        return
    if not projects:
        say("No projects yet. `recolabel project create NAME --classes road,car` makes one.")
        return
    rows: list[tuple[object, ...]] = [("project", "images", "labels", "model", "classes")]
    for project in projects:
        names = ", ".join(c.name for c in project.classes if not c.retired)
        version = "-" if project.newest_version is None else project.newest_version
        rows.append((project.name, project.image_count, project.label_count, version, names))
    table(rows)


@app.command("delete")
def delete(
    project_name: ProjectName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Put a project away, with its images and labels. What was labelled stays on disk."""
    if not yes and not sys.stdin.isatty():
        raise BadArgument(
            "Nothing was deleted, since nobody can be asked here. Say --yes to delete without a question."
        )
    with connect(data, url) as client:
        project = find_project(client, project_name)
        if not yes:
            what = f"Delete {project.name} with {project.image_count} images and {project.label_count} labels?"
            try:
                typer.confirm(what, abort=True, err=True)
            except typer.Abort:
                raise BadArgument("Nothing was deleted. Say --yes to delete without being asked.") from None
        client.delete_project(project.project_id)
    if as_json:
        document({"deleted": project.project_id})
    else:
        say(f"Deleted {project.name}.")

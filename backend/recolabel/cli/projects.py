"""`recolabel project`: create, list, set, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, find_project
from recolabel.cli.output import document, say, table
from recolabel.errors import BadArgument

_NUMBERS = 2**31

app = typer.Typer(help="Create, list, tune and delete projects.", no_args_is_help=True, rich_markup_mode=None)


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
        version = "-" if project.newest_version is None else str(project.newest_version)
        if project.pinned_version is not None:
            version = f"{project.pinned_version} (pinned)"
        rows.append((project.name, project.image_count, project.label_count, version, names))
    table(rows)


@app.command("set")
def set_(
    project_name: ProjectName,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="How guided questions are chosen: reco, margin, pixelpick, entropy, least-confidence or random.",
        ),
    ] = None,
    random_share: Annotated[
        float | None,
        typer.Option("--random-share", min=0, max=1, help="Share of questions drawn evenly from all pixels, 0 to 1."),
    ] = None,
    held_out_share: Annotated[
        float | None,
        typer.Option(
            "--held-out-share", min=0, max=1, help="Share of their answers that no training sees, 0 to 1; from now on."
        ),
    ] = None,
    auto_train: Annotated[
        bool | None, typer.Option("--auto-train/--no-auto-train", help="Whether training starts by itself.")
    ] = None,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Change how a project asks and trains. What is not named stays."""
    from typing import get_args

    from recolabel.contract.projects import ProjectPatch, SettingsPatch, Strategy

    wanted = {
        "strategy": strategy,
        "random_share": random_share,
        "held_out_share": held_out_share,
        "auto_train": auto_train,
    }
    named = {name: value for name, value in wanted.items() if value is not None}
    if not named:
        raise BadArgument(
            "Nothing was changed. Say what to change: --strategy, --random-share, --held-out-share or --no-auto-train."
        )
    if strategy is not None and strategy not in get_args(Strategy):
        raise BadArgument(f"There is no strategy {strategy!r}; there are {', '.join(get_args(Strategy))}.")
    patch = ProjectPatch(settings=SettingsPatch.model_validate(named))
    with connect(data, url) as client:
        project = client.patch_project(find_project(client, project_name).project_id, patch)
    if as_json:
        document(project)
        return
    settings = project.settings
    trains = "starts by itself" if settings.auto_train else "waits for you"
    say(
        f"{project.name} asks by {settings.strategy}, {settings.random_share:.0%} of its questions at random; "
        f"{settings.held_out_share:.0%} of the answers to those are held out. Training {trains}."
    )


@app.command("pin")
def pin(
    project_name: ProjectName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number of a version, or: newest.")],
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Roll back to a model version, or stay with it; `newest` ends that."""
    wanted = version.casefold()
    if wanted != "newest" and not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted) < _NUMBERS):
        raise BadArgument(f"A version is a number from 1, or the word newest, not {version!r}.")
    with connect(data, url) as client:
        project = find_project(client, project_name)
        project = client.pin_version(project.project_id, None if wanted == "newest" else int(wanted))
    if as_json:
        document(project)
    elif project.pinned_version is None:
        newest = "once there is one" if project.newest_version is None else f"version {project.newest_version} now"
        say(f"{project.name} follows the newest version: {newest}.")
    else:
        say(f"{project.name} works with version {project.pinned_version}. New trainings do not take its place.")


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

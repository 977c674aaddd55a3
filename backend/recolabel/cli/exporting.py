"""`recolabel export` and `recolabel export-model`: masks, labels and trained networks onto the disk."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from recolabel.cli.options import Data, Json, Out, ProjectName, Url, connect, find_project, made_folder
from recolabel.cli.output import document, say
from recolabel.errors import BadArgument, ModelVersionNotFound

FORMATS = ("indexed-png", "jsonl")
CONTENTS = ("predictions", "labels", "merged")
MASK_FOLDER = "masks/"
_WITHOUT = {
    "predictions": "have no prediction yet",
    "labels": "have no labels yet",
    "merged": "have no prediction yet, and no labels",
}
LABEL_FILE = "labels.jsonl"


def export(
    project_name: ProjectName,
    out: Out,
    format_: Annotated[str, typer.Option("--format", help=" | ".join(FORMATS))] = "indexed-png",
    content: Annotated[
        str | None,
        typer.Option("--content", help="predictions | labels | merged: labels over predictions (masks: the default)"),
    ] = None,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Export masks (one byte a pixel: class index, 254 void, 255 unlabelled), or the labels as JSON lines."""
    if format_ not in FORMATS:
        raise BadArgument(f"There is no format {format_!r}; there are {', '.join(FORMATS)}.")
    content = content or ("labels" if format_ == "jsonl" else "merged")
    if content not in CONTENTS:
        raise BadArgument(f"There is no content {content!r}; there are {', '.join(CONTENTS)}.")
    with connect(data, url) as client, tempfile.TemporaryDirectory(prefix="recolabel-") as temporary:
        project = find_project(client, project_name)
        received = Path(temporary) / "export"
        client.export(project.project_id, format=format_, content=content, target=received)
        folder = made_folder(out)
        if format_ == "jsonl":
            _answer(as_json, f"the labels of {project.name}", folder, [_move(received, folder / LABEL_FILE)])
            return
        with zipfile.ZipFile(received) as archive:
            files = [Path(archive.extract(entry, folder)) for entry in archive.infolist()]
            masks = sum(entry.filename.startswith(MASK_FOLDER) for entry in archive.infolist())
        # Asked again: pictures may have come in while the masks were made.
        images = max(client.project(project.project_id).image_count, masks)
    _answer_with_masks(as_json, folder, files, masks, images, _WITHOUT[content])


def export_model(
    project_name: ProjectName,
    out: Out,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Left out: the pinned one, else the newest.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="safetensors")] = "safetensors",
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Export a trained network: weights, configuration, model card and what loads it without ReCoLabel."""
    from recolabel.contract.model_versions import ARTIFACT_NAMES

    if format_ != "safetensors":
        raise BadArgument(f"There is no format {format_!r}; there is safetensors.")
    with connect(data, url) as client:
        project = find_project(client, project_name)
        if version is None:
            version = project.pinned_version or project.newest_version
        if version is None:
            raise ModelVersionNotFound(
                f"{project.name} has no model version yet. `recolabel train {project.name!r}` makes one."
            )
        found = client.model_version(project.project_id, version)
        folder = made_folder(out)
        files = []
        for name in ARTIFACT_NAMES:  # the names are ours: what a server says never becomes a path
            if name in found.artifacts:
                client.artifact(project.project_id, version, name, folder / name)
                files.append(folder / name)
    _answer(as_json, f"{project.name}, model version {version}", folder, files)


def _move(source: Path, target: Path) -> Path:
    # The temporary folder may lie on another disk, so a rename of the file itself is not enough.
    partial = target.with_name(f".{target.name}.part")
    with source.open("rb") as content, partial.open("wb") as file:
        while piece := content.read(1024 * 1024):
            file.write(piece)
    partial.replace(target)
    return target


def _answer_with_masks(
    as_json: bool, folder: Path, files: list[Path], masks: int, images: int, missing_words: str
) -> None:
    missing = images - masks
    if as_json:
        document(_facts(folder, files) | {"images": images, "masks": masks, "missing": missing})
        return
    say(f"{masks} masks of {images} images in {folder}" + (f"; {missing} {missing_words}." if missing else "."))


def _facts(folder: Path, files: list[Path]) -> dict[str, object]:
    return {"folder": str(folder.absolute()), "files": [str(file.relative_to(folder)) for file in files]}


def _answer(as_json: bool, what: str, folder: Path, files: list[Path]) -> None:
    if as_json:
        document(_facts(folder, files))
    else:
        say(f"Exported {what}: {len(files)} {'file' if len(files) == 1 else 'files'} in {folder}.")

"""`recolabel import`: images, masks and label logs into a project. Every file gets a verdict; none stops the others."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, existing_folder, find_project
from recolabel.cli.output import document, plain, remark, say
from recolabel.errors import BadArgument, MaskRefused, ServerRefused, without_reassurance

if TYPE_CHECKING:
    from recolabel.client import Client
    from recolabel.contract.images import ImageInfo
    from recolabel.contract.labels import Ack, LabelEvent
    from recolabel.contract.projects import Project
    from recolabel.formats.folder import FoundFile
    from recolabel.formats.indexed_png import LabelMap
    from recolabel.formats.jsonl import ExportedEvent, Header

_T = TypeVar("_T")

_BATCH_EVENTS = 256
_BATCH_BYTES = 8 * 1024 * 1024
_TAKEN = ("stored", "duplicate")
_LISTED_REASONS = 20
_BUSY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class FileVerdict:
    """What became of one file."""

    file: str
    verdict: str
    """stored, duplicate, refused, ignored (no picture, or the mask of no image) or empty (a mask of nothing)."""
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LabelProblem:
    """Why one line of a label file was not taken."""

    where: str
    reason: str
    """A sentence without a capital, so that it can follow `where` or a number of lines."""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass
class Report:
    """What an import did."""

    images: list[FileVerdict] = field(default_factory=list)
    masks: list[FileVerdict] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    label_problems: list[LabelProblem] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How much is in the project now, from this import or from an earlier one."""
        files = sum(verdict.verdict in _TAKEN for verdict in [*self.images, *self.masks])
        return files + sum(self.labels[fate] for fate in _TAKEN)

    @property
    def refused(self) -> int:
        """How much could not be taken."""
        files = sum(verdict.verdict == "refused" for verdict in [*self.images, *self.masks])
        return files + self.labels["refused"]


def import_(
    project_name: ProjectName,
    folder: Annotated[Path | None, typer.Argument(help="Folder of images; folders inside are searched too.")] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks", help="Folder of masks: a.png holds the class indices of a.jpg, 255 unlabelled, 254 void."
        ),
    ] = None,
    as_ground_truth: Annotated[
        bool,
        typer.Option(
            "--as-ground-truth", help="Keep the masks to measure model versions by; never labels, never trained on."
        ),
    ] = False,
    labels: Annotated[Path | None, typer.Option("--labels", help="A labels.jsonl of `recolabel export`.")] = None,
    void_index: Annotated[
        list[int] | None, typer.Option("--void-index", help="Mask value that means void; may be given again.")
    ] = None,
    data: Data = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Import images into a project, with masks or labels for them."""
    if folder is None and labels is None and masks is None:
        raise BadArgument("Name a folder of images, masks with --masks, or a label file with --labels.")
    for given in (folder, masks):
        if given is not None:
            existing_folder(given)
    if as_ground_truth and masks is None:
        raise BadArgument("--as-ground-truth says what masks are for: name their folder with --masks.")
    if labels is not None and not labels.is_file():
        raise BadArgument(f"{labels} is not a file.")
    if any(not 0 <= index <= 255 for index in void_index or ()):
        raise BadArgument("--void-index takes values from 0 to 255.")
    with connect(data, url) as client:
        project = find_project(client, project_name)
        report = Report()
        tell = _quiet if as_json else _tell
        found: dict[str, ImageInfo] = {}
        if folder is not None:
            found = import_images(client, project, folder, report, tell)
        if masks is not None:
            import_masks(
                client,
                project,
                masks,
                void_index or [],
                found,
                report,
                tell,
                only_found=folder is not None,
                as_ground_truth=as_ground_truth,
            )
        if labels is not None:
            import_labels(client, project, labels, report)
        project = client.project(project.project_id)
    if as_json:
        document(_as_json(project, report))
    else:
        _summarise(report)
    if report.refused:
        raise typer.Exit(1)


Tell = Callable[[FileVerdict], None]


def _tell(verdict: FileVerdict) -> None:
    say(f"{verdict.verdict:<9}  {verdict.file}" + (f"  {verdict.reason}" if verdict.reason else ""))


def _quiet(_: FileVerdict) -> None:
    pass


# --- images ---------------------------------------------------------------------------------------------------


def import_images(
    client: Client, project: Project, folder: Path, report: Report, tell: Tell = _quiet
) -> dict[str, ImageInfo]:
    """Upload every file below a folder, in the order that people count in.

    Returns:
        Name below the folder -> image, for the files that are in the project now.
    """
    from recolabel.formats.folder import files_in, may_be_picture

    files = files_in(folder)
    if not files:
        raise BadArgument(f"There are no files in {folder}.")
    images: dict[str, ImageInfo] = {}
    for file in files:
        verdict = (
            _upload(client, project, file, images)
            if may_be_picture(file.name)
            else FileVerdict(file.name, "ignored", None, "Its ending is not that of a picture.")
        )
        report.images.append(verdict)
        tell(verdict)
    return images


def _upload(client: Client, project: Project, file: FoundFile, images: dict[str, ImageInfo]) -> FileVerdict:
    try:
        result = _patiently(lambda: client.add_image(project.project_id, file.name, file.path))
    except ServerRefused as refused:
        if refused.status in (401, 403, 404, 507):  # not this file's fault: the next one would fare the same
            raise
        return FileVerdict(file.name, "refused", refused.problem_code, refused.reason)
    except OSError as error:
        return FileVerdict(file.name, "refused", "unreadable", f"The file cannot be read: {error.strerror}.")
    images[file.name] = result.image
    return FileVerdict(file.name, result.verdict.value)


# --- masks ----------------------------------------------------------------------------------------------------


def import_masks(
    client: Client,
    project: Project,
    folder: Path,
    void_indices: Sequence[int],
    found: dict[str, ImageInfo],
    report: Report,
    tell: Tell = _quiet,
    *,
    only_found: bool,
    as_ground_truth: bool = False,
) -> None:
    """Store the mask of each image as one label event.

    Args:
        found: images just imported, by name.
        only_found: masks are for those images; otherwise for all of the project.
        as_ground_truth: keep them beside the labels instead, to measure model versions by.
    """
    from recolabel.formats.folder import files_in, pair_masks, read_names

    images = found if only_found else {image.name: image for image in client.all_images(project.project_id)}
    files = {file.name: file.path for file in files_in(folder)}
    pairs, unclear = pair_masks(images, files, read_names(folder))
    if not pairs and not unclear:
        raise BadArgument(f"No file in {folder} is the mask of an image: the mask of a.jpg is a.png.")
    client_id = str(uuid.uuid4())
    class_uids = [c.class_uid for c in sorted(project.classes, key=lambda c: c.position) if not c.retired]
    for number, (image_name, mask_name) in enumerate(pairs.items()):
        try:
            label_map = _read_mask(files[mask_name], images[image_name], class_uids, void_indices)
            event = None
            if not as_ground_truth:
                event = _mask_event(label_map, images[image_name], class_uids, client_id, number)
            if as_ground_truth and (label_map < len(class_uids)).any():
                verdict = _keep_truth(client, images[image_name], mask_name, label_map)
            elif event is None:
                verdict = FileVerdict(mask_name, "empty", None, "No pixel of this mask has a class.")
            else:
                [ack] = _append(client, project, [event])
                verdict = FileVerdict(
                    mask_name, ack.fate.value, ack.code, ack.reason and without_reassurance(ack.reason)
                )
        except MaskRefused as error:
            verdict = FileVerdict(mask_name, "refused", error.code, error.reason)
        report.masks.append(verdict)
        tell(verdict)
    for image_name in sorted(unclear):
        reason = "Several images would share this image's mask; give them names that differ before the dot."
        report.masks.append(FileVerdict(image_name, "refused", "mask_refused", reason))
        tell(report.masks[-1])
    told_of = {*pairs.values(), *unclear.values()}
    for mask_name in files:
        if mask_name.lower().endswith(".png") and mask_name not in told_of:
            report.masks.append(FileVerdict(mask_name, "ignored", None, "It is the mask of no image here."))
            tell(report.masks[-1])


def _read_mask(file: Path, image: ImageInfo, class_uids: Sequence[str], void_indices: Sequence[int]) -> LabelMap:
    """The mask of an image. Raises MaskRefused."""
    from recolabel.formats import indexed_png

    return indexed_png.check_mask(
        indexed_png.read_png(file),
        width=image.width,
        height=image.height,
        class_count=len(class_uids),
        void_indices=void_indices,
    )


def _keep_truth(client: Client, image: ImageInfo, mask_name: str, label_map: LabelMap) -> FileVerdict:
    try:
        _patiently(lambda: client.put_ground_truth(image.image_id, label_map.tobytes()))
    except ServerRefused as refused:
        if refused.status in (401, 403, 404, 507):
            raise
        return FileVerdict(mask_name, "refused", refused.problem_code, refused.reason)
    return FileVerdict(mask_name, "stored")


def _mask_event(
    label_map: LabelMap, image: ImageInfo, class_uids: Sequence[str], client_id: str, client_seq: int
) -> LabelEvent | None:
    """The label event of a mask; None when no pixel has a label."""
    from recolabel.contract.labels import MAX_SPANS, VOID, ClassSpans, MaskEvent
    from recolabel.formats import indexed_png

    runs = indexed_png.runs_of(label_map)
    if any(len(spans) > 3 * MAX_SPANS for spans in runs.values()):
        raise MaskRefused(f"The mask has more than {MAX_SPANS:,} separate runs of one class; it looks like noise.")
    if not runs:
        return None
    return MaskEvent(
        event_id=new_event_id(),
        image_id=image.image_id,
        image_sha256=image.sha256,
        client_id=client_id,
        client_seq=client_seq,
        client_time=datetime.now(UTC),
        classes=[
            ClassSpans(class_uid=VOID if value == indexed_png.VOID else class_uids[value], spans=spans)
            for value, spans in runs.items()
        ],
    )


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): its first 48 bits are milliseconds, so ids sort by time."""
    random = uuid.uuid4().int & ((1 << 76) - 1)
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | random
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))


# --- label logs -----------------------------------------------------------------------------------------------


def import_labels(client: Client, project: Project, file: Path, report: Report) -> None:
    """Append the events of a `labels.jsonl` to the log of a project, with ids of their own.

    Classes that the project lacks are added where a line that is taken names them: a class added for nothing would
    shift the meaning of mask values. Those that were retired where the file comes from are retired again. The file is
    read twice, so that a wrong line is found before anything is changed.
    """
    from recolabel.contract.projects import ClassPatch
    from recolabel.formats import jsonl

    images = _ImagesByPixels(client.all_images(project.project_id))
    try:
        with file.open(encoding="utf-8") as lines:
            header, exported = jsonl.read_lines(lines)
            needed = _classes_needed(project, header, exported, images)
        class_uids, to_retire = _classes_for(client, project, header, needed)
        with file.open(encoding="utf-8") as lines:
            _, exported = jsonl.read_lines(lines)
            events = _bound(project, exported, class_uids, images, report)
            for batch in _batches(events):
                for event, ack in zip(batch, _append(client, project, batch), strict=True):
                    report.labels[ack.fate.value] += 1
                    if ack.reason:
                        report.label_problems.append(
                            LabelProblem(f"{event.kind} {event.event_id}", without_reassurance(ack.reason))
                        )
    except UnicodeDecodeError as error:
        raise BadArgument(f"{file} is not a text file in UTF-8.") from error
    for class_uid in to_retire:
        client.patch_class(project.project_id, class_uid, ClassPatch(retired=True))


class _ImagesByPixels:
    """Which image of a project a line of a label file means: one with its pixels, best of the same name."""

    def __init__(self, images: Iterable[ImageInfo]) -> None:
        self._by_content: dict[str, str] = {}
        self._by_both: dict[tuple[str, str], str] = {}
        for image in images:
            self._by_content.setdefault(image.sha256, image.image_id)
            self._by_both[image.name, image.sha256] = image.image_id

    def id_for(self, event: ExportedEvent) -> str | None:
        """The image's id; None when the project has no image with these pixels."""
        content = event.image_sha256
        return self._by_both.get((event.image, content)) or self._by_content.get(content)


def _classes_needed(
    project: Project, header: Header, exported: Iterable[ExportedEvent], images: _ImagesByPixels
) -> set[str]:
    """Names of the classes in the lines that will be taken. Raises BadArgument for a line that cannot be read."""
    from recolabel.formats import jsonl

    stand_ins = {exported_class.name: str(uuid.uuid4()) for exported_class in header.classes}
    needed: set[str] = set()
    for event in exported:
        image_id = images.id_for(event)
        if image_id is not None:
            jsonl.bind(event, project_id=project.project_id, image_id=image_id, class_uids=stand_ins)
            needed |= jsonl.class_names_in(event.fields)
    return needed


def _classes_for(
    client: Client, project: Project, header: Header, needed: set[str]
) -> tuple[dict[str, str], list[str]]:
    """Class name -> class_uid of the needed ones, and the added classes that have to be retired at the end."""
    from recolabel.contract.projects import NewLabelClass

    present = {c.name.casefold(): c.class_uid for c in project.classes}
    keys = {c.key for c in project.classes}
    class_uids: dict[str, str] = {}
    to_retire: list[str] = []
    for exported in header.classes:
        if exported.name not in needed:
            continue
        class_uid = present.get(exported.name.casefold())
        if class_uid is None:
            key = None if exported.key in keys else exported.key
            added = client.add_class(
                project.project_id, NewLabelClass(name=exported.name, colour=exported.colour, key=key)
            )
            class_uid = added.class_uid
            if exported.retired:
                to_retire.append(class_uid)
        class_uids[exported.name] = class_uid
    return class_uids, to_retire


def _bound(
    project: Project,
    exported: Iterable[ExportedEvent],
    class_uids: dict[str, str],
    images: _ImagesByPixels,
    report: Report,
) -> Iterator[LabelEvent]:
    from recolabel.formats import jsonl

    for event in exported:
        image_id = images.id_for(event)
        if image_id is not None:
            yield jsonl.bind(event, project_id=project.project_id, image_id=image_id, class_uids=class_uids)
        elif event.image_replaced:
            report.labels["of_replaced_images"] += 1  # they held no longer where they come from
        else:
            report.labels["refused"] += 1
            reason = f"no image has the pixels of {event.image}"
            report.label_problems.append(LabelProblem(f"line {event.line}", reason))


def _batches(events: Iterable[LabelEvent]) -> Iterator[list[LabelEvent]]:
    batch: list[LabelEvent] = []
    size = 0
    for event in events:
        bytes_of_event = 12 * sum(len(part.spans) for part in event.classes) if event.kind == "mask" else 1_000
        if batch and (len(batch) == _BATCH_EVENTS or size + bytes_of_event > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += bytes_of_event
    if batch:
        yield batch


# --- all of them ----------------------------------------------------------------------------------------------


def _append(client: Client, project: Project, events: Sequence[LabelEvent]) -> list[Ack]:
    return _patiently(lambda: client.append_labels(project.project_id, events)).acks


def _patiently(send: Callable[[], _T]) -> _T:
    """Send again while the server says that it is busy; nothing is stored twice by that."""
    for pause in _BUSY_PAUSES:
        try:
            return send()
        except ServerRefused as refused:
            if refused.status != 503:
                raise
            time.sleep(pause)
    return send()


def _as_json(project: Project, report: Report) -> dict[str, object]:
    return {
        "project": plain(project),
        "images": [vars(verdict) for verdict in report.images],
        "masks": [vars(verdict) for verdict in report.masks],
        "labels": {"counts": dict(report.labels), "problems": [str(p) for p in report.label_problems]},
        "refused": report.refused,
    }


def _summarise(report: Report) -> None:
    for what, verdicts in (("images", report.images), ("masks", report.masks)):
        if verdicts:
            counts = Counter(verdict.verdict for verdict in verdicts)
            say(f"{what}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if report.labels:
        say("labels: " + ", ".join(f"{count} {fate.replace('_', ' ')}" for fate, count in report.labels.items()))
    _list_problems(report.label_problems)
    if not report.taken:
        remark("recolabel: Nothing was imported.")
    elif report.refused:
        remark(f"recolabel: {report.refused} could not be taken, the others are in the project")


def _list_problems(problems: Sequence[LabelProblem]) -> None:
    """Each reason once, with how many lines it holds for."""
    counts = Counter(problem.reason for problem in problems)
    first = {problem.reason: problem for problem in reversed(problems)}
    for reason, count in list(counts.items())[:_LISTED_REASONS]:
        remark(f"recolabel: {count} lines: {reason}" if count > 1 else f"recolabel: {first[reason]}")
    if len(counts) > _LISTED_REASONS:
        remark(f"recolabel: and {len(counts) - _LISTED_REASONS} more reasons; --json lists every line")

"""The label log as JSON lines (`labels.jsonl`): a header line, then one line an event, oldest first.

Header: `{"format": "recolabel-labels", "version": 1, "project": NAME, "classes": [{name, colour, key, retired}]}`.
Event: the label event as the contract has it, with names in the place of ids that mean something on one server only:
`image` and `image_sha256` for the image, `class` for the class (null: void); `seq`, `annotator` and `server_time` say
where it came from. `image_replaced: true` marks labels of pixels that the image no longer has.

Imported events get new ids, made from the old ones and the project, so importing twice stores once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from recolabel.contract.labels import VOID, LabelEvent, StoredEvent
from recolabel.contract.projects import ClassKey, Colour, LabelClass, Name
from recolabel.errors import BadArgument

FORMAT = "recolabel-labels"
FORMAT_VERSION = 1

_EVENT: TypeAdapter[LabelEvent] = TypeAdapter(LabelEvent)


class NamedImage(Protocol):
    """What an export needs to know of an image."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExportedClass(_Line):
    """A class of the project that was exported."""

    name: Name
    colour: Colour
    key: ClassKey | None = None
    retired: bool = False


class Header(_Line):
    """The first line."""

    format: str
    version: int
    project: str
    classes: list[ExportedClass]


@dataclass(frozen=True)
class ExportedEvent:
    """One event line, read but not yet bound to the images and classes of a project."""

    line: int
    """Counts from 1 with the header."""
    image: str
    image_sha256: str
    image_replaced: bool
    fields: dict[str, Any]


def write_lines(
    project_name: str,
    classes: Sequence[LabelClass],
    images: Mapping[str, NamedImage],
    events: Iterable[StoredEvent],
) -> Iterator[str]:
    """The lines of `labels.jsonl`, each with its line end.

    Args:
        images: image id -> image; events of other images (removed ones) are left out.
        events: in seq order.
    """
    names = {label_class.class_uid: label_class.name for label_class in classes}
    header = Header(
        format=FORMAT,
        version=FORMAT_VERSION,
        project=project_name,
        classes=[
            ExportedClass(name=c.name, colour=c.colour, key=c.key, retired=c.retired)
            for c in sorted(classes, key=lambda c: c.position)
        ],
    )
    yield _line(header.model_dump(mode="json"))
    for stored in events:
        image = images.get(stored.event.image_id)
        if image is None:
            continue
        fields = stored.event.model_dump(mode="json")
        del fields["image_id"], fields["image_sha256"]
        replaced = {"image_replaced": True} if stored.event.image_sha256 != image.sha256 else {}
        yield _line(
            {
                "seq": stored.seq,
                "annotator": stored.annotator_id,
                "server_time": stored.server_time.isoformat(),
                "image": image.name,
                "image_sha256": stored.event.image_sha256,
                **replaced,
                **_with_class_names(fields, names),
            }
        )


def read_lines(lines: Iterable[str]) -> tuple[Header, Iterator[ExportedEvent]]:
    """Read `labels.jsonl`; events are read as they are asked for.

    Raises:
        BadArgument: not such a file, or of a newer version; also by the iterator, for the line that is wrong.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    try:
        first = next(numbered)[1]
    except StopIteration:
        raise BadArgument("The label file is empty.") from None
    try:
        header = Header.model_validate(_object(first.lstrip("\ufeff")))
    except (ValidationError, ValueError) as error:
        raise BadArgument(
            "This is not a label file: its first line is not the header of `recolabel export`."
        ) from error
    if header.format != FORMAT:
        raise BadArgument(f"This is not a label file: its first line says {header.format!r}, not {FORMAT!r}.")
    if header.version > FORMAT_VERSION:
        raise BadArgument(f"The label file has version {header.version}. Upgrade ReCoLabel to read it.")
    return header, (_read_event(number, line) for number, line in numbered)


def bind(exported: ExportedEvent, *, project_id: str, image_id: str, class_uids: Mapping[str, str]) -> LabelEvent:
    """Turn an exported event into one of a project.

    Args:
        project_id: new ids are made from it and the old ids.
        image_id: the project's image with the event's pixels.
        class_uids: class name -> class of the project.

    Raises:
        BadArgument: the line does not hold a label event, or names a class that is not there.
    """
    fields = dict(exported.fields) | {"image_id": image_id, "image_sha256": exported.image_sha256}
    try:
        for name in ("event_id", "client_id"):
            fields[name] = new_id(project_id, str(fields[name]))
        if "targets" in fields:
            fields["targets"] = [new_id(project_id, str(target)) for target in fields["targets"]]
        return _EVENT.validate_python(_with_class_uids(fields, class_uids, exported.line), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadArgument(f"Line {exported.line} of the label file: {where}: {first['msg']}.") from error
    except (KeyError, TypeError) as error:
        raise BadArgument(f"Line {exported.line} of the label file is no label event: {error} is missing.") from error


def class_names_in(fields: Mapping[str, Any]) -> set[str]:
    """The classes that an event line names, in the event itself and in a mask's parts."""
    names = {fields["class"]} if fields.get("class") is not None else set()
    return names.union(*(class_names_in(part) for part in fields.get("classes", ())))


def new_id(project_id: str, old_id: str) -> str:
    """The id in a project of something that had another id where it was exported; always the same one."""
    return str(uuid.uuid5(uuid.UUID(project_id), old_id))


def _read_event(number: int, line: str) -> ExportedEvent:
    try:
        fields = _object(line)
        image, sha256 = fields.pop("image"), fields.pop("image_sha256")
        if not isinstance(image, str) or not isinstance(sha256, str):
            raise TypeError("image")
        replaced = fields.pop("image_replaced", False) is True
    except (ValueError, KeyError, TypeError) as error:
        raise BadArgument(f"Line {number} of the label file is no label event: {error}.") from error
    for name in ("seq", "annotator", "server_time"):
        fields.pop(name, None)
    return ExportedEvent(number, image, sha256, replaced, fields)


def _object(line: str) -> dict[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("the line is not a JSON object")  # noqa: TRY004 - one of several ways to be wrong JSON
    return value


def _line(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _with_class_names(fields: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Say `class` (null: void) where the event says `class_uid`, in the event and in a mask's parts."""
    if "class_uid" in fields:
        class_uid = fields.pop("class_uid")
        fields["class"] = None if class_uid == VOID else names[class_uid]
    if "classes" in fields:
        fields["classes"] = [_with_class_names(part, names) for part in fields["classes"]]
    return fields


def _with_class_uids(fields: dict[str, Any], class_uids: Mapping[str, str], line: int) -> dict[str, Any]:
    fields = dict(fields)
    if "class" in fields:
        name = fields.pop("class")
        if name is not None and name not in class_uids:
            raise BadArgument(f"Line {line} of the label file names the class {name!r}, which the project lacks.")
        fields["class_uid"] = VOID if name is None else class_uids[name]
    if "classes" in fields:
        fields["classes"] = [_with_class_uids(part, class_uids, line) for part in fields["classes"]]
    return fields

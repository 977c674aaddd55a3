"""Where words go: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


def say(text: str) -> None:
    """A line of the answer."""
    print(_printable(text), flush=True)


def remark(text: str) -> None:
    """A message beside the answer."""
    print(_printable(text), file=sys.stderr, flush=True)


def document(value: object) -> None:
    """The answer as one JSON document."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain), flush=True)


def table(rows: Sequence[Sequence[object]]) -> None:
    """Rows in columns; the first row is the heading."""
    cells = [[_printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def plain(model: BaseModel) -> object:
    """A contract value as JSON has it."""
    return model.model_dump(mode="json")


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


def _printable(text: str) -> str:
    # A file name may hold codes that would repaint the terminal.
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)

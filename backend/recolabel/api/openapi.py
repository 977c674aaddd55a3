"""`python -m recolabel.api.openapi` prints the description of the HTTP interface, for backend/openapi.json."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from recolabel.api.app import create_app
from recolabel.api.docs import describe
from recolabel.settings import Settings


def document() -> str:
    """The description as JSON text, the same for the same code."""
    with tempfile.TemporaryDirectory() as folder:  # the app makes itself a token somewhere
        description = describe(create_app(Settings(data=Path(folder))))
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())

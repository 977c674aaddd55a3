"""Which code runs here: what a model version says of itself, and what decides whether its bits come again."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def code_version() -> str:
    """Version of server and worker, with the revision when they run from a checkout: `0.1.0+g1234abcd.dirty`."""
    version = importlib.metadata.version("recolabel")
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / "worker" / "pyproject.toml").is_file() or not (root / ".git").exists():
        return version
    try:
        found = subprocess.run(
            [git, "-C", str(root), "describe", "--always", "--dirty=.dirty", "--abbrev=8", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+g{found.stdout.strip()}"

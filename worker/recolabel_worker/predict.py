"""`recolabel predict MODEL FOLDER --out FOLDER`: masks for the pictures of a folder, without a server."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from recolabel.contract.model_versions import MODEL_FILE
from recolabel.errors import BadArgument, RecolabelError
from recolabel.formats.folder import FileNames, FoundFile, files_in
from recolabel.formats.indexed_png import classes_txt, labelmap_txt, write_png
from recolabel.imaging import decode_bytes

if TYPE_CHECKING:
    from recolabel_worker.model_files import LoadedModel

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_MAX_PIXELS = 100_000_000
_MAX_SIDE = 32_768


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status is 0 when every picture got its mask, 1 when not, 2 for bad usage."""
    given = _parser().parse_args(arguments)
    try:
        verdicts = draw_masks(
            given.model, given.folder, given.out, device=given.device, with_confidence=given.confidence
        )
    except RecolabelError as error:
        print(f"recolabel: {error.sentence}", file=sys.stderr)
        return 1
    refused = [verdict for verdict in verdicts if verdict["verdict"] == "refused"]
    if given.json:
        print(json.dumps({"out": str(given.out), "files": verdicts}, ensure_ascii=False))
    else:
        for verdict in refused:
            print(f"{verdict['name']}: {verdict['reason']}", file=sys.stderr)
        print(f"{len(verdicts) - len(refused)} masks in {given.out}, {len(refused)} files refused.")
    return 1 if refused else 0


def draw_masks(
    model: Path, folder: Path, out: Path, *, device: str = "auto", with_confidence: bool = False
) -> list[dict[str, Any]]:
    """Write one mask for each picture in a folder and below: `a.png` for `a.jpg`, with labelmap.txt and classes.txt.

    Args:
        model: an exported folder, or the model.safetensors in one.
        with_confidence: also `a.confidence.png`, grey, round(255 * largest class probability).

    Returns:
        A verdict for each file: name, verdict "drawn" or "refused", mask or reason.

    Raises:
        RecolabelError: the model cannot be used, there are no pictures, or nothing can be written to `out`.
    """
    model = model.parent if model.name == MODEL_FILE else model
    if not model.is_dir():
        raise BadArgument(f"{model} is not a folder.")
    pictures = _pictures(folder, out)

    # Only now: torch takes seconds to load, and a wrong name should be told at once.
    from recolabel_worker.devices import choose_device
    from recolabel_worker.model_files import load_model

    loaded = load_model(model, choose_device(device))
    names, colours = [c.name for c in loaded.classes], [c.colour for c in loaded.classes]
    masks = FileNames(".png")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "labelmap.txt").write_text(labelmap_txt(names, colours), encoding="utf-8")
        (out / "classes.txt").write_text(classes_txt(names), encoding="utf-8")
        return [_draw(found, out, loaded, colours, with_confidence, masks) for found in pictures]
    except OSError as error:
        raise BadArgument(f"Masks cannot be written to {out}: {error.strerror or error}.") from error


def _draw(
    found: FoundFile, out: Path, loaded: LoadedModel, colours: Sequence[str], with_confidence: bool, masks: FileNames
) -> dict[str, Any]:
    try:
        pixels = read_picture(found.path)
    except RecolabelError as error:
        return {"name": found.name, "verdict": "refused", "code": error.code, "reason": error.reason}
    from recolabel_worker.drawing import label_map_of
    from recolabel_worker.reco import confidence_map, predict, to_byte

    network = loaded.network
    probabilities = predict(network, pixels, next(network.parameters()).device)
    mask = masks.name_for(found.name)
    (out / mask).write_bytes(write_png(label_map_of(probabilities), colours))
    if with_confidence:
        grey = Image.fromarray(to_byte(confidence_map(probabilities)).numpy())
        grey.save((out / mask).with_suffix(".confidence.png"))
    return {"name": found.name, "verdict": "drawn", "mask": mask}


def read_picture(path: Path) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB by the rules that the server has for uploads.

    Raises:
        RecolabelError: the file cannot be taken as an image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadArgument(f"{path.name} cannot be read: {error.strerror or error}.") from error
    canonical = decode_bytes(content, max_pixels=_MAX_PIXELS, max_side=_MAX_SIDE).canonical or content
    with Image.open(io.BytesIO(canonical)) as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)


def _pictures(folder: Path, out: Path) -> list[FoundFile]:
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder.")
    found = [
        file
        for file in files_in(folder)
        if file.path.suffix.lower() in _SUFFIXES and not file.path.resolve().is_relative_to(out.resolve())
    ]
    if not found:
        raise BadArgument(f"There are no JPEG, PNG, WebP, TIFF or BMP files in {folder}.")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recolabel predict", description="Draw masks with an exported model.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder made by export-model")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the masks go")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--confidence", action="store_true", help="also write the confidence as grey PNG")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser

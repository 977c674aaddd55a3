"""`recolabel predict`: a mask for each picture, a verdict for each file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel_worker.__main__ import main
from recolabel_worker.drawing import label_map_of
from recolabel_worker.reco import DeepLabV3Plus, predict
from tests.worker.exported_model import export, network_for_tests, noise


@pytest.fixture(scope="module")
def network() -> DeepLabV3Plus:
    return network_for_tests()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, network: DeepLabV3Plus) -> Path:
    return export(tmp_path_factory.mktemp("export") / "model", network)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(noise(48, 64)).save(folder / "a.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_each_picture_gets_a_mask_of_class_indices(
    model: Path, pictures: Path, network: DeepLabV3Plus, tmp_path: Path
) -> None:
    status = main(["predict", str(model), str(pictures), "--out", str(tmp_path / "masks"), "--device", "cpu"])

    with Image.open(tmp_path / "masks" / "a.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.array(mask), label_map_of(predict(network, noise(48, 64))))
    assert (tmp_path / "masks" / "classes.txt").read_text() == "meadow\nwa|ter\npath\n"
    assert status == 0


def test_a_bad_picture_is_named_and_the_others_are_drawn(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")

    status = main(["predict", str(model), str(pictures), "--out", str(tmp_path / "masks"), "--json"])

    verdicts = {file["name"]: file for file in json.loads(capsys.readouterr().out)["files"]}
    assert verdicts["a.png"] == {"name": "a.png", "verdict": "drawn", "mask": "a.png"}
    assert verdicts["broken.jpg"]["code"] == "image_damaged"
    assert status == 1


def test_two_pictures_of_one_stem_get_two_masks(model: Path, pictures: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(32, 32, seed=1)).save(pictures / "a.jpg")

    status = main(
        ["predict", str(model / "model.safetensors"), str(pictures), "--out", str(tmp_path / "masks"), "--confidence"]
    )

    masks = sorted(path.name for path in (tmp_path / "masks").glob("*.png"))
    assert masks == ["a-2.confidence.png", "a-2.png", "a.confidence.png", "a.png"]
    assert status == 0


@pytest.mark.parametrize("missing", ["model", "pictures"])
def test_a_missing_folder_is_named_before_torch_is_loaded(missing: str, tmp_path: Path) -> None:
    for name in {"model", "pictures"} - {missing}:
        (tmp_path / name).mkdir()
    code = """
import sys
from recolabel_worker.__main__ import main
status = main(["predict", "model", "pictures", "--out", "masks"])
print(status, "torch" in sys.modules)
"""

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stderr == f"recolabel: {missing} is not a folder.\n"
    assert done.stdout == "1 False\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tmp}/none", "{pictures}"], "none is not a folder."),
        (["{pictures}", "{pictures}"], "not an exported model"),
        (["{model}", "{tmp}/none"], "is not a folder"),
        (["{model}", "{tmp}/empty"], "There are no JPEG"),
        (["{model}", "{pictures}", "--device", "toaster"], "no device 'toaster'"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    given = [part.format(tmp=tmp_path, model=model, pictures=pictures) for part in arguments]

    status = main(["predict", *given, "--out", str(tmp_path / "masks")])

    assert status == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line

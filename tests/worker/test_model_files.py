"""An exported model explains itself and computes the same wherever it is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from recolabel.code_version import code_version
from recolabel.contract.model_versions import ARTIFACT_NAMES
from recolabel_worker.drawing import label_map_of
from recolabel_worker.model_files import ModelUnusable, load_model, write_model
from recolabel_worker.reco import DeepLabV3Plus, build_network, predict
from recolabel_worker.standalone import network_source
from tests.worker.exported_model import CLASSES, export, network_for_tests, noise

SCRIPT = Path(__file__).parents[2] / "docs" / "load_model.py"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> DeepLabV3Plus:
    return network_for_tests()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, network: DeepLabV3Plus) -> Path:
    return export(tmp_path_factory.mktemp("export") / "model", network)


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def test_a_folder_holds_every_artifact_and_nothing_of_the_representation_head(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == set(ARTIFACT_NAMES)
    with safe_open(str(exported / "model.safetensors"), framework="pt") as file:
        assert not [name for name in file.keys() if "representation" in name]  # noqa: SIM118


def test_a_loaded_model_predicts_as_the_exported_one(exported: Path, network: DeepLabV3Plus) -> None:
    loaded = load_model(exported, CPU)

    picture = noise(61, 47)
    assert torch.equal(predict(loaded.network, picture), predict(network, picture))
    assert list(loaded.classes) == CLASSES


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (61, 47),  # sides that are no multiples of anything
        (40, 1100),  # above the tile limit
    ],
)
def test_the_short_script_gives_the_same_label_map_without_recolabel(
    exported: Path, network: DeepLabV3Plus, tmp_path: Path, height: int, width: int
) -> None:
    picture = noise(height, width)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    blocker = "import sys; sys.modules['recolabel'] = sys.modules['recolabel_worker'] = None; "
    run = 'sys.argv = sys.argv[1:]; exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))'

    subprocess.run(
        [sys.executable, "-c", blocker + run, SCRIPT, exported, tmp_path / "picture.png", tmp_path / "mask.png"],
        check=True,
        timeout=120,
    )

    with Image.open(tmp_path / "mask.png") as mask:
        label_map = np.array(mask)
    assert np.array_equal(label_map, label_map_of(predict(network, picture)))
    assert len(np.unique(label_map)) > 1


def test_the_short_script_loads_a_resnet_with_the_papers_heads(tmp_path: Path) -> None:
    network = build_network(len(CLASSES), backbone="resnet50", decoder="paper", norm="batch", pretrained=False).eval()
    torch.nn.init.normal_(network.correction.weight)
    folder = export(tmp_path / "model", network)
    Image.fromarray(noise(61, 47)).save(tmp_path / "picture.png")

    subprocess.run(
        [sys.executable, SCRIPT, folder, tmp_path / "picture.png", tmp_path / "mask.png"], check=True, timeout=120
    )

    with Image.open(tmp_path / "mask.png") as mask:
        assert np.array_equal(np.array(mask), label_map_of(predict(network, noise(61, 47))))
    assert torch.equal(predict(load_model(folder, CPU).network, noise(61, 47)), predict(network, noise(61, 47)))


def test_files_of_a_version_from_before_backbones_could_be_chosen_load(copied: Path, network: DeepLabV3Plus) -> None:
    change_config(copied, build=None)

    assert torch.equal(predict(load_model(copied, CPU).network, noise(61, 47)), predict(network, noise(61, 47)))


def test_the_short_script_is_short() -> None:
    lines = [line for line in SCRIPT.read_text().splitlines() if line.strip()]

    assert len(lines) <= 27
    assert "recolabel" not in {word for line in lines if "import" in line for word in line.split()}


def test_the_network_file_speaks_of_torch_and_numpy_only() -> None:
    assert "recolabel_worker" not in network_source()


def test_the_card_shows_class_names_as_they_are_and_breaks_no_table(exported: Path) -> None:
    card = (exported / "README.md").read_text()

    assert "| 1 | wa\\|ter | #0000ff |" in card
    assert "not measured" in card


def test_a_network_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    network = network_for_tests()
    with torch.no_grad():
        network.direct.bias[0] = float("nan")

    with pytest.raises(ModelUnusable, match="not finite"):
        write_model(tmp_path, network, {})

    assert list(tmp_path.iterdir()) == []


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def outdate_program(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 99}))


def change_config(folder: Path, **entries: object) -> None:
    """Set entries of config.json; None takes one away."""
    config = json.loads((folder / "config.json").read_text()) | entries
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def drop_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"classes": config["classes"][:2]}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "not an exported model"),
        (spoil_config, "does not describe a model"),
        (outdate_program, "recolabel-model 99"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (cut_weights, "cannot be read"),
        (drop_class, "do not fit"),
        (lambda folder: change_config(folder, build={"backbone": "hf:some/model"}), "hub"),
        (lambda folder: change_config(folder, build={"weights": "/etc/passwd"}), "'weights'"),
        (lambda folder: change_config(folder, build={"decoder": "heavy"}), "decoder"),
    ],
)
def test_a_folder_that_is_no_usable_model_is_refused_with_a_reason(copied: Path, spoil: object, said: str) -> None:
    assert callable(spoil)
    spoil(copied)

    with pytest.raises(ModelUnusable, match=said):
        load_model(copied, CPU)


def test_the_code_version_begins_with_the_package_version() -> None:
    assert code_version().startswith("0.")

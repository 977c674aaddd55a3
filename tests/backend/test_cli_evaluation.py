"""`recolabel import --as-ground-truth` and `recolabel evaluation` in real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.formats.indexed_png import write_png
from tests.servers import Server, run_cli


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server("serve", tmp_path_factory.mktemp("server") / "data", "--port", "0").wait_until_ready()
    yield running
    running.stop()


def test_masks_can_be_kept_as_ground_truth_and_the_evaluation_is_told(server: Server, tmp_path: Path) -> None:
    # Given two pictures, of which one has a mask
    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    for folder in (pictures, masks):
        folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "green")):
        Image.new("RGB", (32, 24), colour).save(pictures / name)
    (masks / "a.png").write_bytes(write_png(np.ones((24, 32), np.uint8), []))
    run_cli("project", "create", "Street", "--classes", "road,car", data=server.data)

    # When the mask is imported as ground truth
    without_masks = run_cli("import", "Street", str(pictures), "--as-ground-truth", data=server.data)
    done = run_cli(
        "import", "Street", str(pictures), "--masks", str(masks), "--as-ground-truth", "--json", data=server.data
    )
    told = run_cli("evaluation", "Street", data=server.data)
    answer = run_cli("evaluation", "Street", "--json", data=server.data)

    # Then it is kept, no label came of it, and the evaluation says what is missing
    assert "name their folder with --masks" in without_masks.stderr
    report = json.loads(done.stdout)
    assert [verdict["verdict"] for verdict in report["masks"]] == ["stored"]
    assert report["project"]["label_count"] == 0
    assert "There is no model version yet." in told.stdout
    assert "Next: road has no label yet." in told.stdout
    assert json.loads(answer.stdout)["versions"] == []

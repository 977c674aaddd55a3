"""`recolabel bench`: one document, figures that mean what they say, and the loss's promise about memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recolabel_worker.__main__ import main
from recolabel_worker.bench import AIMS, LossSize, bench_loss, peak_bytes, picture
from recolabel_worker.reco import UNLABELLED

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


FIGURES = {
    "loss": {"floor_ms", "loss_ms", "ratio", "median_ratio", "processor_ratio", "extra_memory"},
    "step": {
        "supervised_s",
        "classmix_s",
        "reco_s",
        "reco_waiting_s",
        "reco_share",
        "reco_waiting_share",
        "reco_processor_share",
    },
    "fast-head": {"features_s", "fit_500_clicks_s", "fit_5000_clicks_s", "repaint_s"},
}


@pytest.mark.parametrize("what", FIGURES)
def test_each_bench_prints_one_document_with_its_figures(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["bench", what, "--quick", "--rounds", "1", "--threads", "1", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert status == 0
    assert document["bench"] == what
    assert document["machine"]["threads"] == 1
    assert all(FIGURES[what] <= set(row) for row in document["figures"])


def test_people_get_lines_instead(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "loss", "--quick", "--rounds", "1", "--threads", "1"])

    assert "extra memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given",
    [[], ["speed"], ["loss", "--rounds", "0"], ["loss", "--rounds", "many"], ["loss", "--threads", "100000000000"]],
)
def test_a_command_line_that_makes_no_sense_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *given])

    assert ended.value.code == 2
    assert "usage: recolabel bench" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["bench", "loss", "--device", "abacus"])

    assert status == 1
    assert "no device 'abacus'" in capsys.readouterr().err


def test_stderr_says_nothing_that_is_not_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recolabel_worker", "bench", "loss", "--quick", "--rounds", "1", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_peak_is_what_was_held_at_once() -> None:
    def work() -> None:
        one = torch.empty(1_000_000)
        del one
        two = torch.empty(2_000_000)
        del two

    assert peak_bytes(work, CPU) == pytest.approx(8_000_000, rel=0.01)


def test_memory_that_numpy_took_counts_too() -> None:
    assert peak_bytes(lambda: torch.from_numpy(np.zeros(8_000_000, np.uint8)), CPU) == pytest.approx(8e6, rel=0.01)


def test_the_loss_needs_little_memory_beside_its_gradient() -> None:
    figures = bench_loss(LossSize((4, 256, 96, 96), 19), rounds=1, device=CPU)

    # A little more than at the sizes of the aim: the numbers of one class weigh more beside a small representation.
    assert 0 < figures.extra_memory < 1.5 * AIMS["extra_memory"]


def test_a_picture_has_as_many_clicks_as_asked_for() -> None:
    item = picture(0, (48, 64), 5, clicks=30)

    assert int((torch.as_tensor(item.label_map) != UNLABELLED).sum()) == 30

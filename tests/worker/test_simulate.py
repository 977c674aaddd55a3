"""`recolabel simulate` on a handful of small generated landscapes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

from recolabel.demo import make_demo
from recolabel_worker import simulate
from recolabel_worker.__main__ import main
from recolabel_worker.dataset_folder import DataSet, LabelledImage, read_data_set
from recolabel_worker.learners import FastLearner, Fitted, Tick
from recolabel_worker.reco import build_network

SIZE = (96, 128)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("landscapes")
    make_demo(root / "train", count=3, seed=0)
    make_demo(root / "val", count=2, seed=1)
    (root / "train" / "classes.txt").rename(root / "classes.txt")
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> DataSet:
    return read_data_set(folder, size=SIZE)


class Oracle:
    """A learner that answers with the masks themselves, and remembers what it was shown."""

    work = 1

    def __init__(self) -> None:
        self.seen: list[list[np.ndarray]] = []
        self.images: set[str] = set()
        self.asked_for: list[str] = []

    def fit(self, images: Sequence[LabelledImage], clicks: Sequence[np.ndarray], seed: int, tick: Tick) -> Fitted:  # noqa: ARG002
        self.seen.append([label_map.copy() for label_map in clicks])
        self.images |= {item.name for item in images}
        tick()
        return Fitted({"fast head": self._probabilities}, "fast head")

    def _probabilities(self, item: LabelledImage) -> torch.Tensor:
        self.asked_for.append(item.name)
        return torch.nn.functional.one_hot(torch.from_numpy(item.label_map.astype(np.int64)), 5).movedim(2, 0).float()


PLAN = simulate.Plan(strategies=("margin", "reco"), seeds=(0, 1), budgets=(2, 4, 7))


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["simulate", *arguments, "--device", "cpu", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


# --- the protocol ---------------------------------------------------------------------------------------------


def test_each_round_clicks_as_many_pixels_of_each_image_as_planned(data: DataSet) -> None:
    oracle = Oracle()

    points = list(simulate.simulate(PLAN, data, oracle))

    for point, label_maps in zip(points, oracle.seen, strict=True):
        assert [int((label_map != 255).sum()) for label_map in label_maps] == [PLAN.budgets[point.round - 1]] * 3
        assert point.clicks == sum(point.class_clicks) == 3 * point.clicks_per_image
    assert [(point.seed, point.strategies, point.round) for point in points] == [
        (seed, strategies, number)
        for seed in (0, 1)
        for strategies, numbers in ((("margin", "reco"), (1,)), (("margin",), (2, 3)), (("reco",), (2, 3)))
        for number in numbers
    ]


def test_clicks_are_kept_from_round_to_round_and_agree_with_the_masks(data: DataSet) -> None:
    oracle = Oracle()

    list(simulate.simulate(replace(PLAN, strategies=("margin",), seeds=(3,)), data, oracle))

    truth = [item.label_map for item in data.train]
    for earlier, later in zip(oracle.seen, oracle.seen[1:], strict=False):
        for before, after in zip(earlier, later, strict=True):
            assert np.array_equal(after[before != 255], before[before != 255])
    for clicks, mask in zip(oracle.seen[-1], truth, strict=True):
        assert np.array_equal(clicks[clicks != 255], mask[clicks != 255])


def test_a_perfect_model_gets_a_mean_iou_of_one(data: DataSet) -> None:
    points = list(simulate.simulate(replace(PLAN, seeds=(0,)), data, Oracle()))

    assert {(point.miou, point.calibration_error) for point in points} == {(1.0, 0.0)}


def test_the_calibration_error_is_that_of_the_model_over_all_pixels_of_val_that_have_a_class(data: DataSet) -> None:
    """At 0.75 for the class of the mask: right each time, a quarter too modest. The void corner counts nowhere."""
    first, second = data.val
    spoilt = first.label_map.copy()
    spoilt[:40, :40] = 254

    class Modest:
        work = 1

        def fit(self, *given: Any) -> Fitted:  # noqa: ARG002
            return Fitted({"teacher": self._modest, "fast head": _all_meadow}, "teacher")

        def _modest(self, item: LabelledImage) -> torch.Tensor:
            truth = torch.from_numpy(item.label_map.astype(np.int64)).clamp_max(4)
            return torch.nn.functional.one_hot(truth, 5).movedim(2, 0) * 0.6875 + 0.0625

    [point] = simulate.simulate(
        replace(PLAN, strategies=("random",), seeds=(0,), budgets=(2,)),
        replace(data, val=[LabelledImage(first.name, first.pixels, spoilt), second]),
        Modest(),
    )

    assert point.calibration_error == pytest.approx(0.25)


def test_neither_training_nor_a_strategy_sees_the_images_that_a_model_is_judged_on(data: DataSet) -> None:
    judged = [LabelledImage(f"val {item.name}", item.pixels, item.label_map) for item in data.val]
    oracle = Oracle()

    list(simulate.simulate(replace(PLAN, seeds=(0,)), replace(data, val=judged), oracle))

    judgings, askings = 5, 4
    assert oracle.images == {item.name for item in data.train}
    assert sum(name.startswith("val ") for name in oracle.asked_for) == judgings * len(judged)
    assert sum(not name.startswith("val ") for name in oracle.asked_for) == askings * len(data.train)


def test_the_same_seed_gives_the_same_clicks_whatever_other_strategies_are_simulated(data: DataSet) -> None:
    alone, beside = Oracle(), Oracle()

    list(simulate.simulate(replace(PLAN, strategies=("reco",), seeds=(1,)), data, alone))
    list(simulate.simulate(PLAN, data, beside))

    for one, other in zip(alone.seen[1:], beside.seen[-2:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_whole_masks_are_given_to_some_images_and_nothing_to_the_others(data: DataSet) -> None:
    oracle = Oracle()
    plan = replace(PLAN, strategies=("random",), seeds=(0, 1), budgets=(0,), full_masks=2)

    points = list(simulate.simulate(plan, data, oracle))

    assert [(point.seed, point.strategies, point.clicks) for point in points] == [
        (0, ("full-masks",), 0),
        (1, ("full-masks",), 0),
    ]
    for point, label_maps in zip(points, oracle.seen, strict=True):
        assert len(point.masks) == 2
        for item, label_map in zip(data.train, label_maps, strict=True):
            given = item.label_map if item.name in point.masks else np.full_like(item.label_map, 255)
            assert np.array_equal(label_map, given)
    assert oracle.images == {item.name for item in data.train}


def test_wrong_answers_are_given_as_often_as_asked_for(data: DataSet) -> None:
    oracle = Oracle()

    plan = replace(PLAN, strategies=("random",), seeds=(0,), budgets=(400,), error_rate=0.25)
    list(simulate.simulate(plan, data, oracle))

    wrong = sum(
        int(((clicks != 255) & (clicks != item.label_map)).sum())
        for clicks, item in zip(oracle.seen[0], data.train, strict=True)
    )
    assert 240 < wrong < 360  # four standard deviations around 300 of 1,200


def test_progress_reaches_its_end(data: DataSet) -> None:
    ticks: list[int] = []

    list(simulate.simulate(PLAN, data, Oracle(), tick=lambda: ticks.append(1)))

    assert len(ticks) == PLAN.fits * (1 + len(data.val)) + (PLAN.fits - 2) * len(data.train)


# --- the command ----------------------------------------------------------------------------------------------


def test_a_simulation_leaves_its_curve_as_json_and_as_a_drawing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder), "--clicks-per-image", "60", "--rounds", "3", "--strategy", "random,reco"]

    document = run([*arguments, "--seeds", "0,1", "--size", "96x128", "--out", str(tmp_path)], capsys)

    assert document["complete"]
    assert document["classes"] == ["meadow", "water", "path", "tree", "flowers"]
    assert [curve["strategy"] for curve in document["curves"]] == ["random", "reco"]
    for curve in document["curves"]:
        assert [point["clicks_per_image"] for point in curve["points"]] == [20, 40, 60]
        for point in curve["points"]:
            assert point["miou"] == pytest.approx(np.mean(point["mious"]), abs=1e-5)
            assert point["spread"] == pytest.approx(np.std(point["mious"], ddof=1), abs=1e-5)
            assert set(point["class_iou"]) == set(document["classes"])
            errors = [
                model["calibration_error"]
                for model in document["runs"]
                if curve["strategy"] in model["strategies"] and model["round"] == point["round"]
            ]
            assert 0 < min(errors) <= max(errors) < 1
            assert point["calibration_error"] == pytest.approx(np.mean(errors), abs=1e-5)
            assert point["calibration_spread"] == pytest.approx(np.std(errors, ddof=1), abs=1e-5)
        assert curve["points"][-1]["miou"] > 0.25  # meadow everywhere would be worth less than 0.2
    assert document["curves"][0]["points"][0] == document["curves"][1]["points"][0]
    assert json.loads((tmp_path / "result.json").read_text()) == document
    drawing = ET.parse(tmp_path / "curve.svg").getroot()  # noqa: S314
    assert {"random", "reco"} <= {text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.svg", "result.json"]


def test_the_same_command_gives_the_same_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder), "--clicks-per-image", "4", "--rounds", "2", "--strategy", "pixelpick", "--size", "96x128"]

    first, second = run(arguments, capsys), run(arguments, capsys)

    assert first["curves"] == second["curves"]


def test_a_simulation_takes_as_many_threads_as_it_may(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder), "--clicks-per-image", "2", "--size", "64x96", "--images", "1", "--val-images", "1"]

    document = run([*arguments, "--threads", "2"], capsys)

    assert document["machine"]["threads"] == torch.get_num_threads() == 2


@pytest.mark.parametrize("head", [["--head", "fast"], ["--steps", "1", "--set", "crop=[64,96]"]])
def test_a_model_learns_from_a_few_whole_masks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], head: list[str]
) -> None:
    arguments = [str(folder), "--full-masks", "2", "--size", "64x96", "--val-images", "1", "--out", str(tmp_path)]

    document = run([*arguments, "--seeds", "0,1", *head], capsys)

    [curve] = document["curves"]
    [point] = curve["points"]
    assert (document["x"], document["plan"]["full_masks"]) == ("masks", 2)
    assert (curve["strategy"], point["masks"], point["clicks"]) == ("full-masks", 2, 0)
    assert point["miou"] > 0.25  # meadow everywhere would be worth less than 0.2
    assert [len(each["masks"]) for each in document["runs"]] == [2, 2]
    assert "whole masks" in (tmp_path / "curve.svg").read_text()
    assert simulate._table(document["curves"], "masks").splitlines()[1].split()[:2] == ["full-masks", "2"]


@pytest.mark.parametrize("head", [["--head", "fast"], ["--head", "deep", "--steps", "1", "--set", "crop=[64,96]"]])
def test_both_heads_take_another_backbone_and_its_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], head: list[str]
) -> None:
    asked = torch.Generator().manual_seed(5)
    trunk = build_network(2, backbone="resnet50", pretrained=False).backbone
    drawn = {
        name: tensor + 0.01 * torch.randn(tensor.shape, generator=asked) if tensor.dim() == 4 else tensor
        for name, tensor in trunk.state_dict().items()
    }
    torch.save(drawn, tmp_path / "drawn.pth")
    arguments = [str(folder), "--clicks-per-image", "20", "--size", "64x96", "--images", "2", "--val-images", "1"]

    document, again, plain = (
        run([*arguments, *head, *options], capsys)
        for options in (
            ["--backbone", "resnet50", "--weights", str(tmp_path / "drawn.pth")],
            ["--backbone", "resnet50", "--weights", str(tmp_path / "drawn.pth")],
            ["--backbone", "resnet50"],
        )
    )

    assert document["config"]["backbone"] == "resnet50"
    assert document["weights"] == str(tmp_path / "drawn.pth")
    assert document["curves"] == again["curves"]
    assert document["runs"][0]["fast_head_miou"] != plain["runs"][0]["fast_head_miou"]


def test_an_option_of_deep_training_means_the_deep_head(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder), "--clicks-per-class", "2", "--size", "64x96", "--images", "2", "--val-images", "1"]
    settings = ["--steps", "1", "--method", "supervised", "--no-reco", "--set", "direct_lr=0", "--set", "views.flip=0"]

    document = run([*arguments, *settings], capsys)

    assert document["head"] == "deep"
    assert document["images"] == {"train": 2, "val": 1}
    [only] = document["runs"]
    assert only["source"] == "midpoint"
    assert document["curves"][0]["strategy"] == "per-class"
    config = document["config"]
    assert (config["method"], config["use_reco"], config["views"]["flip"]) == ("supervised", False, 0)


def test_deep_at_end_asks_with_the_fast_head_and_trains_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = ["--clicks-per-image", "6", "--rounds", "3", "--strategy", "margin"]
    arguments = [str(folder), *rounds, "--size", "64x96", "--images", "2", "--val-images", "1"]

    fast = run(arguments, capsys)["runs"]
    ended = run([*arguments, "--head", "deep-at-end", "--steps", "1"], capsys)["runs"]

    assert [each["trained_miou"] is None for each in ended] == [True, True, False]
    assert [each["miou"] for each in ended[:2]] == [each["miou"] for each in fast[:2]]
    assert ended[2]["class_clicks"] == fast[2]["class_clicks"]


def test_a_deep_run_says_what_fast_head_and_trained_network_are_worth(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder), "--clicks-per-image", "4", "--rounds", "1", "--size", "64x96", "--val-images", "1"]
    ruin = ["--steps", "4", "--no-reco", "--method", "supervised", "--set", "head_lr=5", "--set", "clip_norm=1000"]

    deep = run([*arguments, *ruin], capsys)
    fast = run(arguments, capsys)

    [ruined], [fitted] = deep["runs"], fast["runs"]
    assert ruined["fast_head_miou"] == pytest.approx(fitted["miou"], abs=0.02)
    assert ruined["trained_miou"] < ruined["fast_head_miou"]
    assert (ruined["source"], ruined["miou"]) == ("fast head", ruined["fast_head_miou"])
    assert (fitted["fast_head_miou"], fitted["trained_miou"]) == (fitted["miou"], None)
    [summary] = deep["curves"][0]["points"]
    assert simulate._table(deep["curves"]).splitlines()[0].split()[-3:] == ["fast", "head", "trained"]
    assert (summary["fast_head_miou"], summary["trained_miou"]) == (ruined["fast_head_miou"], ruined["trained_miou"])


def test_the_model_is_chosen_without_the_images_that_it_is_judged_on(data: DataSet) -> None:
    class Chosen:
        """Its model, the teacher, is the worse one on val."""

        work = 1

        def fit(self, *given: Any) -> Fitted:  # noqa: ARG002
            return Fitted({"teacher": _all_meadow, "fast head": Oracle()._probabilities}, "teacher")

    [point] = simulate.simulate(replace(PLAN, strategies=("random",), seeds=(0,), budgets=(2,)), data, Chosen())

    assert point.source == "teacher"
    assert point.miou == point.trained_miou
    assert point.trained_miou != point.fast_head_miou == 1


def _all_meadow(item: LabelledImage) -> torch.Tensor:
    probabilities = torch.zeros(5, *item.label_map.shape)
    probabilities[0] = 1
    return probabilities


def test_without_json_there_is_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["simulate", str(folder), "--clicks-per-image", "2", "--size", "64x96", "--device", "cpu"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[0].split() == ["strategy", "clicks/image", "mean", "IoU", "calibration", "error"]
    assert lines[1].split()[:2] == ["random", "2.0"]
    assert len(lines[1].split()) == 4


def test_what_was_finished_before_a_stop_is_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fits = FastLearner.fit, []

    def fit_once(self: FastLearner, *given: Any) -> Fitted:
        fits.append(1)
        if len(fits) > 1:
            raise KeyboardInterrupt
        return fit(self, *given)

    monkeypatch.setattr(FastLearner, "fit", fit_once)
    arguments = [str(folder), "--clicks-per-image", "4", "--rounds", "2", "--size", "64x96", "--out", str(tmp_path)]

    status = main(["simulate", *arguments])

    document = json.loads((tmp_path / "result.json").read_text())
    assert status == 130
    assert (document["complete"], len(document["runs"])) == (False, 1)
    assert "1 of 2 models" in capsys.readouterr().err


TEN = ["--clicks-per-image", "10"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*TEN, "--strategy", "guess"], "no strategy 'guess'; there are random"),
        ([*TEN, "--strategy", ","], "no strategy ''"),
        ([], "one of --clicks-per-image, --clicks-per-class and --full-masks"),
        ([*TEN, "--clicks-per-class", "1"], "one of --clicks-per-image, --clicks-per-class and --full-masks"),
        ([*TEN, "--full-masks", "1"], "one of --clicks-per-image, --clicks-per-class and --full-masks"),
        (["--full-masks", "0"], "--full-masks has to be at least 1"),
        (["--full-masks", "1", "--strategy", "reco"], "one round without a click"),
        (["--full-masks", "1", "--error-rate", "0.1"], "one round without a click"),
        (["--full-masks", "2"], "--full-masks 2 needs as many training images; there are 1"),
        (["--clicks-per-image", "0"], "--clicks-per-image has to be at least 1"),
        (["--clicks-per-class", "1", "--strategy", "reco"], "one round of random clicks"),
        ([*TEN, "--rounds", "11"], "11 rounds need at least as many clicks"),
        ([*TEN, "--rounds", "1", "--strategy", "reco"], "need --rounds 2 or more"),
        (["--clicks-per-image", "1", "--strategy", "margin"], "need --rounds 2 or more"),
        ([*TEN, "--seeds", "a"], "--seeds are whole numbers"),
        ([*TEN, "--seeds", "1,1"], "--seeds have to differ"),
        ([*TEN, "--size", "big"], "--size is HEIGHTxWIDTH"),
        ([*TEN, "--size", "8x8"], "from 32 to 8192"),
        ([*TEN, "--images", "0"], "--images has to be at least 1"),
        ([*TEN, "--error-rate", "2"], "--error-rate is a share"),
        ([*TEN, "--border=-1"], "--border is a number of pixels"),
        ([*TEN, "--void-index", "300"], "values from 0 to 255"),
        ([*TEN, "--head", "wide"], "no head 'wide'"),
        ([*TEN, "--head", "fast", "--method", "classmix"], "--method is about deep training"),
        ([*TEN, "--method", "magic"], "method: is one of supervised"),
        ([*TEN, "--backbone", "vgg"], "backbone: is one of efficientnet-lite0, resnet50"),
        ([*TEN, "--weights", "/nowhere.pth"], "weights: /nowhere.pth cannot be read"),
        ([*TEN, "--head", "deep", "--weights", __file__], "weights: test_simulate.py is neither"),
        ([*TEN, "--set", "reco"], "--set is NAME=VALUE"),
        ([*TEN, "--set", "reco.heat=1"], "no setting 'reco.heat'"),
        ([*TEN, "--set", "reco.temperature=0"], "temperature: has to be"),
        ([*TEN, "--set", "steps=many"], "steps: has to be a whole number"),
        ([*TEN, "--threads", "0"], "--threads is a number from 1 to"),
        ([*TEN, "--threads", "100000000000"], "--threads is a number from 1 to"),
        ([*TEN, "--device", "toaster"], "no device 'toaster'"),
        ([*TEN, "--border", "200"], None),  # every class is thin then, and stays answerable
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str | None
) -> None:
    status = main(["simulate", str(folder), "--size", "32x32", "--images", "1", "--val-images", "1", *arguments])

    heard = capsys.readouterr().err
    if said is None:
        assert status == 0
    else:
        assert status == 1
        [line] = heard.splitlines()
        assert line.startswith("recolabel: ")
        assert said in line


def test_the_command_line_hands_the_command_on() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recolabel", "simulate", "/nowhere", "--clicks-per-image", "5", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "recolabel: /nowhere is not a folder.\n"

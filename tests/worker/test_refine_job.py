"""The standing job: a map after each label, the image in view first, and nothing that goes wrong costs more than it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from recolabel.contract.jobs import FastMap
from recolabel.contract.labels import SnapshotImage
from recolabel.errors import ServerRefused
from recolabel_worker import refine_job
from recolabel_worker.encoders import Encoder
from recolabel_worker.job import Job
from recolabel_worker.reco import build_network
from recolabel_worker.refiner import Refiner
from tests.worker.fake_board import SIZE, FakeBoard, coloured

pytestmark = pytest.mark.usefixtures("one_thread")

GRASS, WATER, SAND = (f"{letter * 8}-0000-0000-0000-000000000000" for letter in "abc")

Start = Callable[[FakeBoard], "Future[None]"]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Run a job on a board in a thread of its own; it has an empty cache, and ends with the test."""
    monkeypatch.setattr(refine_job, "_stores", [])
    boards: list[FakeBoard] = []
    with ThreadPoolExecutor() as pool:

        def run(board: FakeBoard) -> Future[None]:
            boards.append(board)
            return pool.submit(refine_job.run, board.job(tmp_path))

        yield run
        for board in boards:
            board.leave()


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard([GRASS, WATER])


def click_both(board: FakeBoard) -> int:
    """A click of each class in the image in view; the last one's log position."""
    board.click(board.in_view, GRASS, 20, 10)
    return board.click(board.in_view, WATER, 20, 50)


def prediction(fast_map: FastMap) -> np.ndarray:
    return np.frombuffer(zlib.decompress(fast_map.prediction), np.uint8).reshape(SIZE)


def test_after_each_label_the_image_in_view_is_drawn_before_its_neighbours(start: Start, board: FakeBoard) -> None:
    board.in_view = board.ids[1]
    start(board)

    order = [board.ids[1], board.ids[0], board.ids[2]]
    first = click_both(board)
    board.wait_for(lambda: board.drawn_at(first) == order)
    second = board.click(board.in_view, WATER, 40, 60)
    board.wait_for(lambda: board.drawn_at(second) == order)

    newest = board.maps[-3]
    assert newest.label_count == 3
    assert newest.class_uids == [GRASS, WATER]
    assert newest.candidates
    assert (prediction(newest) == (np.arange(SIZE[1]) >= SIZE[1] // 2)).mean() > 0.8
    assert {"bell", "labels", "features", "learn", "fit", "predict", "candidates", "pack"} == set(newest.timings_ms)


def test_with_one_class_nothing_is_drawn_and_features_are_ready_all_the_same(
    start: Start, board: FakeBoard, tmp_path: Path
) -> None:
    start(board)

    board.click(board.in_view, GRASS, 20, 10)
    board.wait_for(lambda: refine_job.WATCHING in board.stages)
    wait_until(lambda: len(list((tmp_path / "features").rglob("*.safetensors"))) == 3)

    assert board.maps == []


def test_a_refit_that_fails_costs_itself_only_and_says_so(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a map, and a fit that fails once
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)
    fit, fails = Refiner.fit, [MemoryError()]
    monkeypatch.setattr(Refiner, "fit", lambda self: _raise(fails.pop()) if fails else fit(self))

    # When two more clicks come
    lost = board.click(board.in_view, WATER, 40, 60)
    board.wait_for(lambda: any("too little memory" in stage for stage in board.stages))
    seq = board.click(board.in_view, GRASS, 40, 5)

    # I expect that the second one draws, and that the sentence goes
    board.wait_for(lambda: len(board.drawn_at(seq)) == 3)
    assert board.drawn_at(lost) == []
    board.wait_for(lambda: board.stages[-1] == refine_job.WATCHING)


def test_labels_that_could_not_be_learnt_once_are_learnt_with_the_next_click(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given maps, and an image whose labels fail once on their way into the head
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)
    learn, fails, learnt = Refiner.learn, [MemoryError()], []

    def failing(self: Refiner, image: SnapshotImage, *rest: Any) -> None:
        if fails:
            raise fails.pop()
        learn(self, image, *rest)
        learnt.append(image.image_id)

    monkeypatch.setattr(Refiner, "learn", failing)

    # When it is clicked, and then another one
    board.click(board.ids[1], WATER, 40, 60)
    board.wait_for(lambda: any("too little memory" in stage for stage in board.stages))
    seq = board.click(board.ids[2], GRASS, 40, 5)

    # I expect that both are learnt before the next map
    board.wait_for(lambda: board.drawn_at(seq))
    assert set(learnt) == {board.ids[1], board.ids[2]}


def test_an_image_that_can_never_be_learnt_holds_up_one_refit_only(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)
    learn, bad = Refiner.learn, board.ids[1]

    def failing(self: Refiner, image: SnapshotImage, *rest: Any) -> None:
        if image.image_id == bad:
            raise ValueError("no")
        learn(self, image, *rest)

    monkeypatch.setattr(Refiner, "learn", failing)

    board.click(bad, WATER, 40, 60)
    board.wait_for(lambda: any("did not reach the picture" in stage for stage in board.stages))
    for x in (5, 6):
        board.wait_for(partial(_all_are_drawn, board, board.click(board.in_view, GRASS, 40, x)))


def test_the_old_head_answers_until_the_new_versions_features_are_there(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a project with maps, and a new version whose network takes its time
    pretrained = refine_job._encoder_of
    arrived, network = threading.Event(), build_network(2, for_training=False).eval()
    torch.nn.init.normal_(network.direct.weight, std=0.01)

    def encoder_of(job: Job, version: int | None) -> Encoder:
        if version is None:
            return pretrained(job, None)
        assert arrived.wait(30)
        return Encoder(network, [GRASS, WATER])

    monkeypatch.setattr(refine_job, "_encoder_of", encoder_of)
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)

    # When it is published, and somebody clicks on
    board.change(lambda: setattr(board, "version", 1))
    seq = board.click(board.in_view, GRASS, 40, 5)
    board.wait_for(lambda: len(board.drawn_at(seq)) == 3)
    assert {fast_map.model_version for fast_map in board.maps} == {None}
    arrived.set()

    # I expect maps of the new version for all
    board.wait_for(lambda: len([each for each in board.maps if each.model_version == 1]) == 3)
    board.click(board.in_view, WATER, 45, 60)
    board.wait_for(lambda: len([each for each in board.maps if each.model_version == 1]) == 6)


def test_a_version_that_cannot_be_loaded_leaves_the_old_head_at_work(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = refine_job._encoder_of
    monkeypatch.setattr(
        refine_job,
        "_encoder_of",
        lambda job, version: pretrained(job, None) if version is None else _raise(ValueError("its files are damaged")),
    )
    start(board)
    click_both(board)

    board.change(lambda: setattr(board, "version", 1))
    board.wait_for(lambda: "The fast head cannot work with version 1: its files are damaged" in board.stages)
    seq = board.click(board.in_view, GRASS, 40, 5)

    board.wait_for(lambda: len(board.drawn_at(seq)) == 3)


def test_a_version_that_could_not_be_loaded_is_tried_again_after_a_while(
    start: Start, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained, fails = refine_job._encoder_of, [MemoryError()]
    network = build_network(2, for_training=False).eval()

    def encoder_of(job: Job, version: int | None) -> Encoder:
        if version is None:
            return pretrained(job, None)
        return _raise(fails.pop()) if fails else Encoder(network, [GRASS, WATER])

    monkeypatch.setattr(refine_job, "_encoder_of", encoder_of)
    monkeypatch.setattr(refine_job, "_REFUSED_SECONDS", 0.0)
    start(board)
    click_both(board)

    board.change(lambda: setattr(board, "version", 1))
    board.wait_for(lambda: any("cannot work with version 1" in stage for stage in board.stages))
    board.click(board.in_view, GRASS, 40, 5)

    board.wait_for(lambda: {fast_map.model_version for fast_map in board.maps[-3:]} == {1})


def test_a_class_list_that_changes_changes_the_maps(start: Start, board: FakeBoard) -> None:
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)

    # A class is retired with its clicks, and another one comes before the one that stays
    board.change(lambda: setattr(board, "class_uids", [SAND, WATER]))
    seq = board.click(board.in_view, SAND, 5, 5)

    board.wait_for(lambda: [each for each in board.maps if each.label_seq == seq and each.class_uids == [SAND, WATER]])
    board.wait_for(lambda: board.maps[-1].class_uids == [SAND, WATER])
    drawn = prediction(board.maps[-1])
    assert drawn[20, 50] == 1


def test_an_image_that_is_replaced_or_removed_meanwhile_is_drawn_anew_or_not_at_all(
    start: Start, board: FakeBoard
) -> None:
    start(board)
    first = click_both(board)
    board.wait_for(lambda: len(board.drawn_at(first)) == 3)
    replaced, removed = board.ids[0], board.ids[2]

    def act() -> None:
        board.pictures[replaced].pixels = coloured(7)
        del board.pictures[removed]
        board.gone = [removed]

    board.change(act)
    seq = board.click(replaced, WATER, 40, 60)

    board.wait_for(lambda: set(board.drawn_at(seq)) == {board.ids[0], board.ids[1]})
    assert (
        next(each for each in board.maps[::-1] if each.image_id == replaced).image_sha256
        == board._image(replaced).sha256
    )


def test_the_job_ends_when_nobody_looks(start: Start, board: FakeBoard) -> None:
    job = start(board)

    board.leave()

    job.result(timeout=30)
    assert board.is_finished


def test_a_job_that_went_to_another_worker_ends_at_once(start: Start, board: FakeBoard) -> None:
    job = start(board)
    board.wait_for(lambda: board.stages)

    board.change(lambda: setattr(board, "refusal", "lease_lost"))

    with pytest.raises(ServerRefused):
        job.result(timeout=30)
    assert not board.is_finished


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("in vain")


def _all_are_drawn(board: FakeBoard, label_seq: int) -> bool:
    return len(board.drawn_at(label_seq)) == len(board.ids)


def _raise(error: Exception) -> NoReturn:
    raise error

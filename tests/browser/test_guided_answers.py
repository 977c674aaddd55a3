"""How far few answers get, given in Answer mode by an annotator who knows the truth, on pictures nobody learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from recolabel.client import Client
from recolabel.contract.evaluation import Figure
from recolabel.contract.jobs import JobState, NewTraining
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from recolabel.demo import CLASS_COLOURS, CLASS_NAMES, make_demo
from tests.browser.answer_mode import AnswerMode, TrueAnnotator
from tests.browser.screenshots import take
from tests.hands import read_mask
from tests.servers import CAMVID, StartServer, run_cli, wait_for

LABELLED = 12
ANSWERS_PER_IMAGE = 15
STEPS = 20
NOT_THERE = "the CamVid photographs are not beside the repository"


def make_project(client: Client, name: str, classes: Sequence[NewLabelClass]) -> Project:
    project = client.create_project(NewProject(name=name, classes=list(classes)))
    return client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))


def upload(client: Client, project: Project, pictures: Sequence[Path], truths: Mapping[str, np.ndarray]) -> None:
    """Add pictures; those that are in `truths` come with their true masks to be judged by."""
    for picture in pictures:
        image = client.add_image(project.project_id, picture.name, picture).image
        if picture.name in truths:
            client.put_ground_truth(image.image_id, truths[picture.name].tobytes())


def train(client: Client, project: Project, steps: int | None = None) -> Figure:
    """Train on what is there; the mean IoU of the version on the pictures with true masks."""
    job, _ = client.start_training(project.project_id, NewTraining(steps=steps))

    def is_idle() -> bool:
        return all(one.finished_at for one in client.jobs(project.project_id))

    wait_for(is_idle, seconds=500, what="training and maps", pause=0.5)
    assert client.job(job.job_id).state is JobState.SUCCEEDED
    [version] = client.evaluation(project.project_id).versions
    assert version.truth is not None
    return version.truth.mean_iou


@pytest.mark.timeout(900)
def test_fifteen_answers_an_image_come_near_whole_masks(start_server: StartServer, page: Page, tmp_path: Path) -> None:
    # Given 12 landscapes to label and 12 others to be judged by
    make_demo(tmp_path, count=2 * LABELLED)
    pictures = sorted((tmp_path / "images").iterdir())
    truth_of = {path.with_suffix(".jpg").name: read_mask(path) for path in (tmp_path / "masks").iterdir()}
    others = {path.name: truth_of[path.name] for path in pictures[LABELLED:]}
    classes = [NewLabelClass(name=n, colour=c) for n, c in zip(CLASS_NAMES, CLASS_COLOURS, strict=True)]
    server = start_server("up")
    client = server.client()
    clicked = make_project(client, "Answers", classes)
    upload(client, clicked, pictures, others)

    # When I answer 15 questions an image on the page, and train once
    mode = AnswerMode(page, server, clicked)
    mode.enter()
    TrueAnnotator(mode, client, clicked, truth_of).answer(LABELLED * ANSWERS_PER_IMAGE)
    page.keyboard.press("Escape")
    mode.driver.wait_until_saved()
    reached = train(client, clicked, steps=STEPS)

    # I expect nearly what the same training makes of every pixel of the same 12; gaps of 0.028 to 0.030 were seen
    whole = make_project(client, "Whole masks", classes)
    labelled, masks = tmp_path / "labelled", tmp_path / "labelled-masks"
    labelled.mkdir()
    masks.mkdir()
    for picture in pictures[:LABELLED]:
        picture.rename(labelled / picture.name)
        (tmp_path / "masks" / f"{picture.stem}.png").rename(masks / f"{picture.stem}.png")
    imported = run_cli("import", whole.name, str(labelled), "--masks", str(masks), data=server.data)
    assert imported.returncode == 0, imported.stderr
    upload(client, whole, pictures[LABELLED:], others)
    dense = train(client, whole, steps=STEPS)
    print(f"mean IoU of {LABELLED * ANSWERS_PER_IMAGE} answers {reached.value:.3f}, of whole masks {dense.value:.3f}")
    assert reached.value is not None
    assert dense.value is not None
    assert reached.value >= dense.value - 0.05


@pytest.mark.skipif(not CAMVID.is_dir(), reason=NOT_THERE)
@pytest.mark.timeout(900)
def test_what_120_guided_answers_on_twelve_photographs_reach_on_others_stands_on_the_page(
    start_server: StartServer, page: Page
) -> None:
    # Given 12 photographs to label and 20 others to be judged by
    names = [name for name in (CAMVID / "classes.txt").read_text().split() if name != "void"]
    clicked = sorted((CAMVID / "train" / "images").iterdir())[::31][:LABELLED]
    judged = sorted((CAMVID / "val" / "images").iterdir())[::5][:20]
    server = start_server("up")
    client = server.client()
    project = make_project(client, "Photographs", [NewLabelClass(name=name) for name in names])
    others = {path.name: void_from(mask_beside(path), len(names)) for path in judged}
    upload(client, project, [*clicked, *judged], others)

    # When I answer 120 guided questions on the page, beside those drawn at random, and train once
    mode = AnswerMode(page, server, project)
    mode.enter()
    truths = {path.name: mask_beside(path) for path in clicked}
    TrueAnnotator(mode, client, project, truths).answer(120, of="guided")
    take(page, "answer-mode-photograph")
    page.keyboard.press("Escape")
    mode.driver.wait_until_saved()
    reached = train(client, project, steps=40)

    # I expect at least 0.35 on the others (0.41 to 0.47 were seen), and the Quality page to say it with its interval
    print(f"mean IoU on 20 other photographs: {reached}")
    assert reached.value is not None
    assert reached.value >= 0.35
    page.goto(f"{server.url}/projects/{project.project_id}/evaluation")
    value, interval = page.get_by_test_id("curve-true-value"), page.get_by_test_id("curve-true-interval")
    expect(value).to_be_visible()
    assert float(value.get_attribute("data-value") or "nan") == pytest.approx(reached.value)
    assert float(interval.get_attribute("data-low") or "nan") == pytest.approx(reached.low)
    assert float(interval.get_attribute("data-high") or "nan") == pytest.approx(reached.high)
    take(page, "quality")


def mask_beside(picture: Path) -> np.ndarray:
    """The true mask of a picture in the data set layout."""
    return read_mask(picture.parents[1] / "masks" / f"{picture.stem}.png")


def void_from(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Values that are no class count for nothing."""
    return np.where(mask < num_classes, mask, 254).astype(np.uint8)

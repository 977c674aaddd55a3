"""From an empty server to an exported checkpoint, as a person in a browser would do it."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from recolabel.client import Client
from recolabel.contract.labels import ClickEvent
from recolabel.contract.projects import ProjectPatch, SettingsPatch
from recolabel.demo import make_demo
from tests.browser.driver import Driver
from tests.browser.screenshots import take
from tests.hands import class_balanced_clicks, read_mask
from tests.servers import ROOT, StartServer, wait_for


def mask_of(folder: Path, name: str) -> np.ndarray:
    """Ground truth of a picture in the data set layout."""
    return read_mask(folder / "masks" / Path(name).with_suffix(".png").name)


def export_model(page: Page, folder: Path) -> Path:
    """Download all artifacts of the newest version on the models page into a folder."""
    folder.mkdir()
    for link in page.get_by_test_id("version-row").first.get_by_test_id("download-artifact").all():
        with page.expect_download() as download:
            link.click()
        download.value.save_as(folder / download.value.suggested_filename)
    return folder


def masks_of_export(page: Page, content: str) -> dict[str, np.ndarray]:
    """Export masks on the models page; file name -> label map."""
    with page.expect_download() as download:
        page.get_by_test_id(f"export-masks-{content}").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        return {
            Path(name).name: np.asarray(Image.open(io.BytesIO(archive.read(name))))
            for name in archive.namelist()
            if name.startswith("masks/") and name.endswith(".png")
        }


def finish_predictions(client: Client, project_id: str) -> None:
    """Wait until the newest version has drawn every picture."""
    wait_for(
        lambda: all(job.finished_at for job in client.jobs(project_id)) and client.jobs(project_id),
        seconds=180,
        what="all maps to be drawn",
        pause=0.5,
    )


def test_the_whole_story_on_the_demo_pictures(start_server: StartServer, page: Page, tmp_path: Path) -> None:
    make_demo(tmp_path / "demo", count=24, seed=0)
    classes = (tmp_path / "demo" / "classes.txt").read_text().split()
    pictures = sorted((tmp_path / "demo" / "images").iterdir())[:8]
    not_a_picture = tmp_path / "notes.png"
    not_a_picture.write_text("this is no picture")
    server = start_server("up")
    client, driver, rng = server.client(), Driver(page), random.Random(1)

    # Create, import: a wrong file gets its sentence, the others come in
    page.goto(server.address)
    take(page, "welcome")
    driver.create_project("Landscapes", classes)
    driver.drop_pictures([*pictures, not_a_picture], refused=1)
    take(page, "images")
    expect(page.get_by_text("not a JPEG, PNG, WebP, TIFF or BMP")).to_be_visible()
    [project] = client.projects()

    # Click one pixel per class that each picture shows, brush once
    driver.open_picture(0)
    clicks = 0
    for position in range(6):
        name = client.image(driver.image_id).name
        truth = mask_of(tmp_path / "demo", name)
        shown = len([index for index in range(len(classes)) if (truth == index).any()])
        for index, y, x in class_balanced_clicks(truth, range(len(classes)), shown, rng):
            driver.click_pixel(index, y, x)
            clicks += 1
        if position == 0:
            index, y, x = class_balanced_clicks(truth, range(len(classes)), 1, rng)[0]
            driver.brush(index, (y, x), (y, min(x + 4, truth.shape[1] - 1)))
        if position < 5:
            driver.next_picture()
    driver.wait_until_saved()
    log = client.label_log(project.project_id)
    assert [stored.event.kind for stored in log].count("click") == clicks
    assert [stored.event.kind for stored in log].count("stroke") == 1

    # Training starts by itself; an overlay appears, and changes while the model learns
    first = driver.wait_for_other_map("", seconds=120)
    driver.wait_for_other_map(first, seconds=240)
    wait_for(lambda: client.model_versions(project.project_id), seconds=300, what="the first version", pause=0.5)
    # A question drawn at random would show no guess to agree with
    settings = SettingsPatch(auto_train=False, random_share=0)
    client.patch_project(project.project_id, ProjectPatch(settings=settings))
    finish_predictions(client, project.project_id)

    # N goes to a hard pixel; Enter agrees with the guess; the answer is stored
    take(page, "annotate")
    page.keyboard.press("u")
    take(page, "uncertainty")
    page.keyboard.press("u")
    page.keyboard.press("n")
    driver.see("question")
    take(page, "question")
    before = len(client.label_log(project.project_id))
    page.keyboard.press("Enter")
    wait_for(
        lambda: len(client.label_log(project.project_id)) == before + 1, seconds=15, what="the answer to be stored"
    )
    answer = client.label_log(project.project_id)[-1].event
    assert isinstance(answer, ClickEvent)
    assert answer.question_id is not None

    # A reload keeps all: labels, and what undo takes back
    page.keyboard.press("Escape")
    image_id = answer.image_id
    page.goto(f"{server.url}/projects/{project.project_id}/annotate/{image_id}")
    driver.wait_for_picture()
    held = client.image(image_id).label_count
    page.keyboard.press("Control+z")
    driver.wait_until_saved()
    wait_for(lambda: client.image(image_id).label_count == held - 1, seconds=10, what="the undo to be stored")
    page.reload()
    driver.wait_for_picture()
    page.keyboard.press("Control+Shift+z")
    driver.wait_until_saved()
    wait_for(lambda: client.image(image_id).label_count == held, seconds=10, what="the redo to be stored")

    # Export what is shown; the checkpoint, loaded without ReCoLabel, gives the label map of its version in the app
    finish_predictions(client, project.project_id)
    page.goto(f"{server.url}/projects/{project.project_id}/models")
    driver.see("version-row")
    take(page, "models")
    model = export_model(page, tmp_path / "model")
    exported = masks_of_export(page, "predictions")
    assert len(exported) == len(pictures)
    image = client.image(image_id)
    [shown_map] = client.maps(image_id)
    shown_plane = np.frombuffer(client.map_prediction(image_id, shown_map.map_id), np.uint8)
    picture = tmp_path / "picture.png"
    picture.write_bytes(client.image_file(image_id))
    alone = tmp_path / "alone.png"
    subprocess.run([sys.executable, ROOT / "docs" / "load_model.py", model, picture, alone], check=True, timeout=120)
    [version, *_] = client.model_versions(project.project_id)
    wait_for(
        lambda: client.ask_for_version_map(image_id, version.version).map,
        seconds=60,
        what="the image as the version sees it",
        pause=0.5,
    )
    of_version = np.frombuffer(client.version_map_prediction(image_id, version.version), np.uint8)
    size = (image.height, image.width)
    assert np.array_equal(read_mask(alone), of_version.reshape(size))
    assert np.array_equal(exported[Path(image.name).with_suffix(".png").name], shown_plane.reshape(size))
    page.goto(server.url)
    driver.see("project-card")
    take(page, "projects")

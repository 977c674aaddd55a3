"""From a click to the changed picture: a real server, a real worker and a real Chromium on generated landscapes.

What a person waits for, measured where a person sees it: from the moment that the browser hears of the press of the
button to the frame in which the overlay has other pixels.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recolabel import demo
from recolabel.client import Client
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import JobState, NewTraining
from recolabel.contract.labels import ClickEvent, LabelEvent, Pixel
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from recolabel.errors import BenchImpossible, ServerUnreachable, WorkerMissing

_READY_SECONDS = 90.0
_MAP_SECONDS = 120.0
_BATCH = 250
_CLICKS_PER_IMAGE = 20
_MOST_IMAGES = 100
_WARM_CLICKS = 3
"""Not counted: the first ones find caches cold that a person's first click finds cold as well, once."""

_CHROMIUM_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """Latencies at one number of labels in the project, in milliseconds."""

    labels: int
    is_training: bool
    clicks: int
    changed: int  # clicks after which the overlay showed other pixels; the others changed nothing to be seen
    p50_ms: float
    p95_ms: float
    legs_ms: dict[str, float]  # median of each leg; they follow each other, `bell` is what is left between them


@dataclass(frozen=True)
class RefineBench:
    """What one run measured."""

    width: int
    height: int
    first_overlay_ms: float  # from the second class's first click in a new project
    figures: list[Figure]


def bench_refine(
    labels: Sequence[int], clicks: int, *, while_training: bool, browser: Path | None, report: Report
) -> RefineBench:
    """Run it all in a data folder of its own that is gone afterwards.

    Args:
        labels: numbers of clicks that the project holds already.
        clicks: how many are measured for each number.
        while_training: measure each number again while a model is trained on the same machine.
        browser: Chromium; looked for on PATH when left out.

    Raises:
        BenchImpossible: Chromium, Playwright or the worker is missing, or the overlay does not answer.
    """
    chromium = _find_chromium(browser)
    with tempfile.TemporaryDirectory(prefix="recolabel-bench-") as folder, _server(Path(folder)) as client:
        token = (Path(folder) / "data" / "token").read_text("utf-8").strip()
        scenes = _scenes(_images_for(max(labels)))
        with _page(chromium, f"{client.url}/?token={token}") as page:
            report("a new project")
            first = _first_overlay(_Project(client, "first", scenes[:4]), page)
            figures = []
            for count in labels:
                project = _Project(client, f"{count} labels", scenes[: _images_for(count)])
                project.label(count)
                figures.append(_measure(project, page, count, clicks, is_training=False, report=report))
                if while_training:
                    with _training(project):
                        figures.append(_measure(project, page, count, clicks, is_training=True, report=report))
    return RefineBench(demo.WIDTH, demo.HEIGHT, first, figures)


def _find_chromium(browser: Path | None) -> str:
    if importlib.util.find_spec("playwright") is None:
        raise BenchImpossible("Playwright, which moves the mouse, is missing: pip install playwright.")
    if importlib.util.find_spec("recolabel_worker") is None:
        raise WorkerMissing
    if browser is not None:
        if not browser.is_file():
            raise BenchImpossible(f"There is no browser at {browser}.")
        return str(browser)
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise BenchImpossible("Chromium is not on PATH: install it, or name its program with --browser.")


@contextmanager
def _server(folder: Path) -> Iterator[Client]:
    """`recolabel up` on a free port, with its embedded worker."""
    log = folder / "server.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "recolabel", "up", "--data", str(folder / "data"), "--port", "0", "--no-browser"],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                client = Client.from_data_dir(folder / "data")
                if client.is_ready():
                    break
                client.close()
            except ServerUnreachable:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", "replace").strip().splitlines()
                raise BenchImpossible(f"The server did not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.1)
        with client:
            yield client
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- projects ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scene:
    file: bytes  # PNG
    label_map: npt.NDArray[np.uint8]


def _scenes(count: int) -> list[_Scene]:
    from PIL import Image

    scenes = []
    for stream in np.random.SeedSequence(0).spawn(count):
        colours, label_map = demo.make_scene(np.random.default_rng(stream))
        file = io.BytesIO()
        Image.fromarray(colours).save(file, "PNG", compress_level=1)
        scenes.append(_Scene(file.getvalue(), label_map))
    return scenes


def _images_for(labels: int) -> int:
    return min(_MOST_IMAGES, max(2, -(-labels // _CLICKS_PER_IMAGE)))


class _Project:
    """A project of scenes, and the hand that labels them truly."""

    def __init__(self, client: Client, name: str, scenes: Sequence[_Scene]) -> None:
        classes = [
            NewLabelClass(name=name, colour=colour)
            for name, colour in zip(demo.CLASS_NAMES, demo.CLASS_COLOURS, strict=True)
        ]
        self.client = client
        self.project: Project = client.create_project(NewProject(name=name, classes=classes))
        self.project_id = self.project.project_id
        # Trainings come when the benchmark says so, or they would be measured as well.
        client.patch_project(self.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
        self.scenes = scenes
        self.images: list[ImageInfo] = [
            client.add_image(self.project_id, f"{number:03}.png", scene.file).image
            for number, scene in enumerate(scenes)
        ]
        self.rng = np.random.default_rng(0)
        self._client_id = str(uuid.uuid4())
        self._count = 0

    def label(self, count: int) -> None:
        """Click so many pixels, spread evenly over the images."""
        events = [self._click(number % len(self.images)) for number in range(count)]
        for start in range(0, count, _BATCH):
            self.client.append_labels(self.project_id, events[start : start + _BATCH])

    def _click(self, number: int) -> LabelEvent:
        y, x = self.place()
        image = self.images[number]
        self._count += 1
        return ClickEvent(
            event_id=str(uuid.uuid4()),
            image_id=image.image_id,
            image_sha256=image.sha256,
            client_id=self._client_id,
            client_seq=self._count,
            client_time=datetime.now(UTC),
            class_uid=self.project.classes[self.scenes[number].label_map[y, x]].class_uid,
            pixel=Pixel(x=x, y=y),
        )

    def place(self) -> tuple[int, int]:
        """A random pixel (y, x), a little inside the picture."""
        return int(self.rng.integers(4, demo.HEIGHT - 4)), int(self.rng.integers(4, demo.WIDTH - 4))


@contextmanager
def _training(project: _Project) -> Iterator[None]:
    """A training that runs, and is stopped at the end."""
    job, _ = project.client.start_training(project.project_id, NewTraining(steps=100_000))
    deadline = time.monotonic() + _MAP_SECONDS
    while job.progress.done < 1:
        if time.monotonic() > deadline or job.state not in (JobState.QUEUED, JobState.LEASED, JobState.RUNNING):
            raise BenchImpossible(f"The training did not begin: {job.error or job.progress.stage or job.state.value}.")
        time.sleep(0.2)
        job = project.client.job(job.job_id)
    try:
        yield
    finally:
        project.client.cancel(job.job_id)


# --- the browser ------------------------------------------------------------------------------------------------


@contextmanager
def _page(chromium: str, address: str) -> Iterator[Any]:
    """A page of a fresh profile that is logged in."""
    from playwright.sync_api import Error, sync_playwright

    # Chromium refuses to start as root with its sandbox.
    flags = [*_CHROMIUM_FLAGS, *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        except Error as error:
            raise BenchImpossible(f"Chromium does not start: {error.message.splitlines()[0]}") from error
        try:
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(address)
            yield page
        except Error as error:
            raise BenchImpossible(f"The page did not do as expected: {error.message.splitlines()[0]}") from error
        finally:
            browser.close()


_PREFERENCE = "name => JSON.parse(localStorage['recolabel-preferences'] ?? '{}')[name]"
_ON_SCREEN = """
() => {
  const stage = document.querySelector('[data-testid=stage]')
  const box = stage.getBoundingClientRect()
  return [box.x, box.y, +stage.dataset.scale, +stage.dataset.originX, +stage.dataset.originY]
}
"""
_TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_ANSWER = """
seconds => Promise.race([window.__answer, new Promise((done) => setTimeout(done, 1000 * seconds, null))])
"""
_WATCH = """
() => {
  const stage = document.querySelector('[data-testid=stage]')
  const small = document.createElement('canvas')
  small.width = 240; small.height = 160
  const pen = small.getContext('2d', { willReadFrequently: true })
  const look = () => {
    pen.clearRect(0, 0, small.width, small.height)
    for (const canvas of stage.querySelectorAll('canvas')) pen.drawImage(canvas, 0, 0, small.width, small.height)
    return pen.getImageData(0, 0, small.width, small.height).data
  }
  const differ = (a, b) => { for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return true; return false }
  performance.clearMarks()
  window.__answer = new Promise((resolve) => {
    const before = stage.dataset.paintedMapId ?? ''
    let pressed = 0, last = look(), painted = 0, late = 0
    stage.addEventListener('pointerdown', (event) => { pressed = event.timeStamp }, { once: true, capture: true })
    const frame = () => {
      const now = performance.now()
      const seen = look()
      const marks = performance.getEntriesByType('mark')
      const acked = marks.filter((mark) => mark.name === 'recolabel:acked').at(-1)
      const isNew = (stage.dataset.paintedMapId ?? '') !== before
      const knows = acked && Number(stage.dataset.paintedLabelSeq) >= acked.detail.seq
      if (pressed && isNew && knows) {
        if (!painted) painted = now
        const changed = differ(seen, last)
        if (changed || late++ > 2) {
          const legs = {}
          for (const mark of marks) if (mark.name.startsWith('recolabel:')) legs[mark.name.slice(10)] = mark.startTime
          const ms = (changed ? now : painted) - pressed
          resolve({ ms, changed, pressed, legs, mapId: stage.dataset.paintedMapId })
          return
        }
      } else last = seen
      requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  })
}
"""


@dataclass(frozen=True)
class _Answer:
    milliseconds: float
    has_changed: bool
    legs: Mapping[str, float]


class _Hand:
    """One person at the annotation page of one image."""

    def __init__(self, project: _Project, number: int, page: Any) -> None:
        self._project, self._number, self._page = project, number, page
        image_id = project.images[number].image_id
        page.goto(f"{project.client.url}/projects/{project.project_id}/annotate/{image_id}")
        page.wait_for_function(
            "id => document.querySelector('[data-testid=stage]')?.dataset.imageId === id", arg=image_id
        )
        # Marks would hide pixels of the overlay, and the heat of uncertainty shows what the fill does not.
        for key, is_wanted in (("h", False), ("u", True)):
            if page.evaluate(_PREFERENCE, {"h": "showLabels", "u": "showUncertainty"}[key]) is not is_wanted:
                page.keyboard.press(key)
        page.keyboard.press("c")

    def wait_for_map(self) -> None:
        """Until the overlay is there and knows all labels."""
        self._page.wait_for_function(
            "() => document.querySelector('[data-testid=stage]').dataset.paintedMapId"
            " && !document.querySelector('[data-testid=stale]')",
            timeout=1000 * _MAP_SECONDS,
        )

    def press(self, y: int, x: int) -> None:
        """Choose the pixel's true class and click it."""
        scene = self._project.scenes[self._number]
        self._page.keyboard.press(str(scene.label_map[y, x] + 1))
        self._page.mouse.click(*self._on_screen(y, x))

    def click(self, y: int, x: int) -> _Answer:
        """Click a pixel and wait for what the overlay makes of it."""
        self._page.mouse.move(*self._on_screen(y, x))
        self._page.keyboard.press(str(self._project.scenes[self._number].label_map[y, x] + 1))
        self._page.evaluate(_TWO_FRAMES)
        self._page.evaluate(_WATCH)
        self._page.mouse.click(*self._on_screen(y, x))
        found = self._page.evaluate(_ANSWER, _MAP_SECONDS / 4)
        if found is None:
            raise BenchImpossible("A click was not answered by the overlay.")
        image = self._project.images[self._number]
        timings = next(
            (m.timings_ms for m in self._project.client.maps(image.image_id) if m.map_id == found["mapId"]), {}
        )
        return _Answer(found["ms"], found["changed"], _legs(found, timings))

    def _on_screen(self, y: int, x: int) -> tuple[float, float]:
        left, top, scale, origin_x, origin_y = self._page.evaluate(_ON_SCREEN)
        return left + origin_x + (x + 0.5) * scale, top + origin_y + (y + 0.5) * scale


def _legs(found: Mapping[str, Any], timings: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds of each leg; `bell` is what no clock of a single leg saw: waking up and waiting for a core."""
    at = found["legs"]
    sent = at.get("sent", found["pressed"])
    legs = {"send": sent - found["pressed"], "commit": at["acked"] - sent}
    legs |= timings
    if {"hinted", "fetched", "painted"} <= at.keys():
        legs |= {"transfer": at["fetched"] - at["hinted"], "paint": at["painted"] - at["fetched"]}
    rest = found["ms"] - sum(legs.values())
    return legs | {"bell": legs.get("bell", 0.0) + rest}


def _first_overlay(project: _Project, page: Any) -> float:
    """Milliseconds from the second class's first click to the first overlay of a new project."""
    hand = _Hand(project, 0, page)
    scene = project.scenes[0].label_map
    classes = [int(value) for value in np.unique(scene)][:2]
    places = [_middle_of(np.argwhere(scene == value)) for value in classes]
    time.sleep(3.0)  # a person looks at the picture before the first click
    hand.press(*places[0])
    time.sleep(1.0)
    return hand.click(*places[1]).milliseconds


def _middle_of(places: npt.NDArray[np.int64]) -> tuple[int, int]:
    y, x = places[len(places) // 2].tolist()
    return int(y), int(x)


def _measure(project: _Project, page: Any, labels: int, clicks: int, *, is_training: bool, report: Report) -> Figure:
    hand = _Hand(project, 0, page)
    hand.wait_for_map()
    answers = []
    for number in range(clicks + _WARM_CLICKS):
        answer = hand.click(*project.place())
        if number >= _WARM_CLICKS:
            answers.append(answer)
        report(f"{labels} labels{', training' * is_training}: click {number + 1}, {answer.milliseconds:.0f} ms")
    milliseconds = [answer.milliseconds for answer in answers]
    names = dict.fromkeys(name for answer in answers for name in answer.legs)
    return Figure(
        labels=labels,
        is_training=is_training,
        clicks=clicks,
        changed=sum(answer.has_changed for answer in answers),
        p50_ms=float(np.percentile(milliseconds, 50)),
        p95_ms=float(np.percentile(milliseconds, 95)),
        legs_ms={name: float(np.median([answer.legs.get(name, 0.0) for answer in answers])) for name in names},
    )

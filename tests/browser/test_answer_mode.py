"""Answer mode: one pixel after another from the keyboard, and nothing lost."""

from __future__ import annotations

import base64
import statistics
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from recolabel.client import Client
from recolabel.contract.jobs import FastMap, JobKind
from recolabel.contract.labels import ClickEvent, Pixel, UndoEvent
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from recolabel.contract.questions import Candidate
from recolabel.demo import make_demo
from tests.browser.answer_mode import AnswerMode
from tests.browser.screenshots import take
from tests.servers import Server, StartServer, wait_for

CLASSES = [
    NewLabelClass(name="meadow", colour="#8bc34a"),
    NewLabelClass(name="water", colour="#2979ff"),
    NewLabelClass(name="wall", colour="#e91e63", key="q"),
]
MEADOW, WATER, WALL = range(3)


def packed(plane: np.ndarray) -> bytes:
    """As a worker sends a plane."""
    return base64.b64encode(zlib.compress(plane.tobytes()))


class FastHead:
    """Stands in for the worker: each picture that is looked at is meadow on the left and water on the right."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            lease = self._client.claim("test", kinds=[JobKind.REFINE], wait_seconds=0.5)
            after, state = 0, None
            while lease is not None and not self._stopping.is_set():
                job_id, fence = lease.job.job_id, lease.fence
                work = self._client.refine_work(job_id, fence, after=after, state=state, wait_seconds=0.5)
                after, state = work.label_seq, work.state
                for image in work.draw:
                    plane = np.full((image.height, image.width), MEADOW, np.uint8)
                    plane[:, image.width // 2 :] = WATER
                    self._client.add_fast_map(
                        job_id,
                        fence,
                        FastMap(
                            image_id=image.image_id,
                            image_sha256=image.sha256,
                            label_seq=work.label_seq,
                            label_count=work.label_count,
                            model_version=None,
                            class_uids=work.class_uids,
                            prediction=packed(plane),
                            confidence=packed(np.full_like(plane, 204)),
                            candidates=[
                                Candidate(pixel=Pixel(x=x, y=y), guess=int(plane[y, x]), confidence=0.8, margin=0.6)
                                for y in range(20, image.height - 20, 40)
                                for x in range(20, image.width - 20, 40)
                            ],
                        ),
                    )

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Server:
    """A server without a worker, with a project of four pictures and no random questions."""
    make_demo(tmp_path / "demo", count=4, seed=0)
    server = start_server("serve")
    client = server.client()
    project = client.create_project(NewProject(name="Landscapes", classes=CLASSES))
    client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(random_share=0, auto_train=False)))
    for picture in sorted((tmp_path / "demo" / "images").iterdir()):
        client.add_image(project.project_id, picture.name, picture)
    return server


@pytest.fixture
def fast_head(server: Server) -> Iterator[FastHead]:
    head = FastHead(server.client())
    yield head
    head.stop()


def give_two_clicks(mode: AnswerMode) -> None:
    """So that the fast head has something to stand on, and the server too."""
    mode.driver.click_pixel(MEADOW, 150, 100)
    mode.driver.click_pixel(WATER, 150, 400)
    mode.driver.wait_until_saved()
    mode.driver.wait_for_other_map("", seconds=20)


def clicks_by_question(client: Client, project: Project) -> dict[str, ClickEvent]:
    """Answers that hold, by question."""
    events = [stored.event for stored in client.label_log(project.project_id)]
    undone = {target for event in events if isinstance(event, UndoEvent) for target in event.targets}
    return {
        event.question_id: event
        for event in events
        if isinstance(event, ClickEvent) and event.question_id is not None and event.event_id not in undone
    }


def test_all_keys_answer_and_nothing_is_lost_after_a_reload(server: Server, fast_head: FastHead, page: Page) -> None:
    client, mode = server.client(), AnswerMode(page, server)
    [project] = client.projects()
    uids = {name: uid for uid, name in ((one.class_uid, one.name) for one in project.classes)}
    give_two_clicks(mode)
    mode.enter()
    expect(page.get_by_test_id("stage")).to_be_focused()

    # Enter takes the guess that the prompt names; a digit and a letter say a class; Delete says void, Space nothing
    expected: dict[str, str] = {}
    guessed = mode.guess
    assert guessed in ("meadow", "water")
    expect(page.get_by_test_id("answer-spoken")).to_have_text(f"pixel 1 of 10, guess: {guessed}")
    expected[mode.press("Enter")] = uids[guessed]
    expected[mode.press("2")] = uids["water"]
    expected[mode.press("q")] = uids["wall"]
    expected[mode.press("m")] = uids["meadow"]
    expected[mode.press("Delete")] = "void"
    skipped = mode.press(" ")

    # Backspace asks the skipped one again, then the one before it, which gets another answer
    assert mode.press("Backspace") != skipped
    assert mode.question_id == skipped
    mode.press("Backspace")
    assert mode.place == "5"
    expected[mode.press("1")] = uids["meadow"]
    assert mode.question_id == skipped
    mode.press(" ")

    # Each answer is stored once, names its question and how that was chosen, and survives a reload
    mode.driver.wait_until_saved()
    answers = clicks_by_question(client, project)
    assert {question_id: event.class_uid for question_id, event in answers.items()} == expected
    assert {event.asked for event in answers.values()} == {"guided"}
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("answer-prompt")).to_have_count(0)
    expect(page.get_by_test_id("class-row").first).to_be_visible()
    page.reload()
    mode.driver.wait_for_picture()
    mode.enter()
    assert mode.question_id not in {*expected, skipped}
    page.keyboard.press("Escape")
    assert {key: event.class_uid for key, event in clicks_by_question(client, project).items()} == expected


def test_a_pixel_drawn_at_random_is_asked_without_a_guess(server: Server, fast_head: FastHead, page: Page) -> None:
    client, mode = server.client(), AnswerMode(page, server)
    [project] = client.projects()
    give_two_clicks(mode)
    client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(random_share=1)))

    mode.enter()

    # Neither prompt nor overlay says what the model thinks, and Enter explains instead of answering
    first = mode.question_id
    expect(page.get_by_test_id("answer-prompt")).to_have_attribute("data-asked", "random")
    expect(page.get_by_test_id("guess")).to_have_count(0)
    assert mode.driver.map_id == ""
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer-note")).to_contain_text("Choose a class")
    assert mode.question_id == first

    mode.press("1")
    mode.driver.wait_until_saved()
    assert clicks_by_question(client, project)[first].asked == "random"


def test_before_any_model_there_is_no_guess_and_no_letter_is_a_command(server: Server, page: Page) -> None:
    client, mode = server.client(), AnswerMode(page, server)
    [project] = client.projects()
    mode.enter()
    first = mode.question_id

    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer-note")).to_have_text("There is no guess yet: choose a class.")
    for key in ("t", "n", "h", "x", "z"):
        page.keyboard.press(key)
    page.mouse.click(*mode.driver.screen_point(160, 240))

    assert mode.question_id == first
    assert client.label_log(project.project_id) == []
    assert client.jobs(project.project_id) == []


def test_the_marker_covers_at_most_three_pixels_and_never_the_asked_one(server: Server, page: Page) -> None:
    mode = AnswerMode(page, server)
    mode.enter()
    stage = page.get_by_test_id("stage")
    assert float(stage.get_attribute("data-scale") or 0) >= 10

    page.keyboard.press("-")
    expect(stage).to_have_attribute("data-scale", "8")
    page.keyboard.press("+")
    expect(stage).to_have_attribute("data-scale", "10")

    # The uppermost canvas holds nothing but the marker
    box = page.evaluate(
        """() => {
          const stage = document.querySelector('[data-testid=stage]')
          const canvas = [...stage.querySelectorAll('canvas')].at(-1)
          const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
          const drawn = []
          for (let i = 3; i < data.length; i += 4) if (data[i] > 0) drawn.push([(i >> 2) % width, (i >> 2) / width | 0])
          const [xs, ys] = [drawn.map((at) => at[0]), drawn.map((at) => at[1])]
          const [left, right, top, bottom] = [
            xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b)),
            ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))]
          const [x, y] = [(left + right) / 2, (top + bottom) / 2]
          const inside = drawn.filter((at) => Math.abs(at[0] - x) < 5 && Math.abs(at[1] - y) < 5)
          return { width: right - left + 1, height: bottom - top + 1, inside: inside.length }
        }"""
    )
    assert box["inside"] == 0
    assert max(box["width"], box["height"]) <= 3 * 10 + 2  # and the soft edge of a line


def test_the_next_question_is_there_at_once(server: Server, fast_head: FastHead, page: Page) -> None:
    # Given questions that lead from image to image
    client, mode = server.client(), AnswerMode(page, server)
    [project] = client.projects()
    give_two_clicks(mode)
    client.patch_project(project.project_id, ProjectPatch(settings=SettingsPatch(random_share=1)))
    mode.enter()
    page.evaluate(
        """() => {
          window.waits = []
          addEventListener('keydown', () => {
            const begun = performance.now()
            const stage = document.querySelector('[data-testid=stage]')
            const [before, image] = [stage.dataset.questionId, stage.dataset.imageId]
            const look = () => {
              const { questionId, imageId } = stage.dataset
              if (questionId === undefined || questionId === before) return requestAnimationFrame(look)
              window.waits.push([performance.now() - begun, imageId !== image])
            }
            requestAnimationFrame(look)
          }, { capture: true })
        }"""
    )

    # When I answer in a quick hand's rhythm
    for _ in range(16):
        mode.press("1")
        page.wait_for_timeout(500)

    # I expect each next one within a blink, on another image too
    waits = page.evaluate("() => window.waits")
    jumps = [millis for millis, is_jump in waits if is_jump]
    print(f"next question after {statistics.median(millis for millis, _ in waits):.0f} ms, at most {max(waits)[0]:.0f}")
    print(f"of another image after {statistics.median(jumps):.0f} ms ({len(jumps)} of {len(waits)})")
    assert len(jumps) >= 4
    assert statistics.median(jumps) < 100


def test_a_skip_is_kept_although_the_server_is_away(server: Server, page: Page) -> None:
    client, mode = server.client(), AnswerMode(page, server)
    [project] = client.projects()
    mode.enter()
    page.context.set_offline(True)
    skipped = mode.press(" ")
    page.context.set_offline(False)

    def is_asked_still() -> bool:
        return skipped in {one.question_id for one in client.questions(project.project_id, limit=100).questions}

    wait_for(lambda: not is_asked_still(), seconds=20, what="the skip to be told")


def test_answer_mode_has_its_pictures_taken(server: Server, fast_head: FastHead, page: Page) -> None:
    mode = AnswerMode(page, server)
    give_two_clicks(mode)
    mode.enter()
    for key in ("Enter", "2", "Enter", "1"):
        mode.press(key)

    take(page, "answer")

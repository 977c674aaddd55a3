"""What a hand feels on the annotate page: nothing flashes, nothing jumps, keys go where they are meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from recolabel.contract.labels import ClickEvent
from recolabel.contract.projects import ClassPatch, NewLabelClass, NewProject
from recolabel.demo import make_demo
from tests.browser.driver import Driver
from tests.servers import Server, StartServer, wait_for

CLASSES = [NewLabelClass(name="meadow", colour="#8bc34a"), NewLabelClass(name="water", colour="#2979ff")]

COUNT_BLANK_FRAMES = """() => {
  const canvas = document.querySelector('[data-testid=stage] canvas')
  window.seen = { frames: 0, blank: 0 }
  const look = () => {
    const [, , , alpha] = canvas.getContext('2d').getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data
    window.seen.frames += 1
    if (alpha === 0) window.seen.blank += 1
    requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
}"""

# The stage says where the image lies after each frame.
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Server:
    """A server without a worker, with a project of four pictures."""
    make_demo(tmp_path / "demo", count=4, seed=0)
    server = start_server("serve")
    client = server.client()
    project = client.create_project(NewProject(name="Landscapes", classes=CLASSES))
    for picture in sorted((tmp_path / "demo" / "images").iterdir()):
        client.add_image(project.project_id, picture.name, picture)
    return server


def open_first(server: Server, page: Page) -> Driver:
    """Log in and open the first picture."""
    driver = Driver(page)
    page.goto(server.address)
    page.get_by_test_id("project-card").get_by_role("link").click()
    driver.open_picture(0)
    return driver


def test_the_stage_is_never_blank_between_two_pictures(server: Server, page: Page) -> None:
    driver = open_first(server, page)
    page.evaluate(COUNT_BLANK_FRAMES)

    for _ in range(3):
        driver.next_picture()

    seen = page.evaluate("() => window.seen")
    assert seen["frames"] > 3
    assert seen["blank"] == 0


def test_after_a_mouse_click_on_a_button_keys_go_to_the_picture(server: Server, page: Page) -> None:
    driver = open_first(server, page)

    page.get_by_test_id("next-question").click()
    driver.see("question")
    asked = page.get_by_test_id("question").get_attribute("data-question-id")

    expect(page.get_by_test_id("stage")).to_be_focused()
    page.keyboard.press("Enter")  # without a model there is no guess to accept, and the button must not ask again
    expect(page.get_by_test_id("question")).to_have_attribute("data-question-id", asked or "")


def test_a_hand_on_the_filmstrip_closes_the_question(server: Server, page: Page) -> None:
    driver = open_first(server, page)
    page.keyboard.press("n")
    driver.see("question")
    asked_about = driver.image_id

    page.locator(".filmstrip-link:not([aria-current])").last.click()

    page.wait_for_url(lambda url: not url.endswith(asked_about))
    driver.wait_for_picture()
    expect(page.get_by_test_id("question")).to_have_count(0)


def test_a_digit_answers_and_the_clicks_after_it_say_the_same_class(server: Server, page: Page) -> None:
    # Given a question that the second digit answers, and the next one on screen
    driver, client = open_first(server, page), server.client()
    [project] = client.projects()
    page.keyboard.press("n")
    driver.see("question")
    first = page.get_by_test_id("question").get_attribute("data-question-id")
    page.keyboard.press("2")
    expect(page.get_by_test_id("question")).not_to_have_attribute("data-question-id", first or "")
    driver.wait_for_picture()

    # When I click elsewhere, and then press the first digit and click again
    page.keyboard.press("Home")
    page.evaluate(NEXT_FRAME)
    page.mouse.click(*driver.screen_point(3, 3))
    expect(page.get_by_test_id("question")).to_have_count(0)
    driver.click_pixel(0, 5, 5)
    driver.wait_until_saved()

    # I expect one answer and two clicks, each with the class whose digit came before
    events = [stored.event for stored in client.label_log(project.project_id)]
    said = [(event.class_uid, event.question_id is not None) for event in events if isinstance(event, ClickEvent)]
    meadow, water = (label_class.class_uid for label_class in project.classes)
    assert said == [(water, True), (water, False), (meadow, False)]


def test_a_click_of_a_retired_class_is_kept_and_shown_with_its_reason(server: Server, page: Page) -> None:
    # Given a click that waits in the browser while somebody else retires its class
    driver, client = open_first(server, page), server.client()
    [project] = client.projects()
    page.context.set_offline(True)
    driver.click_pixel(1, 10, 10)
    client.patch_class(project.project_id, project.classes[1].class_uid, ClassPatch(retired=True))

    # When it is sent
    page.context.set_offline(False)

    # I expect it to be named with the reason, and to be stored once the class is back and I send it again
    page.get_by_test_id("refused").get_by_text("See why").click(timeout=15_000)
    expect(page.get_by_role("dialog").get_by_text("The class was retired.")).to_be_visible()
    client.patch_class(project.project_id, project.classes[1].class_uid, ClassPatch(retired=False))
    page.get_by_role("button", name="Send again").click()
    wait_for(lambda: len(client.label_log(project.project_id)) == 1, seconds=15, what="the click to be stored")
    expect(page.get_by_test_id("refused")).to_have_count(0)


def test_a_picture_that_is_replaced_while_it_is_open_is_drawn_anew(server: Server, page: Page, tmp_path: Path) -> None:
    driver, client = open_first(server, page), server.client()
    make_demo(tmp_path / "other", count=1, seed=7)
    [other] = (tmp_path / "other" / "images").iterdir()
    driver.click_pixel(0, 10, 10)
    driver.wait_until_saved()

    client.replace_image(driver.image_id, other)

    expect(page.get_by_text("This image was replaced")).to_be_visible(timeout=15_000)
    driver.click_pixel(1, 20, 20)
    driver.wait_until_saved()
    expect(page.get_by_test_id("refused")).to_have_count(0)
    wait_for(lambda: client.image(driver.image_id).label_count == 1, seconds=10, what="the label of the new picture")

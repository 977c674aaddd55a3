"""Two versions on one picture: the line between them, rolling back, and what the page says meanwhile."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.servers import StartServer, wait_for
from tests.worker.meadow import Meadow

# The colour of the picture's middle row at a share of the width, on one side's canvas.
COLOUR = """([side, share]) => {
  const canvas = document.querySelector(`[data-testid=comparison-${side}]`)
  const at = [Math.floor(share * canvas.width), canvas.height >> 1, 1, 1]
  return [...canvas.getContext('2d').getImageData(...at).data]
}"""
CLIP = "side => getComputedStyle(document.querySelector(`[data-testid=comparison-${side}]`)).clipPath"


def test_two_versions_are_compared_by_a_line_and_the_older_one_can_be_rolled_back_to(
    start_server: StartServer, page: Page, tmp_path: Path
) -> None:
    # Given a project with two versions, of which the newest has drawn everything
    server = start_server("up")
    client = server.client()
    meadow = Meadow(client, tmp_path, "compared")
    for _ in range(2):
        meadow.wait_for_end(meadow.train(steps=2))
        meadow.wait_for_end(client.jobs(meadow.project_id)[0])

    # When a person opens the page, I expect the newest on the right, and the older one after a moment on the left
    page.goto(server.address)
    page.goto(f"{server.url}/projects/{meadow.project_id}/models")
    for side, version in (("right", "2"), ("left", "1")):
        canvas = page.get_by_test_id(f"comparison-{side}")
        expect(canvas).to_have_attribute("data-map-version", version, timeout=60_000)
        expect(page.get_by_test_id(f"comparison-name-{side}")).to_contain_text(f"Version {version}")
        page.wait_for_function("([side, share]) => (" + COLOUR + ")([side, share])[3] === 255", arg=[side, 0.5])
    expect(page.get_by_test_id("comparison-difference")).to_contain_text("different classes on")

    # The line follows the keys and the mouse, and shares the picture out between the two
    line = page.get_by_role("slider", name="Line between version 1 and version 2")
    line.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(line).to_have_attribute("aria-valuenow", "58")
    page.mouse.click(*quarter_of(page))
    expect(line).to_have_attribute("aria-valuenow", "25")
    assert page.evaluate(CLIP, "right") == "inset(0px 0px 0px 25%)"
    assert page.evaluate(CLIP, "left") in ("inset(0px calc(75%) 0px 0px)", "inset(0px 75% 0px 0px)")

    # When the person rolls back, I expect all pictures drawn by version 1, and the way back on the page
    page.get_by_test_id("roll-back").click()
    expect(page.get_by_test_id("pinned")).to_contain_text("You work with version 1.")
    wait_for(lambda: drawn_by(meadow) == {1}, seconds=60, what="version 1 to draw all pictures")
    page.get_by_test_id("follow-newest").click()
    expect(page.get_by_test_id("pinned")).to_have_count(0)


def quarter_of(page: Page) -> tuple[float, float]:
    box = page.get_by_test_id("comparison-right").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 4, box["y"] + box["height"] / 2


def drawn_by(meadow: Meadow) -> set[int | None]:
    return {maps[0].model_version for image in meadow.images if (maps := meadow.client.maps(image.image_id))}

"""What a person does on the pages, said once for all stories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, expect


class Driver:
    """Hands and eyes on one browser page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def see(self, name: str) -> None:
        """Wait until the thing with this test id is on screen."""
        expect(self.page.get_by_test_id(name).first).to_be_visible()

    def create_project(self, name: str, classes: Sequence[str]) -> None:
        """On the projects page: name a project and its classes; ends on the project's page."""
        page = self.page
        page.get_by_test_id("create-project").first.click()
        page.get_by_test_id("project-name").fill(name)
        for class_name in classes:
            page.get_by_test_id("class-name-input").fill(class_name)
            page.get_by_test_id("add-class").click()
        page.get_by_test_id("create-project-submit").click()
        page.wait_for_url(re.compile(r"/projects/[0-9a-f-]{36}$"))

    def drop_pictures(self, files: Sequence[Path], refused: int = 0) -> None:
        """On the project's page: import files and wait for the verdicts."""
        page = self.page
        page.get_by_test_id("file-input").set_input_files([str(file) for file in files])
        expect(page.get_by_test_id("upload-verdict")).to_have_count(len(files), timeout=60_000)
        expect(page.get_by_test_id("thumbnail")).to_have_count(len(files) - refused, timeout=60_000)

    def open_picture(self, position: int) -> None:
        """On the project's page: open a picture to annotate it."""
        self.page.get_by_test_id("thumbnail").nth(position).click()
        self.page.wait_for_url(re.compile(r"/annotate/[0-9a-f-]{36}$"))
        self.wait_for_picture()

    def next_picture(self) -> None:
        """F, and wait until the next picture stands on the stage."""
        before = self.image_id
        self.page.keyboard.press("f")
        self.page.wait_for_url(lambda url: "/annotate/" in url and not url.endswith(before))
        self.wait_for_picture()

    def wait_for_picture(self) -> None:
        """The stage says which picture it draws."""
        self.page.wait_for_function(
            "() => { const s = document.querySelector('[data-testid=stage]');"
            " return s && s.dataset.imageId && location.pathname.endsWith(s.dataset.imageId) && s.dataset.scale; }"
        )

    @property
    def image_id(self) -> str:
        """The picture in the address."""
        return self.page.url.rsplit("/", 1)[1]

    @property
    def map_id(self) -> str:
        """The map that is drawn over the picture; empty when none is."""
        return self.page.get_by_test_id("stage").get_attribute("data-map-id") or ""

    def screen_point(self, y: int, x: int) -> tuple[float, float]:
        """Where the middle of the image pixel (y, x) is on the browser's screen."""
        stage = self.page.get_by_test_id("stage")
        scale, origin_x, origin_y = (
            float(stage.get_attribute(f"data-{name}") or "nan") for name in ("scale", "origin-x", "origin-y")
        )
        box = stage.bounding_box()
        assert box is not None
        return box["x"] + origin_x + (x + 0.5) * scale, box["y"] + origin_y + (y + 0.5) * scale

    def choose_class(self, position: int) -> None:
        """By its digit; past the tenth class by its row in the list."""
        if position < 10:
            self.page.keyboard.press(str((position + 1) % 10))
        else:
            self.page.get_by_test_id("class-row").nth(position).click()

    def click_pixel(self, class_position: int, y: int, x: int) -> None:
        """Choose the class and click the image pixel (y, x)."""
        self.choose_class(class_position)
        self.page.keyboard.press("c")
        self.page.mouse.click(*self.screen_point(y, x))

    def brush(self, class_position: int, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Paint from one image pixel (y, x) to another."""
        self.choose_class(class_position)
        self.page.keyboard.press("b")
        self.page.mouse.move(*self.screen_point(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.screen_point(*end), steps=6)
        self.page.mouse.up()

    def wait_until_saved(self) -> None:
        """The header says that nothing waits to be sent."""
        expect(self.page.get_by_test_id("unsent")).to_have_attribute("data-count", "0", timeout=15_000)

    def wait_for_other_map(self, than: str, seconds: float) -> str:
        """Wait until another map than this one is drawn; its id."""
        self.page.wait_for_function(
            "than => { const s = document.querySelector('[data-testid=stage]');"
            " return s && s.dataset.mapId && s.dataset.mapId !== than; }",
            arg=than,
            timeout=seconds * 1000,
        )
        return self.map_id

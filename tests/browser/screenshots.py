"""Pictures of the pages, for the README and for a designer's eye: two sizes, two themes, nothing cut off."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

from tests.servers import ROOT

SIZES = ((1280, 800), (1920, 1080))
THEMES = ("light", "dark")
FOLDER = Path(os.environ.get("RECOLABEL_SCREENSHOTS", str(ROOT / "test-results" / "screenshots")))


def take(page: Page, name: str) -> None:
    """Write NAME-WIDTH-THEME.jpg for each size and theme; ends at 1280x800, light.

    Raises:
        AssertionError: the page is wider than its window.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for width, height in (*SIZES[1:], SIZES[0]):
        page.set_viewport_size({"width": width, "height": height})
        for theme in reversed(THEMES):
            page.emulate_media(color_scheme="light" if theme == "light" else "dark", reduced_motion="reduce")
            page.wait_for_timeout(250)  # the stage draws on the next frames
            overflow = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0, f"{name} is {overflow} px wider than a window of {width}x{height}"
            page.screenshot(path=FOLDER / f"{name}-{width}-{theme}.jpg", type="jpeg", quality=88)

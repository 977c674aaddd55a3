"""What a person does in Answer mode, and an annotator who knows the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from playwright.sync_api import Page, expect

from recolabel.client import Client
from recolabel.contract.labels import Asked
from recolabel.contract.projects import Project
from recolabel.store.questions import point_of
from tests.browser.driver import Driver
from tests.servers import Server, wait_for


class AnswerMode:
    """Hands and eyes in Answer mode."""

    def __init__(self, page: Page, server: Server, project: Project | None = None) -> None:
        """Opens the first picture, of the only project when none is given."""
        self.page, self.driver = page, Driver(page)
        page.goto(server.address)
        if project is None:
            page.get_by_test_id("project-card").get_by_role("link").click()
        else:
            page.goto(f"{server.url}/projects/{project.project_id}")
        self.driver.open_picture(0)

    def enter(self) -> None:
        self.page.keyboard.press("a")
        self.wait()

    def wait(self) -> None:
        """Until the asked pixel is marked on the stage."""
        self.page.wait_for_function(
            "() => { const q = document.querySelector('[data-testid=answer-prompt]')?.dataset.questionId;"
            " const s = document.querySelector('[data-testid=stage]');"
            " return q && s.dataset.questionId === q && s.dataset.imageId; }"
        )

    @property
    def question_id(self) -> str:
        return self.page.get_by_test_id("answer-prompt").get_attribute("data-question-id") or ""

    @property
    def place(self) -> str:
        return self.page.get_by_test_id("answer-progress").get_attribute("data-place") or ""

    @property
    def guess(self) -> str:
        return self.page.get_by_test_id("guess").inner_text()

    def press(self, key: str) -> str:
        """Answer with a key and wait for the next question; the id of the one that was answered."""
        before = self.question_id
        self.page.keyboard.press(key)
        expect(self.page.get_by_test_id("answer-prompt")).not_to_have_attribute("data-question-id", before)
        self.wait()
        return before


class TrueAnnotator:
    """Answers each question with the true class of its pixel, by the key that the legend shows for it; skips others.

    Like a person, it is slower than the fast head: it answers when the picture knows the answer before.
    """

    def __init__(self, mode: AnswerMode, client: Client, project: Project, truths: Mapping[str, np.ndarray]) -> None:
        """`truths`: name of an image -> (H, W) class indices; of other values it cannot tell."""
        self._mode, self._client, self._project, self._truths = mode, client, project, truths
        self._names: dict[str, str] = {}
        self._said: set[int] = set()

    def answer(self, count: int, *, of: Asked | None = None) -> None:
        """Answer until so many questions are answered; `of` one kind, when given."""
        keys = self._keys()
        answered = 0
        while answered < count:
            prompt = self._mode.page.get_by_test_id("answer-prompt")
            asked = prompt.get_attribute("data-asked")
            image_id = prompt.get_attribute("data-image-id") or ""
            y, x = point_of(self._mode.question_id)
            value = int(self._truths[self._name_of(image_id)][y, x])
            if value >= len(keys):
                self._mode.press(" ")
                continue
            self._mode.press(keys[value])
            answered += of in (None, asked)
            self._said.add(value)
            if len(self._said) > 1:
                self._wait_for_the_fast_head()

    def _keys(self) -> list[str]:
        rows = self._mode.page.get_by_test_id("answer-class").all()
        keys = [row.get_attribute("data-digit") or row.get_attribute("data-letter") or "" for row in rows]
        return keys[: len(self._project.classes)]

    def _name_of(self, image_id: str) -> str:
        if image_id not in self._names:
            self._names[image_id] = self._client.image(image_id).name
        return self._names[image_id]

    def _wait_for_the_fast_head(self) -> None:
        self._mode.driver.wait_until_saved()
        image_id = self._mode.page.get_by_test_id("answer-prompt").get_attribute("data-image-id") or ""
        label_seq = self._client.project(self._project.project_id).label_seq

        def knows() -> bool:
            return any(drawn.label_seq >= label_seq for drawn in self._client.maps(image_id))

        wait_for(knows, seconds=30, what="the fast head to learn from the answer", pause=0.02)

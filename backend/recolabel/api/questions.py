"""The pixels that the app asks about next."""

from __future__ import annotations

import random
from typing import Annotated

from fastapi import APIRouter, Query

from recolabel.api.deps import ProjectId, StoreDep
from recolabel.contract.projects import Id
from recolabel.contract.questions import QuestionPage

router = APIRouter(tags=["questions"])


@router.get("/projects/{project_id}/questions")
def next_questions(
    project_id: ProjectId,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    image_id: Annotated[Id | None, Query(description="the image that is open: its pixels come first")] = None,
) -> QuestionPage:
    """The next questions, the most useful first. Answer with a click event that names the question."""
    return store.questions.next(project_id, image_id, limit, random.Random())

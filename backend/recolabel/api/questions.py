"""The pixels that the app asks about next."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from recolabel.api.deps import ProjectId, StoreDep, UserDep
from recolabel.contract.projects import Id
from recolabel.contract.questions import QuestionPage, SkippedQuestion

router = APIRouter(tags=["questions"])

MAX_UNDER_WAY = 100

QuestionId = Annotated[Id, Path()]


@router.get("/projects/{project_id}/questions")
def next_questions(
    project_id: ProjectId,
    store: StoreDep,
    user: UserDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    image_id: Annotated[
        Id | None,
        Query(description="the image that is open: its pixels come first. Not the one that a random question led to"),
    ] = None,
    exclude: Annotated[
        list[Id] | None,
        Query(
            max_length=MAX_UNDER_WAY,
            description="question_ids that the page holds, or whose answers are on their way here: repeat the "
            "parameter. They count as asked",
        ),
    ] = None,
) -> QuestionPage:
    """The next questions, the most useful first. Answer with a click event that names the question.

    Nothing changes by asking: the same labels and skips give the same page.
    """
    return store.questions.next(project_id, image_id, limit, under_way=exclude or (), annotator_id=user.user_id)


@router.post("/projects/{project_id}/questions/{question_id}/skip", status_code=204)
def skip_question(
    project_id: ProjectId, question_id: QuestionId, skipped: SkippedQuestion, store: StoreDep, user: UserDep
) -> None:
    """Keep that nobody can tell: the pixel is not asked about again. On disk when answered; idempotent."""
    store.questions.skip(project_id, question_id, skipped, user.user_id)


@router.delete("/projects/{project_id}/questions/{question_id}/skip", status_code=204)
def take_back_skip(project_id: ProjectId, question_id: QuestionId, store: StoreDep, user: UserDep) -> None:
    """Take a skip back; idempotent."""
    store.questions.take_back_skip(project_id, question_id, user.user_id)

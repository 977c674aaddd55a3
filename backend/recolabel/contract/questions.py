"""Questions: the pixels that the app asks about."""

from __future__ import annotations

from pydantic import Field

from recolabel.contract.labels import Asked, Pixel
from recolabel.contract.projects import Contract, Id


class Candidate(Contract):
    """A pixel that the worker proposes; the server chooses among them with the newest labels at hand."""

    pixel: Pixel
    guess: int = Field(ge=0, le=249, description="class index of the model's prediction")
    second_guess: int | None = Field(default=None, ge=0, le=249)
    confidence: float = Field(ge=0, le=1, description="probability of the guess")
    margin: float = Field(ge=0, le=1, description="probability of the guess minus that of the second guess")
    entropy: float | None = Field(
        default=None, ge=0, le=1, description="of all class probabilities, as a share of the largest possible"
    )


class Question(Contract):
    """Which class has this pixel? Answered by a click event that names the question."""

    question_id: Id = Field(
        description="the same for the same pixel of the same picture, whoever asks and whatever map"
    )
    image_id: Id
    image_name: str
    pixel: Pixel
    guess: Id | None = Field(
        description="class_uid of the model's guess; null when no model has spoken yet, or the class was retired"
    )
    second_guess: Id | None
    confidence: float | None
    model_version: int | None
    asked: Asked = Field(description="how the pixel was chosen; a click that answers repeats it")
    why: str = Field(description="a short sentence: why this pixel is asked")


class SkippedQuestion(Contract):
    """The pixel of a question that nobody can answer: it is not asked about again."""

    image_id: Id
    pixel: Pixel


class QuestionPage(Contract):
    """The next questions, the most useful first. Empty when nothing is left to ask; `note` says why."""

    questions: list[Question]
    note: str | None = None

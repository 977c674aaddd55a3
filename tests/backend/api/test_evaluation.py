"""The numbers and the true masks through the door."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from recolabel.contract.evaluation import Evaluation, GroundTruthReply
from recolabel.contract.images import ImageInfo
from recolabel.contract.projects import Project
from tests.backend.api.requests import API, append, click, new_image


def put_mask(http: TestClient, image: ImageInfo, content: bytes) -> Any:
    headers = {"Content-Type": "application/octet-stream"}
    return http.put(f"{API}/images/{image.image_id}/ground-truth", content=content, headers=headers)


def test_the_evaluation_of_a_new_project_has_sentences_instead_of_numbers(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    append(http, project, click(image, project.classes[0].class_uid, asked="random"))

    answer = http.get(f"{API}/projects/{project.project_id}/evaluation")

    found = Evaluation.model_validate_json(answer.content)
    assert [count.labels for count in found.label_counts] == [1, 0]
    assert found.versions == []
    assert found.next_class.why == "car has no label yet."


def test_a_true_mask_is_kept_and_is_no_label(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    mask = np.full((image.height, image.width), 255, np.uint8)
    mask[0] = 1

    answer = put_mask(http, image, zlib.compress(mask.tobytes()))

    assert answer.status_code == 200, answer.text
    assert GroundTruthReply.model_validate_json(answer.content).pixels == image.width
    assert http.get(f"{API}/images/{image.image_id}").json()["label_count"] == 0


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.zeros((3, 3), np.uint8), "of the size of another picture"),
        (np.zeros((3000, 3000), np.uint8), "a bomb"),
        (np.full((8, 12), 7, np.uint8), "with a class that the project lacks"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(http: TestClient, project: Project, mask: np.ndarray, why: str) -> None:
    image = new_image(http, project)

    answer = put_mask(http, image, zlib.compress(mask.tobytes()))

    assert answer.status_code == 422, why
    assert answer.json()["code"] == "mask_refused"


def test_something_that_is_no_mask_is_refused(http: TestClient, project: Project) -> None:
    image = new_image(http, project)

    answer = put_mask(http, image, b"no mask")

    assert answer.status_code == 422

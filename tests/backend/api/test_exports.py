"""Exports over HTTP: masks in a ZIP, labels as lines."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.testclient import TestClient

from recolabel.api.exports import in_class_indices, merge
from recolabel.contract.images import ImageInfo
from recolabel.contract.projects import Project
from tests.backend.api.requests import (
    API,
    append,
    assert_problem,
    claim,
    click,
    fence,
    label_two_classes,
    new_image,
    start_training,
)
from tests.backend.api.test_leases import map_upload, publication


def masks(http: TestClient, project: Project, content: str) -> dict[str, npt.NDArray[np.uint8]]:
    answer = http.get(f"{API}/projects/{project.project_id}/export", params={"content": content})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"labelmap.txt", "classes.txt"} <= set(archive.namelist())
        return {
            name: np.array(Image.open(io.BytesIO(archive.read(name))))
            for name in archive.namelist()
            if name.endswith(".png")
        }


def predict(http: TestClient, project: Project, image: ImageInfo, value: int) -> None:
    start_training(http, project)
    training = claim(http)
    assert training is not None
    door = f"{API}/leases/{training.job.job_id}"
    http.post(f"{door}/publish", json=publication(http, training, project), headers=fence(training))
    drawing = claim(http)
    assert drawing is not None
    body = map_upload(http, drawing, image, project, value)
    answer = http.post(f"{API}/leases/{drawing.job.job_id}/maps", json=body, headers=fence(drawing))
    assert answer.status_code == 201, answer.text


def test_labels_predictions_and_both_merged(http: TestClient, project: Project) -> None:
    image = new_image(http, project, "street 1.jpg.png")
    new_image(http, project, "untouched.png", 200)
    label_two_classes(http, project, image)
    append(http, project, click(image, "void", 7, 7))
    predict(http, project, image, 1)

    [(labels_name, labels)] = masks(http, project, "labels").items()
    [prediction] = masks(http, project, "predictions").values()
    [merged] = masks(http, project, "merged").values()

    assert labels_name == "masks/street 1.jpg.png"
    assert (labels[1, 1], labels[5, 5], labels[7, 7], (labels == 255).sum()) == (0, 1, 254, 93)
    assert (prediction == 1).all()
    assert (merged[1, 1], merged[5, 5], merged[7, 7], (merged == 1).sum()) == (0, 1, 254, 94)


def test_the_label_log_comes_as_lines(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    label_two_classes(http, project, image)

    answer = http.get(f"{API}/projects/{project.project_id}/export", params={"format": "jsonl"})

    header, *events = [json.loads(line) for line in answer.text.splitlines()]
    assert [c["name"] for c in header["classes"]] == ["road", "car"]
    assert [event["class"] for event in events] == ["road", "car"]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "Street.labels.jsonl" in answer.headers["content-disposition"]


def test_an_export_of_nothing_says_so(http: TestClient, project: Project) -> None:
    new_image(http, project)
    address = f"{API}/projects/{project.project_id}/export"

    for content, words in (("labels", "no labels"), ("predictions", "no predictions"), ("merged", "neither")):
        assert_problem(http.get(address, params={"content": content}), 409, "nothing_to_export", words)
    assert_problem(http.get(address, params={"format": "jsonl", "content": "merged"}), 422, "bad_argument")
    assert_problem(http.get(address, params={"format": "coco"}), 422, "invalid_request", "`format`")


def test_a_prediction_speaks_the_class_list_of_today() -> None:
    drawn = np.array([[0, 1, 2]], np.uint8)

    shown = in_class_indices(drawn, ["road", "retired", "car"], ["car", "new", "road"])

    assert shown.tolist() == [[2, 255, 0]]


def test_what_people_said_stands_above_the_prediction() -> None:
    prediction, labels = np.array([[3, 3, 3]], np.uint8), np.array([[255, 254, 0]], np.uint8)

    assert merge(prediction, labels).tolist() == [[3, 254, 0]]

"""Images over HTTP: files in, canonical pixels out."""

from __future__ import annotations

import io
import struct
import uuid
import zlib
from unittest.mock import patch

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from recolabel.contract.images import UploadResult, Verdict
from recolabel.contract.projects import Project
from recolabel.settings import Settings
from tests.backend.api.requests import API, append, assert_problem, click, new_image, png, upload


def test_an_uploaded_file_comes_back_in_three_sizes(http: TestClient, project: Project) -> None:
    content = png(600, 300)

    image = UploadResult.model_validate_json(upload(http, project, "día 1/ä.png", content).content).image

    assert (image.name, image.width, image.height) == ("día 1/ä.png", 600, 300)
    assert http.get(f"{API}/images/{image.image_id}/file").content == content
    original = http.get(f"{API}/images/{image.image_id}/original")
    assert original.content == content
    assert original.headers["content-disposition"] == "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%A4.png"
    thumbnail = http.get(f"{API}/images/{image.image_id}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).size == (256, 128)


def test_a_file_is_sent_once_and_kept(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    address = f"{API}/images/{image.image_id}/file"
    etag = http.get(address).headers["etag"]

    assert http.get(address, headers={"If-None-Match": etag}).status_code == 304
    assert http.get(address).headers["cache-control"] == "private, no-cache"
    for kept in (address, address.replace("/file", "/thumbnail")):
        assert "immutable" in http.get(kept, params={"v": image.sha256}).headers["cache-control"]
        assert http.get(kept, params={"v": "0" * 64}).headers["cache-control"] == "private, no-cache"


def test_a_file_of_a_user_is_never_a_page(http: TestClient, project: Project) -> None:
    image = new_image(http, project)

    for part in ("file", "original", "thumbnail"):
        headers = http.get(f"{API}/images/{image.image_id}/{part}").headers
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"].startswith("image/")


def test_the_same_pixels_are_one_image(http: TestClient, project: Project) -> None:
    first = upload(http, project, "a.png", png())
    again = upload(http, project, "b.bmp", png(format="BMP"))

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["verdict"] == Verdict.DUPLICATE
    assert again.json()["image"]["image_id"] == first.json()["image"]["image_id"]


def header_of_a_png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return start + struct.pack(">I", 1_000) + b"IDAT" + bytes(100)


BAD_FILES = [
    ("a.png", b"", 422, "image_empty", "no bytes"),
    ("a.png", b"<html>", 415, "not_an_image", "JPEG, PNG, WebP, TIFF or BMP"),
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not_an_image", ""),
    ("a.png", png(300, 300)[:200], 422, "image_damaged", "damaged or ends too early"),
    ("a.png", header_of_a_png(30_000, 30_000), 413, "image_too_large", ""),
    ("a.jpg", png(), 422, "bad_name", "Rename it"),
    ("../../a.png", png(), 422, "bad_name", "folder"),
    ("x" * 252 + ".png", png(), 422, "bad_name", "255 bytes"),
    ("", png(), 422, "bad_name", "no name"),
    ("a\n.png", png(), 422, "bad_name", ""),
    ("a.png", bytes(2_000_001), 413, "file_too_large", "1.907 MiB"),
]


@pytest.mark.parametrize(("name", "content", "status", "code", "words"), BAD_FILES, ids=lambda value: repr(value)[:30])
def test_a_bad_file_is_refused_with_its_reason_and_the_next_one_works(
    http: TestClient, project: Project, name: str, content: bytes, status: int, code: str, words: str
) -> None:
    refused = upload(http, project, name, content)

    assert_problem(refused, status, code, words, "Nothing was changed.")
    assert upload(http, project, "\N{CAT FACE}" + "x" * 247 + ".png", png()).status_code == 201
    assert http.get(f"{API}/projects/{project.project_id}/images").json()["total"] == 1


def test_no_file_is_read_for_a_project_that_is_not_there(http: TestClient, settings: Settings) -> None:
    answer = http.put(f"{API}/projects/{uuid.uuid4()}/images", params={"name": "a.png"}, content=png())

    assert_problem(answer, 404, "project_not_found")
    assert list(settings.run.iterdir()) == []


def test_a_full_disk_refuses_files_before_they_are_read(http: TestClient, app: FastAPI, project: Project) -> None:
    with patch("shutil.disk_usage") as usage:
        usage.return_value.free = 1_000_000
        refused = upload(http, project, "a.png", png())

    assert_problem(refused, 507, "storage_full", "Free some space")
    assert upload(http, project, "a.png", png()).status_code == 201


def test_a_replaced_image_refuses_labels_of_the_old_pixels(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    replaced = http.put(f"{API}/images/{image.image_id}/file", content=png(20, 10))
    assert (replaced.json()["width"], replaced.json()["height"]) == (20, 10)

    [ack] = append(http, project, click(image, project.classes[0].class_uid))

    assert ack.code == "image_replaced"


def test_a_removed_image_is_not_there_any_more(http: TestClient, project: Project) -> None:
    image = new_image(http, project)

    assert http.delete(f"{API}/images/{image.image_id}").status_code == 204

    assert_problem(http.get(f"{API}/images/{image.image_id}"), 404, "image_not_found")
    assert http.get(f"{API}/projects/{project.project_id}/images").json()["images"] == []


def test_images_come_in_pages(http: TestClient, project: Project) -> None:
    names = [new_image(http, project, f"{shade}.png", shade).name for shade in range(5)]
    seen: list[str] = []
    after: dict[str, int] = {}
    while True:
        page = http.get(f"{API}/projects/{project.project_id}/images", params={"limit": 2, **after}).json()
        seen += [image["name"] for image in page["images"]]
        if page["next_after"] is None:
            break
        after = {"after": page["next_after"]}

    assert seen == names


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many", "1e9"])
def test_a_page_has_a_limit(http: TestClient, project: Project, limit: str) -> None:
    answer = http.get(f"{API}/projects/{project.project_id}/images", params={"limit": limit})

    assert_problem(answer, 422, "invalid_request", "Query parameter `limit`")


def test_a_browser_says_what_is_open(http: TestClient, project: Project) -> None:
    address = f"{API}/projects/{project.project_id}/open-image"
    image = new_image(http, project)

    seen = {"image_id": image.image_id, "client_id": str(uuid.uuid4())}
    assert http.put(address, json=seen).status_code == 204

    assert_problem(http.put(address, json=seen | {"image_id": str(uuid.uuid4())}), 404, "image_not_found")

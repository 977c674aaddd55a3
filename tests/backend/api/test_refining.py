"""The fast road over HTTP: who waits is woken by what happens, and not by a clock."""

from __future__ import annotations

import time
import uuid
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Lease, RefineWork
from recolabel.contract.projects import Project
from tests.backend.api.requests import API, append, assert_problem, click, fence, label_two_classes, new_image

LONG_SECONDS = 25.0


@pytest.fixture(autouse=True)
def no_clock_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looks in between: whoever is woken was woken by what happened."""
    monkeypatch.setattr("recolabel.api.feed.POLL_SECONDS", 60.0)
    monkeypatch.setattr("recolabel.api.leases._LOOK_AGAIN_SECONDS", 60.0)


@pytest.fixture
def beside() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a request beside the test, and gives it a moment to arrive."""
    with ThreadPoolExecutor() as threads:

        def start(request: Callable[[], Any]) -> Future[Any]:
            answer = threads.submit(request)
            time.sleep(0.1)
            assert not answer.done()
            return answer

        yield start


def look_at(http: TestClient, project: Project, image: ImageInfo) -> None:
    seen = {"image_id": image.image_id, "client_id": str(uuid.uuid4())}
    assert http.put(f"{API}/projects/{project.project_id}/open-image", json=seen).status_code == 204


def claim(http: TestClient, wait_seconds: float = 0.0, *kinds: str) -> Any:
    body = {
        "worker_id": "refiner",
        "contract_version": CONTRACT_VERSION,
        "kinds": list(kinds or ("refine",)),
        "wait_seconds": wait_seconds,
    }
    return http.post(f"{API}/leases", json=body)


def refining(http: TestClient, project: Project, image: ImageInfo) -> Lease:
    look_at(http, project, image)
    return Lease.model_validate_json(claim(http).content)


def ask(http: TestClient, lease: Lease, known: RefineWork | None = None, wait_seconds: float = 0.0) -> RefineWork:
    params: dict[str, Any] = {"wait_seconds": wait_seconds}
    if known is not None:
        params |= {"after": known.label_seq, "state": known.state}
    answer = http.get(f"{API}/leases/{lease.job.job_id}/refine-work", params=params, headers=fence(lease))
    assert answer.status_code == 200, answer.text
    return RefineWork.model_validate_json(answer.content)


def fast_map(image: ImageInfo, work: RefineWork, value: int = 1) -> dict[str, Any]:
    size = image.width * image.height
    return {
        "image_id": image.image_id,
        "image_sha256": image.sha256,
        "label_seq": work.label_seq,
        "label_count": work.label_count,
        "model_version": work.model_version,
        "class_uids": work.class_uids,
        "prediction": b64encode(zlib.compress(bytes([value]) * size)).decode(),
        "confidence": b64encode(zlib.compress(bytes([204]) * size)).decode(),
        "timings_ms": {"fit": 3.5},
    }


def test_from_click_to_overlay(
    http: TestClient, project: Project, beside: Callable[[Callable[[], Any]], Future[RefineWork]]
) -> None:
    # Given a worker that has heard of everything and waits
    image = new_image(http, project)
    lease = refining(http, project, image)
    known = ask(http, lease)
    waiting = beside(lambda: ask(http, lease, known, LONG_SECONDS))

    # When somebody clicks
    label_two_classes(http, project, image)
    work = waiting.result(timeout=10)
    params: dict[str, Any] = {"label_seq": work.label_seq, "class_uid": work.class_uids, "image_sha256": image.sha256}
    door = f"{API}/leases/{lease.job.job_id}"
    labels = http.get(f"{door}/label-maps/{image.image_id}", params=params, headers=fence(lease))
    drawn = http.post(f"{door}/fast-maps", json=fast_map(image, work), headers=fence(lease))

    # Then the worker gets the labels, and the browser a map that says who drew it
    assert [(each.image_id, each.labelled_pixels) for each in work.changed] == [(image.image_id, 2)]
    assert labels.content == work.label_maps[image.image_id]
    assert drawn.status_code == 201, drawn.text
    [shown] = http.get(f"{API}/images/{image.image_id}/maps").json()
    assert (shown["drawn_by"], shown["label_count"], shown["stale"]) == ("fast head", 2, False)
    assert shown["timings_ms"]["fit"] == 3.5
    plane = http.get(f"{API}/images/{image.image_id}/maps/{shown['map_id']}/prediction")
    assert plane.content == bytes([1]) * (image.width * image.height)


def test_a_waiting_claim_gets_the_job_when_somebody_looks(
    http: TestClient, project: Project, beside: Callable[[Callable[[], Any]], Future[Any]]
) -> None:
    image = new_image(http, project)
    waiting = beside(lambda: claim(http, LONG_SECONDS))

    look_at(http, project, image)

    lease = Lease.model_validate_json(waiting.result(timeout=10).content)
    assert (lease.job.kind, lease.job.project_id) == ("refine", project.project_id)


def test_a_worker_that_waits_hears_where_somebody_looks_now(
    http: TestClient, project: Project, beside: Callable[[Callable[[], Any]], Future[RefineWork]]
) -> None:
    first, second = new_image(http, project), new_image(http, project, "b.png", 50)
    lease = refining(http, project, first)
    known = ask(http, lease)
    waiting = beside(lambda: ask(http, lease, known, LONG_SECONDS))

    look_at(http, project, second)

    assert waiting.result(timeout=10).draw[0].image_id == second.image_id


def test_who_waits_for_nothing_is_told_so_in_time(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    assert claim(http, 0.2).status_code == 204
    lease = refining(http, project, image)
    known = ask(http, lease)

    begun = time.monotonic()
    work = ask(http, lease, known, 0.3)

    assert time.monotonic() - begun >= 0.3
    assert (work.state, work.changed, work.draw) == (known.state, [], [])


def test_a_deleted_project_ends_the_wait(
    http: TestClient, project: Project, beside: Callable[[Callable[[], Any]], Future[Any]]
) -> None:
    lease = refining(http, project, new_image(http, project))
    known = ask(http, lease)
    address = f"{API}/leases/{lease.job.job_id}/refine-work"
    params: dict[str, Any] = {"after": known.label_seq, "state": known.state, "wait_seconds": LONG_SECONDS}
    waiting = beside(lambda: http.get(address, params=params, headers=fence(lease)))

    http.delete(f"{API}/projects/{project.project_id}")

    assert_problem(waiting.result(timeout=10), 404, "job_not_found")


def test_waiting_holds_no_thread(
    http: TestClient, project: Project, beside: Callable[[Callable[[], Any]], Future[Any]]
) -> None:
    """More workers wait than the server has threads, and a click is stored all the same."""
    image = new_image(http, project)
    waiting = [beside(lambda: claim(http, 2.0, "train")) for _ in range(5)]
    with ThreadPoolExecutor(60) as threads:
        waiting += [threads.submit(claim, http, 2.0, "train") for _ in range(55)]

        assert append(http, project, click(image, project.classes[0].class_uid))[0].seq == 1
        assert not any(each.done() for each in waiting)
    assert {each.result(timeout=10).status_code for each in waiting} == {204}


def test_a_map_on_its_way_to_a_replaced_image_is_a_conflict(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    label_two_classes(http, project, image)
    lease = refining(http, project, image)
    work = ask(http, lease)
    door = f"{API}/leases/{lease.job.job_id}"
    sent = fast_map(image, work)

    other = new_image(http, project, "other.png", 99)
    stale = sent | {"image_sha256": other.sha256}
    assert_problem(http.post(f"{door}/fast-maps", json=stale, headers=fence(lease)), 409, "image_replaced")
    http.delete(f"{API}/images/{image.image_id}")
    assert_problem(http.post(f"{door}/fast-maps", json=sent, headers=fence(lease)), 404, "image_not_found")
    assert_problem(http.get(f"{door}/label-maps/{image.image_id}", headers=fence(lease)), 404, "image_not_found")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label_seq", 2**70),
        ("label_count", -1),
        ("model_version", 2**70),
        ("prediction", "not base64!"),
        ("timings_ms", {"fit": "long"}),
        ("class_uids", ["x"]),
    ],
)
def test_a_fast_map_of_nonsense_is_refused_by_name(
    http: TestClient, project: Project, field: str, value: object
) -> None:
    image = new_image(http, project)
    lease = refining(http, project, image)
    body = fast_map(image, ask(http, lease)) | {field: value}

    answer = http.post(f"{API}/leases/{lease.job.job_id}/fast-maps", json=body, headers=fence(lease))

    assert_problem(answer, 422, "invalid_request", f"`{field}")


@pytest.mark.parametrize("params", [{"after": -1}, {"state": "x"}, {"state": "9" * 30 + ".x"}, {"wait_seconds": 99}])
def test_a_question_of_nonsense_is_refused(http: TestClient, project: Project, params: dict[str, Any]) -> None:
    lease = refining(http, project, new_image(http, project))

    answer = http.get(f"{API}/leases/{lease.job.job_id}/refine-work", params=params, headers=fence(lease))

    assert_problem(answer, 422, "invalid_request", f"`{next(iter(params))}`")


def test_a_stale_refiner_is_refused(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    stale = refining(http, project, image)
    work = ask(http, stale)
    door = f"{API}/leases/{stale.job.job_id}"
    http.post(f"{door}/fail", json={"error": "killed", "retry": True}, headers=fence(stale))
    assert claim(http).status_code == 200

    assert_problem(http.get(f"{door}/refine-work", headers=fence(stale)), 409, "lease_lost")
    assert_problem(http.post(f"{door}/fast-maps", json=fast_map(image, work), headers=fence(stale)), 409, "lease_lost")
    assert_problem(http.get(f"{door}/refine-work"), 422, "invalid_request", "X-Recolabel-Fence")


def test_refine_jobs_are_not_among_those_that_people_see(http: TestClient, project: Project) -> None:
    look_at(http, project, new_image(http, project))

    assert http.get(f"{API}/projects/{project.project_id}/jobs").json() == []
    assert claim(http, 0.0, "train", "predict").status_code == 204

"""Images, their pages, what is open in a browser, and the newest map of each."""

from __future__ import annotations

import pytest

from recolabel.contract.images import Verdict
from recolabel.contract.jobs import JobKind
from recolabel.errors import BlobDamaged, BlobNotFound, ImageNotFound, ImageRefused, ImageReplaced, MapNotFound
from recolabel.store import Store
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street, new_uuid


def test_the_same_pixels_are_one_image_whatever_the_file_is_called(street: Street) -> None:
    again = street.store.images.add(street.project_id, "copy.png", street.pixels("pixels of first.png"))

    assert again.verdict is Verdict.DUPLICATE
    assert again.image == street.first
    assert street.store.projects.get(street.project_id).image_count == 2


def test_two_projects_may_have_the_same_pixels(store: Store, street: Street) -> None:
    other = Street(store, name="Other street")

    assert other.first.sha256 == street.first.sha256
    assert other.first.image_id != street.first.image_id


def test_pages_give_every_image_once_in_order_of_import(street: Street) -> None:
    for number in range(3):
        street.add_image(f"{number}.png")

    names, after, totals = [], None, set()
    while True:
        page = street.store.images.page(street.project_id, after, 2)
        names += [image.name for image in page.images]
        totals.add(page.total)
        after = page.next_after
        if after is None:
            break

    assert names == ["first.png", "second.png", "0.png", "1.png", "2.png"]
    assert totals == {5}


def test_a_removed_image_is_gone_for_people_and_stays_in_the_log(street: Street) -> None:
    street.append(street.click(street.road, 0, 0))

    street.store.images.remove(street.first.image_id)

    with pytest.raises(ImageNotFound):
        street.store.images.get(street.first.image_id)
    assert [image.name for image in street.store.images.page(street.project_id, None, 9).images] == ["second.png"]
    assert len(street.store.labels.log(street.project_id)) == 1
    assert street.add_image("first.png").image_id != street.first.image_id


def test_replaced_pixels_keep_the_image_and_silence_its_labels(street: Street) -> None:
    event = street.click(street.road, 0, 0)
    street.append(event)

    replaced = street.store.images.replace(street.first.image_id, street.pixels("other pixels"))

    assert (replaced.image_id, replaced.label_count) == (street.first.image_id, 0)
    assert replaced.sha256 != street.first.sha256
    assert (street.store.labels.label_map(street.first.image_id) == 255).all()
    with pytest.raises(ImageRefused, match="same pixels"):
        street.store.images.replace(street.first.image_id, street.pixels("pixels of second.png"))


def test_the_image_that_a_browser_showed_last_is_in_view_for_a_minute(street: Street, clock: Clock) -> None:
    images, project_id = street.store.images, street.project_id

    images.open_in_browser(project_id, street.first.image_id, new_uuid(), clock.now)
    images.open_in_browser(project_id, street.second.image_id, new_uuid(), clock.move(1))

    assert images.image_in_view(project_id, clock.move(59)) == street.second.image_id
    assert images.image_in_view(project_id, clock.move(2)) is None
    with pytest.raises(ImageNotFound):
        images.open_in_browser(project_id, new_uuid(), new_uuid(), clock.now)


def test_a_new_map_takes_the_place_of_the_old_one(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    images = street.store.images

    old = images.add_map(lease.job.job_id, lease.fence, street.map_of(street.first, confidence=0))
    upload = street.map_of(street.first, confidence=51)
    new = images.add_map(lease.job.job_id, lease.fence, upload)

    assert list(images.maps(street.first.image_id)) == [new]
    assert images.map_planes(street.first.image_id, new.map_id) == (upload.prediction, upload.confidence)
    assert images.get(street.first.image_id).uncertainty == pytest.approx(0.8)  # 1 - 51 / 255
    assert (new.model_version, new.stale) == (None, False)
    with pytest.raises(MapNotFound):
        images.map_planes(street.first.image_id, old.map_id)


def test_a_map_is_stale_once_labels_moved_on(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    street.store.images.add_map(lease.job.job_id, lease.fence, street.map_of(street.first))

    street.append(street.click(street.road, 1, 1))

    assert [found.stale for found in street.store.images.maps(street.first.image_id)] == [True]


def test_a_map_that_does_not_fit_its_image_is_refused(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    fits = street.map_of(street.first)
    blobs = street.store.blobs
    cases = [
        (ImageReplaced, {"image_sha256": "0" * 64}),
        (BlobNotFound, {"prediction": "0" * 64}),
        (BlobNotFound, {"confidence": "0" * 64}),
        (BlobDamaged, {"prediction": blobs.put_bytes(b"too short")}),
        (BlobDamaged, {"confidence": blobs.put_bytes(b"too short")}),
        (BlobDamaged, {"prediction": blobs.put_bytes(bytes([2]) * (WIDTH * HEIGHT))}),
        (ImageNotFound, {"image_id": Street(street.store, name="Other").first.image_id}),
    ]

    for error, change in cases:
        with pytest.raises(error):
            street.store.images.add_map(lease.job.job_id, lease.fence, fits.model_copy(update=change))

    assert list(street.store.images.maps(street.first.image_id)) == []


def test_images_that_come_after_a_version_are_drawn_by_it(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))
    drawing = street.claim(clock.now)
    street.store.jobs.finish(drawing.job.job_id, drawing.fence)

    street.add_image("late.png")
    street.add_image("later.png")

    jobs = street.store.jobs.list(street.project_id)
    assert [job.kind for job in jobs] == [JobKind.PREDICT, JobKind.PREDICT, JobKind.TRAIN]
    assert jobs[0].spec == drawing.job.spec

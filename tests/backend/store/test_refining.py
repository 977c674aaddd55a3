"""Refine jobs: what the fast head should learn and draw, and which of two maps stays."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Claim, Failure, FastMap, JobKind, JobState, Lease, NewTraining, RefineWork
from recolabel.contract.projects import ClassPatch, NewLabelClass, ProjectPatch, SettingsPatch
from recolabel.errors import (
    BadArgument,
    BlobDamaged,
    ClassNotFound,
    ImageNotFound,
    ImageReplaced,
    JobNotFound,
    LeaseLost,
    RecolabelError,
)
from recolabel.settings import Settings
from recolabel.store import Store, open_store
from recolabel.store.images import OPEN_FOR
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street, new_uuid

BOTH = [JobKind.TRAIN, JobKind.PREDICT]
PLANE = bytes(WIDTH * HEIGHT)


class Refiner:
    """The worker of a project's refine job, while somebody looks at the first image."""

    def __init__(self, street: Street, clock: Clock) -> None:
        self.street, self.store, self.clock = street, street.store, clock
        look_at(street, clock, street.first)
        self.store.refining.keep_fitted(street.project_id)
        lease = claim(self.store, clock, JobKind.REFINE)
        assert lease is not None
        self.lease = lease

    def ask(self, known: RefineWork | None = None) -> RefineWork:
        after, state = (0, None) if known is None else (known.label_seq, known.state)
        work, self.label_maps = self.store.refining.work(
            self.lease.job.job_id, self.lease.fence, after, state, self.clock.now
        )
        return work

    def fast_map(self, image: ImageInfo, work: RefineWork, sure: int = 200, **changes: Any) -> FastMap:
        """A map of one class and one confidence, fitted to what `work` describes."""
        fields = {
            "image_id": image.image_id,
            "image_sha256": image.sha256,
            "label_seq": work.label_seq,
            "label_count": work.label_count,
            "model_version": work.model_version,
            "class_uids": work.class_uids,
            "prediction": packed(PLANE),
            "confidence": packed(bytes([sure]) * len(PLANE)),
        }
        return FastMap.model_validate(fields | changes)

    def draw(self, image: ImageInfo, work: RefineWork, **changes: Any) -> str:
        """Hand a fast map in; says who drew the image's map from then on."""
        fast_map = self.fast_map(image, work, **changes)
        return self.store.refining.add_map(self.lease.job.job_id, self.lease.fence, fast_map).drawn_by


@pytest.fixture
def refiner(street: Street, clock: Clock) -> Refiner:
    """A claimed refine job, and somebody who looks at the first image."""
    return Refiner(street, clock)


def look_at(street: Street, clock: Clock, image: ImageInfo) -> None:
    street.store.images.open_in_browser(street.project_id, image.image_id, "tab", clock.now)


def packed(plane: bytes) -> bytes:
    return b64encode(zlib.compress(plane))


def claim(store: Store, clock: Clock, *kinds: JobKind) -> Lease | None:
    return store.jobs.claim(Claim(worker_id="w", contract_version=CONTRACT_VERSION, kinds=list(kinds)), clock.now)


def ids(images: Sequence[Any]) -> list[str]:
    return [image.image_id for image in images]


def train(street: Street, clock: Clock) -> int:
    """Publish a version of the labels of this moment; its drawing job waits."""
    street.store.jobs.start_training(street.project_id, NewTraining())
    lease = claim(street.store, clock, JobKind.TRAIN)
    assert lease is not None
    return street.publish(lease).version


def label_both(street: Street) -> None:
    street.append(street.click(street.road, 0, 0), street.click(street.car, 9, 9))


# --- the job ------------------------------------------------------------------------------------------------------


def test_who_looks_at_a_project_queues_one_refine_job_and_then_writes_nothing(street: Street) -> None:
    commits: list[None] = []
    street.store.on_commit(lambda: commits.append(None))

    said = [street.store.refining.keep_fitted(street.project_id) for _ in range(3)]

    assert (said, len(commits)) == ([True, False, False], 1)


def test_a_refine_job_goes_to_who_refines_and_to_nobody_else(street: Street, clock: Clock) -> None:
    street.store.refining.keep_fitted(street.project_id)
    training = street.start()

    first = [claim(street.store, clock, *kinds) for kinds in (BOTH, BOTH)]
    second = [claim(street.store, clock, JobKind.REFINE) for _ in range(2)]

    assert [lease and lease.job.job_id for lease in first] == [training.job_id, None]
    assert [lease and lease.job.kind for lease in second] == [JobKind.REFINE, None]


def test_people_do_not_see_refine_jobs_and_nothing_waits_for_them(street: Street, clock: Clock) -> None:
    # Given a project whose refine job runs, with labels
    before = street.store.updates.newest_id()
    refiner = Refiner(street, clock)
    street.store.jobs.renew(refiner.lease.job.job_id, refiner.lease.fence, None, clock.now)

    # Then nobody is told of it, rung for it, or shown it
    assert street.store.jobs.list(street.project_id) == []
    assert street.store.updates.since(None, before, 100) == []
    street.store.jobs.fail(refiner.lease.job.job_id, refiner.lease.fence, Failure(error="killed", retry=True))
    assert street.store.jobs.sweep(clock.now) == []

    # And trainings start, publish and draw beside it, which does not end it
    label_both(street)
    train(street, clock)
    assert [job.kind for job in street.store.jobs.list(street.project_id)] == [JobKind.PREDICT, JobKind.TRAIN]
    street.add_image("third.png")
    assert street.store.jobs.get(refiner.lease.job.job_id).state == JobState.QUEUED


def test_a_deleted_project_ends_its_refine_job(street: Street, refiner: Refiner) -> None:
    street.store.projects.delete(street.project_id)

    with pytest.raises(JobNotFound):
        refiner.ask()


def test_a_refine_job_that_ends_while_somebody_looks_again_is_followed_by_another(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    street.store.jobs.finish(refiner.lease.job.job_id, refiner.lease.fence)
    follower = claim(street.store, clock, JobKind.REFINE)
    assert follower is not None

    clock.move(OPEN_FOR.total_seconds() + 1)
    ended = street.store.jobs.finish(follower.job.job_id, follower.fence)

    assert ended.state == JobState.SUCCEEDED
    assert claim(street.store, clock, JobKind.REFINE) is None


def test_only_a_refine_job_may_ask_what_to_refine(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    with pytest.raises(BadArgument, match="Only a refine job"):
        street.store.refining.work(lease.job.job_id, lease.fence, 0, None, clock.now)


# --- what there is to learn ---------------------------------------------------------------------------------------


def test_a_new_worker_hears_of_every_label_and_then_of_each_change_once(street: Street, refiner: Refiner) -> None:
    # Given labels on both images
    label_both(street)
    car = street.click(street.car, 3, 2, street.second)
    street.append(car)

    # When the worker begins, when nothing happens, and when a label comes and another is taken back
    all_of_it = refiner.ask()
    again = refiner.ask(all_of_it)
    street.append(street.click(street.road, 5, 5), street.undo(car.event_id, image=street.second))
    news = refiner.ask(again)

    # Then it hears of all labels, of nothing, and of both images, of which one has nothing left
    assert [(each.image_id, each.labelled_pixels) for each in all_of_it.changed] == [
        (street.first.image_id, 2),
        (street.second.image_id, 1),
    ]
    assert (again.changed, again.gone, again.draw, again.state) == ([], [], [], all_of_it.state)
    assert [each.labelled_pixels for each in news.changed] == [3, 0]
    assert (news.label_seq, news.label_count, news.class_uids) == (5, 3, [street.road, street.car])
    assert refiner.label_maps[street.first.image_id][5, 5] == 0
    assert (refiner.label_maps[street.second.image_id] == 255).all()


def test_label_maps_come_along_where_few_images_changed(street: Street, refiner: Refiner) -> None:
    images = [street.add_image(f"{number}.png") for number in range(5)]
    street.append(*(street.click(street.road, 1, 1, image) for image in images))
    many = refiner.ask()
    maps_of_many = refiner.label_maps

    street.append(street.click(street.car, 2, 2, images[0]))
    refiner.ask(many)

    assert (len(many.changed), maps_of_many) == (5, {})
    assert list(refiner.label_maps) == [images[0].image_id]


def test_held_out_clicks_reach_no_fit(street: Street, refiner: Refiner) -> None:
    patch = ProjectPatch(settings=SettingsPatch(held_out_share=1.0))
    street.store.projects.patch(street.project_id, patch)
    street.append(street.click(street.road, 0, 0))
    street.append(street.click(street.road, 7, 7, asked="random"))

    work = refiner.ask()
    seen = street.store.jobs.label_map(
        refiner.lease.job.job_id, refiner.lease.fence, street.first.image_id, label_seq=work.label_seq
    )

    assert (work.changed[0].labelled_pixels, refiner.label_maps[street.first.image_id][7, 7]) == (1, 255)
    assert (seen != 255).sum() == 1
    assert (street.store.labels.label_map(street.first.image_id) != 255).sum() == 2


NEWS: list[tuple[str, Callable[[Street, Clock], object]]] = [
    ("a label", lambda street, _: street.append(street.click(street.car, 4, 4))),
    ("a class", lambda street, _: street.store.projects.add_class(street.project_id, NewLabelClass(name="sky"))),
    (
        "a retired class",
        lambda street, _: street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=True)),
    ),
    ("a version", train),
    ("an image", lambda street, _: street.add_image("new.png")),
    ("another image in view", lambda street, clock: look_at(street, clock, street.second)),
    ("nobody in view", lambda _, clock: clock.move(OPEN_FOR.total_seconds() + 1)),
]


@pytest.mark.parametrize(("remark", "happens"), NEWS, ids=[remark for remark, _ in NEWS])
def test_whatever_matters_is_news(
    street: Street, refiner: Refiner, clock: Clock, remark: str, happens: Callable[[Street, Clock], object]
) -> None:
    label_both(street)
    known = refiner.ask()

    happens(street, clock)

    news = refiner.ask(known)
    assert news.state != known.state, remark
    assert refiner.ask(news).state == news.state
    assert news.idle == (remark == "nobody in view")


def test_a_replaced_image_has_changed_and_a_removed_one_is_gone(street: Street, refiner: Refiner) -> None:
    label_both(street)
    street.append(street.click(street.car, 3, 2, street.second))
    known = refiner.ask()

    replaced = street.store.images.replace(street.first.image_id, street.pixels("other"))
    street.store.images.remove(street.second.image_id)

    news = refiner.ask(known)
    assert [(each.sha256, each.labelled_pixels) for each in news.changed] == [(replaced.sha256, 0)]
    assert news.gone == [street.second.image_id]
    assert refiner.ask(news).gone == []
    assert refiner.ask().gone == []  # a new worker knows no image that could be gone


def test_a_label_map_stays_as_it_was_asked_for_whatever_changes(street: Street, refiner: Refiner) -> None:
    # Given labels that a worker has heard of
    label_both(street)
    work = refiner.ask()
    job = (refiner.lease.job.job_id, refiner.lease.fence, street.first.image_id)

    # When more come, and a class is retired, before it asks for the label map
    street.append(street.click(street.car, 20, 20))
    street.store.projects.patch_class(street.project_id, street.road, ClassPatch(retired=True))
    asked = street.store.jobs.label_map(*job, label_seq=work.label_seq, class_uids=work.class_uids)
    now = street.store.jobs.label_map(*job, label_seq=work.label_seq + 1, class_uids=refiner.ask().class_uids)

    # Then the map is that of the work; with the classes of now the retired one says nothing
    assert (asked[0, 0], asked[9, 9], asked[20, 20]) == (0, 1, 255)
    assert (now[0, 0], now[9, 9], now[20, 20]) == (255, 0, 0)


def test_a_label_map_of_other_pixels_or_of_another_project_is_refused(street: Street, refiner: Refiner) -> None:
    job = (refiner.lease.job.job_id, refiner.lease.fence)
    elsewhere = Street(street.store, "Elsewhere")
    street.store.images.replace(street.first.image_id, street.pixels("other"))

    with pytest.raises(ImageReplaced):
        street.store.jobs.label_map(*job, street.first.image_id, image_sha256=street.first.sha256)
    with pytest.raises(ImageNotFound):
        street.store.jobs.label_map(*job, elsewhere.first.image_id)


# --- what there is to draw ----------------------------------------------------------------------------------------


def test_the_image_in_view_is_drawn_first_then_those_behind_it_then_the_most_uncertain(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given six images, of which the first was drawn with little confidence before more labels came
    label_both(street)
    images = [street.first, street.second, *(street.add_image(f"{number}.png") for number in range(4))]
    refiner.draw(images[0], refiner.ask(), sure=10)
    street.append(street.click(street.car, 4, 4))

    # When somebody looks at the second, and it is drawn
    look_at(street, clock, images[1])
    work = refiner.ask()
    refiner.draw(images[1], work)

    # Then the next work is the rest, until all are drawn
    assert ids(work.draw) == ids([images[1], *images[2:5], images[0]])
    rest = refiner.ask(work)
    assert ids(rest.draw) == ids([*images[2:5], images[0]])
    for image in (*images[2:5], images[0]):
        refiner.draw(image, rest)
    assert refiner.ask(rest).draw == []


def test_a_version_that_knows_all_labels_leaves_only_images_without_a_map(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given an image drawn by the fast head, and a version trained on the same labels
    label_both(street)
    refiner.draw(street.first, refiner.ask())
    train(street, clock)

    # Then the version draws that one; with one more label the fast head is asked again, on the version's features
    assert ids(refiner.ask().draw) == [street.second.image_id]
    street.append(street.click(street.car, 4, 4))
    work = refiner.ask()
    assert (ids(work.draw), work.model_version) == (ids([street.first, street.second]), 1)


def test_a_map_whose_planes_a_power_cut_took_is_drawn_again(street: Street, refiner: Refiner) -> None:
    label_both(street)
    refiner.draw(street.first, refiner.ask())
    [drawn] = street.store.images.maps(street.first.image_id)

    prediction, _ = street.store.images.map_planes(street.first.image_id, drawn.map_id)
    street.store.blobs.remove(prediction)

    assert ids(refiner.ask().draw)[0] == street.first.image_id


@pytest.mark.parametrize("left", [None, b"", bytes(WIDTH * HEIGHT - 1) + b"x"], ids=["gone", "empty", "overwritten"])
def test_a_store_that_opens_after_a_power_cut_forgets_maps_with_damaged_planes(
    street: Street, refiner: Refiner, settings: Settings, clock: Clock, left: bytes | None
) -> None:
    # Given two images drawn by the fast head, and a plane of one that never came to the disk
    label_both(street)
    work = refiner.ask()
    for image, sure in ((street.first, 10), (street.second, 20)):
        refiner.draw(image, work, sure=sure)
    [drawn] = street.store.images.maps(street.first.image_id)
    place = street.store.blobs.path(street.store.images.map_planes(street.first.image_id, drawn.map_id)[1])
    place.unlink()
    if left is not None:
        place.write_bytes(left)
    street.store.close()

    with open_store(settings, clock) as opened:
        assert opened.images.maps(street.first.image_id) == []
        assert len(opened.images.maps(street.second.image_id)) == 1


# --- which map stays ----------------------------------------------------------------------------------------------


def test_a_fast_map_is_told_of_whole(street: Street, refiner: Refiner) -> None:
    label_both(street)
    before = street.store.updates.newest_id()
    work = refiner.ask()

    refiner.draw(street.first, work, sure=204, timings_ms={"fit": 12.5})

    [told] = street.store.updates.since(street.project_id, before, 10)
    assert told.hint.kind == "map"
    drawn = told.hint.map
    assert (drawn.drawn_by, drawn.model_version, drawn.label_seq, drawn.label_count) == ("fast head", None, 2, 2)
    assert (drawn.timings_ms["fit"], sorted(drawn.timings_ms)) == (12.5, ["fit", "store"])
    assert (drawn.stale, drawn.class_uids) == (False, [street.road, street.car])
    assert street.store.images.get(street.first.image_id).uncertainty == pytest.approx(0.2)
    prediction, _ = street.store.images.map_planes(street.first.image_id, drawn.map_id)
    assert street.store.blobs.read_whole(prediction) == PLANE


def test_a_fast_map_of_older_labels_does_not_come_back(street: Street, refiner: Refiner) -> None:
    label_both(street)
    old = refiner.ask()
    street.append(street.click(street.car, 4, 4))
    new = refiner.ask()

    refiner.draw(street.first, new)
    refiner.draw(street.first, old)

    [drawn] = street.store.images.maps(street.first.image_id)
    assert drawn.label_seq == new.label_seq


def test_what_a_network_drew_of_the_same_labels_stays_and_of_older_ones_goes(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given an early look of a training at the first image
    label_both(street)
    street.store.jobs.start_training(street.project_id, NewTraining())
    training = claim(street.store, clock, JobKind.TRAIN)
    assert training is not None
    street.store.images.add_map(training.job.job_id, training.fence, street.map_of(street.first))
    assert refiner.draw(street.first, refiner.ask()) == "training"

    # And the map of the version
    street.publish(training)
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None
    street.store.images.add_map(drawing.job.job_id, drawing.fence, street.map_of(street.first))
    assert refiner.draw(street.first, refiner.ask()) == "version"

    # Then the fast head replaces it once it knows more
    street.append(street.click(street.car, 4, 4))
    assert refiner.draw(street.first, refiner.ask()) == "fast head"


def test_at_the_same_labels_a_version_that_is_not_worked_with_gives_way(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given two versions, and maps of the newer one
    label_both(street)
    first_version = train(street, clock)
    street.append(street.click(street.car, 4, 4))
    train(street, clock)
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None
    street.store.images.add_map(drawing.job.job_id, drawing.fence, street.map_of(street.first))

    # When a person goes back to the older one
    street.store.model_versions.pin(street.project_id, first_version)
    work = refiner.ask()

    # Then the fast head draws with it
    assert (work.model_version, ids(work.draw)[0]) == (first_version, street.first.image_id)
    assert refiner.draw(street.first, work) == "fast head"


def drawn_in_turn(street: Street, lease: Lease, clock: Clock) -> list[str]:
    """Let a predict job draw until the server has no more images for it."""
    drawn: list[str] = []
    job = (lease.job.job_id, lease.fence)
    images = {image.image_id: image for image in (street.first, street.second)}
    while (image_id := street.store.jobs.next_image(*job, clock.now).image_id) is not None:
        assert image_id not in drawn
        street.store.images.add_map(*job, street.map_of(images[image_id]))
        drawn.append(image_id)
    return drawn


def test_a_version_leaves_newer_fast_maps_on_its_features_and_draws_the_rest(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given a version whose maps are not drawn yet, when the fast head already knows more on its features
    label_both(street)
    train(street, clock)
    street.append(street.click(street.car, 4, 4))
    refiner.draw(street.second, refiner.ask())
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None

    # When the version draws, and one upload comes although it was not asked for
    drawn = drawn_in_turn(street, drawing, clock)
    late = street.store.images.add_map(drawing.job.job_id, drawing.fence, street.map_of(street.second))

    # Then the fast head's map stays, and the job is done
    assert (drawn, late.drawn_by) == ([street.first.image_id], "fast head")
    state = street.store.jobs.next_image(drawing.job.job_id, drawing.fence, clock.now)
    assert (state.done, state.total) == (2, 2)


def test_a_new_version_replaces_older_fast_maps_but_for_the_one_on_screen(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given fast maps of newer labels than the version that is published then, on features of before
    label_both(street)
    street.store.jobs.start_training(street.project_id, NewTraining())
    training = claim(street.store, clock, JobKind.TRAIN)
    assert training is not None
    street.append(street.click(street.car, 4, 4))
    work = refiner.ask()
    refiner.draw(street.first, work)
    refiner.draw(street.second, work)
    street.publish(training)

    # When the version draws, then what is in view waits for the fast head on its features
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None
    assert drawn_in_turn(street, drawing, clock) == [street.second.image_id]
    assert refiner.ask().draw[0].image_id == street.first.image_id


def test_going_back_to_a_version_shows_on_screen_also_where_no_fast_head_is_at_work(
    street: Street, refiner: Refiner, clock: Clock
) -> None:
    # Given a fast map on the newer of two versions in view, and a worker of the fast head that has gone since
    label_both(street)
    first_version = train(street, clock)
    street.append(street.click(street.car, 4, 4))
    train(street, clock)
    refiner.draw(street.first, refiner.ask())
    job = (refiner.lease.job.job_id, refiner.lease.fence)
    street.store.jobs.fail(*job, Failure(error="The worker is stopped.", retry=True))

    # When a person goes back
    street.store.model_versions.pin(street.project_id, first_version)
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None

    # Then that version draws what is in view as well
    assert drawn_in_turn(street, drawing, clock) == [street.first.image_id, street.second.image_id]
    [shown] = street.store.images.maps(street.first.image_id)
    assert (shown.drawn_by, shown.model_version) == ("version", first_version)


def test_a_predict_job_draws_over_fast_maps_of_the_same_labels(street: Street, refiner: Refiner, clock: Clock) -> None:
    label_both(street)
    work = refiner.ask()
    refiner.draw(street.first, work)
    train(street, clock)
    drawing = claim(street.store, clock, JobKind.PREDICT)
    assert drawing is not None

    assert drawn_in_turn(street, drawing, clock) == [street.first.image_id, street.second.image_id]


# --- what is refused ----------------------------------------------------------------------------------------------

BOMB = zlib.compress(bytes(50_000_000), 9)
REFUSED: list[tuple[str, dict[str, Any], type[RecolabelError]]] = [
    ("not packed", {"prediction": b64encode(b"raw")}, BlobDamaged),
    ("too short", {"prediction": packed(PLANE[1:])}, BlobDamaged),
    ("too long", {"confidence": packed(PLANE + b"x")}, BlobDamaged),
    ("cut off", {"confidence": b64encode(zlib.compress(PLANE)[:-4])}, BlobDamaged),
    ("a bomb", {"prediction": b64encode(BOMB)}, BlobDamaged),
    ("a class out of the list", {"prediction": packed(bytes([2]) * len(PLANE))}, BlobDamaged),
    ("no class", {"class_uids": []}, BlobDamaged),
    ("a class of nobody", {"class_uids": [new_uuid(), new_uuid()]}, ClassNotFound),
    ("labels to come", {"label_seq": 99}, BadArgument),
    ("an image of nobody", {"image_id": new_uuid()}, ImageNotFound),
    ("other pixels", {"image_sha256": "0" * 64}, ImageReplaced),
]


@pytest.mark.parametrize(("remark", "changes", "error"), REFUSED, ids=[remark for remark, _, _ in REFUSED])
def test_a_fast_map_that_cannot_be_is_refused(
    street: Street, refiner: Refiner, remark: str, changes: dict[str, Any], error: type[RecolabelError]
) -> None:
    label_both(street)

    with pytest.raises(error):
        refiner.draw(street.first, refiner.ask(), **changes)

    assert street.store.images.maps(street.first.image_id) == [], remark


def test_a_map_on_its_way_while_its_image_is_replaced_or_removed_is_refused(street: Street, refiner: Refiner) -> None:
    label_both(street)
    work = refiner.ask()

    street.store.images.replace(street.first.image_id, street.pixels("other"))
    street.store.images.remove(street.second.image_id)

    with pytest.raises(ImageReplaced):
        refiner.draw(street.first, work)
    with pytest.raises(ImageReplaced):  # also where the planes would have the new size only
        refiner.draw(street.first, work, prediction=packed(PLANE[1:]), confidence=packed(PLANE[1:]))
    with pytest.raises(ImageNotFound):
        refiner.draw(street.second, work)


def test_a_map_is_never_dated_before_the_one_that_it_replaces(street: Street, refiner: Refiner, clock: Clock) -> None:
    label_both(street)
    refiner.draw(street.first, refiner.ask())
    [first] = street.store.images.maps(street.first.image_id)

    clock.move(-30)
    street.append(street.click(street.car, 5, 5))
    refiner.draw(street.first, refiner.ask())

    [second] = street.store.images.maps(street.first.image_id)
    assert second.map_id != first.map_id
    assert second.created_at >= first.created_at


def test_a_map_of_a_class_that_was_retired_on_its_way_is_kept_and_drawn_anew(street: Street, refiner: Refiner) -> None:
    label_both(street)
    work = refiner.ask()

    street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=True))

    assert refiner.draw(street.first, work) == "fast head"
    assert refiner.ask().draw[0].image_id == street.first.image_id


def test_a_worker_that_lost_its_refine_job_can_hand_nothing_in(street: Street, refiner: Refiner, clock: Clock) -> None:
    label_both(street)
    work = refiner.ask()
    clock.move(60)
    street.store.jobs.sweep(clock.now)

    with pytest.raises(LeaseLost):
        refiner.draw(street.first, work)
    with pytest.raises(LeaseLost):
        refiner.ask(work)

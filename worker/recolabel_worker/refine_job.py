"""The standing job of a project that somebody looks at: after each label a refit, and a fresh map where they look.

Three threads share the work. The listener keeps one long question open, so that news is heard while the main thread
draws. The background thread makes features before they are needed, and gets the fast head of another version or class
list ready while the present one goes on answering. The main thread alone fits and draws.
"""

from __future__ import annotations

import base64
import logging
import math
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recolabel.contract.jobs import FastMap, Progress, RefineWork
from recolabel.contract.labels import SnapshotImage
from recolabel.errors import ServerRefused, ServerUnreachable
from recolabel_worker.devices import choose_device
from recolabel_worker.encoders import Encoder, FeatureStore, pretrained_encoder
from recolabel_worker.inputs import FileCache, fetch_label_map, fetch_pixels, open_cache
from recolabel_worker.job import NO_LONGER_OURS, Job, JobImpossible
from recolabel_worker.predict_job import load_version
from recolabel_worker.reco.features import FeatureCache, Features
from recolabel_worker.refiner import Drawing, Legs, Refiner
from recolabel_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

WATCHING = "waiting for clicks"
PREPARING = "looking at the labelled images"

_GONE = {"image_not_found", "image_replaced", "unknown_image"}
_CROSSING_SECONDS = 2.0  # an image is not drawn again that soon at one log position
_REFUSED_SECONDS = 60.0  # a version or class list that could not be made ready is tried again that late
_STOP_SECONDS = 0.5  # how soon the wish to stop is noticed while nothing else happens
_LEAST_ROUND_SECONDS = 0.1  # of the listener, when answers hold nothing new
_PACKING = 1  # of zlib: the fastest; the server is most often on this machine


def run(job: Job) -> None:
    """Answer labels with maps until nobody looks at the project any more, or somebody wishes to stop."""
    sources = _Sources(job, _open_store(job.settings), open_cache(job))
    refining = _Refining(job, sources)
    try:
        refining.run()
    finally:
        refining.close()
    job.ask(lambda client, job_id, fence: client.finish(job_id, fence))


def warm_up(settings: WorkerSettings) -> None:
    """Build the pretrained network before the first job: the first click of a project does not wait for it then."""
    _encoders.setdefault("", pretrained_encoder(choose_device(settings.device)))


# --- what is kept between the jobs of this process ------------------------------------------------------------

_encoders: dict[str, Encoder] = {}
"""By the id of their model version: the pretrained one under "", and the last version's."""

_stores: list[FeatureStore] = []


def _open_store(settings: WorkerSettings) -> FeatureStore:
    if not _stores:
        disk = FileCache(settings.cache / "features", settings.features_bytes)
        disk.trim()
        _stores.append(FeatureStore(FeatureCache(settings.feature_memory_bytes), disk))
    return _stores[0]


def _encoder_of(job: Job, version: int | None) -> Encoder:
    if version is None:
        warm_up(job.settings)
        return _encoders[""]
    found = job.ask(lambda client, *_: client.model_version(job.lease.job.project_id, version))
    if found.model_version_id not in _encoders:
        model = load_version(job, found.model_version_id, version)
        for other in [name for name in _encoders if name]:
            del _encoders[other]
        _encoders[found.model_version_id] = Encoder(model.network, found.class_uids)
    return _encoders[found.model_version_id]


class _Sources:
    """Where features come from."""

    def __init__(self, job: Job, store: FeatureStore, images: FileCache) -> None:
        self._job = job
        self._store = store
        self._images = images

    def has(self, encoder: Encoder, image: SnapshotImage) -> bool:
        """Whether the features need no pass through the network."""
        return self._store.has(encoder, image)

    def features(self, encoder: Encoder, image: SnapshotImage) -> Features | None:
        """Features in any case; None when the image was removed or replaced meanwhile."""
        features = self._store.find(encoder, image)
        if features is None:
            pixels = fetch_pixels(self._job, self._images, image)
            if pixels is None:
                return None
            features = encoder.extract(pixels)
            self._store.keep(encoder, image, features)
        return features


# --- what happens ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Heard:
    """An answer of the server, and when it came."""

    work: RefineWork
    at: float
    is_whole: bool  # asked from position 0: `changed` is every labelled image


@dataclass
class _Preparation:
    """Another version or class list, for which a fast head is made ready."""

    model_version: int | None
    class_uids: tuple[str, ...]
    whole: RefineWork | None  # with every labelled image; asked for when it is not at hand
    is_cancelled: bool = False
    later: dict[str, SnapshotImage] = field(default_factory=dict)  # changed since; by image_id
    gone_later: set[str] = field(default_factory=set)

    @property
    def key(self) -> tuple[int | None, tuple[str, ...]]:
        return self.model_version, self.class_uids


@dataclass(frozen=True)
class _Prepared:
    preparation: _Preparation
    refiner: Refiner


@dataclass(frozen=True)
class _Unprepared:
    preparation: _Preparation
    error: Exception


@dataclass(frozen=True)
class _Fetched:
    """Features that were missed are there."""


@dataclass(frozen=True)
class _Broken:
    """The listener cannot go on."""

    error: Exception


_Event = _Heard | _Prepared | _Unprepared | _Fetched | _Broken
_Tell = Callable[[_Event], None]


class _Listener:
    """Asks for work without pause, in a thread of its own."""

    def __init__(self, job: Job, tell: _Tell) -> None:
        self._job = job
        self._tell = tell
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refine-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End with the question that is open; nobody waits for it."""
        self._closed.set()

    def _run(self) -> None:
        after, state, seconds = 0, None, 0.0
        try:
            while not self._closed.is_set():
                began = time.monotonic()
                work = self._ask(after, state, seconds)
                now = time.monotonic()
                is_new = work.state != state
                self._tell(_Heard(work, now, is_whole=state is None))
                after, state, seconds = work.label_seq, work.state, self._job.settings.wait_seconds
                if not is_new and now - began < _LEAST_ROUND_SECONDS:
                    self._closed.wait(_LEAST_ROUND_SECONDS)
        except Exception as error:
            if not self._closed.is_set():
                self._tell(_Broken(error))

    def _ask(self, after: int, state: str | None, seconds: float) -> RefineWork:
        return self._job.ask(
            lambda client, job_id, fence: client.refine_work(
                job_id, fence, after=after, state=state, wait_seconds=seconds
            )
        )


class _Background:
    """Makes features ahead of time, and the fast heads of other versions and class lists, in a thread of its own."""

    def __init__(self, job: Job, sources: _Sources, tell: _Tell) -> None:
        self._job = job
        self._sources = sources
        self._tell = tell
        self._wanted: Sequence[SnapshotImage] = ()
        self._encoder: Encoder | None = None
        self._preparation: _Preparation | None = None
        self._hopeless: set[tuple[str, str]] = set()
        self._bell = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refine-background", daemon=True)
        self._thread.start()

    def use(self, encoder: Encoder) -> None:
        """Features are to be made by this one."""
        self._encoder = encoder
        self._bell.set()

    def want(self, images: Sequence[SnapshotImage]) -> None:
        """These will have to be drawn, the first one first."""
        self._wanted = images
        self._bell.set()

    def prepare(self, preparation: _Preparation) -> None:
        """Make a fast head ready; a preparation that goes on is given up."""
        self.give_up()
        self._preparation = preparation
        self._bell.set()

    def give_up(self) -> None:
        """Forget the preparation that goes on, if any."""
        if self._preparation is not None:
            self._preparation.is_cancelled = True
            self._preparation = None

    def close(self) -> None:
        """End, and wait for the image that is in work: the way to the server is closed behind this."""
        self.give_up()
        self._closed.set()
        self._bell.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        begun: _Preparation | None = None
        while not self._closed.is_set():
            self._bell.clear()
            preparation = self._preparation
            if preparation is not None and preparation is not begun:
                begun = preparation
                self._prepare(preparation)
            elif self._encoder is None or not self._fetch_one(self._encoder, self._wanted):
                self._bell.wait()

    def _prepare(self, preparation: _Preparation) -> None:
        try:
            refiner = self._prepared(preparation)
        except Exception as error:
            if not preparation.is_cancelled:
                self._tell(_Unprepared(preparation, error))
            return
        if refiner is not None:
            self._tell(_Prepared(preparation, refiner))

    def _prepared(self, preparation: _Preparation) -> Refiner | None:
        """The fast head of a preparation; None once that is cancelled."""
        job = self._job
        encoder = _encoder_of(job, preparation.model_version)
        self._fetch_one(encoder, self._wanted[:1])
        refiner = Refiner(encoder, preparation.class_uids, preparation.model_version)
        whole = preparation.whole
        if whole is None:
            whole = job.ask(lambda client, job_id, fence: client.refine_work(job_id, fence))
        labelled = [image for image in whole.changed if image.labelled_pixels]
        for number, image in enumerate(labelled):
            if preparation.is_cancelled:
                return None
            job.report(Progress(stage=PREPARING, done=number, total=len(labelled)))
            for each in (self._encoder, encoder):
                if each is not None:
                    self._fetch_one(each, self._wanted[:1])
            _learn(job, self._sources, refiner, image, whole.label_seq, Legs())
        for image in self._wanted:
            _see(self._sources, refiner, image)
        if refiner.can_fit:
            refiner.fit()
        return None if preparation.is_cancelled else refiner

    def _fetch_one(self, encoder: Encoder, images: Sequence[SnapshotImage]) -> bool:
        """Make the first features that are missing; False when none are."""
        for image in images:
            key = encoder.name, image.sha256
            if key in self._hopeless or self._sources.has(encoder, image):
                continue
            try:
                if self._sources.features(encoder, image) is None:
                    self._hopeless.add(key)
            except Exception as error:
                self._hopeless.add(key)
                if not self._closed.is_set():
                    logger.warning("Features of image %s cannot be made ahead: %s", image.image_id, error)
            else:
                self._tell(_Fetched())
            return True
        return False


# --- the main thread ------------------------------------------------------------------------------------------


class _RefitFailed(Exception):
    """One refit is lost; the message is for people."""


class _Refining:
    """One refine job."""

    def __init__(self, job: Job, sources: _Sources) -> None:
        self._job = job
        self._sources = sources
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._refiner: Refiner | None = None
        self._preparation: _Preparation | None = None
        self._refused: tuple[int | None, tuple[str, ...]] | None = None
        self._refused_at = 0.0
        self._work: RefineWork | None = None
        self._heard_at = 0.0
        self._unlearnt: dict[str, SnapshotImage] = {}
        self._failed: dict[str, SnapshotImage] = {}  # could not be learnt; tried again with the next news
        self._to_draw: list[SnapshotImage] = []
        self._unseen: list[SnapshotImage] = []
        self._drawn: dict[tuple[str, str], float] = {}
        self._legs = Legs()
        self._stage = ""
        self._rest = WATCHING  # what people are told while all is well
        self._background = _Background(job, sources, self._events.put)
        self._listener = _Listener(job, self._events.put)

    def close(self) -> None:
        """End both threads."""
        self._listener.close()
        self._background.close()

    def run(self) -> None:
        """Hear, learn, fit, draw; in this order, and whatever was heard meanwhile comes before the next image."""
        self._say(self._rest)
        while not self._job.stop.is_set():
            event = self._next_event(wait=not self._could_draw())
            while event is not None:
                if not self._take(event):
                    return
                event = self._next_event(wait=False)
            try:
                self._learn_and_fit()
                self._draw_one()
                self._see_one()
            except _RefitFailed as error:
                self._to_draw = []
                self._say(str(error))

    def _next_event(self, *, wait: bool) -> _Event | None:
        try:
            return self._events.get(block=wait, timeout=_STOP_SECONDS)
        except queue.Empty:
            return None

    def _take(self, event: _Event) -> bool:
        """Note what happened; False when nobody looks at the project any more."""
        match event:
            case _Heard():
                if event.work.idle:
                    return False
                self._hear(event)
            case _Prepared():
                self._change_over(event)
            case _Unprepared():
                self._stay(event)
            case _Broken():
                raise event.error
            case _Fetched():
                pass
        return True

    # --- hearing ----------------------------------------------------------------------------------------------

    def _hear(self, heard: _Heard) -> None:
        work = heard.work
        is_new = self._work is None or work.state != self._work.state
        if self._work is None or work.label_seq != self._work.label_seq:
            self._drawn.clear()
            self._legs = Legs()
            self._heard_at = heard.at
        self._work = work
        changed = {image.image_id: image for image in work.changed}
        for image_id in work.gone:
            self._unlearnt.pop(image_id, None)
            self._failed.pop(image_id, None)
            if self._refiner is not None:
                self._refiner.forget(image_id)
        self._unlearnt = (self._failed if is_new else {}) | self._unlearnt | changed
        if self._preparation is not None:
            self._preparation.later |= changed
            self._preparation.gone_later |= set(work.gone)
        if is_new:
            # An answer that crossed with a map still asks for it.
            self._to_draw = [
                image
                for image in work.draw
                if self._drawn.get((image.image_id, image.sha256), -math.inf) < heard.at - _CROSSING_SECONDS
            ]
            self._unseen = list(work.draw)
            self._background.want(work.draw)
        self._prepare_for(work, work if heard.is_whole else None)

    def _prepare_for(self, work: RefineWork, whole: RefineWork | None) -> None:
        """See to it that there will be a fast head for the version and the classes that there are now."""
        key = work.model_version, tuple(work.class_uids)
        if time.monotonic() - self._refused_at > _REFUSED_SECONDS:
            self._refused = None  # memory may have been short, or a disk full
        if key != self._refused:
            self._rest = WATCHING
        if self._refiner is not None and key == _key(self._refiner):
            self._background.give_up()
            self._preparation = None
        elif key != self._refused and work.class_uids and (self._preparation is None or self._preparation.key != key):
            self._preparation = _Preparation(*key, whole=whole)
            self._background.prepare(self._preparation)

    def _change_over(self, prepared: _Prepared) -> None:
        """From now on the new head answers; what changed while it was made ready is learnt next."""
        preparation = prepared.preparation
        if preparation is not self._preparation:
            return
        self._preparation = None
        self._refiner = prepared.refiner
        self._background.use(prepared.refiner.encoder)
        self._unlearnt = dict(preparation.later)
        self._failed.clear()
        for image_id in preparation.gone_later:
            self._refiner.forget(image_id)
        self._drawn.clear()
        if self._work is not None and not self._to_draw:
            self._to_draw = list(self._work.draw)
        self._stage = ""
        self._say(self._rest)

    def _stay(self, unprepared: _Unprepared) -> None:
        if _ends_the_job(unprepared.error):
            raise unprepared.error
        if unprepared.preparation is not self._preparation:
            return
        logger.error("The fast head cannot be made ready.", exc_info=unprepared.error)
        self._refused, self._refused_at = unprepared.preparation.key, time.monotonic()
        self._preparation = None
        version, class_uids = unprepared.preparation.key
        of_what = "the pretrained network" if version is None else f"version {version}"
        self._rest = f"The fast head cannot work with {of_what}: {_reason(unprepared.error)}"
        self._say(self._rest)
        if self._refiner is None and version is not None:
            self._preparation = _Preparation(None, class_uids, whole=None)
            self._background.prepare(self._preparation)

    # --- answering --------------------------------------------------------------------------------------------

    def _learn_and_fit(self) -> None:
        refiner, work = self._refiner, self._work
        if refiner is None or work is None:
            return
        if self._heard_at:
            self._legs.add("bell", time.monotonic() - self._heard_at)
            self._heard_at = 0.0
        failure: Exception | None = None
        for image_id, image in list(self._unlearnt.items()):
            del self._unlearnt[image_id]
            try:
                _learn(self._job, self._sources, refiner, image, work.label_seq, self._legs)
                self._failed.pop(image_id, None)
            except Exception as error:
                passing = _passing(error)
                # One image that cannot be learnt at all must not keep the others from being answered.
                failure = failure if image_id in self._failed else passing
                self._failed[image_id] = image
        if refiner.is_behind:
            try:
                with self._legs.measure("fit"):
                    refiner.fit()
            except Exception as error:
                failure = _passing(error)
        if failure is not None:
            raise _RefitFailed(f"The last labels did not reach the picture, the next will: {_reason(failure)}")

    def _could_draw(self) -> bool:
        """Whether there is an image that can be drawn without a wait for anything."""
        refiner = self._refiner
        if refiner is None or not refiner.can_draw:
            return False
        return any(self._sources.has(refiner.encoder, image) for image in self._to_draw)

    def _draw_one(self) -> None:
        """Draw the image in view, or else the next one whose features are at hand."""
        refiner, work = self._refiner, self._work
        if refiner is None or work is None or not refiner.can_draw:
            return
        for image in self._to_draw:
            if not self._sources.has(refiner.encoder, image):
                continue
            self._to_draw.remove(image)
            try:
                with self._legs.measure("features"):
                    features = self._sources.features(refiner.encoder, image)
                if features is not None:
                    self._upload(refiner, work, image, refiner.draw(image, features, self._legs))
                    self._drawn[image.image_id, image.sha256] = time.monotonic()
            except Exception as error:
                failure = _passing(error)
                raise _RefitFailed(
                    f"The picture could not be redrawn, the old one stays: {_reason(failure)}"
                ) from error
            self._legs = Legs()
            self._say(self._rest)
            return

    def _see_one(self) -> None:
        """While nothing is to be drawn, look at an image that may be drawn next."""
        refiner = self._refiner
        if refiner is None or self._could_draw() or not self._events.empty():
            return
        for image in self._unseen:
            if not refiner.has_seen(image) and self._sources.has(refiner.encoder, image):
                try:
                    _see(self._sources, refiner, image)
                except Exception as error:
                    _passing(error)
                    self._unseen.remove(image)
                return

    def _upload(self, refiner: Refiner, work: RefineWork, image: SnapshotImage, drawing: Drawing) -> None:
        with self._legs.measure("pack"):
            prediction, confidence = (
                base64.b64encode(zlib.compress(plane.tobytes(), _PACKING))
                for plane in (drawing.prediction, drawing.confidence)
            )
        fast_map = FastMap(
            image_id=image.image_id,
            image_sha256=image.sha256,
            label_seq=work.label_seq,
            label_count=work.label_count,
            model_version=refiner.model_version,
            class_uids=list(refiner.class_uids),
            prediction=prediction,
            confidence=confidence,
            candidates=list(drawing.candidates),
            timings_ms=self._legs.timings_ms,
        )
        try:
            self._job.ask(lambda client, job_id, fence: client.add_fast_map(job_id, fence, fast_map))
        except ServerRefused as refusal:
            if refusal.problem_code not in _GONE:
                raise

    def _say(self, stage: str) -> None:
        """Tell people, if it is not what they were told last."""
        if stage != self._stage:
            self._stage = stage
            self._job.report(Progress(stage=stage[:200]))


def _learn(job: Job, sources: _Sources, refiner: Refiner, image: SnapshotImage, label_seq: int, legs: Legs) -> None:
    """Bring what the fast head knows of an image to a log position; an image that is gone is left out."""
    try:
        with legs.measure("labels"):
            label_map = fetch_label_map(job, image, label_seq=label_seq, class_uids=refiner.class_uids)
    except ServerRefused as refusal:
        if refusal.problem_code not in _GONE:
            raise
        refiner.forget(image.image_id)
        return
    with legs.measure("features"):
        features = sources.features(refiner.encoder, image)
    if features is None:
        refiner.forget(image.image_id)
        return
    with legs.measure("learn"):
        refiner.learn(image, features, label_map)


def _see(sources: _Sources, refiner: Refiner, image: SnapshotImage) -> None:
    """Let the fast head look at an image whose features are at hand."""
    if not refiner.has_seen(image) and sources.has(refiner.encoder, image):
        features = sources.features(refiner.encoder, image)
        if features is not None:
            refiner.see(image, features)


def _key(refiner: Refiner) -> tuple[int | None, tuple[str, ...]]:
    return refiner.model_version, refiner.class_uids


def _ends_the_job(error: Exception) -> bool:
    if isinstance(error, ServerRefused):
        return error.problem_code in NO_LONGER_OURS
    return isinstance(error, ServerUnreachable | JobImpossible)


def _passing(error: Exception) -> Exception:
    """The error again, after a line in the log, when it costs one refit; raised when it ends the job."""
    if _ends_the_job(error):
        raise error
    logger.error("A refit failed.", exc_info=error)
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "there is too little memory."
    return str(error).strip().split("\n")[0] or type(error).__name__

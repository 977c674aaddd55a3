"""Trains a model version: fast head first, early maps while it runs, checkpoints, the better network published."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from safetensors.torch import load as tensors_from_bytes

from recolabel.code_version import code_version
from recolabel.contract import jobs
from recolabel.contract.jobs import JobInputs, JobSpec, Progress, TrainSpec
from recolabel.contract.labels import SnapshotImage
from recolabel.contract.model_versions import MODEL_FILE, Metrics, Publication
from recolabel.contract.projects import Project
from recolabel_worker import outputs
from recolabel_worker.devices import choose_device
from recolabel_worker.drawing import draw
from recolabel_worker.inputs import Pixels, fetch_label_map, fetch_pixels, open_cache, shuffled, within_memory
from recolabel_worker.job import Job, JobImpossible
from recolabel_worker.model_files import (
    Machine,
    ModelClass,
    TrainedOn,
    describe,
    machine_of,
    this_machine,
    write_model,
    write_weights,
)
from recolabel_worker.reco import (
    Choice,
    DeepLabV3Plus,
    InvalidArgument,
    NonFiniteLoss,
    SparseImage,
    TrainConfig,
    TrainState,
    build_network,
    checkpoint,
    create_state,
    fit_fast_head,
    train,
)
from recolabel_worker.reco.config import SIDE_MULTIPLE, VOID, steps_for
from recolabel_worker.reco.network import load_warm

logger = logging.getLogger(__name__)

_STOPPED = "The repetition was stopped, so nothing can be said about the bits."
_CLASSES_NEEDED = 2
_MOST_UNLABELLED = 48
"""Unlabelled images of one training: its preparation looks at each, and a short run draws few."""

_COST_FACTOR = 10.0
"""Maps and checkpoints may take a tenth of the time, however slow the disk or large the image."""

_FALLBACK_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#ffe119", "#f58231", "#911eb4", "#46f0f0", "#f032e6")


@dataclass(frozen=True)
class _Picture:
    """An image of the snapshot with what the training needs of it."""

    image: SnapshotImage
    pixels: Pixels
    label_map: Pixels | None

    @property
    def sparse(self) -> SparseImage:
        return SparseImage(self.pixels, self.label_map)


def run(job: Job) -> None:
    """Train to the end, or to the wish to stop, and publish what is there.

    A job that repeats a version trains what that one was trained on, as far as that one came, and tells the sum of the
    bits; it draws nothing on the way.

    Raises:
        JobImpossible: the labels do not suffice, or the training went wrong in a way that another attempt repeats.
    """
    began = time.monotonic()
    job.report(Progress(stage="fetching labels and images"))
    inputs = job.ask(lambda client, job_id, fence: client.inputs(job_id, fence))
    try:
        with tempfile.TemporaryDirectory(prefix="recolabel-training-") as folder:
            training = _Training(job, inputs, Path(folder))
            with training.threads():
                training.prepare()
                training.run()
                training.hand_in(time.monotonic() - began)
    except (NonFiniteLoss, InvalidArgument) as error:
        raise JobImpossible(str(error)) from error


class _Training:
    """One training from inputs to publication; `prepare`, `run` and `hand_in` are called in this order."""

    cfg: TrainConfig
    pictures: list[_Picture]
    state: TrainState

    def __init__(self, job: Job, inputs: JobInputs, folder: Path) -> None:
        self.job = job
        self.inputs = inputs
        self.snapshot = inputs.snapshot
        self.folder = folder
        self.repeated = inputs.reproduction
        self._machine = Machine() if self.repeated is None else machine_of(self.repeated.config)
        self.device = choose_device(self._machine.device or job.settings.device)
        self._cache = open_cache(job)
        self._map_pace = _Pace(job.settings.map_seconds)
        self._checkpoint_pace = _Pace(job.settings.checkpoint_seconds)

    @contextlib.contextmanager
    def threads(self) -> Iterator[None]:
        """As many threads as the training that is repeated had: sums of floats depend on how they are shared out."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._machine.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    # --- prepare ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Fetch what is needed; stand at the last checkpoint, or else at the fast head's solution."""
        images = self._images()
        labelled = self._fetch([image for image in images if image.labelled_pixels])
        _check_labels(labelled)
        if self.repeated is None:
            self.cfg = _config(self.job.lease.job.spec, len(self.snapshot.class_uids), labelled)
        else:
            self.cfg = _config_of(self.repeated.config)
        network = None
        if self.job.lease.checkpoint is None and self.repeated is None:
            network = self._network()
            self._look_at_once(copy.deepcopy(network), labelled)
        self.pictures = [*labelled, *self._fetch(self._unlabelled(images))]
        self.state = self._restored() or self._fresh(network or self._network())

    def _images(self) -> list[SnapshotImage]:
        """The images that may take part; in a repeated training those that took part, in the same order."""
        if self.repeated is None or not self.repeated.images:
            return list(self.snapshot.images)
        present = {(image.image_id, image.sha256): image for image in self.snapshot.images}
        found = [present.get((image.image_id, image.sha256)) for image in self.repeated.images]
        return [image for image in found if image is not None]

    def _fetch(self, images: Sequence[SnapshotImage]) -> list[_Picture]:
        found: list[_Picture] = []
        is_chosen = self.repeated is not None and bool(self.repeated.images)
        for image in images if is_chosen else within_memory(images, self.job.settings.training_bytes):
            self._heed_the_wish_to_stop()
            pixels = fetch_pixels(self.job, self._cache, image)
            if pixels is None:
                logger.warning("Image %s was removed or replaced; it is left out.", image.image_id)
                continue
            label_map = fetch_label_map(self.job, image) if image.labelled_pixels else None
            found.append(_Picture(image, pixels, label_map))
        return found

    def _heed_the_wish_to_stop(self) -> None:
        """End here while there is nothing to keep; a training with a checkpoint goes on to publish that."""
        if not self.job.stop.is_set():
            return
        if self.repeated is not None:
            raise JobImpossible(_STOPPED)
        if self.job.lease.checkpoint is None:
            raise JobImpossible("The training was stopped before there was anything to keep.")
        self.job.wind_up()

    def _unlabelled(self, images: Sequence[SnapshotImage]) -> list[SnapshotImage]:
        """The images without labels that take part: no more than the steps will look at."""
        if not self.cfg.uses_unlabelled:
            return []
        unlabelled = [image for image in images if not image.labelled_pixels]
        if self.repeated is not None and self.repeated.images:
            return unlabelled
        return shuffled(unlabelled, self.cfg.seed)[: min(_MOST_UNLABELLED, self.cfg.steps * self.cfg.batch_unlabelled)]

    def _look_at_once(self, network: DeepLabV3Plus, labelled: Sequence[_Picture]) -> None:
        """Draw the open image with a head that saw the labelled images only: seconds after the job has begun."""
        self._report("fitting the fast head")
        network.start_from(fit_fast_head(network, [picture.sparse for picture in labelled], self.cfg))
        self._map_pace.take(lambda: self._draw_open_image(network.eval(), step=0))

    def _network(self) -> DeepLabV3Plus:
        """The network before any fast head: pretrained, or the version that the job starts from."""
        sha256 = self.inputs.warm_start_model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.cfg.seed)
            network = build_network(
                self.cfg.num_classes, **self.cfg.architecture, pretrained=None if sha256 is None else False
            )
        if sha256 is not None:
            content = self.job.ask(lambda client, job_id, fence: client.get_blob(job_id, fence, sha256))
            earlier = {uid: index for index, uid in enumerate(self.inputs.warm_start_class_uids)}
            load_warm(network, tensors_from_bytes(content), [earlier.get(uid) for uid in self.snapshot.class_uids])
        return network.to(self.device)

    def _restored(self) -> TrainState | None:
        """The state of the job's last checkpoint; None when there is none that fits, and the training starts anew."""
        sha256 = self.job.lease.checkpoint
        if sha256 is None:
            return None
        content = self.job.ask(lambda client, job_id, fence: client.get_blob(job_id, fence, sha256))
        file = self.folder / "resume.safetensors"
        file.write_bytes(content)
        try:
            if hashlib.sha256(content).hexdigest() != sha256:
                raise checkpoint.DamagedCheckpoint("Its bytes are not those that were uploaded.")
            return checkpoint.load_file(file, [picture.sparse for picture in self.pictures], device=self.device)
        except (checkpoint.DamagedCheckpoint, InvalidArgument) as error:
            logger.warning("The training starts anew, its checkpoint cannot be used: %s", error)
            return None
        finally:
            file.unlink()

    def _fresh(self, network: DeepLabV3Plus) -> TrainState:
        self._heed_the_wish_to_stop()
        self._report("fitting the fast head")
        images = [picture.sparse for picture in self.pictures]
        return create_state(self.cfg, images, network=network, device=self.device)

    # --- run --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until all steps are done or somebody wishes to stop."""
        job, state, steps = self.job, self.state, self._steps
        self._report("training", done=state.step)
        if job.stop.is_set():
            self._wind_up()
            return
        seconds = _RunningMean()
        # The generator makes a step when it is asked for one: a repeated training must not make one too many.
        for report in itertools.islice(train(state), max(0, steps - state.step)):
            eta = seconds.after(report.seconds) * (steps - report.step)
            losses = jobs.Losses(**asdict(report.losses))
            stage = self._stage("training")
            job.report(Progress(done=report.step, total=steps, stage=stage, losses=losses, eta_seconds=eta))
            if job.stop.is_set():
                self._wind_up()
                return
            if report.step < steps:
                self._checkpoint_pace.take_if_due(self._save_checkpoint)
                if self.repeated is None:
                    self._map_pace.take_if_due(lambda: self._draw_open_image(state.teacher, step=state.step))

    def _wind_up(self) -> None:
        if self.repeated is not None:
            raise JobImpossible(_STOPPED)
        self.job.wind_up()

    def _save_checkpoint(self) -> None:
        file = checkpoint.save(self.state, self.folder / "checkpoints")
        outputs.put_checkpoint(self.job, file, self.state.step)

    def _draw_open_image(self, network: DeepLabV3Plus, *, step: int) -> None:
        opened = self.job.ask(lambda client, job_id, fence: client.open_image(job_id, fence)).image_id
        image = next((image for image in self.snapshot.images if image.image_id == opened), None)
        if image is None:
            return
        pixels = fetch_pixels(self.job, self._cache, image)
        if pixels is None:
            return
        label_map = fetch_label_map(self.job, image) if image.labelled_pixels else None
        draw(self.job, image, pixels, network, self.snapshot.class_uids, step=step, label_map=label_map)

    # --- publish ----------------------------------------------------------------------------------------------

    def hand_in(self, seconds: float) -> None:
        """Choose between teacher and fast head; publish it, or tell the sum of its bits."""
        if self.repeated is None:
            self._publish(seconds)
            return
        self._report("comparing the bits", done=self.state.step)
        file = self.folder / MODEL_FILE
        write_weights(file, self.state.choose().network)
        report = jobs.ReproductionReport(sha256=hashlib.sha256(file.read_bytes()).hexdigest())
        self.job.ask(lambda client, job_id, fence: client.reproduced(job_id, fence, report))

    def _publish(self, seconds: float) -> None:
        job, state = self.job, self.state
        self._report("choosing and publishing", done=state.step)
        project = job.ask(lambda client, *_: client.project(self.snapshot.project_id))
        choice = state.choose()
        metrics = _metrics(choice, steps=state.step, seconds=seconds)
        spec = job.lease.job.spec
        parent = spec.warm_start_version if isinstance(spec, TrainSpec) else None
        config = describe(
            self._classes(project),
            choice.network,
            TrainedOn(
                project_name=project.name,
                label_seq=self.snapshot.label_seq,
                labelled_pixels=sum(image.labelled_pixels for image in self.snapshot.images),
                image_count=len(self.snapshot.images),
                labelled_image_count=sum(picture.label_map is not None for picture in self.pictures),
                training=json.loads(json.dumps(state.cfg.to_dict())),
                metrics=metrics,
                parent=parent,
                machine=this_machine(self.device),
            ),
        )
        artifacts = self.folder / "artifacts"
        artifacts.mkdir()
        write_model(artifacts, choice.network, config)
        outputs.publish(
            job,
            artifacts,
            Publication(
                class_uids=self.snapshot.class_uids,
                parent=parent,
                config=config,
                metrics=metrics,
                code_version=code_version(),
                artifacts={},
                images=[
                    jobs.TrainedImage(image_id=picture.image.image_id, sha256=picture.image.sha256)
                    for picture in self.pictures
                ],
            ),
        )

    def _classes(self, project: Project) -> list[ModelClass]:
        colours = {label_class.class_uid: label_class.colour for label_class in project.classes}
        return [
            ModelClass(
                index=index,
                class_uid=uid,
                name=name,
                colour=colours.get(uid, _FALLBACK_COLOURS[index % len(_FALLBACK_COLOURS)]),
            )
            for index, (uid, name) in enumerate(zip(self.snapshot.class_uids, self.snapshot.class_names, strict=True))
        ]

    def _report(self, stage: str, *, done: int = 0) -> None:
        self.job.report(Progress(done=done, total=self._steps, stage=self._stage(stage)))

    def _stage(self, stage: str) -> str:
        return stage if self.repeated is None else f"repeating version {self.repeated.version}: {stage}"

    @property
    def _steps(self) -> int:
        """Where the training ends; the learning rates follow `cfg.steps`, wherever a person stopped it."""
        return self.cfg.steps if self.repeated is None else self.repeated.steps


def _check_labels(labelled: Sequence[_Picture]) -> None:
    values: set[int] = set()
    for picture in labelled:
        if picture.label_map is not None:
            values |= set(np.unique(picture.label_map).tolist())
    if len([value for value in values if value < VOID]) < _CLASSES_NEEDED:
        raise JobImpossible(
            "Training needs labels of at least two classes. Click at least one pixel of two classes, then train again."
        )


def _config(spec: JobSpec, num_classes: int, labelled: Sequence[_Picture]) -> TrainConfig:
    """The engine's defaults, what the person asked for, and views no larger than the labelled images."""
    assert isinstance(spec, TrainSpec)
    defaults = TrainConfig(num_classes)
    height = max(picture.image.height for picture in labelled)
    width = max(picture.image.width for picture in labelled)
    return replace(
        defaults,
        steps=steps_for(len(labelled)) if spec.steps is None else spec.steps,
        method=spec.method,
        use_reco=spec.use_reco,
        seed=spec.seed,
        crop=(min(defaults.crop[0], _whole_cells(height)), min(defaults.crop[1], _whole_cells(width))),
    )


def _config_of(config: Mapping[str, JsonValue]) -> TrainConfig:
    """What a version was trained with."""
    training = config.get("training")
    if not isinstance(training, dict):
        raise JobImpossible("This version does not say how it was trained, so it cannot be repeated.")
    return TrainConfig.from_dict(training)


def _whole_cells(side: int) -> int:
    return side + -side % SIDE_MULTIPLE


def _metrics(choice: Choice, *, steps: int, seconds: float) -> Metrics:
    is_deep = choice.source != "fast head"
    right = choice.teacher_right if is_deep else choice.fast_head_right
    return Metrics(
        steps=steps,
        seconds=seconds,
        held_out_pixels=choice.judged_labels if choice.held_out else 0,
        accuracy=min(1.0, right) if choice.held_out else None,
        chosen="deep" if is_deep else "fast head",
    )


class _RunningMean:
    """Seconds a step takes, the last steps counting most: the first ones are slower and other programs come and go."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def after(self, seconds: float) -> float:
        """The mean with this step in it."""
        self._mean = seconds if self._mean is None else self._mean + 0.2 * (seconds - self._mean)
        return self._mean


class _Pace:
    """When something is due again: after a pause, and never more than a tenth of the time in all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due_at = time.monotonic() + seconds

    def take_if_due(self, act: Callable[[], None]) -> None:
        """Do it if it is due."""
        if time.monotonic() >= self._due_at:
            self.take(act)

    def take(self, act: Callable[[], None]) -> None:
        """Do it now."""
        began = time.monotonic()
        act()
        ended = time.monotonic()
        self._due_at = ended + max(self._seconds, _COST_FACTOR * (ended - began))

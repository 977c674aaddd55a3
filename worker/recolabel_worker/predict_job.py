"""Draws maps with a published model version: the image that a person looks at first, then the rest."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from recolabel.contract.jobs import PredictSpec, Progress
from recolabel.contract.labels import SnapshotImage
from recolabel.contract.model_versions import CONFIG_FILE, MODEL_FILE, ModelVersion
from recolabel.errors import ServerRefused
from recolabel_worker.devices import choose_device
from recolabel_worker.drawing import draw
from recolabel_worker.inputs import FileCache, fetch_pixels, open_cache
from recolabel_worker.job import Job
from recolabel_worker.model_files import LoadedModel, load_model

logger = logging.getLogger(__name__)

_newest: dict[str, LoadedModel] = {}
"""The last model version of this process by its id: the next job most often draws with the same."""


def run(job: Job) -> None:
    """Draw until the server has no more images for this job."""
    spec = job.lease.job.spec
    assert isinstance(spec, PredictSpec)
    job.report(Progress(stage="loading the model"))
    version = job.ask(lambda client, *_: client.model_version(job.lease.job.project_id, spec.model_version))
    model = load_version(job, version.model_version_id, spec.model_version)
    cache = open_cache(job)
    undrawable: set[str] = set()

    while not job.stop.is_set():
        following = job.ask(lambda client, job_id, fence: client.next_image(job_id, fence))
        job.report(Progress(done=following.done, total=following.total, stage="drawing"))
        if following.image_id is None or following.image_id in undrawable:
            break
        if not _draw(job, cache, following.image_id, model, version):
            logger.warning("Image %s was removed or replaced; it is left out.", following.image_id)
            undrawable.add(following.image_id)
    job.ask(lambda client, job_id, fence: client.finish(job_id, fence))


def _draw(job: Job, cache: FileCache, image_id: str, model: LoadedModel, version: ModelVersion) -> bool:
    try:
        info = job.ask(lambda client, *_: client.image(image_id))
    except ServerRefused as refusal:
        if refusal.problem_code == "image_not_found":
            return False
        raise
    image = SnapshotImage(
        image_id=image_id,
        sha256=info.sha256,
        name=info.name,
        width=info.width,
        height=info.height,
        labelled_pixels=0,
    )
    pixels = fetch_pixels(job, cache, image)
    return pixels is not None and draw(
        job, image, pixels, model.network, version.class_uids, step=version.metrics.steps
    )


def load_version(job: Job, model_version_id: str, version: int) -> LoadedModel:
    """The network of a version of the job's project, as long as it is the last one that was asked for.

    Raises:
        ModelUnusable: its files are damaged.
    """
    if model_version_id not in _newest:
        with tempfile.TemporaryDirectory(prefix="recolabel-model-") as name:
            folder = Path(name)
            for file in (MODEL_FILE, CONFIG_FILE):
                job.ask(
                    lambda client, *_, file=file: client.artifact(
                        job.lease.job.project_id, version, file, folder / file
                    )
                )
            model = load_model(folder, choose_device(job.settings.device))
        _newest.clear()
        _newest[model_version_id] = model
    return _newest[model_version_id]

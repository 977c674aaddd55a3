"""Typed HTTP client: one method a route. Used by the worker, the command line, notebooks and tests.

Every method raises `ServerUnreachable` when nobody answers (nothing is known about the request then; all
requests but `create_project` and `add_class` may be sent again) and `ServerRefused` when the server says no.
"""

from __future__ import annotations

import hashlib
import json
import os
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.evaluation import Evaluation, GroundTruthReply
from recolabel.contract.images import ImageInfo, ImageMap, ImagePage, UploadResult
from recolabel.contract.jobs import (
    CheckpointReport,
    Claim,
    Failure,
    FastMap,
    Job,
    JobInputs,
    JobKind,
    Lease,
    MapUpload,
    NewTraining,
    NextImage,
    OpenImage,
    Progress,
    RefineWork,
    Renewal,
    RenewalReply,
    ReproductionReport,
)
from recolabel.contract.labels import ImageLabels, LabelAcks, LabelBatch, LabelEvent, StoredEvent
from recolabel.contract.model_versions import ModelVersion, Publication, ReproductionStart, VersionMapReply
from recolabel.contract.projects import (
    ClassPatch,
    LabelClass,
    NewLabelClass,
    NewProject,
    Project,
    ProjectPatch,
    VersionPin,
)
from recolabel.contract.questions import QuestionPage, SkippedQuestion
from recolabel.contract.updates import Update
from recolabel.contract.users import User
from recolabel.errors import ServerRefused, ServerUnreachable

FENCE_HEADER = "X-Recolabel-Fence"

_Type = TypeVar("_Type")
_Model = TypeVar("_Model", bound=BaseModel)

# The server closes idle connections after 5 s; a client that lets go earlier never sends into a closing one.
_LIMITS = httpx2.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=2.0)
_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_TIMEOUT = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
_CHUNK = 1024 * 1024


class Client:
    """A connection to one server. May be shared by threads; close it, or use it in a `with` block."""

    def __init__(self, url: str, token: str, *, transport: httpx2.BaseTransport | None = None) -> None:
        """
        Args:
            url: address of the server without a path, e.g. `http://127.0.0.1:8737`.
            token: the text of the data folder's token file.
            transport: takes the place of the network, e.g. an in-process app in tests.
        """
        self.url = url.rstrip("/")
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT,
                limits=_LIMITS,
                transport=transport,
                trust_env=False,  # a token must not travel through a proxy that happens to be set
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise ServerUnreachable(f"{url!r} is not the address of a server: {error}.") from error
        weakref.finalize(self, self._http.close)  # a client that is dropped without `close` leaves nothing open

    @classmethod
    def from_data_dir(cls, data_dir: Path) -> Self:
        """Connect to the server that works in a data folder; file names as in `recolabel.settings`.

        Raises:
            ServerUnreachable: no server has left its address there, or its token cannot be read.
        """
        try:
            url = str(json.loads((data_dir / "server.json").read_text(encoding="utf-8"))["url"])
            token = (data_dir / "token").read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            raise ServerUnreachable(f"No server runs in {data_dir}.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ServerUnreachable(f"The address or the token in {data_dir} cannot be read: {error}.") from error
        return cls(url, token)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- server -----------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether the server answers and can work. Raises nothing."""
        try:
            return self._http.get("/healthz", timeout=5.0).status_code == 200
        except httpx2.TransportError:
            return False

    def me(self) -> User:
        """The person behind the token."""
        return self._get("/users/me", User)

    # --- projects and classes ---------------------------------------------------------------------------------

    def projects(self) -> list[Project]:
        """All projects."""
        return self._get_list("/projects", Project)

    def project(self, project_id: str) -> Project:
        """One project."""
        return self._get(f"/projects/{project_id}", Project)

    def create_project(self, new: NewProject) -> Project:
        """Make a project with its classes."""
        return self._send("POST", "/projects", new, Project)

    def patch_project(self, project_id: str, patch: ProjectPatch) -> Project:
        """Change name or settings; fields that are not set stay."""
        return self._send("PATCH", f"/projects/{project_id}", patch, Project)

    def delete_project(self, project_id: str) -> None:
        """Put a project away. Its log stays on disk."""
        self._request("DELETE", f"/projects/{project_id}")

    def add_class(self, project_id: str, new: NewLabelClass) -> LabelClass:
        """Add a class at the end of the list."""
        return self._send("POST", f"/projects/{project_id}/classes", new, LabelClass)

    def patch_class(self, project_id: str, class_uid: str, patch: ClassPatch) -> LabelClass:
        """Rename, recolour or retire a class; fields that are not set stay."""
        return self._send("PATCH", f"/projects/{project_id}/classes/{class_uid}", patch, LabelClass)

    # --- images -----------------------------------------------------------------------------------------------

    def add_image(self, project_id: str, name: str, content: bytes | Path) -> UploadResult:
        """Upload one file; a path is streamed. The same pixels twice are one image."""
        response = self._upload("PUT", f"/projects/{project_id}/images", content, params={"name": name})
        return self._read(UploadResult, response.content)

    def images(self, project_id: str, *, after: int | None = None, limit: int = 500) -> ImagePage:
        """A window of the images in order of import; `after` is the `next_after` of the page before."""
        return self._get(f"/projects/{project_id}/images", ImagePage, after=after, limit=limit)

    def all_images(self, project_id: str) -> Iterator[ImageInfo]:
        """Every image in order of import, fetched page by page."""
        after: int | None = None
        while True:
            page = self.images(project_id, after=after)
            yield from page.images
            if page.next_after is None:
                return
            after = page.next_after

    def image(self, image_id: str) -> ImageInfo:
        """One image."""
        return self._get(f"/images/{image_id}", ImageInfo)

    def remove_image(self, image_id: str) -> None:
        """Put an image away. Its labels stay in the log."""
        self._request("DELETE", f"/images/{image_id}")

    def replace_image(self, image_id: str, content: bytes | Path) -> ImageInfo:
        """Give an image other pixels. Labels of the old pixels no longer hold."""
        return self._read(ImageInfo, self._upload("PUT", f"/images/{image_id}/file", content).content)

    def image_file(self, image_id: str) -> bytes:
        """The canonical pixels as JPEG, PNG or WebP: what the browser draws and the worker trains on."""
        return self._get_bytes(f"/images/{image_id}/file")

    def image_original(self, image_id: str) -> bytes:
        """The file as it was uploaded."""
        return self._get_bytes(f"/images/{image_id}/original")

    def image_thumbnail(self, image_id: str) -> bytes:
        """A JPEG of at most 256 pixels a side."""
        return self._get_bytes(f"/images/{image_id}/thumbnail")

    def image_label_map(self, image_id: str) -> bytes:
        """Indexed PNG of the labels that hold now: class index, 254 void, 255 unlabelled."""
        return self._get_bytes(f"/images/{image_id}/label-map")

    def open_in_browser(self, project_id: str, image_id: str, client_id: str) -> None:
        """Say which image a person looks at; the worker draws that one first."""
        body = json.dumps({"image_id": image_id, "client_id": client_id}).encode()
        self._request("PUT", f"/projects/{project_id}/open-image", content=body)

    def maps(self, image_id: str) -> list[ImageMap]:
        """The predictions for an image, newest first."""
        return self._get_list(f"/images/{image_id}/maps", ImageMap)

    def map_prediction(self, image_id: str, map_id: str) -> bytes:
        """height * width class indices, row by row."""
        return self._get_bytes(f"/images/{image_id}/maps/{map_id}/prediction")

    def map_confidence(self, image_id: str, map_id: str) -> bytes:
        """height * width bytes, round(255 * confidence), row by row."""
        return self._get_bytes(f"/images/{image_id}/maps/{map_id}/confidence")

    # --- labels and questions ---------------------------------------------------------------------------------

    def append_labels(self, project_id: str, events: Sequence[LabelEvent]) -> LabelAcks:
        """Append 1 to 256 events. Acknowledged means on disk; sending an event again stores it once."""
        return self._send("POST", f"/projects/{project_id}/labels", LabelBatch(events=list(events)), LabelAcks)

    def image_labels(self, image_id: str, *, after: int | None = None) -> ImageLabels:
        """The log of one image, oldest first."""
        return self._get(f"/images/{image_id}/labels", ImageLabels, after=after)

    def label_log(self, project_id: str, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """A window of the project's log, oldest first; `after` is the seq of the last event seen."""
        return self._get_list(f"/projects/{project_id}/labels", StoredEvent, after=after, limit=limit)

    def questions(
        self, project_id: str, *, limit: int = 20, image_id: str | None = None, exclude: Sequence[str] = ()
    ) -> QuestionPage:
        """The pixels to ask about next; those of the given image come first.

        Args:
            exclude: question_ids that are being answered; they count as asked.
        """
        return self._get(
            f"/projects/{project_id}/questions", QuestionPage, limit=limit, image_id=image_id, exclude=list(exclude)
        )

    def skip_question(self, project_id: str, question_id: str, skipped: SkippedQuestion) -> None:
        """Keep that nobody can tell; the pixel is not asked about again."""
        self._request("POST", f"/projects/{project_id}/questions/{question_id}/skip", content=_json(skipped))

    def take_back_skip(self, project_id: str, question_id: str) -> None:
        """The question may be asked again."""
        self._request("DELETE", f"/projects/{project_id}/questions/{question_id}/skip")

    # --- jobs and model versions ------------------------------------------------------------------------------

    def jobs(self, project_id: str, *, limit: int = 50) -> list[Job]:
        """The project's jobs, newest first."""
        return self._get_list(f"/projects/{project_id}/jobs", Job, limit=limit)

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._get(f"/jobs/{job_id}", Job)

    def start_training(self, project_id: str, new: NewTraining) -> tuple[Job, bool]:
        """Start a training, or find the one that is active: (job, whether it is new)."""
        response = self._request("POST", f"/projects/{project_id}/jobs", content=_json(new))
        return self._read(Job, response.content), response.status_code == 201

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop."""
        return self._read(Job, self._request("POST", f"/jobs/{job_id}/cancel").content)

    def model_versions(self, project_id: str) -> list[ModelVersion]:
        """The project's trained networks, newest first."""
        return self._get_list(f"/projects/{project_id}/model-versions", ModelVersion)

    def model_version(self, project_id: str, version: int) -> ModelVersion:
        """One trained network."""
        return self._get(f"/projects/{project_id}/model-versions/{version}", ModelVersion)

    def pin_version(self, project_id: str, version: int | None) -> Project:
        """Work with a version instead of the newest; None: with the newest again."""
        return self._send("PUT", f"/projects/{project_id}/pinned-version", VersionPin(version=version), Project)

    def reproduce(self, project_id: str, version: int) -> ReproductionStart:
        """Run the training of a version once more; the job's `reproduced` says in the end whether the bits agree."""
        answer = self._request("POST", f"/projects/{project_id}/model-versions/{version}/reproductions")
        return self._read(ReproductionStart, answer.content)

    def evaluation(self, project_id: str) -> Evaluation:
        """How good each version is, with intervals, and where labels help most."""
        return self._get(f"/projects/{project_id}/evaluation", Evaluation)

    def put_ground_truth(self, image_id: str, mask: bytes) -> GroundTruthReply:
        """Give an image its true mask: height * width class indices, 254 void, 255 unknown. It is never a label."""
        packed = zlib.compress(mask)
        return self._read(GroundTruthReply, self._upload("PUT", f"/images/{image_id}/ground-truth", packed).content)

    def version_maps(self, image_id: str) -> list[ImageMap]:
        """What single versions drew of an image on request, newest version first."""
        return self._get_list(f"/images/{image_id}/version-maps", ImageMap)

    def ask_for_version_map(self, image_id: str, version: int) -> VersionMapReply:
        """The image as a version sees it, or the job that draws it."""
        answer = self._request("POST", f"/images/{image_id}/version-maps/{version}")
        return self._read(VersionMapReply, answer.content)

    def version_map_prediction(self, image_id: str, version: int) -> bytes:
        """height * width class indices, row by row."""
        return self._get_bytes(f"/images/{image_id}/version-maps/{version}/prediction")

    def artifact(self, project_id: str, version: int, name: str, target: Path) -> int:
        """Write a file of a model version to `target`; gives its size in bytes."""
        return self._download(f"/projects/{project_id}/model-versions/{version}/artifacts/{name}", target)

    def export(self, project_id: str, *, format: str, content: str, target: Path) -> int:
        """Write an export to `target`: a ZIP for `indexed-png`, JSON lines for `jsonl`; gives its size in bytes."""
        return self._download(f"/projects/{project_id}/export", target, format=format, content=content)

    # --- updates ----------------------------------------------------------------------------------------------

    def updates(self, project_id: str, *, after: int | None = None) -> Iterator[Update]:
        """Hints as they come, for as long as the server lives; without `after` from now on.

        The iterator ends when the server closes the stream; pass the last `update_id` as `after` to go on.
        """
        request = self._http.build_request(
            "GET",
            "/api/v1/updates",
            params=_without_none({"project_id": project_id, "after": after}),
            headers={"Accept": "text/event-stream"},
        )
        with self._streaming(request) as response:
            for line in response.iter_lines():
                field, _, value = line.partition(":")
                if field == "data" and value:
                    yield self._read(Update, value)

    # --- the worker's door ------------------------------------------------------------------------------------

    def claim(
        self,
        worker_id: str,
        job_id: str | None = None,
        *,
        kinds: Sequence[JobKind] = (JobKind.TRAIN, JobKind.PREDICT),
        wait_seconds: float = 0.0,
    ) -> Lease | None:
        """Ask for the oldest job that waits. None when there is nothing to do.

        Args:
            job_id: which bell woke us.
            kinds: what we do.
            wait_seconds: how long the server may wait for a job to come, 0..30.
        """
        claim = Claim(
            worker_id=worker_id,
            contract_version=CONTRACT_VERSION,
            job_id=job_id,
            kinds=list(kinds),
            wait_seconds=wait_seconds,
        )
        response = self._request("POST", "/leases", content=_json(claim), wait_seconds=wait_seconds)
        return None if response.status_code == 204 else self._read(Lease, response.content)

    def renew(self, job_id: str, fence: int, progress: Progress | None = None) -> RenewalReply:
        """Keep a lease and say how far the job is.

        Raises:
            ServerRefused: `problem_code` is `lease_lost` when the job went to another; stop working on it.
        """
        return self._send("POST", f"/leases/{job_id}/renew", Renewal(progress=progress), RenewalReply, fence)

    def inputs(self, job_id: str, fence: int) -> JobInputs:
        """What the job works on."""
        return self._read(JobInputs, self._request("GET", f"/leases/{job_id}/inputs", fence=fence).content)

    def label_map(
        self,
        job_id: str,
        fence: int,
        image_id: str,
        *,
        label_seq: int | None = None,
        class_uids: Sequence[str] | None = None,
        image_sha256: str | None = None,
    ) -> bytes:
        """PNG of an image's labels at the job's log position; values are class indices of its snapshot.

        Args:
            label_seq: another log position; for refine jobs, that of the RefineWork.
            class_uids: class index -> class, as in the RefineWork; a class that is not among them says nothing.
            image_sha256: of the pixels that are expected.

        Raises:
            ServerRefused: `problem_code` is `image_not_found` or `image_replaced` when the image changed meanwhile.
        """
        params = {"label_seq": label_seq, "class_uid": class_uids, "image_sha256": image_sha256}
        return self._request("GET", f"/leases/{job_id}/label-maps/{image_id}", params=params, fence=fence).content

    def refine_work(
        self, job_id: str, fence: int, *, after: int = 0, state: str | None = None, wait_seconds: float = 0.0
    ) -> RefineWork:
        """What the fast head should learn and draw: at once if that is new to us, else when it changes or time is up.

        Args:
            after: `label_seq` of the answer before; 0 for all labels, also when its class list was another.
            state: `state` of the answer before. When the new answer has the same, nothing is new.
            wait_seconds: how long the server may wait for something new, 0..30.
        """
        response = self._request(
            "GET",
            f"/leases/{job_id}/refine-work",
            params={"after": after, "state": state, "wait_seconds": wait_seconds},
            fence=fence,
            wait_seconds=wait_seconds,
        )
        return self._read(RefineWork, response.content)

    def add_fast_map(self, job_id: str, fence: int, fast_map: FastMap) -> ImageMap:
        """Publish a map by the fast head; gives the image's map from now on, which may be a better one of before.

        Raises:
            ServerRefused: `problem_code` is `image_not_found` or `image_replaced` when the image changed meanwhile.
        """
        return self._send("POST", f"/leases/{job_id}/fast-maps", fast_map, ImageMap, fence)

    def put_blob(self, job_id: str, fence: int, content: bytes | Path) -> str:
        """Upload a file of the job and give its sha256. A path is streamed."""
        sha256 = _sha256(content)
        self._upload("PUT", f"/leases/{job_id}/blobs/{sha256}", content, fence=fence)
        return sha256

    def get_blob(self, job_id: str, fence: int, sha256: str) -> bytes:
        """A file of the job, e.g. its checkpoint."""
        return self._request("GET", f"/leases/{job_id}/blobs/{sha256}", fence=fence).content

    def record_checkpoint(self, job_id: str, fence: int, report: CheckpointReport) -> None:
        """Name the uploaded file that the job can resume from."""
        self._request("POST", f"/leases/{job_id}/checkpoints", content=_json(report), fence=fence)

    def open_image(self, job_id: str, fence: int) -> OpenImage:
        """The image of the job's project that a person looks at."""
        return self._read(OpenImage, self._request("GET", f"/leases/{job_id}/open-image", fence=fence).content)

    def next_image(self, job_id: str, fence: int) -> NextImage:
        """The image that a predict job should draw next."""
        return self._read(NextImage, self._request("POST", f"/leases/{job_id}/next-image", fence=fence).content)

    def add_map(self, job_id: str, fence: int, upload: MapUpload) -> ImageMap:
        """Publish a prediction for one image; its planes are uploaded with `put_blob` before."""
        return self._send("POST", f"/leases/{job_id}/maps", upload, ImageMap, fence)

    def publish(self, job_id: str, fence: int, publication: Publication) -> ModelVersion:
        """Hand in a trained network and end the job."""
        return self._send("POST", f"/leases/{job_id}/publish", publication, ModelVersion, fence)

    def finish(self, job_id: str, fence: int) -> Job:
        """End a predict or refine job."""
        return self._read(Job, self._request("POST", f"/leases/{job_id}/finish", fence=fence).content)

    def reproduced(self, job_id: str, fence: int, report: ReproductionReport) -> Job:
        """End a training that repeats a version, with the sum of what it gave."""
        return self._send("POST", f"/leases/{job_id}/reproduced", report, Job, fence)

    def fail(self, job_id: str, fence: int, failure: Failure) -> Job:
        """Give a job back undone; with `retry` it is queued again while attempts are left."""
        return self._send("POST", f"/leases/{job_id}/fail", failure, Job, fence)

    # --- how all of them speak --------------------------------------------------------------------------------

    def _read(self, kind: type[_Model], content: bytes | str) -> _Model:
        with self._expecting_ours():
            return kind.model_validate_json(content)

    @contextmanager
    def _expecting_ours(self) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            raise ServerUnreachable(
                f"What answers at {self.url} is not a ReCoLabel server, or it is one of another version."
            ) from error

    def _get(self, path: str, kind: type[_Model], **params: object) -> _Model:
        return self._read(kind, self._request("GET", path, params=params).content)

    def _get_list(self, path: str, kind: type[_Model], **params: object) -> list[_Model]:
        adapter: TypeAdapter[list[_Model]] = TypeAdapter(list[kind])  # type: ignore[valid-type]
        content = self._request("GET", path, params=params).content
        with self._expecting_ours():
            return adapter.validate_json(content)

    def _get_bytes(self, path: str) -> bytes:
        return self._request("GET", path).content

    def _send(self, method: str, path: str, body: BaseModel, kind: type[_Model], fence: int | None = None) -> _Model:
        return self._read(kind, self._request(method, path, content=_json(body), fence=fence).content)

    def _upload(
        self, method: str, path: str, content: bytes | Path, *, params: dict[str, str] | None = None, fence: int = 0
    ) -> httpx2.Response:
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(content, bytes):
            return self._request(method, path, params=params, content=content, headers=headers, fence=fence or None)
        size = content.stat().st_size
        headers["Content-Length"] = str(size)  # or the body would go out in chunks of unknown total
        return self._request(
            method, path, params=params, content=_pieces(content), headers=headers, fence=fence or None
        )

    def _download(self, path: str, target: Path, **params: object) -> int:
        """Write an answer to a file that appears only when it is whole."""
        request = self._http.build_request("GET", f"/api/v1{path}", params=_without_none(params))
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        size = 0
        try:
            with self._streaming(request) as response, partial.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK):
                    size += file.write(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return size

    @contextmanager
    def _streaming(self, request: httpx2.Request) -> Iterator[httpx2.Response]:
        response = self._reach(lambda: self._http.send(request, stream=True))
        try:
            if not response.is_success:
                self._reach(response.read)
                raise _refusal(response)
            yield response
        except httpx2.TransportError as error:
            raise ServerUnreachable(
                f"The connection to {self.url} broke off: {error or type(error).__name__}."
            ) from error
        finally:
            response.close()

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        content: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        fence: int | None = None,
        wait_seconds: float = 0.0,
    ) -> httpx2.Response:
        sent = {"Content-Type": "application/json"} if content is not None else {}
        sent |= headers or {}
        if fence is not None:
            sent[FENCE_HEADER] = str(fence)
        response = self._reach(
            lambda: self._http.request(
                method,
                f"/api/v1{path}",
                params=_without_none(params or {}),
                content=content,
                headers=sent,
                timeout=httpx2.Timeout(_ANSWER_SECONDS + wait_seconds, connect=_CONNECT_SECONDS),
            )
        )
        if not response.is_success:
            raise _refusal(response)
        return response

    def _reach(self, send: Callable[[], _Type]) -> _Type:
        try:
            return send()
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise ServerUnreachable(f"No server answers at {self.url}: {error or type(error).__name__}.") from error


def _json(body: BaseModel) -> bytes:
    # Only what was set: in a patch, "not said" and "null" are different things.
    return body.model_dump_json(exclude_unset=type(body) in (ProjectPatch, ClassPatch)).encode()


def _without_none(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refusal(response: httpx2.Response) -> ServerRefused:
    """The server's own sentence out of its problem document, or a plain one when it sent something else."""
    sentence, code = "", ""
    try:
        problem = response.json()
        sentence = str(problem.get("detail") or problem.get("title") or "")
        code = str(problem.get("code") or "")
    except (ValueError, AttributeError):
        pass
    if not sentence:
        sentence = f"The server answered {response.status_code} {response.reason_phrase} without a reason."
    return ServerRefused(sentence, status=response.status_code, problem_code=code)

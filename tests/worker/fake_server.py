"""The worker's door of a server, small enough to be told how to misbehave."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from recolabel.contract.jobs import Job, JobKind, JobState, Lease, Progress, TrainSpec


def new_lease() -> Lease:
    job = Job(
        job_id=str(uuid.uuid4()),
        project_id=str(uuid.uuid4()),
        kind=JobKind.TRAIN,
        state=JobState.LEASED,
        spec=TrainSpec(),
        label_seq=1,
        attempt=1,
        progress=Progress(),
        cancel_requested=False,
        model_version=None,
        error=None,
        created_at=datetime.now(UTC),
        finished_at=None,
    )
    return Lease(job=job, fence=1, lease_seconds=30.0, checkpoint=None)


class FakeServer:
    """Hands out `leases` in their order; remembers renewals and failures."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.claims: list[dict[str, Any]] = []
        self.renewals: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.cancel_requested = False
        self.lease_lost = False
        self.silent = False
        self.told = threading.Condition()
        server = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = (503, b"{}") if server.silent else server.answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.told:
            self.told.notify_all()
            verb = path.rsplit("/", 1)[1]
            if verb == "leases":
                self.claims.append(body)
                named = [lease for lease in self.leases if body["job_id"] in (None, lease.job.job_id)]
                if not named:
                    return 204, b""
                self.leases.remove(named[0])
                return 200, named[0].model_dump_json().encode()
            if self.lease_lost:
                return 409, json.dumps({"code": "lease_lost", "detail": "The lease is lost."}).encode()
            if verb == "renew":
                self.renewals.append(body)
                return 200, json.dumps({"cancel_requested": self.cancel_requested, "lease_seconds": 30.0}).encode()
            assert verb == "fail"
            self.failures.append(body)
            return 200, new_lease().job.model_dump_json().encode()

    def wait_for(self, condition: Any, seconds: float = 20.0) -> None:
        with self.told:
            assert self.told.wait_for(condition, timeout=seconds), "the worker did not say what was waited for"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

"""First in line: who is asked (Host), who asks (Origin, token), how much is sent - before any of it is read.

Knows nothing of projects or labels. Every answer leaves with the security headers, those of refusals too.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from urllib.parse import parse_qs

import structlog
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recolabel import errors
from recolabel.api.login import Login
from recolabel.api.problems import problem, problem_of
from recolabel.settings import Settings

_log = structlog.get_logger(__name__)

_FILE_BODIES = re.compile(
    r"/api/v1/(projects/[^/]+/images|images/[^/]+/(?:file|ground-truth)|leases/[^/]+/blobs/[^/]+)"
)
_READS = ("GET", "HEAD")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),  # what may be kept says so itself
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)

_NOT_LET_IN_STYLE = """
:root { color-scheme: light dark }
body { max-width: 34rem; margin: 15vh auto 0; padding: 0 1.5rem; font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.35rem }
"""
_NOT_LET_IN = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>ReCoLabel: wrong token</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_NOT_LET_IN_STYLE}</style>
<h1>This address does not open this server</h1>
<p>The token in the address is wrong: it belongs to another data folder, or was cut off while copying.
<p>Nothing was changed. Open the whole address that <code>recolabel up</code> printed when it started.
</html>
"""
_NOT_LET_IN_HEADERS = {
    "Cache-Control": "no-store",
    # The page stands alone, with no login to fetch a style sheet: its own style is let in by its hash.
    "Content-Security-Policy": CONTENT_SECURITY_POLICY.replace(
        "style-src 'self'", f"style-src 'sha256-{b64encode(sha256(_NOT_LET_IN_STYLE.encode()).digest()).decode()}'"
    ),
}


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, settings: Settings, login: Login) -> None:
        self._app = app
        self._settings = settings
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        guarded_send = _with_security_headers(send)
        answer = self._refusal(scope) or self._log_in(scope)
        if answer is not None:
            await answer(scope, receive, guarded_send)
            return
        limited = _LimitedBody(receive, guarded_send, self._body_limit(scope))
        try:
            await self._app(scope, limited.receive, limited.send)
        except Exception:
            if not limited.exceeded:  # else: the reader's cry about the connection that we ended ourselves
                raise
        if limited.exceeded:
            await self._too_large(scope)(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why this request goes no further, judged by its head alone."""
        port = self._port(scope)
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in _allowed_hosts(port) or not scope["path"].startswith("/"):
            return problem_of(
                errors.ForeignHost(f"This server answers to http://127.0.0.1:{port} and http://localhost:{port} only.")
            )
        if not _is_from_here(scope, hosts[0]):
            return problem_of(errors.ForeignOrigin())
        if not _is_api(scope):
            return None if scope["method"] in _READS else problem(405, "method_not_allowed", "Pages can be read only.")
        if not self._login.admits(scope["headers"], port):
            return problem_of(errors.NotLoggedIn())
        return self._body_refusal(scope)

    def _body_refusal(self, scope: Scope) -> Response | None:
        lengths = _values(scope, b"content-length")
        has_body = bool(lengths and lengths[0] != b"0") or bool(_values(scope, b"transfer-encoding"))
        if not has_body:
            return None
        if scope["method"] in _READS:
            return problem(400, "unexpected_body", "A read carries no body.")
        if lengths and (not re.fullmatch(rb"\d{1,18}", lengths[0]) or int(lengths[0]) > self._body_limit(scope)):
            return self._too_large(scope)
        types = _values(scope, b"content-type")
        if not _takes_file(scope) and (
            len(types) != 1 or types[0].split(b";")[0].strip().lower() != b"application/json"
        ):
            return problem(
                415, "not_json", "The body of this request must be JSON: send Content-Type: application/json."
            )
        return None

    def _log_in(self, scope: Scope) -> Response | None:
        """The answer to `/?token=...`: a cookie and the address without the token, or a page that says what to do."""
        if scope["path"] != "/" or b"token=" not in scope["query_string"]:
            return None
        tokens = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
        if tokens is None:
            return None
        if len(tokens) == 1 and self._login.is_token(tokens[0]):
            headers = {"Set-Cookie": self._login.cookie_header(self._port(scope)), "Cache-Control": "no-store"}
            return RedirectResponse("/", 303, headers)
        _log.warning("a browser came with a wrong token")
        return HTMLResponse(_NOT_LET_IN, 401, _NOT_LET_IN_HEADERS)

    def _port(self, scope: Scope) -> int:
        server = scope.get("server")
        return server[1] if server and server[1] else self._settings.port

    def _body_limit(self, scope: Scope) -> int:
        return self._settings.max_file_bytes if _takes_file(scope) else self._settings.max_json_bytes

    def _too_large(self, scope: Scope) -> Response:
        limit = _size(self._body_limit(scope))
        if _takes_file(scope):
            return problem_of(errors.FileTooLarge(f"The file has more than the {limit} that are allowed."))
        detail = f"The request has more than the {limit} that are allowed. Nothing was changed; send less at once."
        return problem(413, "request_too_large", detail)


class _LimitedBody:
    """Counts the body while it is read. Past the limit the reader sees a broken connection; its answer is dropped."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send = receive, send
        self._left = limit
        self._answered = False
        self.exceeded = False

    async def receive(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0 and not self._answered:
                self.exceeded = True
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if not self.exceeded:
            self._answered = True
            await self._send(message)


def _with_security_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(header for header in _HEADERS if header[0] not in there)]
        await send(message)

    return guarded


def _allowed_hosts(port: int) -> set[bytes]:
    names = (b"127.0.0.1", b"localhost", b"[::1]")
    return {b"%s:%d" % (name, port) for name in names} | (set(names) if port == 80 else set())


def _is_from_here(scope: Scope, host: bytes) -> bool:
    """Whether this is no request that a page of another site has caused."""
    origins = _values(scope, b"origin")
    # Equality with what the browser itself was asked for; no list and no pattern that could be outwitted.
    if origins and origins != [b"http://" + host]:
        return False
    sites = _values(scope, b"sec-fetch-site")
    if all(site in (b"same-origin", b"none") for site in sites):
        return True
    is_navigation = _values(scope, b"sec-fetch-mode") == [b"navigate"] and _values(scope, b"sec-fetch-dest") == [
        b"document"
    ]
    return scope["method"] == "GET" and scope["path"] == "/" and is_navigation


def _is_api(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == "/api" or path.startswith("/api/")


def _takes_file(scope: Scope) -> bool:
    return scope["method"] == "PUT" and _FILE_BODIES.fullmatch(scope["path"]) is not None


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.4g} MiB" if size_bytes >= 2**20 else f"{size_bytes} bytes"

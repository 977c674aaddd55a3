"""`recolabel up`, `serve` and `worker`: long-running commands."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from recolabel.cli.options import Data, Json, Url
from recolabel.cli.output import document, remark, say
from recolabel.errors import (
    BadArgument,
    DataFolderInUse,
    PortInUse,
    RecolabelError,
    ServerUnreachable,
    UnsafeBind,
    WorkerMissing,
)

if TYPE_CHECKING:
    from recolabel.api.server import Server
    from recolabel.contract.projects import Project
    from recolabel.settings import Settings

Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes any free one.", show_default="8737")
]
Host = Annotated[
    str | None, typer.Option("--host", help="Address of this machine to listen on.", show_default="127.0.0.1")
]

_STARTING_SECONDS = 10.0
"""So long a server that was started a moment ago may take until it answers."""


def up(
    data: Data = None,
    port: Port = None,
    host: Host = None,
    demo: Annotated[bool, typer.Option("--demo", help="Make the demo project, unless it is there.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Start everything: server, broker and worker. Prints the address when ready; Ctrl-C ends it.

    Where a server works in the data folder already, its address is printed, and that is all.
    """
    settings = _settings(data, port, host)
    try:
        _run(settings, beside=True, demo=demo, browser=not no_browser, as_json=as_json)
    except DataFolderInUse:
        if not _show_running(settings, port, demo=demo, browser=not no_browser, as_json=as_json):
            raise


def serve(
    data: Data = None,
    port: Port = None,
    host: Host = None,
    as_json: Json = False,
) -> None:
    """Start the server alone. Workers come by themselves; RECOLABEL_BROKER_URL names a broker to ring them."""
    _run(_settings(data, port, host), beside=False, demo=False, browser=False, as_json=as_json)


def worker(data: Data = None, url: Url = None) -> None:
    """Start a worker alone, for the server of a data folder or one elsewhere."""
    if importlib.util.find_spec("recolabel_worker") is None:
        raise WorkerMissing
    environment = dict(os.environ)
    if url is not None:
        if not environment.get("RECOLABEL_TOKEN"):
            raise BadArgument("--url needs the server's token in the environment variable RECOLABEL_TOKEN.")
        environment["RECOLABEL_URL"] = url
    else:
        from recolabel.cli.options import data_dir

        environment["RECOLABEL_DATA"] = str(data_dir(data).absolute())
    os.execve(sys.executable, [sys.executable, "-m", "recolabel_worker"], environment)  # noqa: S606 - it takes our place


def _settings(data: Path | None, port: int | None, host: str | None) -> Settings:
    from pydantic import ValidationError

    from recolabel.settings import Settings

    given = {
        name: value
        for name, value in (("data", data and data.expanduser()), ("port", port), ("host", host))
        if value is not None
    }
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(["RECOLABEL", *(str(part).upper() for part in first["loc"])])
        raise BadArgument(f"The setting {name} cannot be used: {first['msg']}.") from error
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        raise UnsafeBind
    return settings


def _run(settings: Settings, *, beside: bool, demo: bool, browser: bool, as_json: bool) -> None:
    """Claim folder and port first, then load what is heavy, then listen until a signal comes."""
    ending = _End()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_data_folder(settings))
        listener = stack.enter_context(listening_socket(settings))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})

        from recolabel import logs

        logs.set_up()
        from recolabel.store import open_store

        store = stack.enter_context(open_store(settings))
        painter = stack.enter_context(_demo_painter(store.projects.list())) if demo else None

        from recolabel.api.app import create_app
        from recolabel.embedded import Embedded

        app = create_app(settings, store=store)
        embedded = Embedded(settings)
        stack.callback(embedded.stop)
        token = settings.token_file.read_text(encoding="ascii").strip()
        ready = _Ready(settings, _url(settings), token, as_json=as_json, browser=browser, painter=painter)
        if beside:
            # The doorbell comes with the server's start; this runs after it.
            ready.afterwards = lambda: embedded.start(app.state.parts.doorbell.connect)
        server = _patient_server(embedded.stop)(app, settings, on_ready=ready.begin)
        stack.callback(settings.address_file.unlink, missing_ok=True)
        ending.by_server()
        server.run(sockets=[listener])
        ready.end()
        if not server.started:
            raise RecolabelError("The server could not start; the log above says why.")
    _leave_now()


def _show_running(settings: Settings, port: int | None, *, demo: bool, browser: bool, as_json: bool) -> bool:
    """Lead to the server that works in the data folder; False when none answers there, or not on the wanted port."""
    from recolabel.client import Client

    deadline = time.monotonic() + _STARTING_SECONDS
    while True:  # it holds the folder before it listens
        with contextlib.suppress(ServerUnreachable), Client.from_data_dir(settings.data) as client:
            if client.is_ready():
                break
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    if port is not None and port != urlsplit(client.url).port:
        return False
    token = settings.token_file.read_text(encoding="ascii").strip()
    address = f"{client.url}/?token={token}"
    _tell_address("ReCoLabel runs already", settings, client.url, address, as_json=as_json)
    if browser:
        _open_browser(address)
    if demo:
        with Client(client.url, token) as client, _demo_painter(client.projects()) as painter:
            if painter is not None:
                _import_demo(painter, client.url, token)
    return True


def _tell_address(what: str, settings: Settings, url: str, address: str, *, as_json: bool) -> None:
    if as_json:
        document({"url": url, "address": address, "data": str(settings.data.absolute())})
    else:
        say(f"{what}: {address}")


def _leave_now() -> NoReturn:
    """End the process. Everything is closed; a request thread that still works for nobody must not hold it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _patient_server(before_end: Callable[[], None]) -> type[Server]:
    """A server that answers until the worker has ended, so that the worker can give its job back."""
    from recolabel.api.server import Server

    class PatientServer(Server):
        ending: threading.Thread | None = None

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.ending is not None:
                super().handle_exit(sig, frame)  # asked twice: at once
                return

            def end() -> None:
                before_end()
                super(PatientServer, self).handle_exit(sig, frame)

            self.ending = threading.Thread(target=end, name="ending", daemon=True)
            self.ending.start()

    return PatientServer


class _End:
    """SIGTERM and Ctrl-C: before the server runs they end the process, afterwards uvicorn's own handlers act.

    uvicorn raises a caught signal again when it has shut down; by then everything is in order and it means nothing.
    """

    def __init__(self) -> None:
        self._served = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def by_server(self) -> None:
        """From here on the server ends the process."""
        self._served = True

    def _on_signal(self, *_: object) -> None:
        if not self._served:
            raise SystemExit(0)


@contextlib.contextmanager
def _data_folder(settings: Settings) -> Iterator[None]:
    """The data folder, made when it is missing, for this server alone."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(settings.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadArgument(f"The data folder {settings.data} cannot be used: {error.strerror}.") from error
    with os.fdopen(lock, "w"):
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when the process ends
            except OSError as error:
                raise DataFolderInUse(f"Another server works in this data folder ({settings.data}).") from error
        yield


def listening_socket(settings: Settings) -> socket.socket:
    """A bound socket. Nobody can take the port while heavy modules load, and a taken one is known at once."""
    family = socket.AF_INET6 if settings.host == "::1" else socket.AF_INET
    # Named TCP, or asyncio would not see that it is, leave Nagle's algorithm on, and each answer take 40 ms more.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        # Listening only now shows a port that another program listens on, where both allow reuse.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if isinstance(error, PermissionError):
            raise PortInUse(f"Port {settings.port} may not be used by this user.") from error
        raise PortInUse(f"Another program listens on port {settings.port}.") from error
    return listener


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


class _Ready:
    """What happens once the server answers, in a thread of its own: the server must not wait for it."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        token: str,
        *,
        as_json: bool,
        browser: bool,
        painter: subprocess.Popen[bytes] | None,
    ) -> None:
        self._settings, self._url, self._token = settings, url, token
        self._as_json, self._browser, self._painter = as_json, browser, painter
        self._thread = threading.Thread(target=self._run, name="ready", daemon=True)
        self._ending = threading.Event()
        self.afterwards: Callable[[], None] | None = None

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """The server has stopped: whatever is not done yet stays undone."""
        self._ending.set()
        if self._painter is not None:
            self._painter.kill()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        address = f"{self._url}/?token={self._token}"
        self._attempt(self._leave_address)
        if self._ending.is_set():
            return
        _tell_address("ReCoLabel is ready", self._settings, self._url, address, as_json=self._as_json)
        remark("Ctrl-C stops it; nothing is lost.")
        if self.afterwards is not None:
            self.afterwards()
        if self._browser:
            _open_browser(address)
        # Last, so that the first page does not wait for it: whoever looks sees the pictures come in.
        if self._painter is not None:
            self._attempt(lambda: _import_demo(self._painter, self._url, self._token))

    def _attempt(self, act: Callable[[], None]) -> None:
        """A failure here is told, and the server goes on."""
        try:
            act()
        except (RecolabelError, OSError) as error:
            if not self._ending.is_set():
                remark(f"recolabel: {error.sentence if isinstance(error, RecolabelError) else error}")

    def _leave_address(self) -> None:
        """Write server.json for commands and workers on this machine; it appears whole or not at all."""
        file = self._settings.address_file
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(json.dumps({"url": self._url, "pid": os.getpid()}) + "\n", encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(file)


def _open_browser(address: str) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # webbrowser would take the terminal with a text browser
    import webbrowser

    webbrowser.open(address)


# --- the demo project -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _demo_painter(projects: Iterable[Project]) -> Iterator[subprocess.Popen[bytes] | None]:
    """Paint the demo pictures beside the start of the server; None when the project is there already.

    A project without a label and with too few images comes from a start that was interrupted: it is filled up.
    """
    from recolabel.demo import COUNT, PROJECT_NAME

    for project in projects:
        if project.name == PROJECT_NAME and (project.label_count or project.image_count >= COUNT):
            yield None
            return
    with tempfile.TemporaryDirectory(prefix="recolabel-demo-") as folder:
        painter = subprocess.Popen(
            [sys.executable, "-m", "recolabel.demo", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            yield painter
        finally:
            painter.kill()
            painter.wait()


def _import_demo(painter: subprocess.Popen[bytes] | None, url: str, token: str) -> None:
    """Make the demo project as a person would: through the client."""
    from recolabel.cli.importing import Report, import_images
    from recolabel.client import Client
    from recolabel.contract.projects import NewLabelClass, NewProject
    from recolabel.demo import CLASS_COLOURS, CLASS_NAMES, PROJECT_NAME

    assert painter is not None
    assert isinstance(painter.args, list)
    remark("Making the demo project ...")
    folder = Path(str(painter.args[-1]))
    if painter.wait() != 0:
        raise RecolabelError("The demo pictures could not be made.")
    classes = [NewLabelClass(name=n, colour=c) for n, c in zip(CLASS_NAMES, CLASS_COLOURS, strict=True)]
    with Client(url, token) as client:
        made = [project for project in client.projects() if project.name == PROJECT_NAME]
        project = made[0] if made else client.create_project(NewProject(name=PROJECT_NAME, classes=classes))
        import_images(client, project, folder / "images", Report())
    remark("The demo project is ready.")

"""`python -m recolabel_worker` is the worker; with the name of a command it does that, without a server:

* predict: masks for a folder of pictures
* simulate: mean IoU against clicks, with a simulated annotator
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import stat
import sys
import threading
import uuid
from functools import partial
from importlib import import_module

from recolabel_worker.settings import WorkerSettings, find_server

_COMMANDS = ("predict", "simulate", "bench")
"""Each is a module with a `main(arguments) -> exit status` of its own."""

_EXIT_SECONDS = 5.0
_PARENT_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Run a command of the worker and give its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        return work(WorkerSettings())
    if given[0] in _COMMANDS:
        # Before torch is loaded, for the reason that `warm_child.polite_environment` gives.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # Of all its levels; or torch's profiler, by which `bench` measures memory, writes lines to stderr.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        status: int = import_module(f"recolabel_worker.{given[0]}").main(given[1:])
        return status
    print(f"usage: python -m recolabel_worker [{'|'.join(_COMMANDS)} ...]", file=sys.stderr)
    return 0 if given[0] in {"-h", "--help"} else 2


def work(settings: WorkerSettings) -> int:
    """Take jobs until SIGTERM or SIGINT, or until the server that started this worker is gone."""
    from recolabel_worker.lanes import REFINING
    from recolabel_worker.supervisor import Supervisor

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="worker: %(levelname)s %(name)s: %(message)s")
    for loud in ("httpx2", "httpcore2"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    find = partial(find_server, settings)
    supervisor = Supervisor(find, settings, worker_id=worker_id)
    supervisor.warm_up()
    supervisors = [supervisor]
    for number in range(settings.refine_children):
        refining = Supervisor(find, settings, worker_id=f"{worker_id}:{REFINING.name}:{number}", lane=REFINING)
        refining.warm_up()
        threading.Thread(target=refining.poll, name=f"refine-{number}", daemon=True).start()
        supervisors.append(refining)

    def stop() -> None:
        for each in supervisors:
            each.stop()

    if _is_embedded():
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent-pid", daemon=True).start()
        threading.Thread(target=_end_with_stdin, name="parent-stdin", daemon=True).start()
    try:
        if settings.broker_url is None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: threading.Thread(target=stop).start())
            supervisor.poll()
        else:
            from recolabel_worker.celery_app import listen, make_celery_app

            threading.Thread(target=supervisor.poll, name="poll", daemon=True).start()
            app = make_celery_app(settings.broker_url, supervisor.answer)
            with contextlib.suppress(SystemExit):
                listen(app, stop)
    finally:
        stop()
    return 0


def _is_embedded() -> bool:
    """A server that starts a worker holds the other end of its stdin; a terminal or /dev/null is no such thing."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    _end()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(_PARENT_SECONDS)
    _end()


def _end() -> None:
    """As SIGTERM does; but whatever hangs then, the process is gone after a few seconds and the child with it."""
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_EXIT_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

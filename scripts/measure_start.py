"""How long `recolabel up` takes to its first page: start the command, ask for `/` until it answers, five times.

Run it with the environment's Python: .venv/bin/python scripts/measure_start.py
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

RUNS = 5


def seconds_to_first_page(data: Path) -> float:
    """Seconds from the command to the first answered page, on a data folder that may be new."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "recolabel", "up", "--no-browser", "--port", "0", "--data", str(data)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        if server.stdout is None:
            raise RuntimeError("no pipe")
        for line in server.stdout:
            if found := re.search(r"http://\S+", line):
                with urllib.request.urlopen(found.group(), timeout=10) as page:  # noqa: S310 - our own address
                    page.read()
                return time.perf_counter() - started
        raise RuntimeError("the server ended without an address")
    finally:
        server.terminate()
        server.wait(timeout=30)


def main() -> None:
    """Print the seconds of each run and their median."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [seconds_to_first_page(Path(folder) / "data") for _ in range(RUNS)]
    print("seconds to the first page:", " ".join(f"{run:.2f}" for run in runs))
    print(f"median {statistics.median(runs):.2f}, first run on a new data folder {runs[0]:.2f}")


if __name__ == "__main__":
    main()

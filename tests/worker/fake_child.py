"""A child without torch that speaks as protocol.py says, for tests of its supervisor: `fake_child.py BEHAVIOUR`."""

import json
import os
import queue
import signal
import sys
import threading
import time

behaviour = sys.argv[1]
orders: "queue.Queue[dict[str, object]]" = queue.Queue()


def read() -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


def say(**report: object) -> None:
    print(json.dumps(report), flush=True)


def progress(done: int) -> None:
    say(say="progress", progress={"done": done, "total": 100, "stage": f"pid {os.getpid()}"})


def wait_for_stop() -> None:
    while orders.get()["do"] != "stop":
        pass


threading.Thread(target=read, daemon=True).start()
if behaviour == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(say="ready")
print("a library that prints", flush=True)
while True:
    order = orders.get()
    if order["do"] == "stop":
        continue
    progress(1)
    if behaviour == "finishes":
        say(say="finished")
    elif behaviour == "chatters":
        for done in range(2, 101):
            progress(done)
            time.sleep(0.005)
        say(say="finished")
    elif behaviour == "fails":
        say(say="failed", error="The labels do not suffice.", retry=False)
    elif behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "stops when asked":
        wait_for_stop()
        say(say="winding_up")
        say(say="finished")
    elif behaviour == "winds up slowly":
        wait_for_stop()
        say(say="winding_up")
        time.sleep(1.0)
        say(say="finished")
    elif behaviour in ("deaf", "hangs"):
        time.sleep(600)

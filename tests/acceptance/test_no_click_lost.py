"""I label, the plug is pulled, again and again: every acknowledged label is there, none twice."""

from __future__ import annotations

import random
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from recolabel.client import Client
from recolabel.contract.images import ImageInfo
from recolabel.contract.labels import ClickEvent, Fate, Pixel
from recolabel.contract.projects import NewLabelClass, NewProject
from recolabel.errors import RecolabelError
from tests.servers import StartServer

KILLS = 20


class Journal:
    """What a client sent and what was acknowledged: the oracle, kept outside the server."""

    def __init__(self) -> None:
        self.sent: dict[str, ClickEvent] = {}
        self.acknowledged: set[str] = set()


def label_until(stop: threading.Event, client: Client, image: ImageInfo, class_uid: str, journal: Journal) -> None:
    """Send batches of clicks, each again and again until it is acknowledged, as the browser's outbox does."""
    rng = random.Random(7)
    client_id = str(uuid.uuid4())
    while not stop.is_set():
        batch = [
            ClickEvent(
                event_id=str(uuid.uuid4()),
                image_id=image.image_id,
                image_sha256=image.sha256,
                client_id=client_id,
                client_seq=len(journal.sent) + offset,
                client_time=datetime.now(UTC),
                class_uid=class_uid,
                pixel=Pixel(x=rng.randrange(image.width), y=rng.randrange(image.height)),
            )
            for offset in range(rng.randint(1, 5))
        ]
        journal.sent |= {event.event_id: event for event in batch}
        while not stop.is_set():
            try:
                acks = client.append_labels(image.project_id, batch)
            except RecolabelError:
                time.sleep(0.02)  # the server is being killed or starts again
                continue
            journal.acknowledged |= {ack.event_id for ack in acks.acks if ack.fate is not Fate.REFUSED}
            break


def test_twenty_pulled_plugs_lose_no_acknowledged_label(start_server: StartServer, tmp_path: Path) -> None:
    # Given a project with one image, and a client that labels without pause
    server = start_server("serve")
    port = int(server.url.rsplit(":", 1)[1])
    client = server.client()
    project = client.create_project(NewProject(name="plug", classes=[NewLabelClass(name="grass")]))
    picture = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), "green").save(picture)
    image = client.add_image(project.project_id, picture.name, picture).image
    journal, stop = Journal(), threading.Event()
    class_uid = project.classes[0].class_uid
    hand = threading.Thread(target=label_until, args=(stop, client, image, class_uid, journal))
    hand.start()

    # When the server is killed at twenty random moments and started again
    rng = random.Random(20)
    try:
        for _ in range(KILLS):
            before = len(journal.acknowledged)
            deadline = time.monotonic() + 30
            while len(journal.acknowledged) < before + 5 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(rng.random() * 0.05)
            server.kill()
            server = start_server("serve", port=port)
    finally:
        stop.set()
        hand.join(timeout=60)

    # I expect every acknowledged event once, and nothing that was never sent
    stored = [event.event.event_id for event in server.client().image_labels(image.image_id).events]
    assert len(journal.acknowledged) >= KILLS * 5
    assert journal.acknowledged <= set(stored)
    assert set(stored) <= set(journal.sent)
    assert len(stored) == len(set(stored))

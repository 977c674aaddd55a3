"""A few pixels, looked at without painting, are what the painted label map says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recolabel.contract.labels import VOID, StoredEvent
from recolabel.labels.at_pixels import facts_at
from recolabel.labels.fold import UNLABELLED_INDEX, VOID_INDEX, fold

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden" / "fold.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_each_pixel_is_what_the_label_map_made_by_hand_says(case: dict[str, Any]) -> None:
    labels = fold(
        [StoredEvent.model_validate_json(json.dumps(event)) for event in case["events"]], case["image_sha256"]
    )
    height, width = case["height"], case["width"]
    retired = {uid for label in labels for uid in label.class_uids} - {*case["classes"], VOID}

    facts = facts_at(labels, range(height * width), height=height, width=width, silent_classes=retired)

    index = {uid: place for place, uid in enumerate(case["classes"])} | {VOID: VOID_INDEX, None: UNLABELLED_INDEX}
    rows = [[index[facts[y * width + x].class_uid] for x in range(width)] for y in range(height)]
    assert rows == case["label_map"]


def test_a_pixel_is_taught_from_the_first_label_that_training_sees() -> None:
    case = next(case for case in CASES if case["name"] == "a label made after the eraser is whole")
    stored = [StoredEvent.model_validate_json(json.dumps(event)) for event in case["events"]]
    labels = fold(stored, case["image_sha256"])
    height, width = case["height"], case["width"]
    every_place = range(height * width)

    seen = facts_at(labels, every_place, height=height, width=width)
    unseen = facts_at(
        labels, every_place, height=height, width=width, without={label.event.event_id for label in labels}
    )

    assert {facts.taught_from for facts in seen.values()} & {label.seq for label in labels}
    assert all(facts.taught_from is None for facts in unseen.values())
    assert [facts.class_uid for facts in seen.values()] == [facts.class_uid for facts in unseen.values()]

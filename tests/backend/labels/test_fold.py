"""Which labels hold and what they say, against hand-made cases that the browser's tests read as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recolabel.contract.labels import StoredEvent
from recolabel.labels.fold import count_by_class, fold, label_map

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden" / "fold.json").read_text())


def events_of(case: dict[str, Any]) -> list[StoredEvent]:
    return [StoredEvent.model_validate_json(json.dumps(event)) for event in case["events"]]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_log_folds_to_the_labels_and_the_label_map_made_by_hand(case: dict[str, Any]) -> None:
    labels = fold(events_of(case), case["image_sha256"])
    painted = label_map(labels, case["classes"], height=case["height"], width=case["width"])

    assert [label.event.event_id for label in labels] == case["holding"]
    assert painted.tolist() == case["label_map"]


def test_a_label_counts_until_its_last_pixel_is_erased() -> None:
    half, whole = (
        next(case for case in CASES if case["name"] == name)
        for name in ("an eraser takes a part of a stroke", "a label made after the eraser is whole")
    )

    half_left = count_by_class(fold(events_of(half), half["image_sha256"]), height=2, width=3)
    only_the_later = count_by_class(fold(events_of(whole), whole["image_sha256"]), height=2, width=3)

    road, car = half["classes"]
    assert half_left == (1, {road: 1})
    assert only_the_later == (1, {car: 1})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_fold_depends_on_seq_alone_not_on_the_order_or_batches_that_events_came_in(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    events = events_of(case)

    shuffled = data.draw(st.permutations(events))
    labels = fold(shuffled, case["image_sha256"])

    assert [label.event.event_id for label in labels] == case["holding"]
    assert label_map(labels, case["classes"], height=2, width=3).tolist() == case["label_map"]

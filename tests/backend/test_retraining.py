"""When new labels start a training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recolabel.retraining import LabelProgress, should_train
from recolabel.settings import Settings

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(retrain_quiet_seconds=4, retrain_longest_wait_seconds=30, retrain_min_new_labels=10)

FIRST = {"has_version": False, "labels_at_last_version": 0}
LATER = {"has_version": True, "labels_at_last_version": 50}

# remark, facts, seconds since the newest label, seconds since the oldest new one, whether to train
CASES: list[tuple[str, dict[str, Any], float, float, bool]] = [
    ("first: every class has a label and the hand rests", FIRST, 4, 5, True),
    ("first: still clicking", FIRST, 3.9, 5, False),
    ("first: still clicking, but waited long enough", FIRST, 0, 30, True),
    ("first: a class has no label", FIRST | {"every_active_class_has_labels": False}, 60, 60, False),
    ("first: a project of one class has nothing to tell apart", FIRST | {"classes_with_labels": 1}, 60, 60, False),
    ("later: ten new labels", LATER | {"new_labels": 10}, 4, 5, True),
    ("later: nine new labels are too few however long one waits", LATER | {"new_labels": 9}, 600, 600, False),
    ("later: a new class without labels is no obstacle", LATER | {"every_active_class_has_labels": False}, 4, 5, True),
    ("later: a tenth of 500 is more than ten", LATER | {"labels_at_last_version": 500, "new_labels": 49}, 9, 99, False),
    ("later: a tenth of 500", LATER | {"labels_at_last_version": 500, "new_labels": 50}, 4, 5, True),
    ("later: still clicking", LATER, 1, 29, False),
    ("later: still clicking, but waited long enough", LATER, 1, 30, True),
    ("later: labels were taken back until one class was left", LATER | {"classes_with_labels": 1}, 60, 60, False),
]


@pytest.mark.parametrize(("remark", "facts", "quiet", "waited", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_training_starts_as_the_table_says(
    remark: str, facts: dict[str, Any], quiet: float, waited: float, expected: bool
) -> None:
    usual = {"new_labels": 12, "every_active_class_has_labels": True, "classes_with_labels": 3}
    progress = LabelProgress(
        project_id="p",
        label_seq=99,
        oldest_new_label_at=NOW - timedelta(seconds=waited),
        last_label_at=NOW - timedelta(seconds=quiet),
        **(usual | facts),
    )

    assert should_train(NOW, progress, SETTINGS) is expected

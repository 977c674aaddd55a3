"""When new labels justify the next training job. Pure: facts and the time in, yes or no out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from recolabel.settings import Settings

NEW_SHARE = 0.1
"""New labels, as a share of those that the newest version knew, that are worth another training."""


@dataclass(frozen=True)
class LabelProgress:
    """How a project's labels moved on since its last training, whatever became of that one.

    A project that trains now, that does not want to train by itself, or that has no event since the last training
    has no such progress: a training that failed is not repeated on the same labels.
    """

    project_id: str
    label_seq: int
    new_labels: int  # clicks, strokes and masks since the last training
    oldest_new_label_at: datetime | None
    last_label_at: datetime | None
    has_version: bool
    labels_at_last_version: int
    every_active_class_has_labels: bool
    classes_with_labels: int


def should_train(now: datetime, progress: LabelProgress, settings: Settings) -> bool:
    """Whether to start a training now.

    The first one waits until every class that is not retired has a label. Later ones wait for
    `retrain_min_new_labels` new labels, or a tenth of what the newest version knew if that is more. Then a pause in
    labelling is waited for, but no longer than `retrain_longest_wait_seconds` after the oldest new label.
    """
    if progress.last_label_at is None or progress.oldest_new_label_at is None or progress.classes_with_labels < 2:
        return False
    if progress.has_version:
        wanted = max(settings.retrain_min_new_labels, NEW_SHARE * progress.labels_at_last_version)
        if progress.new_labels < wanted:
            return False
    elif not progress.every_active_class_has_labels:
        return False
    quiet = (now - progress.last_label_at).total_seconds() >= settings.retrain_quiet_seconds
    waited = (now - progress.oldest_new_label_at).total_seconds() >= settings.retrain_longest_wait_seconds
    return quiet or waited

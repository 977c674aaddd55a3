"""`recolabel evaluation`: how good the model is, with intervals, in words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recolabel.cli.options import Data, Json, ProjectName, Url, connect, find_project
from recolabel.cli.output import document, say, table

if TYPE_CHECKING:
    from recolabel.contract.evaluation import Evaluation, Figure, VersionEvaluation
    from recolabel.contract.projects import Project


def evaluation(project_name: ProjectName, data: Data = None, url: Url = None, as_json: Json = False) -> None:
    """Say how good each model version is, what guided questions are worth, and where labels help most."""
    with connect(data, url) as client:
        project = find_project(client, project_name)
        found = client.evaluation(project.project_id)
    if as_json:
        document(found)
    else:
        _tell(project, found)


def _tell(project: Project, found: Evaluation) -> None:
    if found.versions:
        table(_version_rows(found))
        newest = found.versions[-1]
        for what, figure in (("mean IoU", newest.mean_iou), ("right pixels", newest.accuracy)):
            if figure.missing is not None:
                say(f"No {what} of version {newest.version} yet: {figure.missing}")
        say("")
        table(_class_rows(project, found, newest))
    else:
        say("There is no model version yet.")
    say("")
    work = found.work
    if work.seconds_per_answer is None:
        say(f"{work.answers} answers. Seconds per answer: {work.missing}")
    else:
        pace = f"{work.seconds_per_answer:.1f} s each"
        say(f"{work.answers} answers, {pace}, in {work.active_minutes:.0f} minutes of work.")
    say(found.guidance.said)
    say(f"Next: {found.next_class.why}")
    say(f"{'Stop' if found.stop.stop else 'Go on'}: {found.stop.why}")


def _version_rows(found: Evaluation) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (
            "version",
            "labels",
            "minutes",
            "right pixels",
            "mean IoU",
            "of classes",
            "random clicks",
            "true mean IoU",
            "of those classes",
        )
    ]
    for each in found.versions:
        truth = "-" if each.truth is None else in_short(each.truth.mean_iou)
        same = None if each.truth is None else each.truth.same_classes
        rows.append(
            (
                each.version,
                each.label_count,
                f"{each.active_minutes:.0f}",
                in_short(each.accuracy),
                in_short(each.mean_iou),
                f"{len(each.mean_over)} of {len(each.classes)}",
                each.accuracy.clicks,
                truth,
                "-" if same is None else f"{same:.2f}",
            )
        )
    return rows


def _class_rows(project: Project, found: Evaluation, newest: VersionEvaluation) -> list[tuple[object, ...]]:
    names = {each.class_uid: each.name for each in project.classes}
    counts = {each.class_uid: each for each in found.label_counts}
    rows: list[tuple[object, ...]] = [("class", "labels", "held out", f"IoU of version {newest.version}", "true IoU")]
    for each in newest.classes:
        count = counts.get(each.class_uid)
        rows.append(
            (
                names.get(each.class_uid, each.class_uid),
                0 if count is None else count.labels,
                0 if count is None else count.held_out,
                in_short(each.iou),
                "-" if each.true_iou is None else f"{each.true_iou:.2f}",
            )
        )
    return rows


def in_short(figure: Figure) -> str:
    """A number with its interval, or a dash."""
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"

"""`recolabel bench`: how long things take on this machine. What concerns the engine alone is the worker's affair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recolabel.cli.options import Json
from recolabel.cli.output import document, remark, say
from recolabel.cli.training import HANDED_ON, hand_on
from recolabel.errors import BadArgument

app = typer.Typer(help="How long things take on this machine.", no_args_is_help=True)

AIMS_MS = {500: 300.0, 5_000: 1_000.0}
"""Labels in the project -> what 95 of 100 clicks should stay below, at 480x360 on two cores."""


def _handed_on(name: str, what: str) -> None:
    def run(context: typer.Context) -> None:
        hand_on("bench", [name, *context.args])

    app.command(name, help=what, add_help_option=False, context_settings=HANDED_ON)(run)


_handed_on("loss", "The regional contrast beside the floor; needs no server.")
_handed_on("step", "Training steps; needs no server.")
_handed_on("fast-head", "Features, fit and repaint of the fast head; needs no server.")


@app.command("refine")
def refine(
    labels: Annotated[str, typer.Option("--labels", help="Clicks that the project has, like 500,5000.")] = "500,5000",
    clicks: Annotated[int, typer.Option("--clicks", min=1, max=10_000, help="Measured for each of these.")] = 40,
    while_training: Annotated[
        bool, typer.Option("--while-training", help="Again while a model is trained on the same machine.")
    ] = False,
    browser: Annotated[Path | None, typer.Option("--browser", help="Chromium; left out: the one on PATH.")] = None,
    as_json: Json = False,
) -> None:
    """From a click to other pixels in the overlay, in Chromium, with a server and a worker of its own."""
    from recolabel.refine_bench import bench_refine

    counts = _counts(labels)
    measured = bench_refine(counts, clicks, while_training=while_training, browser=browser, report=remark)
    if as_json:
        main = measured.figures[0]
        document(
            {
                "bench": "refine",
                "p50_ms": main.p50_ms,
                "p95_ms": main.p95_ms,
                "legs_ms": main.legs_ms,
                "first_overlay_ms": measured.first_overlay_ms,
                "size": [measured.height, measured.width],
                "aims_p95_ms": AIMS_MS,
                "figures": [vars(figure) for figure in measured.figures],
            }
        )
        return
    say(f"First overlay of a new project: {measured.first_overlay_ms:.0f} ms after the second class's first click.")
    for figure in measured.figures:
        beside = " while a model is trained" if figure.is_training else ""
        say(f"{figure.labels} labels{beside}: p50 {figure.p50_ms:.0f} ms, p95 {figure.p95_ms:.0f} ms")
        say("  " + ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in figure.legs_ms.items()))
        say(f"  {figure.changed} of {figure.clicks} clicks changed pixels that can be seen")


def _counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 2 <= int(part) <= 100_000 for part in parts):
        raise BadArgument(f"--labels takes numbers from 2 to 100000, like 500,5000, not {text!r}.")
    return [int(part) for part in parts]

"""The command line. Nothing heavy is imported before a command needs it, so help and errors come at once.

Answers go to standard output (with --json as one JSON document), everything else to standard error. Exit status:
0 done, 1 not done (one sentence says why), 2 the command line itself cannot be understood.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from recolabel.cli import benching, doctor, evaluating, exporting, importing, projects, serving, training
from recolabel.errors import RecolabelError

app = typer.Typer(
    name="recolabel",
    help="Label pictures for semantic segmentation with a few clicks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"recolabel {version('recolabel')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Label pictures for semantic segmentation with a few clicks."""


app.command("up")(serving.up)
app.command("serve")(serving.serve)
app.command("worker")(serving.worker)
app.command("doctor")(doctor.doctor)
app.add_typer(projects.app, name="project")
app.command("import")(importing.import_)
app.command("train")(training.train)
app.command("versions")(training.versions)
app.command("evaluation")(evaluating.evaluation)
app.command("predict", add_help_option=False, context_settings=training.HANDED_ON)(training.predict)
app.command("simulate", add_help_option=False, context_settings=training.HANDED_ON)(training.simulate)
app.add_typer(benching.app, name="bench")
app.command("export")(exporting.export)
app.command("export-model")(exporting.export_model)


def main() -> None:
    """Run the command line and leave with its status."""
    try:
        app()
    except RecolabelError as error:
        _fail(error.sentence)
    except BrokenPipeError:
        sys.exit(1)  # whoever read our output, e.g. `head`, has gone
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Exception as error:  # the rim: no traceback for people who only use this
        _fail(f"This is a mistake in ReCoLabel: {type(error).__name__}: {error}")


def _fail(sentence: str) -> None:
    print(f"recolabel: {sentence}", file=sys.stderr)
    sys.exit(1)

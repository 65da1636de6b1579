"""The command `gpt`. Each subcommand imports its own modules inside, so that `gpt --help` answers at once."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gpt_from_scratch import __version__
from gpt_from_scratch.commands import classify, converse, data, experiments, export, inspect, write
from gpt_from_scratch.commands.models import PANEL, check_output
from gpt_from_scratch.errors import InputError, reason
from gpt_from_scratch.files.local_addresses import bypass_proxies
from gpt_from_scratch.pipeline.project import find_project


class _OneLine(TyperGroup):
    """Shows an error as one line, and its traceback only on demand; `--debug` may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        if "--debug" in options:
            args = ["--debug", *(arg for arg in options if arg != "--debug"), *args[len(options) :]]
        with _one_line(debug="--debug" in options):  # of help that cannot be written
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _one_line(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@contextmanager
def _one_line(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        if debug or isinstance(error, BrokenPipeError | typer.Exit | typer.Abort):
            raise
        typer.echo(f"error: {_said(error)}", err=True)
        raise typer.Exit(1) from None


def _said(error: Exception) -> str:
    if isinstance(error, InputError):
        path, missing, more = str(error).partition(": file not found")
        return f"{error}; make repro writes it" if missing and not more and _is_made(Path(path)) else str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{reason(error) or type(error).__name__} (gpt --debug shows where)"


def _is_made(path: Path) -> bool:
    """Return whether a path lies in a folder that the project's stages write."""
    with suppress(InputError):
        folders = [find_project() / name for name in ("data/raw", "data/spam", "metrics", "models")]
        return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)
    return False


def _open_closed_streams() -> None:
    """Put the null device in the place of a closed standard stream, before another file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open until the process ends
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


RESULTS, RUNS, MAINTENANCE = "Results", "Runs", "Maintenance"

app = typer.Typer(cls=_OneLine, no_args_is_help=True, pretty_exceptions_enable=False)
for group in (write.app, converse.app, classify.app, inspect.app, export.app):
    app.add_typer(group)
app.add_typer(data.app, name="data", rich_help_panel=MAINTENANCE)
app.add_typer(experiments.app, name="experiments", rich_help_panel=RUNS)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gpt {__version__}")
        raise typer.Exit


@app.callback()
def _gpt(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """GPT-2 from scratch: use the models, and see the results, runs and profiles of the pipeline that made them."""
    from gpt_from_scratch.params.pins import shorten_waits

    _open_closed_streams()
    bypass_proxies()
    shorten_waits()
    if reconfigure := getattr(sys.stdout, "reconfigure", None):  # not every stream that tests put in its place has it
        # What cannot be written in the stream's encoding: a question mark on a terminal, an escape in a file.
        reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")


@app.command("app", rich_help_panel=PANEL)
def page(
    models: Annotated[
        Path | None, typer.Option(help="Folder of the models; the project's models/ if not given.", metavar="DIR")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the address 127.0.0.1.")] = 7860,
) -> None:
    """Open a page to write, classify, instruct and look inside the models, for this machine only.

    Examples: `gpt app`, `gpt app --port 7861`, `gpt app --models ../other/models`.
    """
    folder = find_project() / "models" if models is None else models
    if find_spec("gradio") is None:
        raise InputError('gradio: expected this package, found none; install it with: pip install -e ".[app]"')
    from gpt_from_scratch.app.page import serve

    serve(folder, port)


@app.command(rich_help_panel=RESULTS)
def results(book: Annotated[bool, typer.Option(help="Show the book's figures beside ours.")] = False) -> None:
    """Print the results of the last evaluation.

    Examples, after a training with another learning rate (dvc exp run -S pretrain.optimizer.lr=0.001): gpt results;
    gpt results --book
    """
    from gpt_from_scratch.report.results import book_table, results_table

    typer.echo((book_table if book else results_table)(find_project()))


@app.command(rich_help_panel=RESULTS)
def report(
    out: Annotated[
        Path | None, typer.Option(help="The file to write; report.html in the project if not given.")
    ] = None,
) -> None:
    """Write the results as one page that holds all it needs, and that any browser opens without a server.

    Example: gpt report --out /tmp/results.html
    """
    from gpt_from_scratch.report.page import write_report
    from gpt_from_scratch.tracking.summary import attach_report, training_environments

    root = find_project()
    path = check_output(out or root / "report.html")
    write_report(root, path, training_environments(root))
    typer.echo(f"report: {path}")
    attach_report(root, path)


@app.command(rich_help_panel=RESULTS)
def compare(
    revision: Annotated[str, typer.Argument(help="A commit, branch or tag.")] = "HEAD",
) -> None:
    """Print metrics, paired tests, parameters and curves beside those of a commit, as Markdown for a pull request.

    Example: gpt compare main
    """
    from gpt_from_scratch.report.comparison import comparison

    typer.echo(comparison(find_project(), revision))


@app.command(rich_help_panel=RUNS)
def register(
    promote: Annotated[bool, typer.Option(help="Make them the champions, whatever their figures.")] = False,
) -> None:
    """Register the three models in MLflow as they are now, unless that was done; the better one is the champion.

    Example, to serve one afterwards: mlflow models serve -m models:/spam-classifier@champion --env-manager local
    """
    from gpt_from_scratch.tracking.registry import register_models

    _log_to_stderr()
    for line in register_models(find_project(), promote=promote, strict=True):
        typer.echo(line)


@app.command(rich_help_panel=RUNS)
def repro(
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Stages side by side; as many as have cores of their own if not given.")
    ] = None,
) -> None:
    """Run what `dvc repro` runs, with stages side by side where each has cores of its own and none a GPU.

    Examples: gpt repro; gpt repro --jobs 1
    """
    from gpt_from_scratch.params.sections import load_params
    from gpt_from_scratch.pipeline import side_by_side, signals

    root = find_project()
    if find_spec("dvc") is None:
        raise InputError('dvc: expected this package, found none; install it with: pip install -e ".[pipeline]"')
    signals.listen()
    at_once = jobs or side_by_side.stages_at_once(load_params(root / "params.yaml").runtime)
    if code := side_by_side.repro(root, at_once):
        raise typer.Exit(code)


@app.command(hidden=True)
def conclude(since: Annotated[int, typer.Option(help="When the pipeline began, in seconds since 1970.")]) -> None:
    """Bring runs, models and report up to date, and print the headline figures and what to do next.

    Example, with which make repro ends: gpt conclude --since $(date +%s)
    """
    from gpt_from_scratch.tools.conclusion import conclude

    _log_to_stderr()
    for line in conclude(find_project(), time.time() - since):
        typer.echo(line)


@app.command(hidden=True)
def summary() -> None:
    """Write the pipeline's present state into MLflow as one run, unless it is there already.

    Example, after a dvc repro without make: gpt summary
    """
    from gpt_from_scratch.tracking.summary import write_summary

    _log_to_stderr()
    if run := write_summary(find_project(), strict=True):
        typer.echo(f"MLflow: this state of the pipeline is the summary run {run}")


@app.command(rich_help_panel=MAINTENANCE)
def use_profile(name: Annotated[str, typer.Argument(help="A file in profiles/, without its ending.")]) -> None:
    """Make params.yaml a copy of a profile; edited parameters are never overwritten.

    Examples: gpt use-profile book; gpt use-profile quick
    """
    from gpt_from_scratch.params import profiles
    from gpt_from_scratch.params.sections import load_params

    root = find_project()
    changed = profiles.use_profile(root, name)
    typer.echo(f"params.yaml {'is now' if changed else 'was already'} the profile {name}")
    corpus = load_params(root / "params.yaml").pretrain.corpus
    if not (corpus.is_book or (root / corpus.path).exists()):
        typer.echo(f"note: {corpus.path}: no text there to pretrain on; put one there, see docs/corpora.md", err=True)


@app.command(rich_help_panel=MAINTENANCE)
def clean() -> None:
    """Free what can be made again: data, models, DVC's cache, downloads. Runs and parameters stay.

    Example: gpt clean, and afterwards make repro
    """
    from gpt_from_scratch.tools.cleaning import report

    typer.echo(report(find_project()))


@app.command(rich_help_panel=MAINTENANCE)
def checkpoints(
    remove: Annotated[
        str | None, typer.Option(help="Delete those of a stage, of stage/key as listed, or of all.", metavar="NAME")
    ] = None,
) -> None:
    """List the interrupted trainings, which `dvc repro` resumes, or delete their checkpoints.

    Examples: gpt checkpoints; gpt checkpoints --remove pretrain; gpt checkpoints --remove all
    """
    from gpt_from_scratch.pipeline import interrupted

    found = interrupted.trainings(find_project()) if remove is None else interrupted.remove(find_project(), remove)
    for one in found:
        typer.echo(f"{'' if remove is None else 'removed '}{one}")
    if not found:
        typer.echo("no interrupted trainings")


@app.command(rich_help_panel=MAINTENANCE)
def doctor(offline: Annotated[bool, typer.Option(help="Do not try to reach the hosts.")] = False) -> None:
    """List what may keep the pipeline from running or from giving the committed results again, with the cures.

    Examples: gpt doctor; gpt doctor --offline
    """
    from gpt_from_scratch.params.pins import pin_instructions
    from gpt_from_scratch.params.sections import load_params

    root = find_project()
    with suppress(InputError):  # a mistake in params.yaml is among what is listed
        pin_instructions(load_params(root / "params.yaml").runtime)  # the stages' environment is what is examined
    from gpt_from_scratch.tools.doctor import examine

    broken = False
    for finding in examine(root, offline=offline):
        typer.echo(finding)
        broken |= finding.kind == "broken"
    if broken:
        raise typer.Exit(1)


@app.command(rich_help_panel=MAINTENANCE)
def profile(
    stage: Annotated[str, typer.Argument(help="pretrain, finetune_classify, finetune_instruct or evaluate.")],
    steps: Annotated[int, typer.Option(min=1, help="Updates to look at; for evaluate, tokens of each answer.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder of the files; .cache/profile/STAGE if not given.")] = None,
) -> None:
    """Show where a stage's time goes: a trace for a browser, and the costliest operators. No result is touched.

    Examples: gpt profile pretrain; gpt profile evaluate --steps 20 --out /tmp/profile
    """
    from gpt_from_scratch.params.pins import pin_instructions
    from gpt_from_scratch.params.sections import load_params

    root = find_project()
    out = check_output((out or root / ".cache" / "profile" / stage) / "trace.json").parent
    pin_instructions(load_params(root / "params.yaml").runtime)  # what is looked at is what the stage does
    from gpt_from_scratch.tools.profiling import profile_stage

    found = profile_stage(root, stage, steps, out)
    typer.echo(found.table)
    typer.echo(f"{stage}: {found.steps} steps in {found.seconds:.2f} s under the profiler")
    typer.echo(f"trace, for chrome://tracing or https://ui.perfetto.dev: {found.trace}")


@app.command(rich_help_panel=RUNS)
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the address 127.0.0.1.")] = 5000,
    in_browser: Annotated[bool, typer.Option("--open", help="Open the browser there.")] = False,
) -> None:
    """Serve MLflow's UI over the runs, for this machine only, and print where states and curves are compared.

    Examples: gpt ui; gpt ui --open; gpt ui --port 5001
    """
    from gpt_from_scratch.tracking.views import show_runs

    show_runs(find_project(), port, in_browser=in_browser)

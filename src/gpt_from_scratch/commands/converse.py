"""`gpt instruct` and `gpt chat`: an instruction model answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from gpt_from_scratch.data.instructions.prompts import Question

app = typer.Typer()

ModelOption = Annotated[str, models.model_option("an instruction model")]
CURE = "shorten it, or ask for fewer with --tokens"


def tokens_option(most: int) -> Any:
    """Return the option `--tokens`; `most` is its default where the context holds as many."""
    return typer.Option("--tokens", min=1, max=100_000, help=f"Most tokens of an answer; {most} if they fit.")


@app.command(
    rich_help_panel=models.PANEL,
    epilog='Examples:\n\ngpt instruct "Rewrite the sentence in passive voice." --input "The cat chased the mouse."\n\n'
    'echo "Name three colours." | gpt instruct -',
)
def instruct(
    instruction: Annotated[str, typer.Argument(help="The instruction; - reads it from standard input.")],
    input_text: Annotated[str, typer.Option("--input", help="The text that it is about.")] = "",
    model: ModelOption = "models/instruct",
    tokens: Annotated[int | None, tokens_option(256)] = None,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    top_p: models.TopPOption = 1.0,
    min_p: models.MinPOption = 0.0,
    repetition_penalty: models.PenaltyOption = 1.0,
    stop: models.StopOption = None,
    precision: models.PrecisionOption = "fp32",
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Answer an instruction, printed as it is generated. One that does not fit the model's context is refused."""
    from gpt_from_scratch.data.instructions.prompts import style_of
    from gpt_from_scratch.generation import Sampling
    from gpt_from_scratch.generation.answering import prompt_ids, stream_answer
    from gpt_from_scratch.weights.config_file import load_facts

    text = models.read_argument("-").strip() if instruction == "-" else instruction
    if not text.strip():
        raise InputError("instruction: expected a text, found an empty one")
    folder = models.find_model(model)
    facts = load_facts(folder)
    _note_untaught(folder, facts)
    style, question = style_of(facts), _question(text, input_text)
    sampling = Sampling(temperature, top_k, seed, top_p, min_p, repetition_penalty, tuple(stop or ()))
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), precision)
    room = writer.config.context_length - len(prompt_ids(tokenizer, question, style))
    most = tokens or max(1, min(256, room))
    models.show(stream_answer(writer, tokenizer, question, most, style, sampling, cure=CURE))


@app.command(
    rich_help_panel=models.PANEL,
    epilog="Examples:\n\ngpt chat\n\ngpt chat --model models/instruct --temperature 0.7 --top-k 40",
)
def chat(
    model: ModelOption = "models/instruct",
    tokens: Annotated[int | None, tokens_option(128)] = None,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    top_p: models.TopPOption = 1.0,
    min_p: models.MinPOption = 0.0,
    repetition_penalty: models.PenaltyOption = 1.0,
    stop: models.StopOption = None,
    precision: models.PrecisionOption = "fp32",
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Talk to an instruction model. /reset forgets the conversation, /quit or the end of input leaves.

    Earlier turns are context. When they no longer fit, the oldest are left out, and a note says so.
    """
    from gpt_from_scratch.data.instructions.prompts import style_of
    from gpt_from_scratch.generation import Sampling
    from gpt_from_scratch.generation.answering import check_question, stream_answer, turn_ids
    from gpt_from_scratch.weights.config_file import load_facts

    folder = models.find_model(model)
    facts = load_facts(folder)
    _note_untaught(folder, facts)
    style = style_of(facts)
    sampling = Sampling(temperature, top_k, seed, top_p, min_p, repetition_penalty, tuple(stop or ()))
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), precision)
    context = writer.config.context_length
    tokens = tokens or min(128, context // 2)
    sampling = sampling.started(writer.device)
    typer.echo(introduction(folder))
    history: list[list[int]] = []
    for line in _lines():
        if line == "/quit":
            break
        if line == "/reset":
            history.clear()
            typer.echo("(forgotten)")
        elif line.startswith("/"):
            typer.echo("(commands: /reset, /quit)")
        elif line:
            question = _question(line)
            try:
                prompt = check_question(writer, tokenizer, question, tokens, style, cure=CURE)
            except InputError as error:
                typer.echo(f"({error})")
                continue
            kept = fitting(history, prompt, context - tokens)
            if forgotten := len(history) - len(kept):
                typer.echo(f"({forgotten} of {len(history)} earlier turns no longer fit and are forgotten)")
            before = [token for turn in kept for token in turn]
            answer = models.show(
                stream_answer(writer, tokenizer, question, tokens, style, sampling, before=before, cure=CURE)
            )
            history = [*kept, turn_ids(tokenizer, question, answer, style)]


def fitting(history: list[list[int]], turn: list[int], room: int) -> list[list[int]]:
    """Return the last turns that fit into `room` tokens together with the next."""
    kept: list[list[int]] = []
    left = room - len(turn)
    for past in reversed(history):
        left -= len(past)
        if left < 0:
            break
        kept.insert(0, past)
    return kept


def introduction(folder: Path) -> str:
    """Return the lines that a chat begins with: what the model is, and its limits."""
    from gpt_from_scratch.report.about import about
    from gpt_from_scratch.weights.config_file import load_facts

    turns = load_facts(folder).get("turns")
    single = "to answer single instructions, and never trained to converse"
    return (
        f"{folder}: {about(folder).text}\n"
        f"It was trained {f'on conversations of up to {turns} turns' if turns else single}: earlier turns are given to "
        "it as context, as far as they fit.\nIt knows little and does not know what it does not know. "
        "/reset forgets, /quit leaves."
    )


def _lines() -> Iterator[str]:
    """Yield the lines that are typed, or those of standard input, until it ends."""
    typed = sys.stdin.isatty()
    if not typed:
        sys.stdin.reconfigure(encoding="utf-8-sig")
    while True:
        if typed:
            try:
                line = input("> ")
            except EOFError:
                typer.echo()
                return
        else:
            try:
                line = sys.stdin.readline()
            except UnicodeDecodeError as error:
                found = f"{error.object[error.start]:#04x}"
                raise InputError(f"standard input: expected UTF-8 text, found the byte {found}") from None
            if not line:
                return
        yield line.strip()


def _note_untaught(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say so where a model was not fine-tuned, by what its folder notes."""
    if "base" not in facts:
        typer.echo(f"note: {folder} is no instruction model, as far as its folder says: it continues texts", err=True)


def _question(instruction: str, input_text: str = "") -> Question:
    return {"instruction": instruction, "input": input_text}

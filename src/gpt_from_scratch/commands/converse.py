"""`gpt instruct` and `gpt chat`: an instruction model answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tiktoken import Encoding

    from gpt_from_scratch.data.instructions.prompts import PromptStyle, Question
    from gpt_from_scratch.generation import Sampling
    from gpt_from_scratch.model import GPTModel

app = typer.Typer()

ModelOption = Annotated[str, models.model_option("an instruction model")]


@app.command(
    epilog='Examples:\n\ngpt instruct "Rewrite the sentence in passive voice." --input "The cat chased the mouse."\n\n'
    'echo "Name three colours." | gpt instruct -'
)
def instruct(
    instruction: Annotated[str, typer.Argument(help="What is to be done; - reads it from standard input.")],
    input_text: Annotated[str, typer.Option("--input", help="What it is to be done with.")] = "",
    model: ModelOption = "models/instruct",
    tokens: models.TokensOption = 256,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    int8: models.Int8Option = False,
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Answer an instruction, shown as it is being written."""
    text = models.read_input("-").strip() if instruction == "-" else instruction
    if not text.strip():
        raise InputError("instruction: expected a text, found an empty one")
    folder = models.find_model(model)
    style = prompt_style(folder)
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), int8=int8)
    prompt = answer_prompt({"instruction": text, "input": input_text}, style)
    ids = tokenizer.encode(prompt, disallowed_special=())
    room = writer.config.context_length - 1
    if len(ids) > room:
        raise InputError(f"instruction: expected at most {room} tokens with the words around it, found {len(ids)}")
    models.show(_answer(writer, tokenizer, ids, tokens, _sampling(writer, temperature, top_k, seed)))


@app.command(epilog="Examples:\n\ngpt chat\n\ngpt chat --model models/instruct --temperature 0.7 --top-k 40")
def chat(
    model: ModelOption = "models/instruct",
    tokens: models.TokensOption = 128,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    int8: models.Int8Option = False,
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Talk to an instruction model. /reset forgets what was said, /quit or the end of input leaves."""
    from gpt_from_scratch.weights.huggingface import load_facts

    folder = models.find_model(model)
    style = prompt_style(folder)
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), int8=int8)
    sampling = _sampling(writer, temperature, top_k, seed)
    typer.echo(introduction(folder, writer, load_facts(folder)))
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
            prompt = answer_prompt({"instruction": line, "input": ""}, style)
            turn = tokenizer.encode(prompt, disallowed_special=())
            room = writer.config.context_length - min(tokens, writer.config.context_length // 2)
            if len(turn) > room:
                typer.echo(f"(too long: {len(turn)} tokens with the words around it, of {room} that fit)")
                continue
            kept = fitting(history, turn, room)
            if len(kept) < len(history):
                history = kept
                typer.echo("(the first turns no longer fit and are forgotten)")
            seen = [token for past in history for token in past] + turn
            answer = models.show(_answer(writer, tokenizer, seen, tokens, sampling))
            history.append([*turn, *tokenizer.encode(answer, disallowed_special=()), tokenizer.eot_token])


def prompt_style(folder: Path) -> PromptStyle:
    """Return how the model's prompts were written in its training, as its facts say."""
    from gpt_from_scratch.data.instructions.prompts import style_of
    from gpt_from_scratch.weights.huggingface import load_facts

    return style_of(load_facts(folder))


def answer_prompt(entry: Question, style: PromptStyle) -> str:
    """Return an instruction as the model was trained to see it, up to where its answer begins."""
    from gpt_from_scratch.data.instructions.prompts import format_prompt, response_header

    return format_prompt(entry, style) + response_header(style)


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


def introduction(folder: Path, model: GPTModel, facts: dict[str, Any]) -> str:
    """Return what there is to know before one believes a word."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    origin = {"synthetic": "random weights", "none": "random weights", "path": "a model of your own"}
    begun = origin.get(str(facts.get("pretrained")), "OpenAI's GPT-2")
    data = {"sample": "some hundred sample instructions", "upstream": "the book's 1,100 instructions"}
    return (
        f"{folder}: {weights / 1e6:.1f} million weights, begun from {begun}, trained on "
        f"{data.get(str(facts.get('data')), 'instructions')}.\n"
        "It answers one instruction at a time as it learnt to, and was never trained to converse: what was said before "
        "goes in as context, as far as it fits.\nIt knows little and does not know what it does not know. "
        "/reset forgets, /quit leaves."
    )


def _lines() -> Iterator[str]:
    """Yield what is typed, or what standard input holds, until it ends."""
    while True:
        if sys.stdin.isatty():
            try:
                line = input("> ")
            except EOFError:
                typer.echo()
                return
        elif not (line := sys.stdin.readline()):
            return
        yield line.strip()


def _answer(model: GPTModel, tokenizer: Encoding, ids: list[int], tokens: int, sampling: Sampling) -> Iterator[str]:
    from gpt_from_scratch.generation.stream import stream_text

    return stream_text(model, tokenizer, ids, tokens, sampling)


def _sampling(model: GPTModel, temperature: float, top_k: int | None, seed: int) -> Sampling:
    """Return the settings of a conversation: one generator for all of its answers."""
    from gpt_from_scratch.generation import Sampling

    return Sampling(temperature, top_k, seed).started(model.device)

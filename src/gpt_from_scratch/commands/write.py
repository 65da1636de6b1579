"""`gpt generate`: a language model continues texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError, shown

if TYPE_CHECKING:
    from tiktoken import Encoding

    from gpt_from_scratch.generation import Sampling
    from gpt_from_scratch.model import GPTModel

app = typer.Typer()

_EXAMPLES = """Examples:

gpt generate "Every effort moves you"

gpt generate "Every effort moves you" --temperature 1 --top-k 40 --tokens 60 --seed 1 --num 4

echo "Once upon a time" | gpt generate - --model models/gpt2/124M

gpt generate --prompts prompts.txt --out texts.jsonl"""


@app.command(epilog=_EXAMPLES)
def generate(
    prompt: Annotated[str | None, typer.Argument(help="How the text begins; - reads it from standard input.")] = None,
    model: Annotated[str, models.model_option("a language model")] = "models/pretrain",
    tokens: models.TokensOption = 50,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=1000, help="Texts to write, side by side.")] = 1,
    prompts: Annotated[
        str | None, typer.Option(help="File of prompts, one a line or as JSON lines with a prompt each; - for stdin.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the JSON lines that --prompts gives.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Texts written side by side.")] = 16,
    int8: models.Int8Option = False,
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Continue a text, shown as it is being written; or every prompt of a file, as JSON lines."""
    from gpt_from_scratch.generation import Sampling

    if (prompt is None) == (prompts is None):
        raise InputError("expected a prompt, or --prompts with a file of them, and not both")
    if num > 1 and temperature == 0.0:
        raise InputError("--num: at --temperature 0 all texts are the same; try --temperature 1")
    if out is not None and prompts is None:
        raise InputError("--out: expected --prompts with it; one text goes to standard output")
    texts = [models.read_input("-").removesuffix("\n") if prompt == "-" else prompt or ""]
    if prompts is not None:
        texts = read_prompts(prompts)
    for number, text in enumerate(texts, start=1):
        if not text:
            raise InputError(f"prompt {number}: expected a text, found an empty one")
    folder = models.find_model(model)
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), int8=int8)
    sampling = Sampling(temperature, top_k, seed)
    if prompts is not None or num > 1:
        rows = write_all(writer, tokenizer, texts * num, tokens, sampling, batch_size)
        if prompts is not None:
            models.write_output("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), out)
            return
        for number, row in enumerate(rows, start=1):
            typer.echo(f"--- {number} ---\n{models.printable(row['text'])}")
        return
    stream_one(writer, tokenizer, texts[0], tokens, sampling)


def stream_one(model: GPTModel, tokenizer: Encoding, prompt: str, tokens: int, sampling: Sampling) -> None:
    """Print a prompt and its continuation, token by token."""
    from gpt_from_scratch.generation.stream import stream_text

    ids = _ids(model, tokenizer, prompt)
    typer.echo(prompt, nl=False)
    models.show(stream_text(model, tokenizer, ids, tokens, sampling))


def write_all(
    model: GPTModel,
    tokenizer: Encoding,
    prompts: list[str],
    tokens: int,
    sampling: Sampling,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Continue many prompts; return for each prompt, text (with the prompt), number of new tokens, and settings."""
    from tqdm import tqdm

    from gpt_from_scratch.generation import generate_each
    from gpt_from_scratch.generation.stream import text_of

    ids = [_ids(model, tokenizer, prompt) for prompt in prompts]
    settings = {"seed": sampling.seed, "temperature": sampling.temperature, "top_k": sampling.top_k}
    rows: list[dict[str, Any]] = [{}] * len(prompts)
    ended = generate_each(model, ids, tokens, sampling, eos_id=tokenizer.eot_token, batch_size=batch_size)
    for number, new in tqdm(ended, total=len(ids), desc="texts", unit="text", delay=2, mininterval=1):
        text = prompts[number] + text_of(tokenizer, new)
        rows[number] = {"prompt": prompts[number], "text": text, "tokens": len(new), **settings}
    return rows


def read_prompts(name: str) -> list[str]:
    """Return the prompts of a file: its lines, or where each is a JSON object, what they call prompt.

    Raises:
        InputError: when there is none, or a JSON line has no prompt.
    """
    from gpt_from_scratch.files.reading import parse_json

    lines = [line for line in models.read_lines(name) if line.strip()]
    if not lines:
        raise InputError(f"{name}: expected prompts, found none")
    if not lines[0].lstrip().startswith("{"):
        return lines
    prompts = []
    for number, line in enumerate(lines, start=1):
        content = parse_json(line, f"{name}, prompt {number}")
        prompt = content.get("prompt") if isinstance(content, dict) else None
        if not isinstance(prompt, str):
            raise InputError(
                f"{name}, prompt {number}: expected an object with a text as prompt, found {shown(content)}"
            )
        prompts.append(prompt)
    return prompts


def _ids(model: GPTModel, tokenizer: Encoding, prompt: str) -> list[int]:
    """Return a prompt's token ids, and say so where the model sees only the last of them."""
    ids, size = tokenizer.encode(prompt, disallowed_special=()), model.config.context_length
    if len(ids) > size:
        typer.echo(f"note: prompt of {len(ids)} tokens: the model sees the last {size}", err=True)
    return ids[-size:]

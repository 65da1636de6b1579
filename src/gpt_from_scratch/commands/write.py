"""`gpt generate`: a language model continues texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError

if TYPE_CHECKING:
    from tiktoken import Encoding

    from gpt_from_scratch.model import GPTModel

app = typer.Typer()

_EXAMPLES = """Examples:

gpt generate "Every effort moves you"

gpt generate "Every effort moves you" --temperature 1 --top-k 40 --tokens 60 --seed 1 --num 4

gpt generate "Every effort moves you" --temperature 1 --top-p 0.9 --repetition-penalty 1.2 --stop . --stop '?'

echo "Once upon a time" | gpt generate - --model models/gpt2/124M

gpt generate --prompts prompts.txt --out texts.jsonl"""


@app.command(epilog=_EXAMPLES, rich_help_panel=models.PANEL)
def generate(
    prompt: Annotated[str | None, typer.Argument(help="The beginning; - reads it from standard input.")] = None,
    model: Annotated[str, models.model_option("a language model")] = "models/pretrain",
    tokens: models.TokensOption = 50,
    temperature: models.TemperatureOption = 0.0,
    top_k: models.TopKOption = None,
    seed: models.SeedOption = 123,
    top_p: models.TopPOption = 1.0,
    min_p: models.MinPOption = 0.0,
    repetition_penalty: models.PenaltyOption = 1.0,
    stop: models.StopOption = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=1000, help="Texts to generate, in one batch.")] = 1,
    prompts: Annotated[
        str | None, typer.Option(help="File of prompts: one a line, or JSON objects with a prompt each; - for stdin.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the JSON lines that --prompts gives.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Texts in a batch.")] = 16,
    cut: Annotated[
        bool, typer.Option("--cut", help="Keep the last tokens of a prompt that is longer than the model's context.")
    ] = False,
    precision: models.PrecisionOption = "fp32",
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Continue a text, printed as it is generated; or every prompt of a file, as JSON lines.

    A prompt that is longer than the model's context is refused, unless --cut is given. A text may grow past it: from
    there on the model sees the last tokens only.
    """
    if (prompt is None) == (prompts is None):
        raise InputError("expected a prompt, or --prompts with a file of them, and not both")
    if num > 1 and temperature == 0.0:
        raise InputError("--num: at --temperature 0 all texts are the same; try --temperature 1")
    if out is not None and prompts is None:
        raise InputError("--out: expected --prompts with it; one text goes to standard output")
    if out is not None:
        models.check_output(out)
    texts = [models.read_argument(prompt or "")] if prompts is None else read_prompts(prompts)
    for number, text in enumerate(texts, start=1):
        if not text:
            raise InputError(f"prompt {number}: expected a text, found an empty one")
    from tqdm import tqdm

    from gpt_from_scratch.generation import GREEDY, Ending, Sampling, generate_each
    from gpt_from_scratch.generation.stream import stream_text

    folder = models.find_model(model)
    sampling = Sampling(temperature, top_k, seed, top_p, min_p, repetition_penalty, tuple(stop or ()))
    writer, tokenizer = models.load_writer(folder, models.use_device(device, threads), precision)
    ids = encode_prompts(texts, writer, tokenizer, tokens, cut=cut)
    if prompts is None and num == 1:
        typer.echo(texts[0], nl=False)
        models.show(stream_text(writer, tokenizer, ids[0], tokens, sampling))
        return
    seldom = {"top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty, "stop": sampling.stop}
    settings = {"seed": seed, "temperature": temperature, "top_k": top_k}
    settings |= {name: value for name, value in seldom.items() if value != getattr(GREEDY, name)}
    ending = Ending(tokenizer, sampling.stop)
    rows: list[dict[str, Any]] = [{}] * (len(ids) * num)
    ended = generate_each(writer, ids * num, tokens, sampling, eos_id=ending, batch_size=batch_size)
    for number, new in tqdm(ended, total=len(rows), desc="texts", unit="text", delay=2, mininterval=1):
        begin = texts[number % len(texts)]
        rows[number] = {"prompt": begin, "text": begin + ending.text_of(new), "tokens": len(new), **settings}
    if prompts is not None:
        models.write_output("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), out)
        return
    for number, row in enumerate(rows, start=1):
        typer.echo(f"--- {number} ---\n{models.printable(row['text'])}")


def encode_prompts(
    prompts: list[str], model: GPTModel, tokenizer: Encoding, tokens: int, *, cut: bool
) -> list[list[int]]:
    """Return the token ids of prompts; with `cut`, of a longer one the last that fit the model's context, with a note.

    Raises:
        InputError: for a prompt that is longer than the context, unless `cut`.
    """
    encoded = []
    for number, prompt in enumerate(prompts, start=1):
        name = f"prompt {number} of {len(prompts)}" if len(prompts) > 1 else "prompt"
        cure = "shorten it, or keep its end with --cut"
        ids, note = fit_prompt(prompt, model, tokenizer, tokens, cut=cut, name=name, cure=cure)
        if note:
            typer.echo(f"note: {note}", err=True)
        encoded.append(ids)
    return encoded


def fit_prompt(
    prompt: str, model: GPTModel, tokenizer: Encoding, tokens: int, *, cut: bool, name: str, cure: str
) -> tuple[list[int], str]:
    """Return a prompt's token ids, with `cut` the last that fit the model's context, and a note on what was cut.

    Args:
        tokens: most tokens that are to follow.
        name, cure: what an error calls the prompt, and what to do.

    Raises:
        InputError: for a prompt that is longer than the context, unless `cut`.
    """
    from gpt_from_scratch.generation.text import check_room, encode

    ids, context = encode(tokenizer, prompt), model.config.context_length
    if cut and len(ids) > context:
        return ids[-context:], f"{name} has {len(ids)} tokens: cut to the last {context}"
    check_room(ids, tokens, context, name=name, cure=cure)
    return ids, ""


def read_prompts(name: str) -> list[str]:
    """Return the prompts of a file: its lines, or the `prompt` of each object of JSON Lines or a JSON list.

    Raises:
        InputError: when there is none, or an object has no prompt.
    """
    from gpt_from_scratch.files.reading import is_json, json_texts, lines

    content = models.read_input(name)
    if is_json(content):
        return json_texts(content, name, "prompt")
    prompts = [line for line in lines(content) if line.strip()]
    if not prompts:
        raise InputError(f"{name}: expected prompts, found none")
    return prompts

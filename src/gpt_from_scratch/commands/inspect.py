"""`gpt tokenize` and `gpt info`: what a text becomes, and what a model folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError, shown

if TYPE_CHECKING:
    from tiktoken import Encoding

app = typer.Typer()

_DECIDES = {
    "last": "the last token after padding",
    "last_real": "the text's own last token",
    "first": "the first token",
    "mean": "the mean over all tokens, padding included",
}


@app.command(
    rich_help_panel=models.PANEL,
    epilog='Examples:\n\ngpt tokenize "Hello, do you like tea?"\n\ngpt tokenize "Hello" --ids\n\n'
    'gpt tokenize "15496 11 466" --decode --model models/gpt2/124M',
)
def tokenize(
    text: Annotated[str, typer.Argument(help="What to take apart; with --decode, ids; - reads standard input.")],
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids alone, in one line.")] = False,
    decode: Annotated[bool, typer.Option("--decode", help="From ids to text.")] = False,
    model: Annotated[str, models.model_option("a model, for its tokenizer")] = "models/pretrain",
) -> None:
    """Show a text's tokens: their ids, the pieces that they stand for, and how many there are."""
    from gpt_from_scratch.tokenizer.bpe import load_tokenizer

    tokenizer = load_tokenizer(models.find_model(model))
    if text == "-":
        text = models.read_input("-")
    if decode:
        typer.echo(models.printable(_decoded(tokenizer, text)))
        return
    tokens = tokenizer.encode(text, disallowed_special=())
    if ids:
        typer.echo(" ".join(map(str, tokens)))
        return
    for token in tokens:
        typer.echo(f"{token:>6}  {piece(tokenizer, token)}")
    typer.echo(f"{len(tokens)} tokens, {len(text)} characters")


def piece(tokenizer: Encoding, token: int) -> str:
    """Return what a token stands for, between quotes; its bytes where they are no whole characters."""
    content = tokenizer.decode_single_token_bytes(token)
    try:
        return repr(content.decode("utf-8"))
    except UnicodeDecodeError:
        return " ".join(f"{byte:02x}" for byte in content)


def _decoded(tokenizer: Encoding, text: str) -> str:
    tokens = []
    for word in text.replace(",", " ").split():
        if not (word.isascii() and word.isdigit()) or int(word) >= tokenizer.n_vocab:
            raise InputError(f"--decode: expected ids from 0 to {tokenizer.n_vocab - 1}, found {shown(word)}")
        tokens.append(int(word))
    return tokenizer.decode(tokens)


@app.command(rich_help_panel=models.PANEL, epilog="Examples:\n\ngpt info models/pretrain\n\ngpt info models/classifier")
def info(
    model: Annotated[str, typer.Argument(help="A model's folder.", autocompletion=models.complete_model)],
) -> None:
    """Say what a model folder holds: shape, size, where its weights come from, figures, hashes of its files."""
    from gpt_from_scratch.evaluation.measured import model_figures, role
    from gpt_from_scratch.files.writing import sha256
    from gpt_from_scratch.report.about import about
    from gpt_from_scratch.weights.classifier import load_info
    from gpt_from_scratch.weights.config_file import load_config, load_facts
    from gpt_from_scratch.weights.layout import parameter_count

    folder = models.find_model(model)
    cfg, facts = load_config(folder), load_facts(folder)
    rows: list[tuple[str, object]] = [
        ("folder", folder),
        ("model", about(folder).text),
        ("layers", f"{cfg.n_layers}, {cfg.n_heads} heads, width {cfg.emb_dim}"),
        ("vocabulary", f"{cfg.vocab_size:,} tokens"),
        ("context", f"{cfg.context_length:,} tokens"),
        ("query bias", "yes" if cfg.qkv_bias else "no"),
    ]
    labels = None
    if (folder / "classifier.json").is_file():
        about = load_info(folder, cfg)
        labels = len(about.labels)
        rows += [
            ("labels", ", ".join(about.labels)),
            ("reads", f"{about.max_length} tokens"),
            ("decides at", _DECIDES[about.deciding_token]),
            ("a token sees", "those before it" if about.causal else "all of its text"),
        ]
    else:
        rows.append(("output head", "the embedding's matrix" if cfg.tie_weights else "a matrix of its own"))
    weights = parameter_count(cfg, labels)
    rows += [("weights", f"{weights:,}"), ("memory", f"{4 * weights / 1e6:,.1f} MB as fp32")]
    rows += [(name, value) for name, value in sorted(facts.items())]
    shown = model_figures(folder)
    rows += list(shown.items()) if shown or not role(folder) else [("figures", "not evaluated as it is; run dvc repro")]
    rows += [(path.name, f"{path.stat().st_size:,} bytes, sha256 {sha256(path)}") for path in _files(folder)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())

"""`gpt export`: a model leaves the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError

app = typer.Typer()


@app.command(
    rich_help_panel=models.PANEL,
    epilog="Examples:\n\ngpt export models/instruct ~/my-assistant\n\n"
    "gpt export models/pretrain model.pth --format book\n\n"
    "gpt export models/instruct ~/my-assistant --gguf --hub me/my-assistant",
)
def export(
    model: Annotated[str, typer.Argument(help="A model's folder.", autocompletion=models.complete_model)],
    out: Annotated[Path, typer.Argument(help="A new folder; for the book's format a new .pth file.")],
    form: Annotated[
        Literal["huggingface", "book"],
        typer.Option(
            "--format", help="huggingface: safetensors, tokenizer, model card; book: a .pth for its GPTModel."
        ),
    ] = "huggingface",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    hub: Annotated[
        str, typer.Option(metavar="USER/NAME", help="A repository of the Hugging Face Hub: list what would be sent.")
    ] = "",
    push: Annotated[bool, typer.Option("--push", help="With --hub: send it, to a private repository.")] = False,
    public: Annotated[bool, typer.Option("--public", help="With --hub: to one that everyone can read.")] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="Also write OUT.gguf, by llama.cpp's converter.")] = False,
) -> None:
    """Write a model in a format that others load, after a check that its logits are the same."""
    from gpt_from_scratch.data.instructions.prompts import style_of
    from gpt_from_scratch.evaluation.measured import role
    from gpt_from_scratch.pipeline.llama_cpp import gguf_path, to_gguf
    from gpt_from_scratch.report.card import folder_card
    from gpt_from_scratch.tools.hub import check_repository, publish
    from gpt_from_scratch.weights.config_file import load_config, load_facts
    from gpt_from_scratch.weights.export import book_config, export_model

    if form == "book" and (hub or gguf):
        raise InputError("--format book: expected neither --hub nor --gguf, which pass on the form huggingface")
    if (push or public) and not hub:
        raise InputError(f"{'--push' if push else '--public'}: expected --hub USER/NAME, found none")
    folder, out = models.find_model(model), out.expanduser()
    if hub:
        check_repository(hub, push=push)
    if gguf:
        gguf_path(out, force=force)
    difference = export_model(folder, out, form=form, card=folder_card(folder, out.name), force=force)
    typer.echo(f"{out}: written; its logits differ from the model's by {difference:.1g} at most")
    if role(folder) == "instruct":
        typer.echo(f"its prompts are in the style {style_of(load_facts(folder))}")
    if form == "book":
        typer.echo(f"to load it: model = GPTModel({book_config(load_config(folder))})")
        if (folder / "classifier.json").is_file():
            typer.echo("and, for the classifier's head, before load_state_dict:")
            typer.echo(f"model.out_head = torch.nn.Linear({load_config(folder).emb_dim}, number of labels)")
        typer.echo(f"model.load_state_dict(torch.load({str(out)!r}, weights_only=True))")
    if gguf:
        typer.echo(to_gguf(out, force=force))
    if hub:
        for line in publish(out, hub, push=push, public=public):
            typer.echo(line)

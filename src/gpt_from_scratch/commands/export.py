"""`gpt export`: a model leaves the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt_from_scratch.commands import models

app = typer.Typer()


@app.command(
    rich_help_panel=models.PANEL,
    epilog="Examples:\n\ngpt export models/instruct ~/my-assistant\n\n"
    "gpt export models/pretrain model.pth --format book",
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
) -> None:
    """Write a model in a format that others load, after a check that its logits are the same."""
    from gpt_from_scratch.data.instructions.prompts import style_of
    from gpt_from_scratch.evaluation.measured import role
    from gpt_from_scratch.report.card import folder_card
    from gpt_from_scratch.weights.config_file import load_config, load_facts
    from gpt_from_scratch.weights.export import book_config, export_model

    folder, out = models.find_model(model), out.expanduser()
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

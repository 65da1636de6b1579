"""Executed notebooks as they are committed: nothing of the machine or the moment in them, and what differs in two."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

METADATA = ("jupytext", "kernelspec")


def normalise(notebook: NotebookNode, name: str) -> None:
    """Remove from an executed notebook, in place, what another run would write differently.

    These are times, the version of Python, random ids of cells and how a stream was cut into pieces. The error stream
    goes too: it holds progress bars with their times, and warnings with paths.
    """
    notebook.metadata = NotebookNode(
        {key: notebook.metadata[key] for key in METADATA if key in notebook.metadata},
        language_info={"name": "python"},
    )
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"{name}-{number}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = list(_joined(cell.outputs))


def _joined(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield outputs without the error stream, and printed text up to the next picture as one piece."""
    printed = None
    for output in outputs:
        if output.output_type != "stream":
            printed = None
            yield output
        elif output.name == "stdout":
            if printed is None:
                printed = output
                yield printed
            else:
                printed.text += output.text


def same_cells(one: NotebookNode, other: NotebookNode) -> bool:
    """Tell whether two notebooks have the same cells, whatever their outputs."""

    def plain(notebook: NotebookNode) -> list[tuple[str, str, list[str]]]:
        return [(cell.cell_type, cell.source, list(cell.metadata.get("tags", []))) for cell in notebook.cells]

    return plain(one) == plain(other)


def differences(committed: NotebookNode, fresh: NotebookNode, *, texts: bool) -> list[str]:
    """Return one sentence for each cell whose outputs differ.

    Pictures are compared by their number alone: their bytes depend on the versions of the libraries that draw.

    Args:
        texts: whether the printed texts have to be equal too, to the character, but for rounding errors.
    """
    if not same_cells(committed, fresh):
        return ["the cells are not those of the source"]
    found = []
    for number, (old, new) in enumerate(zip(committed.cells, fresh.cells, strict=True), 1):
        kinds = [[output.output_type for output in cell.get("outputs", [])] for cell in (old, new)]
        if kinds[0] != kinds[1]:
            found.append(f"cell {number}: expected the outputs {kinds[0]}, found {kinds[1]}")
        elif texts:
            for before, after in zip(_texts(old), _texts(new), strict=True):
                for expected, got in zip(before.splitlines(), after.splitlines(), strict=False):
                    if expected != got:
                        found.append(f"cell {number}: expected {expected!r}, found {got!r}")
                        break
                else:
                    if before != after:
                        found.append(f"cell {number}: expected {before!r}, found {after!r}")
    return found


def _texts(cell: NotebookNode) -> list[str]:
    """Return the printed texts; a rounding error, such as 6.0e-07, is another one on another processor."""
    texts = [output.text for output in cell.get("outputs", []) if output.output_type == "stream"]
    return [re.sub(r"\d(\.\d+)?e-\d+", "#e-#", text) for text in texts]

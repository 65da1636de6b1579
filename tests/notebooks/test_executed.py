"""The committed notebooks: the cells of their sources, every one run, small, and nothing of a machine in them."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks.__main__ import main
from notebooks.executed import differences, normalise, same_cells

NAMES = ["01_tokenizer", "02_attention", "03_architecture", "04_gpt_in_one_page"]
LARGEST = 2_000_000
"""Bytes of all together: GitHub shows a notebook only when it is not too large."""


def text_of(notebook: NotebookNode) -> str:
    """Return everything that a notebook printed, and its pictures' descriptions."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.data["text/plain"] for output in outputs)


@pytest.fixture(params=NAMES)
def pair(root, request) -> tuple[NotebookNode, NotebookNode]:
    """Return a source and the executed notebook beside it."""
    source = root / f"notebooks/{request.param}.py"
    return jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def test_the_cells_are_the_sources(pair) -> None:
    source, executed = pair
    assert same_cells(source, executed), "after a change of a notebook: make notebooks"


def test_every_cell_has_run_in_order_and_none_failed(pair) -> None:
    _, executed = pair
    nbformat.validate(executed)
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data"}


def test_nothing_of_a_machine_or_a_moment_is_in_them(root, pair, request) -> None:
    _, executed = pair
    before = nbformat.writes(executed)
    normalise(executed, request.node.callspec.params["pair"])
    assert nbformat.writes(executed) == before
    assert str(root) not in before
    assert re.findall(r"/(?:home|Users|tmp|var|root)/\S*|\d\d:\d\d:\d\d|0x[0-9a-f]{6,}", text_of(executed)) == []


def test_there_are_four_and_they_are_small(root) -> None:
    files = sorted((root / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in files] == NAMES
    assert sum(path.stat().st_size for path in files) <= LARGEST


def test_the_fourth_is_found_by_the_name_that_readers_look_for(root) -> None:
    (line,) = [line for line in (root / "README.md").read_text().splitlines() if "04_gpt_in_one_page" in line]
    assert "compact WholeGPTBlock reference" in line


def executed(*outputs: NotebookNode, source: str = "show()") -> NotebookNode:
    """Return a notebook of a text and one cell that has these outputs."""
    return new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell(source, outputs=list(outputs))])


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def picture(data: str = "AAAA") -> NotebookNode:
    return new_output("display_data", data={"image/png": data, "text/plain": "<Figure>"})


def test_normalised_notebooks_keep_what_was_shown_and_drop_the_rest() -> None:
    notebook = executed(printed("one\n"), printed("50%", "stderr"), printed("two\n"), picture(), printed("three\n"))
    notebook.metadata = NotebookNode(jupytext={}, language_info={"name": "python", "version": "3.11.7"}, widgets={})
    notebook.cells[1].metadata.execution = {"iopub.status.busy": "2026-01-01T00:00:00"}
    normalise(notebook, "name")
    assert notebook.metadata == {"jupytext": {}, "language_info": {"name": "python"}}
    assert [cell.id for cell in notebook.cells] == ["name-1", "name-2"]
    assert notebook.cells[1].metadata == {}
    assert notebook.cells[1].outputs == [printed("one\ntwo\n"), picture(), printed("three\n")]


def test_differences_are_told() -> None:
    committed = executed(printed("loss 7.1\nloss 6.2\n"), picture())
    assert differences(committed, executed(printed("loss 7.1\nloss 6.2\n"), picture("BBBB")), texts=True) == []
    other_digit = executed(printed("loss 7.1\nloss 6.3\n"), picture())
    assert differences(committed, other_digit, texts=True) == ["cell 2: expected 'loss 6.2', found 'loss 6.3'"]
    assert differences(committed, other_digit, texts=False) == []
    longer = executed(printed("loss 7.1\nloss 6.2\nmore\n"), picture())
    assert "more" in differences(committed, longer, texts=True)[0]
    assert "display_data" in differences(committed, executed(printed("loss 7.1\nloss 6.2\n")), texts=False)[0]
    other_cell = executed(printed("loss 7.1\nloss 6.2\n"), picture(), source="other()")
    assert differences(committed, other_cell, texts=False) == ["the cells are not those of the source"]


def test_written_beside_the_source_then_compared(tmp_path, capsys) -> None:
    notebook = tmp_path / "small.py"
    notebook.write_text('# %%\nimport os\n\nprint("GPT_SAMPLES_ONLY" in os.environ)\n', encoding="utf-8")
    out = ["--out", str(tmp_path / "out")]
    assert main([str(notebook), *out, "--write"]) == 0
    committed = tmp_path / "small.ipynb"
    first = committed.read_bytes()
    assert nbformat.reads(first.decode(), as_version=4).cells[0].outputs == [printed("True\n")]
    assert main([str(notebook), *out, "--write"]) == 0
    assert committed.read_bytes() == first
    assert main([str(notebook), *out]) == 0

    # Cells that are no longer the source's are noticed on every processor.
    committed.write_bytes(first.replace(b"import os", b"import os as o"))
    changed = committed.read_bytes()
    capsys.readouterr()
    assert main([str(notebook), *out]) == 1
    assert "the cells are not those of the source" in capsys.readouterr().out
    assert committed.read_bytes() == changed


@pytest.mark.slow
def test_the_books_numbers_where_its_files_are_at_hand(root, mirror, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GPT_MIRROR", str(mirror))
    notebook = root / "notebooks/01_tokenizer.py"
    before = notebook.with_suffix(".ipynb").read_bytes()
    assert main([str(notebook), "--book-files", "--out", str(tmp_path)]) == 0
    shown = text_of(nbformat.read(tmp_path / "01_tokenizer.ipynb", as_version=4))
    assert "The Verdict (20,479 characters)" in shown
    assert "1,130 distinct tokens" in shown
    assert "GPT-2's tokenizer: 50,257 tokens" in shown
    assert "[[40, 367, 2885, 1464], [1807, 3619, 402, 271]]" in shown  # the book's first batch
    assert notebook.with_suffix(".ipynb").read_bytes() == before


def test_a_sentence_where_they_are_not(root) -> None:
    shown = text_of(nbformat.read(Path(root / "notebooks/01_tokenizer.ipynb"), as_version=4))
    assert "The Verdict, which is not read here, has 1,130" in shown
    assert "GPT-2's tokenizer of 50,257 tokens is not read here" in shown

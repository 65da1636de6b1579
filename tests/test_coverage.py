"""docs/coverage.md: what it names is there, and nothing of the book or its companion is left out."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from gpt_from_scratch.cli import app
from gpt_from_scratch.params.sections import Params

HEADER = ["where", "what", "file", "command", "test"]

SECTIONS = {"2": 8, "3": 6, "4": 7, "5": 5, "6": 8, "7": 9, "A": 9, "D": 4, "E": 4}
"""How many sections each chapter and appendix with code has; B has no code, and C is the exercises' solutions."""

# The folders of rasbt/LLMs-from-scratch at 28c65cd (2026-04-16) and of its pull request 1014, two levels deep where
# there are two.
COMPANION = """
ch01 appendix-B appendix-C
ch02/01_main-chapter-code ch02/02_bonus_bytepair-encoder ch02/03_bonus_embedding-vs-matmul
ch02/04_bonus_dataloader-intuition ch02/05_bpe-from-scratch
ch03/01_main-chapter-code ch03/02_bonus_efficient-multihead-attention ch03/03_understanding-buffers
ch04/01_main-chapter-code ch04/02_performance-analysis ch04/03_kv-cache ch04/04_gqa ch04/05_mla ch04/06_swa ch04/07_moe
ch04/08_deltanet ch04/09_dsa
ch05/01_main-chapter-code ch05/02_alternative_weight_loading ch05/03_bonus_pretraining_on_gutenberg
ch05/04_learning_rate_schedulers ch05/05_bonus_hparam_tuning ch05/06_user_interface ch05/07_gpt_to_llama
ch05/08_memory_efficient_weight_loading ch05/09_extending-tokenizers ch05/10_llm-training-speed ch05/11_qwen3
ch05/12_gemma3 ch05/13_olmo3 ch05/14_ch05_with_other_llms ch05/15_tiny-aya ch05/16_qwen3.5 ch05/17_gemma4
ch06/01_main-chapter-code ch06/02_bonus_additional-experiments ch06/03_bonus_imdb-classification ch06/04_user_interface
ch07/01_main-chapter-code ch07/02_dataset-utilities ch07/03_model-evaluation ch07/04_preference-tuning-with-dpo
ch07/05_dataset-generation ch07/06_user_interface
appendix-A/01_main-chapter-code appendix-A/02_setup-recommendations
appendix-D/01_main-chapter-code appendix-E/01_main-chapter-code
pkg/llms_from_scratch reasoning-from-scratch
setup/01_optional-python-setup-preferences setup/02_installing-python-libraries
setup/03_optional-docker-environment setup/04_optional-aws-sagemaker-notebook
"""


@dataclass(frozen=True)
class Row:
    where: str
    files: list[str]
    commands: list[str]
    tests: list[str]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def tables(text: str) -> tuple[list[Row], list[str]]:
    """Return the rows of the tables of places, and the folders of the table of what is not here."""
    rows, left_out, header = [], [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if header is None:
            header = cells
            assert header in (HEADER, ["folder", "why"]), line
        elif set("".join(cells)) == {"-"}:
            continue
        elif header == HEADER:
            assert len(cells) == len(HEADER), line
            rows.append(Row(cells[0], *(quoted(cell) for cell in cells[2:])))
        else:
            assert len(cells) == 2 and cells[1], line
            left_out += quoted(cells[0])
    return rows, left_out


@pytest.fixture(scope="module")
def document(root) -> str:
    return (root / "docs/coverage.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def here(document) -> list[Row]:
    """The rows whose parts have to exist: those that a reader sees."""
    return tables(re.sub(r"<!--.*?-->\n?", "", document, flags=re.S))[0]


@pytest.fixture(scope="module")
def covered(document) -> tuple[list[Row], list[str]]:
    """Every row, those too that wait in a comment for what they name."""
    return tables(re.sub(r"^<!-- pending\n|^pending -->\n", "", document, flags=re.M))


def found(root: Path, name: str) -> Path | None:
    """Return a file or folder of the project, or of the package."""
    places = (root / name, root / "src/gpt_from_scratch" / name)
    return next((place for place in places if place.exists()), None)


def test_files_exist(root, here) -> None:
    assert [(row.where, name) for row in here for name in row.files if found(root, name) is None] == []


def test_tests_exist(root, here) -> None:
    missing = []
    for name in (name for row in here for name in row.tests):
        file, _, function = name.partition("::")
        path = root / file
        if not path.exists() or not file.startswith("tests/"):
            missing.append(name)
        elif function:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if function not in [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
                missing.append(name)
    assert missing == []


def complaint(root: Path, command: str) -> str | None:
    """Return what is wrong with a command, if anything is."""
    program, _, rest = command.partition(" ")
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.M)
        return None if rest in targets else f"no target {rest}"
    if program == "dvc":
        stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        return None if rest.partition(" ")[0] == "repro" and rest.split()[1] in stages else "no stage"
    if program == "python":
        module = rest.removeprefix("-m ").split()[0].replace(".", "/")
        places = [base / f"{module}{end}" for base in (root, root / "src") for end in (".py", "/__main__.py")]
        return None if any(place.is_file() for place in places) else f"no module {module}"
    if program == "gpt":
        group = get_command(app)
        for word in rest.split():
            if not hasattr(group, "commands"):
                break  # what follows a command are its arguments
            if word not in group.commands:
                return f"no subcommand {word}"
            group = group.commands[word]
        return "a subcommand is missing" if hasattr(group, "commands") else None
    if "=" in command:
        return wrong_parameter(root, dict(change.split("=") for change in command.split()))
    return "neither make, dvc, python, gpt nor a parameter"


def wrong_parameter(root: Path, changes: dict[str, str]) -> str | None:
    """Return what the typed parameters say to values; `…` stands for one of the reader's."""
    content = yaml.safe_load((root / "profiles/book.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = content
        for name in parents:
            section = section.get(name, {})
        if last not in section:
            return f"no parameter {key}"
        if value != "…":
            section[last] = yaml.safe_load(value)
    try:
        Params.model_validate(content)
    except ValueError as error:
        return str(error)
    return None


def test_commands_exist(root, here) -> None:
    complaints = {command: complaint(root, command) for row in here for command in row.commands}
    assert {command: wrong for command, wrong in complaints.items() if wrong} == {}


@pytest.mark.parametrize(
    "command",
    [
        *("make coffee", "dvc repro brew", "python -m notebook", "gpt frobnicate", "ls", "classify.trainables=all"),
        *("classify.trainable=none", "pretrain.schedule=…x", "gpt"),
    ],
)
def test_a_command_that_does_not_exist_is_found_out(root, command) -> None:
    assert complaint(root, command)


def test_every_row_names_a_file_a_command_and_a_test(here) -> None:
    assert [row.where for row in here if not (row.files and row.commands and row.tests)] == []


def test_every_section_of_the_book_has_a_row(covered) -> None:
    named = {name for row in covered[0] for name in re.findall(r"\b[0-9A-E]\.[0-9]\b", row.where.split("exercise")[0])}
    wanted = {f"{chapter}.{number}" for chapter, last in SECTIONS.items() for number in range(1, last + 1)}
    assert named == wanted


def test_every_folder_of_the_companion_has_a_row_or_a_reason(covered) -> None:
    rows, left_out = covered
    named = {folder for row in rows for folder in quoted(row.where)}
    assert named | set(left_out) == set(COMPANION.split())
    assert named & set(left_out) == set()


def test_every_module_with_the_books_names_and_every_notebook_is_named(root, here) -> None:
    named = {path for row in here for name in row.files if (path := found(root, name))}
    modules = {path for path in (root / "src/gpt_from_scratch/book").rglob("*.py") if path.name != "__init__.py"}
    notebooks = set((root / "notebooks").glob("[0-9]*.py"))
    assert len(notebooks) == 4
    assert sorted(path.name for path in (modules | notebooks) - named) == []

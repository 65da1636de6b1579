"""Parameter files made to do harm: refused in one line, and none leads out of the project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from refusal import refused

from gpt_from_scratch.params.sections import load_params


@pytest.fixture(scope="module")
def quick(root) -> str:
    return (root / "profiles/quick.yaml").read_text(encoding="utf-8")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (BOMB, "expected every value where it stands, found an anchor or alias .*line 1"),
        (MERGES, "found an anchor or alias"),
        ("a: *b", "found an anchor or alias"),
        ("&a [*a]", "found an anchor or alias"),
        ("!!python/object/apply:os.system ['touch {trace}']", "expected plain values, found the tag .*os.system"),
        ("a: !!python/name:os.system", "expected plain values, found the tag"),
        ("a: !!int ''", "expected plain values, found the tag"),
        ("a: !!timestamp x", "expected plain values, found the tag"),
        ("x" * 10_000_000, "expected at most 262,144 bytes, found more"),
        ("[" * 200_000, "nested too deeply"),
        ("a: " + "{a: " * 60_000, "nested too deeply"),
        ("".join(" " * n + "a:\n" for n in range(700)), "nested too deeply"),
        ("a: 1\na: 2", "expected every key once"),
        ("a: {b: 1, b: 2}", "expected every key once"),
        ("a:\n\tb: 1", "not valid YAML: .*line 2, column 1"),
        ("a: \0", "not valid YAML: .*#x0000"),
        (b"a: 1\nb: \xe9", "line 2: expected UTF-8 text, found the byte 0xe9"),
        ("a: 1".encode("utf-16"), "line 1: expected UTF-8 text, found the byte 0xff"),
        ("a: " + "1" * 5000, "not valid YAML: .*digits"),
        ("a: 2001-99-99", "not valid YAML: month must be"),
        ('a: "\\U00110000"', "not valid YAML"),
        ("? [a]\n: 1", "not valid YAML: .*unhashable key"),
        ("a: 1\n---\nb: 2", "not valid YAML: .*single document"),
        ("%YAML 9.9\n---\na: 1", "not valid YAML: .*version"),
        ("", "expected sections with parameters, found NoneType"),
        ("- a", "expected sections with parameters, found list"),
    ],
)
def test_parameter_files(tmp_path, content, complaint) -> None:
    path, trace = tmp_path / "params.yaml", tmp_path / "trace"
    content = content if isinstance(content, bytes) else content.replace("{trace}", str(trace)).encode("utf-8")
    path.write_bytes(content)
    with refused(path, complaint):
        load_params(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("1: 2", "1: keys should be strings, found 1"),
        ("a: " + "[" * 90 + "]" * 90, r"a: unknown parameter, found \[\[\[\.\.\.\]\]\]"),
        ("a: 0x" + "f" * 100_000, "a: unknown parameter, found a number of 400000 bits"),
        ("a: " + "x" * 200_000, r"a: unknown parameter, found 'x+\.\.\.x+'"),
        ("".join(f"k{n}: 1\n" for n in range(10_000)), "k0: unknown parameter, found 1; .*and 9995 more"),
        ("'" + "k" * 1000 + "': 1", r"'k+\.\.\.k+': unknown parameter"),
        ('"\\n\\e[2J": "\\ud800"', r"'\\n\\x1b\[2J': unknown parameter, found '\\ud800'"),
    ],
)
def test_parameters_too_many(tmp_path, quick, addition, complaint) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{quick}\n{addition}\n", encoding="utf-8")
    with refused(path, complaint):
        load_params(path)


def changed(text: str, key: str, value: str) -> str:
    """Return parameters in which the first line of that key has another value."""
    line = rf"(?m)^( *){key}:[^\n]*(\n\1 *- [^\n]*)*$"
    found, count = re.subn(line, lambda line: f"{line[1]}{key}: {value}", text, count=1)
    assert count == 1
    return found


NUMBERS = [".nan", ".inf", "-.inf", "nan", "inf", "1e999", "true", "0x" + "f" * 10_000, "1" * 400, "[]", "~"]


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", ["lr", "weight_decay", "drop_rate", "temperature", "train", "checkpoint_seconds"])
def test_numbers_that_are_none(tmp_path, quick, key, value) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(changed(quick, key, value))
    with refused(path, rf"{key}: input should be .*, found "):
        load_params(path)


@pytest.mark.parametrize("value", ["-1", str(2**32), "1" * 400, "1.5", "true", "'1'", ".nan", "1e3"])
@pytest.mark.parametrize("key", ["seed", "batch_size", "epochs", "emb_dim", "tokens"])
def test_counts_that_are_none(tmp_path, quick, key, value) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(changed(quick, key, value))
    with refused(path, rf"{key}: input should be .*, found "):
        load_params(path)


PATHS = [
    "..",
    "../x",
    "../../etc",
    "/etc",
    "gpt2/../124M",
    "gpt2//124M",
    "gpt2/124M/",
    "pretrain/../x",
    "C:\\x",
    "~",
    "",
]
PATHS += [
    "gpt2/124M\\n",
    "pretrain\\n",
    "gpt2/124M\\0",
    "quick\\n",
    "quick\\0",
    "ＧＰＴ",
    "124M\\n",
    "124M/..",
    "${HOME}",
]


@pytest.mark.parametrize("value", PATHS)
@pytest.mark.parametrize(
    ("section", "key"), [("classify", "base"), ("instruct", "base"), (None, "profile"), ("download_gpt2", "sizes")]
)
def test_no_parameter_leads_out_of_the_project(tmp_path, quick, section, key, value) -> None:
    head, mark, rest = quick.partition(f"\n{section}:") if section else ("", "", quick)
    path = tmp_path / "params.yaml"
    written = f'["{value}"]' if key == "sizes" else f'"{value}"'
    path.write_text(head + mark + changed(rest, key, written.replace("\\x", "\\\\x")), encoding="utf-8")
    with refused(path, rf"{key}[.0]*: string should match pattern"):
        load_params(path)


@pytest.mark.parametrize("value", ["data", "data/../x", "data/x/../../y", "data/.cache", *PATHS])
def test_no_corpus_lies_outside_data(tmp_path, quick, value) -> None:
    head, mark, rest = quick.partition("corpus:")
    path = tmp_path / "params.yaml"
    path.write_text(head + mark + changed(rest, "path", f'"{value}"'.replace("\\x", "\\\\x")), encoding="utf-8")
    with refused(path, r"pretrain.corpus.path: string should match pattern"):
        load_params(path)


@pytest.mark.parametrize("value", ["data", "data/../x", "data/x/../../y", "data/.cache", *PATHS])
def test_no_instructions_lie_outside_data(tmp_path, quick, value) -> None:
    head, mark, rest = quick.partition("\ninstruct:")
    path = tmp_path / "params.yaml"
    path.write_text(head + mark + changed(rest, "data", f'"{value}"'.replace("\\x", "\\\\x")), encoding="utf-8")
    with refused(path, r"instruct.data: string should match pattern"):
        load_params(path)


@pytest.mark.parametrize("value", ["*/../x", "**/..", ".*", *(path for path in PATHS if path != "ＧＰＴ")])
def test_no_glob_leads_out_of_the_corpus(tmp_path, quick, value) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(changed(quick, "files", f'["{value}"]'.replace("\\x", "\\\\x")), encoding="utf-8")
    with refused(path, r"pretrain.corpus.files.0: string should match pattern"):
        load_params(path)


def test_every_text_among_the_parameters_is_bounded_or_no_path() -> None:
    """Whoever adds a text decides here whether it can become a path."""
    from gpt_from_scratch.params.sections import Params

    def texts(model: Any, prefix: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            sections = [
                kind for kind in (field.annotation, *get_args(field.annotation)) if hasattr(kind, "model_fields")
            ]
            if sections:
                yield from texts(sections[0], f"{prefix}{name}.")
            elif re.search(r"\bstr\b", str(field.annotation)) and "Literal" not in str(field.annotation):
                yield f"{prefix}{name}"

    bounded = {"profile", "download_gpt2.sizes", "download_gpt2.path", "classify.base", "instruct.base"}
    bounded |= {"pretrain.corpus.path", "pretrain.corpus.files", "instruct.data"}
    bounded |= {
        "evaluate.benchmark_model",
        "evaluate.judges.name",
        "evaluate.judges.url",
        "classify.data.path",
        "classify.data.encoding",
    }
    prompts = {
        "download_gpt2.add_tokens",
        "pretrain.sample.prompt",
        "evaluate.sample_prompts",
        "evaluate.stop",
        "evaluate.judges.model",
    }
    columns = {"classify.data.text", "classify.data.label"}
    assert set(texts(Params)) == bounded | prompts | columns

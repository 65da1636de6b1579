"""Files made to do harm: each is refused in one short line, soon, in little memory, and nothing in it runs."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_from_scratch.data.corpus import read_text
from gpt_from_scratch.data.instructions import read_entries
from gpt_from_scratch.data.messages import read_split
from gpt_from_scratch.data.spam import read_messages
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files import read_json
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.params import load_params
from gpt_from_scratch.tokenizer.bpe import bpe_from_files, load_tokenizer
from gpt_from_scratch.weights.huggingface import load_model, save_model
from gpt_from_scratch.weights.openai import read_hparams
from gpt_from_scratch.weights.pth import load_pth

LONGEST_LINE = 1500
SECONDS = 20.0
BYTES = 400 * 2**20


@contextmanager
def refused(path: Path, complaint: str) -> Iterator[None]:
    """Expect an error that names the file, and neither much time nor memory."""
    before, began = peak_memory(reset=True), time.monotonic()
    with pytest.raises(InputError, match=complaint) as caught:
        yield
    assert time.monotonic() - began < SECONDS
    assert peak_memory() - before < BYTES
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    assert len(message) < LONGEST_LINE
    message.encode("utf-8")


def peak_memory(*, reset: bool = False) -> int:
    """Return the most memory that this process has had since the last reset, in bytes; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


# Parameters


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
    head, mark, rest = quick.partition(f"{section}:\n") if section else ("", "", quick)
    path = tmp_path / "params.yaml"
    written = f'["{value}"]' if key == "sizes" else f'"{value}"'
    path.write_text(head + mark + changed(rest, key, written.replace("\\x", "\\\\x")), encoding="utf-8")
    with refused(path, rf"{key}[.0]*: string should match pattern"):
        load_params(path)


def test_every_text_among_the_parameters_is_bounded_or_no_path() -> None:
    """Whoever adds a text decides here whether it can become a path."""
    from gpt_from_scratch.params import Params

    def texts(model: Any, prefix: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from texts(field.annotation, f"{prefix}{name}.")
            elif "str" in str(field.annotation) and "Literal" not in str(field.annotation):
                yield f"{prefix}{name}"

    bounded = {"profile", "download_gpt2.sizes", "classify.base", "instruct.base"}
    prompts = {"pretrain.sample.prompt", "evaluate.sample_prompts"}
    assert set(texts(Params)) == bounded | prompts


# JSON

HALF = r"found half of a pair: '\\ud800'"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "expected numbers of at most 4300 digits"),
        ('{"a": NaN}', "expected finite numbers, found 'NaN'"),
        ("[-Infinity]", "expected finite numbers, found '-Infinity'"),
        ("[1e999]", "expected finite numbers, found '1e999'"),
        ('{"a": 1, "b": 2, "a": 3}', "expected every key once in its object, found 'a' again"),
        (
            '[{"instruction": "a", "input": "", "output": "x\\ud800"}]',
            f"entry 1, output: expected Unicode text, {HALF}",
        ),
        ('[1, {"a": ["b", "\\uD800\\u0041"]}]', f"entry 2, a, entry 2: expected Unicode text, {HALF}"),
        ('{"\\ud800": 1}', f"a key: expected Unicode text, {HALF}"),
        ("\ufeff[]", "line 1, column 1: not valid JSON: Unexpected UTF-8 BOM"),
        (b'["\xff"]', "line 1: expected UTF-8 text, found the byte 0xff"),
        ('["a"]'.encode("utf-16"), "line 1: expected UTF-8 text, found the byte 0xff"),
        ('["a\0b"]', "line 1, column 4: not valid JSON: Invalid control character"),
        ("", "line 1, column 1: not valid JSON"),
        ('{"a": 1', "line 1, column 8: not valid JSON"),
        ("[1] [2]", "line 1, column 5: not valid JSON: Extra data"),
        ("__import__('os').system('true')", "not valid JSON"),
    ],
)
@pytest.mark.parametrize("read", [read_json, read_entries])
def test_json(tmp_path, read, content, complaint) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with refused(path, complaint):
        read(path)


def test_whole_pairs_of_surrogates_and_escaped_backslashes_are_text(tmp_path) -> None:
    (tmp_path / "data.json").write_text(r'["\ud83d\ude00", "\\ud800"]')
    assert read_json(tmp_path / "data.json") == ["😀", r"\ud800"]


def test_json_of_any_size(tmp_path) -> None:
    path = tmp_path / "data.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte on paper
    with refused(path, "expected at most 67,108,864 bytes, found more"):
        read_json(path)


@pytest.mark.parametrize(
    "value", [None, 1, True, [], {}, ["a"], "x" * 10**6, {"a": "x" * 10**6}, [[[[[["a"]]]]]], 10**400]
)
def test_entries_of_another_kind(tmp_path, value) -> None:
    path = tmp_path / "data.json"
    good = {"instruction": "a", "input": "b", "output": "c"}
    if not isinstance(value, str):
        path.write_text(json.dumps([good, {**good, "output": value}]))
        with refused(path, r"data\.json, entry 2, output: expected a text, found "):
            read_entries(path)
    path.write_text(json.dumps([good, value]))
    with refused(path, r"data\.json, entry 2: (expected an object, found|key 'instruction' is missing)"):
        read_entries(path)


# Messages


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"spam", "found 0 tabs"),
        (b"spam two", "found 0 tabs"),
        (b"spam\ta\tb", "found 2 tabs"),
        (b"\t" * 10**6, "found 1000000 tabs"),
        (b"spam\t", "expected a message, found none"),
        (b"spam\t \xc2\xa0\xe3\x80\x80", "expected a message, found none"),
        (b"\tspam", "expected the label ham or spam, found ''"),
        (b"Spam\ta", "expected the label ham or spam, found 'Spam'"),
        (b" spam\ta", "expected the label ham or spam, found ' spam'"),
        (b'"spam"\ta', "expected the label ham or spam, found '\"spam\"'"),
        (b"x" * 10**7 + b"\ta", r"expected the label ham or spam, found 'x+\.\.\.x+'"),
        (b"spam\ta\rb", "expected a message of one line, found a carriage return in it"),
        (b"spam\ta\r\r", "expected a message of one line, found a carriage return in it"),
        (b"spam\ta\0b", "expected a message in characters, found a NUL in it"),
        (b"spam\t\xff", "expected UTF-8 text, found the byte 0xff"),
        (b"spam\t\xed\xa0\x80", "expected UTF-8 text, found the byte 0xed"),
        (b"spam\t\xc0\x80", "expected UTF-8 text, found the byte 0xc0"),
    ],
)
@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_messages(tmp_path, recipe, line, complaint) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"ham\tfirst\n" + line + b"\nham\tlast\n")
    with refused(path, f"messages, line 2: .*{complaint}"):
        read_messages(path, recipe)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'ham\t"open\nspam\tb\n', "expected quotes in pairs"),
        (b'ham\t""\nspam\tb\n', "expected messages, found an empty one in quotes"),
        (b"\xef\xbb\xbfham\ta\n", r"line 1: expected the label ham or spam, found '\\ufeffham'"),
        (b"\n", "line 1: .* found 0 tabs"),
        (b"", "expected messages, found an empty file"),
        (b"PK\x03\x04" + bytes(1000), "line 1: .* found 0 tabs"),
    ],
)
def test_files_of_messages(tmp_path, content, complaint) -> None:
    path = tmp_path / "messages"
    path.write_bytes(content)
    with refused(path, complaint):
        read_messages(path, "book")


@pytest.mark.parametrize("recipe", ["book", "clean"])
@pytest.mark.parametrize(
    "text", ["x" * 10**7, "12", "1e999", "NA", "nan", "=cmd|' /C calc'!A0", "\x1b[2J\x85\u2028\x0b"]
)
def test_strange_messages_stay_what_they_are(tmp_path, recipe, text) -> None:
    path = tmp_path / "messages"
    path.write_text(f"ham\t{text}\nspam\t{text}\n", encoding="utf-8", newline="")
    frame = read_messages(path, recipe)
    assert frame["Text"].tolist() == [text, text]
    frame.assign(Label=[0, 1]).to_csv(tmp_path / "set.csv", index=False, lineterminator="\n")
    assert read_split(tmp_path / "set.csv")["Text"].tolist() == [text, text]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"Label,Text\n0,a,b\n1,c,d\n", "expected two cells a row"),
        (b"Label,Text\n0,a\n0\n", "row 2, column Text: expected a message, found none"),
        (b"Label,Text\n0,a\n1,b,c\n", "not a CSV file of messages"),
        (b"Label,Text\n0.0,a\n", "column Label: expected 0 or 1"),
        (b"Label,Text\nTrue,a\n", "column Label: expected 0 or 1"),
        (b"Label,Text\n" + b"9" * 5000 + b",a\n", "column Label: expected 0 or 1"),
        (b'Label,Text\n0,"a\n', "not a CSV file of messages"),
        (b"Label,Text\n0,\xff\n", "not a CSV file of messages"),
        (b"Label,Text,Text\n0,a,b\n", "expected the columns Label,Text, found 'Label,Text,Text'"),
        (b"x," * 50_000, r"expected the columns Label,Text, found 'x,.*\.\.\."),
        (b"\0" * 1000, "expected the columns Label,Text, found"),
        (b"Label,Text\n\xff", "not a CSV file"),
    ],
)
def test_sets_of_messages(tmp_path, content, complaint) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with refused(path, complaint):
        read_split(path)


# Tokenizers


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("encoder.json", '{"a": ' + "9" * 5000 + "}", "at most 4300 digits"),
        ("encoder.json", '{"a": 0, "a": 1}', "expected every key once"),
        ("encoder.json", '{"a": -1}', "expected the ids 0 to 0, each once"),
        ("encoder.json", '{"a": 0.0}', "expected a JSON object that gives each token its id"),
        ("encoder.json", '{"../../x": 0}', r"expected an id for <\|endoftext\|>, found none"),
        ("encoder.json", '{"\\ud800": 0}', "a key: expected Unicode text"),
        ("vocab.bpe", "#version: 0.2\n" + "a" * 10**6 + "\n", r"line 2: expected two tokens .* found 'a+\.\.\.a+'"),
        ("vocab.bpe", "#version: 0.2\n\ud800", "line 2: expected UTF-8 text, found the byte 0xed"),
        ("vocab.bpe", "#version: 0.2\nĠ \0\n", r"line 2: expected two tokens .* found 'Ġ \\x00'"),
        ("vocab.bpe", "#version: 0.2\r\nĠ t\r\n", "line 2: expected two tokens"),
    ],
)
def test_tokenizers(tmp_path, root, file, content, complaint) -> None:
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes((root / "data/sample/bpe" / name).read_bytes())
    (tmp_path / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    with refused(tmp_path / file, complaint):
        load_tokenizer(tmp_path)


# Safetensors


@pytest.fixture(scope="module")
def saved(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = root / "data/sample/bpe"
    torch.manual_seed(1)
    cfg = GPTConfig(load_tokenizer(tokenizer).n_vocab, 16, 8, 2, 1, tie_weights=True)
    save_model(GPTModel(cfg), folder, tokenizer)
    return folder


@pytest.fixture
def model(saved, tmp_path) -> Path:
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Return what writes the file anew with a changed header."""

    def write(content: bytes) -> bytes:
        header, data = parts(content)
        return joined(change(header) or header, data)

    return write


WTE, NORM = "transformer.wte.weight", "transformer.ln_f.bias"


def tensor(field: str, value: object) -> Callable[[bytes], bytes]:
    return header(lambda header: header[NORM].update({field: value}))


def moved(by: int) -> Callable[[bytes], bytes]:
    return header(lambda h: h[NORM].update(data_offsets=[place + by for place in h[NORM]["data_offsets"]]))


def twice(content: bytes) -> bytes:
    header, data = parts(content)
    text = json.dumps(header)
    return joined(f"{text[:-1]}, {json.dumps(NORM)}: {json.dumps(header[NORM])}}}".encode(), data)


WHOLE = "expected a whole safetensors file, found: "


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda content: b"", WHOLE),
        (lambda content: content[:7], WHOLE),
        (lambda content: content[:-1], WHOLE),
        (lambda content: content + b"\0", WHOLE),
        (lambda content: struct.pack("<Q", 2**63) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 2**64 - 1) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 2**40) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 0) + content[8:], WHOLE),
        (lambda content: joined(b" " * 2**25, b""), "expected a header of at most 16,777,216 bytes, found 33,554,432"),
        (lambda content: joined(b"\x80\x04cposix\nsystem\n.", b""), "header, line 1, column 1: not valid JSON"),
        (lambda content: joined(b"[" * 100_000, b""), "header: not usable JSON: .* nested too deeply"),
        (lambda content: joined(b"[]", b""), WHOLE),
        (lambda content: joined(b'{"a": NaN}', b""), "header: expected finite numbers"),
        (lambda content: joined(b'{"\xff": 1}', b""), WHOLE),
        (twice, r"header: expected every key once in its object, found 'transformer\.ln_f\.bias' again"),
        (header(lambda header: {**header, "ln_f.bias": header[NORM]}), f"{WHOLE}.*offset"),
        (header(lambda header: {**header, "x": header[NORM]}), f"{WHOLE}.*offset"),
        (header(lambda header: {k: v for k, v in header.items() if k != NORM}), WHOLE),
        (moved(-4), f"{WHOLE}.*offset"),
        (moved(2**40), WHOLE),
        (tensor("data_offsets", [-32, 0]), WHOLE),
        (tensor("data_offsets", [32, 0]), WHOLE),
        (tensor("data_offsets", [0, 2**64]), WHOLE),
        (tensor("data_offsets", [0.0, 32.0]), WHOLE),
        (tensor("shape", [2**62, 4]), WHOLE),
        (tensor("shape", [10**12]), WHOLE),
        (tensor("shape", [-8]), WHOLE),
        (tensor("shape", [4, 2]), r"tensor ln_f\.bias: expected shape \[8\], found \[4, 2\]"),
        (tensor("shape", [1] * 5000 + [8]), r"expected shape \[8\], found \[1, 1, 1, 1, \.\.\.\]"),
        (tensor("dtype", "F99"), WHOLE),
        (tensor("dtype", "I32"), "expected a type of F32, F16, BF16, F64, found I32"),
        (tensor("dtype", ["F32"]), WHOLE),
        (header(lambda header: {**header, "__metadata__": {"format": ["pt"]}}), WHOLE),
        (header(lambda header: {**header, "__metadata__": "x" * 10**6}), WHOLE),
    ],
)
def test_safetensors(model, write, complaint) -> None:
    path = model / "model.safetensors"
    path.write_bytes(write(path.read_bytes()))
    with refused(path, complaint):
        load_model(model)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "x" * 10**6, "a\0b", "\x1b[2J\n", "h.0.attn.bias.x"])
def test_names_of_no_tensor(model, name) -> None:
    path = model / "model.safetensors"
    save_file({**load_file(path), name: torch.zeros(1)}, path)
    with refused(path, "expected no such tensor in this model"):
        load_model(model)


def test_one_tensor_with_and_without_its_prefix(model) -> None:
    path = model / "model.safetensors"
    save_file({**load_file(path), "ln_f.bias": torch.full((8,), 9.0)}, path)
    with refused(path, r"tensor ln_f\.bias: expected one of this name, found two"):
        load_model(model)


@pytest.mark.parametrize("key", ["vocab_size", "n_positions", "n_embd", "n_head", "n_layer"])
@pytest.mark.parametrize("value", [10**12, 2**63, 10**400, -1, 0, True, 2.0, "12", None, [1], {"a": 1}])
def test_a_config_that_lies(model, key, value) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    complaint = r"expected a whole number|must be at least 1|must be divisible|expected shape|n_inner: expected"
    with refused(model, complaint):
        load_model(model)


@pytest.mark.parametrize("value", ["NaN", "-1", "1.0", "true", '"0.1"', "[]"])
def test_a_dropout_that_is_none(model, value) -> None:
    path = model / "config.json"
    path.write_text(re.sub(r'"resid_pdrop": [0-9.]+', f'"resid_pdrop": {value}', path.read_text()))
    with refused(path, "resid_pdrop: expected a number from 0 to below 1, found |expected finite numbers"):
        load_model(model)


# What is no file

READERS: dict[str, Callable[[Path], object]] = {
    "parameters": load_params,
    "JSON": read_json,
    "instructions": read_entries,
    "messages": lambda path: read_messages(path, "clean"),
    "book's messages": lambda path: read_messages(path, "book"),
    "a set": read_split,
    "a text": read_text,
    "merges": lambda path: bpe_from_files(path.with_name("encoder.json"), path),
    "pth": lambda path: load_pth(path, GPTConfig(8, 8, 8, 2, 1)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "loop", "unreadable"])
def test_what_is_no_file_neither_hangs_nor_fills_the_memory(tmp_path, root, reader, kind) -> None:
    path = tmp_path / "vocab.bpe"
    (tmp_path / "encoder.json").write_bytes((root / "data/sample/bpe/encoder.json").read_bytes())
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "unreadable":
        path.write_text("x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    with refused(path, r"file not found|expected a file, found a folder, pipe or device|could not be read"):
        READERS[reader](path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "hparams.json"])
def test_a_model_folder_with_a_pipe(model, name) -> None:
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    with refused(model / name, "file not found|expected a file, found a folder, pipe or device"):
        (read_hparams if name == "hparams.json" else load_model)(model)

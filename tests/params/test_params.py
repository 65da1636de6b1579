"""Parameters: complete, typed, and clear about what is wrong."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import reduce

import pytest
import yaml

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import Params, load_params

JUDGE = {"name": "a", "url": "http://localhost:11434/v1", "model": "llama3", "seed": 123}


@pytest.fixture
def values(root):
    return yaml.safe_load((root / "profiles/quick.yaml").read_text())


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return load_params(path)

    return load


@pytest.mark.parametrize("profile", ["quick", "book", "shakespeare", "gpt2"])
def test_profiles_are_valid_and_bear_their_names(root, profile):
    assert load_params(root / "profiles" / f"{profile}.yaml").profile == profile


def test_the_book_profile_is_the_books_experiment(root):
    params = load_params(root / "profiles/book.yaml")
    assert (params.pretrain.optimizer.lr, params.pretrain.eval_batches, params.pretrain.epochs) == (4e-4, 5, 10)
    assert (params.classify.base, params.instruct.base) == ("gpt2/124M", "gpt2/124M")
    assert params.split_spam.recipe == "book"
    assert params.gpt2_sizes == ["124M"]


def test_every_field_says_what_it_does():
    def fields(model):
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from fields(field.annotation)
            else:
                yield f"{model.__name__}.{name}", field.description

    assert [name for name, description in fields(Params) if not description] == []


def test_a_base_is_downloaded_though_no_size_names_it(values, load):
    values["instruct"]["base"] = "gpt2/355M"
    assert load(values).gpt2_sizes == ["tiny", "355M"]


def test_a_folder_of_ones_own_is_the_size_custom_alone(values, load):
    values["download_gpt2"] |= {"source": "path", "path": "data/bases/my model", "sizes": ["custom"]}
    with pytest.raises(InputError, match=r"path gives the size custom alone, found 'tiny'; set .*gpt2/custom"):
        load(values)
    values["classify"]["base"] = "pretrain"
    values["instruct"]["base"] = "gpt2/custom"
    assert load(values).gpt2_sizes == ["custom"]


@pytest.mark.parametrize("number", ["3e-4", "3.0e-4", "0.0003"])
def test_numbers_as_people_type_them(root, load, number):
    assert load(f"pretrain: {{optimizer: {{lr: {number}}}}}").pretrain.optimizer.lr == 3e-4


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("split_spam.recipy", "book", "split_spam.recipy: unknown parameter, found 'book'"),
        ("split_spam.train", 1.5, "split_spam.train: .*less than 1, found 1.5"),
        ("split_spam.train", 0.95, "split_spam: train \\+ validation must leave something"),
        ("pretrain.batch_size", "two", "pretrain.batch_size: .*integer, found 'two'"),
        ("pretrain.batch_size", True, "pretrain.batch_size: .*integer, found True"),
        ("pretrain.epochs", 0, "pretrain.epochs: .*greater than or equal to 1, found 0"),
        ("pretrain.optimizer.lr", "fast", "pretrain.optimizer.lr: .*number.*, found 'fast'"),
        ("pretrain.model.n_heads", 7, "pretrain.model: emb_dim must be divisible by n_heads, found 128 and 7"),
        ("pretrain.precision", "fp16", "pretrain.precision: .*'bf16', found 'fp16'"),
        ("classify.compile", True, "classify.compile: compiled code uses .*runtime.portable"),
        ("classify.deciding_token", "middle", "classify.deciding_token: .*'mean', found 'middle'"),
        ("classify.max_length", 0, "classify.max_length: .*equal to 1, or the word longest, found 0"),
        ("classify.causal", "no", "classify.causal: .*boolean, found 'no'"),
        ("classify.ignore_index", -100, "classify.ignore_index: unknown parameter, found -100"),
        ("classify.lora.rank", 0, "classify.lora.rank: .*greater than or equal to 1, found 0"),
        ("instruct.lora.alpha", 0, "instruct.lora.alpha: .*greater than 0, found 0"),
        ("instruct.trainable", "last_block", "instruct.trainable: .*'lora', found 'last_block'"),
        ("runtime.device", "gpu", "runtime.device: .*'cuda'.*, found 'gpu'"),
        *[
            ("pretrain.corpus.path", path, f"pretrain.corpus.path: .*found '{path}'")
            for path in ("../texts", "/etc/passwd", "data/../params.yaml", "data", "data/a/..", "models/gpt2", "data/~")
        ],
        ("pretrain.corpus.path", "data/${profile}", "pretrain.corpus.path: .*found"),
        ("pretrain.corpus.files", ["*.txt", "../*"], "pretrain.corpus.files.1: .*found '../\\*'"),
        ("pretrain.corpus.files", ["/etc/*"], "pretrain.corpus.files.0: .*found '/etc/\\*'"),
        ("pretrain.corpus.files", [], "pretrain.corpus.files: .*at least 1 item"),
        ("pretrain.corpus.strip_gutenberg", True, "pretrain.corpus: strip_gutenberg is for other texts than data/raw"),
        ("classify.data.path", "reviews.csv", "classify.data.path: .*found 'reviews.csv'"),
        ("classify.data.path", "data/reviews.json", "classify.data: path: expected a .csv or .tsv file, or data/raw"),
        ("classify.data.path", "data/reviews.csv", "classify.data: expected two columns of .* text and label, found"),
        ("classify.data.label", "spam", "classify.data: data/raw/SMSSpamCollection has no named columns"),
        ("classify.data.label", "", "classify.data.label: .*at least 1 character"),
        ("classify.class_weights", "auto", "classify.class_weights: .*'balanced', found 'auto'"),
        ("evaluate.benchmarks", ["piqa"], "evaluate.benchmarks.0: .*'wikitext', found 'piqa'"),
        ("evaluate.benchmark_model", "gpt2/124M", "evaluate.benchmark_model: .*found 124M; add it to download_gpt2"),
        ("classify.base", "../../etc", "classify.base: .*found '../../etc'"),
        ("instruct.prompt_style", "chatml", "instruct.prompt_style: .*'phi3', found 'chatml'"),
        ("instruct.data", "/tmp/data.json", "instruct.data: .*found '/tmp/data.json'"),
        ("instruct.data", "data/../x", "instruct.data: .*found 'data/../x'"),
        (
            "instruct.preferences.data",
            "data/x.json",
            "instruct.preferences.data: unknown parameter, found 'data/x.json'",
        ),
        ("instruct.preferences.beta", 0, "instruct.preferences.beta: .*greater than 0, found 0"),
        ("evaluate.judges", [JUDGE], "evaluate.judges: judges are asked over a connection; set runtime.offline"),
        ("evaluate.judges", [JUDGE, dict(JUDGE)], "evaluate: judges: expected a name of its own for each, found a, a"),
        *[
            ("evaluate.judges", [{**JUDGE, key: value}], f"evaluate.judges.0.{key}: ")
            for key, value in (
                ("url", "localhost:11434"),
                ("url", "ftp://a/v1"),
                ("url", "http://user:word@judge.example/v1"),
                ("url", "http://judge.example/v1?key=1"),
                ("name", "a.b"),
                ("model", ""),
                ("key", "sk-1"),
            )
        ],
        ("download_gpt2.source", "openai", "'tiny' exists as a synthetic model only"),
        ("download_gpt2.source", "path", "download_gpt2.path: expected a folder under data/bases/"),
        ("download_gpt2.path", "../mine", "download_gpt2.path: .*found '../mine'"),
        ("download_gpt2.path", "data/bases/../raw", "download_gpt2.path: .*found"),
        ("download_gpt2.sizes", ["custom"], "the size 'custom' is a folder of your own; set source to path"),
        ("classify.base", "gpt2/custom", "the size 'custom' is a folder of your own; set source to path"),
    ],
)
def test_wrong_values_are_named(values, load, key, value, complaint):
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section[part]
    section[last] = value
    with pytest.raises(InputError, match=complaint) as caught:
        load(values)
    assert "\n" not in str(caught.value)
    assert "params.yaml" in str(caught.value)


def test_judges(values, load):
    values["evaluate"]["judges"] = [JUDGE, {**JUDGE, "name": "b", "url": "https://judge.example"}]
    values["runtime"]["offline"] = False
    assert [judge.name for judge in load(values).evaluate.judges] == ["a", "b"]


@pytest.mark.parametrize("section", ["classify", "instruct"])
def test_updates_of_weights_that_nobody_keeps_are_refused(values, load, section):
    values[section] |= {"trainable": "lora"}
    assert load(values)
    values[section] |= {"initial_weights": "random"}
    with pytest.raises(InputError, match=rf"{section}\.trainable: lora .* set {section}\.initial_weights to base"):
        load(values)


def leaves(content, prefix=()):
    for name, value in content.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, name))


def without(content, key):
    """Return parameters without one key, or without a whole section."""
    content = copy.deepcopy(content)
    *sections, last = key
    reduce(dict.__getitem__, sections, content).pop(last)
    return content


def test_a_file_may_leave_out_any_key_and_has_the_books_value_then(root, load):
    book = yaml.safe_load((root / "profiles/book.yaml").read_text(encoding="utf-8"))
    complete = load(book)
    assert Params() == complete
    for key in leaves(book):
        assert Params.model_validate(without(book, key)) == complete, key


def test_a_section_may_be_empty(root, load):
    book = (root / "profiles/book.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(book)
    for name in (name for name, value in content.items() if isinstance(value, dict)):
        assert load(yaml.safe_dump({**content, name: {}})) == load(book)
        assert load(yaml.safe_dump({key: value for key, value in content.items() if key != name}) + f"{name}:\n")


def test_what_is_left_out_is_never_called_missing(values, load):
    refused = []
    for key in leaves(values):
        try:
            Params.model_validate(without(values, key))
        except ValueError:
            with pytest.raises(InputError) as error:
                load(without(values, key))
            refused.append((".".join(key), str(error.value).partition("params.yaml: ")[2]))
    # The book's values do not go with all of quick's; what does not fit is said.
    assert {key for key, _ in refused} == {"download_gpt2", "download_gpt2.source", "pretrain.model.n_heads"}
    assert all("'tiny' exists as a synthetic model" in text or "divisible" in text for _, text in refused)


@pytest.mark.parametrize(
    ("key", "word", "other"),
    [
        ("pretrain.model.drop_rate_emb", "same", 0.2),
        ("pretrain.model.drop_rate_attn", "same", 0.0),
        ("pretrain.model.drop_rate_shortcut", "same", 0.5),
        ("pretrain.schedule.max_grad_norm", "none", 2.0),
        ("classify.schedule.max_grad_norm", "none", 2.0),
        ("instruct.schedule.max_grad_norm", "none", 2.0),
        ("classify.max_length", "longest", 40),
    ],
)
def test_a_word_means_none_and_an_empty_value_is_refused(values, load, key, word, other):
    *sections, last = key.split(".")
    place = reduce(dict.__getitem__, sections, values)
    for value, expected in ((word, None), (other, other)):
        place[last] = value
        params = load(values)
        assert reduce(getattr, key.split("."), params) == expected
        assert reduce(dict.__getitem__, key.split("."), params.model_dump()) == value
        assert Params.model_validate(params.model_dump(mode="json")) == params
    place[last] = None
    with pytest.raises(InputError, match=rf"{key}: input should be a value, or the word {word}, found None"):
        load(values)
    place[last] = "mist"
    with pytest.raises(InputError, match=rf"{key}: input should be .*, or the word {word}, found 'mist'"):
        load(values)


def test_columns_are_named_or_none(values, load):
    assert load(values).classify.data.text is None
    values["classify"]["data"] = {"path": "data/reviews.csv", "text": "review", "label": "stars"}
    assert load(values).classify.data.label == "stars"
    values["classify"]["data"]["label"] = None
    with pytest.raises(
        InputError, match=r"classify\.data\.label: input should be a value, or the word none, found None"
    ):
        load(values)


def test_preferences_are_not_learnt_from_the_books_answers(values, load):
    values["instruct"]["objective"] = "preferences"
    with pytest.raises(InputError, match=r"instruct: objective preferences .* found data .*set instruct\.data too, to"):
        load(values)
    values["instruct"]["data"] = "data/sample/preference-data.json"
    assert load(values)


def test_a_file_is_checked_once(root, load, values, monkeypatch):
    first = load(values)
    monkeypatch.setattr(Params, "model_validate", None)
    assert load(values) is first


@pytest.mark.parametrize("content", ["", "- 1\n", "just text"])
def test_no_sections(load, content):
    with pytest.raises(InputError, match="expected sections with parameters"):
        load(content)


def test_no_yaml_and_no_file(load, tmp_path):
    with pytest.raises(InputError, match="not valid YAML"):
        load("a: [1\nb: 2")
    with pytest.raises(InputError, match="file not found"):
        load_params(tmp_path / "none.yaml")


def test_reading_parameters_loads_no_numerical_library(root):
    code = (
        "import sys; from gpt_from_scratch.params.sections import load_params; load_params('profiles/quick.yaml'); "
        "print([name for name in ('torch', 'numpy', 'tensorflow') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(root / "src")}
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, env=environment)
    assert answer.stdout.strip() == "[]", answer.stderr

"""Zero-shot benchmarks against sums by hand, Hugging Face's guide to perplexity, and lm-evaluation-harness."""

from __future__ import annotations

import json
import math
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.benchmarks import articles, read_benchmarks
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.evaluation.zero_shot import Scorer, detokenised, hellaswag, lambada, wikitext, windows
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.recipes.evaluate import evaluate_benchmarks
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import load_model, save_model

WORDS = "the of a lamp light'house keeper (he) sea , . ; : ! ? 's @-@ 3 storm \" went" + " and said N ° grey"


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory) -> Path:
    """A project with a random model of the sample's tokenizer, which prefers some tokens as a trained one does."""
    project = tmp_path_factory.mktemp("project")
    folder = project / "models/gpt2/tiny"
    folder.mkdir(parents=True)
    torch.manual_seed(3)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=64, emb_dim=32, n_heads=2, n_layers=2, drop_rate=0.0))
    model.out_head.weight.data.mul_(4.0)
    save_model(model, folder, root / "data/sample/bpe", {"pretrained": "synthetic"})
    return folder


@pytest.fixture(scope="module")
def scorer(folder) -> Scorer:
    return Scorer(load_model(folder), load_tokenizer(folder), batch_size=7)


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS.split(), k=words))


def passages(count: int, scorer: Scorer) -> list[dict[str, str]]:
    """Passages up to beyond the context; to every other one the model gives its own last word."""
    from gpt_from_scratch.generation import generate

    rng, made = random.Random(1), []
    for number in range(count):
        text = sentence(rng, rng.randint(2, 60))
        ids = scorer.tokenizer.encode(text)[-60:]
        if number % 2 and scorer.tokenizer.decode(new := generate(scorer.model, [ids], 1)[0])[:1] == " ":
            text = scorer.tokenizer.decode([*ids, *new])
        made.append({"text": text})
    return made


def questions(count: int) -> list[dict[str, Any]]:
    rng = random.Random(2)
    return [
        {
            "activity_label": sentence(rng, 2),
            "ctx_a": f"[header] {sentence(rng, rng.randint(3, 30))}{rng.choice(['', ' [title] so'])}",
            "ctx_b": rng.choice(["", "the man"]),
            "endings": [sentence(rng, rng.randint(1, 30)) + rng.choice(["", " [step] then"]) for _ in range(4)],
            "label": rng.randrange(4),
        }
        for _ in range(count)
    ]


def raw_text(count: int) -> str:
    rng = random.Random(4)
    titles = [f" = {sentence(rng, 2)} = \n" for _ in range(count)]
    lines = [f" \n = = Past = = \n \n {sentence(rng, rng.randint(20, 120))} \n" for _ in titles]
    return " \n" + "".join(title + line for title, line in zip(titles, lines, strict=True))


def by_hand(scorer: Scorer, ids: list[int], count: int) -> list[tuple[float, bool]]:
    """Log-likelihood of each of the last ids alone, and whether it is the likeliest."""
    logits = scorer.model(torch.tensor([ids[:-1]]))[0, -count:].detach().double().log_softmax(-1)
    return [(row[token].item(), row.argmax().item() == token) for row, token in zip(logits, ids[-count:], strict=True)]


def test_scores_equal_those_of_one_text_after_the_other(scorer):
    rng = random.Random(5)
    spans = [([rng.randrange(1536) for _ in range(rng.randint(2, 65))], 1) for _ in range(20)]
    spans = [(ids, rng.randint(1, len(ids) - 1)) for ids, _ in spans]
    expected = [by_hand(scorer, *span) for span in spans]
    found = scorer.scores(spans, "spans")
    assert [value for value, _ in found] == pytest.approx([sum(v for v, _ in row) for row in expected], abs=1e-4)
    assert [likeliest for _, likeliest in found] == [all(is_it for _, is_it in row) for row in expected]


@pytest.mark.parametrize(("context", "scored"), [("a lamp", " light"), ("a lamp  ", "light"), ("", "alone")])
def test_the_continuation_is_what_stands_behind_the_context(scorer, context, scored):
    ids, count = scorer.continuation(context, scored)
    encode = scorer.tokenizer.encode
    assert ids == (encode(context + scored) if context else [scorer.tokenizer.eot_token, *encode(scored)])
    assert scorer.tokenizer.decode(ids[-count:]) == context[len(context.rstrip()) :] + scored


def test_of_too_long_a_text_the_model_sees_the_end(scorer):
    ids, count = scorer.continuation("the sea" * 100, " lamp")
    assert len(ids) == scorer.context + 1 and scorer.tokenizer.decode(ids[-count:]) == " lamp"


def test_the_right_word_and_its_perplexity(scorer):
    items = passages(8, scorer)
    found = lambada(scorer, items)
    cut = [item["text"].rsplit(" ", 1) for item in items]
    rows = [by_hand(scorer, *scorer.continuation(context, f" {word}")) for context, word in cut]
    assert found["accuracy"] == sum(all(is_it for _, is_it in row) for row in rows) / 8 > 0
    assert found["perplexity"] == pytest.approx(math.exp(-sum(value for row in rows for value, _ in row) / 8), rel=1e-4)


def test_the_likeliest_ending_counts_and_wikihows_marks_are_left_out(scorer):
    item = {"activity_label": "Sea", "ctx_a": "A [header] lamp [title] is", "ctx_b": "lit"}
    context = "Sea: A lamp. is Lit"
    values = [sum(v for v, _ in by_hand(scorer, *scorer.continuation(context, f" {end}"))) for end in "abc"]
    for label, expected in ((values.index(max(values)), 1.0), (values.index(min(values)), 0.0)):
        found = hellaswag(scorer, [item | {"endings": ["a", "[step]b", " c"], "label": label}])
        assert found == {"accuracy": expected, "normalized_accuracy": expected, "items": 1}


def guide(scorer: Scorer, ids: torch.Tensor, stride: int, *, full: bool) -> float:
    """The loop of Hugging Face's guide to perplexity; `full`: with the last window moved back."""
    total, count, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + scorer.context, len(ids))
        inputs = ids[end - scorer.context if full else begin : end]
        targets = inputs.clone()
        targets[: -(end - before)] = -100
        logits = scorer.model(inputs[None])[0].detach()
        total += torch.nn.functional.cross_entropy(logits[:-1], targets[1:], reduction="sum").item()
        count += int((targets[1:] >= 0).sum())
        before = end
        if end == len(ids):
            break
    return math.exp(total / count)


@pytest.mark.parametrize("stride", [24, 64])
def test_perplexity_is_that_of_hugging_faces_guide(scorer, stride):
    pages = articles(raw_text(6))
    rows = [row if row.strip() else "" for row in raw_text(6).splitlines(keepends=True)][1:]  # without its first, blank
    ids = torch.tensor(scorer.tokenizer.encode("\n\n".join(rows)))
    found = wikitext(scorer, pages, stride)["perplexity"]
    assert found == pytest.approx(guide(scorer, ids, stride, full=True), rel=1e-4)
    whole = ids[: scorer.context + (len(ids) - scorer.context) // stride * stride]
    spans = list(windows(whole.tolist(), scorer.context, stride))
    nats = -sum(value for value, _ in scorer.scores(spans, "guide")) / sum(scored for _, scored in spans)
    assert math.exp(nats) == pytest.approx(guide(scorer, whole, stride, full=False), rel=1e-4)


def test_articles_are_cut_before_their_titles_and_detokenised():
    pages = articles(" \n = Sea = \n \n = = Past = = \n It 's 1 @,@ 000 ( or so ) , he said . \n = Lamp = \n lit\n")
    assert pages == [" = Sea = \n \n = = Past = = \n It 's 1 @,@ 000 ( or so ) , he said . ", " = Lamp = \n lit\n"]
    assert detokenised(pages[0]) == " = Sea =\n\n== Past ==\nIt's 1,000 (or so), he said. "


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("lambada", None, r"lambada\.jsonl: file not found: expected a line .*, from https://openaipublic"),
        ("lambada", '{"text": "a b"}\n{"txt": 1}', r"lambada\.jsonl, entry 2: expected a line .*found \{'txt': 1\}"),
        ("hellaswag", '{"activity_label": "a"}', r"hellaswag\.jsonl, entry 1: expected a line with activity_label"),
        ("hellaswag", "", r"hellaswag\.jsonl"),
        ("lambada", '"a b"', r"lambada\.jsonl, entry 1: expected a line"),
        ("wikitext", " \n", r"wiki\.test\.raw: expected the raw test text .*, found nothing"),
    ],
)
def test_a_file_that_is_missing_or_wrong_is_named_with_its_form(tmp_path, name, content, complaint):
    file = tmp_path / "data/benchmarks" / {"wikitext": "wiki.test.raw"}.get(name, f"{name}.jsonl")
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=complaint) as error:
        read_benchmarks(tmp_path, [name], 0, None)
    assert "\n" not in str(error.value)


def test_one_object_over_several_lines_is_one_item(tmp_path):
    (tmp_path / "data/benchmarks").mkdir(parents=True)
    (tmp_path / "data/benchmarks/lambada.jsonl").write_text('{\n "text": "a b"\n}')
    assert read_benchmarks(tmp_path, ["lambada"], 0, None) == {"lambada": [{"text": "a b"}]}


def test_a_label_has_to_name_an_ending(tmp_path):
    (tmp_path / "data/benchmarks").mkdir(parents=True)
    for label, right in ((3, True), ("3", True), (4, False), (-1, False), ("", False), (None, False)):
        question = json.dumps(questions(1)[0] | {"label": label})
        (tmp_path / "data/benchmarks/hellaswag.jsonl").write_text(question)
        if right:
            assert len(read_benchmarks(tmp_path, ["hellaswag"], 5, None)["hellaswag"]) == 1
            continue
        with pytest.raises(InputError, match="entry 1"):
            read_benchmarks(tmp_path, ["hellaswag"], 0, None)


def test_what_is_missing_comes_from_its_host_or_a_mirror(tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "benchmarks").mkdir(parents=True)
    (mirror / "benchmarks/hellaswag_val.jsonl").write_text("\n".join(map(json.dumps, questions(3))))
    with zipfile.ZipFile(mirror / "benchmarks/wikitext-2-raw-v1.zip", "w") as archive:
        archive.writestr("wikitext-2-raw/wiki.test.raw", raw_text(3))
    files = Downloads(tmp_path / "downloads", str(mirror), offline=True)
    found = read_benchmarks(tmp_path, ["hellaswag", "wikitext"], 2, files)
    assert found == {"hellaswag": questions(3)[:2], "wikitext": articles(raw_text(3))[:2]}
    with pytest.raises(InputError, match=r"lambada\.jsonl: file not found.*runtime\.offline is true"):
        read_benchmarks(tmp_path, ["lambada"], 0, files)


def test_the_figures_are_those_of_the_model_asked_for_and_go_with_it(root, folder, scorer):
    project = folder.parents[2]
    params = load_params(root / "params.yaml")
    changed = params.evaluate.model_copy(update={"benchmark_model": "gpt2/tiny"})
    work = Workspace(project, params.model_copy(update={"evaluate": changed}))
    items = {"lambada": passages(5, scorer), "hellaswag": questions(5)}
    found = evaluate_benchmarks(work, torch.device("cpu"), items)
    noted = found.pop("measured")
    assert found == {
        "model": "gpt2/tiny",
        "pretrained": "synthetic",
        "lambada": pytest.approx(lambada(scorer, items["lambada"])),
        "hellaswag": pytest.approx(hellaswag(scorer, items["hellaswag"])),
    }
    for weights, kept in ((noted["weights"], True), ("0" * 64, False)):
        write_json(project / "metrics/tables/models.json", {"gpt2/tiny": noted | {"weights": weights}})
        write_json(project / "metrics/evaluation.json", {"benchmarks": found})
        evaluation, models = current_evaluation(project)
        assert ("benchmarks" in evaluation, models) == (kept, [] if kept else ["gpt2/tiny"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_figures_equal_lm_evaluation_harness(folder, scorer, tmp_path, monkeypatch):
    """Its own tasks, over 200 items in the form of each data set, on the same folder by `--model hf`."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (pip install lm_eval)")
    from lm_eval.models.huggingface import HFLM

    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    items = {"lambada": passages(200, scorer), "hellaswag": questions(200)}
    pages = articles(raw_text(200))
    tasks = []
    for task, split, rows in (
        ("lambada_openai", "test", items["lambada"]),
        ("hellaswag", "validation", [row | {"label": str(row["label"])} for row in items["hellaswag"]]),
        ("wikitext", "test", [{"page": page} for page in pages]),
    ):
        (tmp_path / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        data = {"data_files": {split: str(tmp_path / f"{task}.jsonl")}}
        (original,) = Path(lm_eval.__file__).parent.glob(f"tasks/*/{task}.yaml")
        own = {"include": str(original), "dataset_path": "json", "dataset_name": None, "dataset_kwargs": data}
        own |= {"training_split": None, "validation_split": None, "test_split": None, f"{split}_split": split}
        tasks.append(str(tmp_path / f"{task}.yaml"))
        Path(tasks[-1]).write_text(yaml.safe_dump(own))
    model = HFLM(pretrained=str(folder), device="cpu", batch_size=16)
    results = lm_eval.simple_evaluate(model=model, tasks=tasks, bootstrap_iters=0)["results"]
    theirs = {
        (task, re.sub(",.*", "", name)): value for task, found in results.items() for name, value in found.items()
    }
    ours = {
        **{("lambada_openai", name): value for name, value in lambada(scorer, items["lambada"]).items()},
        **{("hellaswag", name): value for name, value in hellaswag(scorer, items["hellaswag"]).items()},
        **{("wikitext", name): value for name, value in wikitext(scorer, pages, 0).items()},
    }
    pairs = {
        ("lambada_openai", "acc"): ("lambada_openai", "accuracy"),
        ("lambada_openai", "perplexity"): ("lambada_openai", "perplexity"),
        ("hellaswag", "acc"): ("hellaswag", "accuracy"),
        ("hellaswag", "acc_norm"): ("hellaswag", "normalized_accuracy"),
        ("wikitext", "word_perplexity"): ("wikitext", "word_perplexity"),
        ("wikitext", "bits_per_byte"): ("wikitext", "bits_per_byte"),
    }
    for there, here in pairs.items():
        assert ours[here] == pytest.approx(theirs[there], rel=1e-4), there
    assert 0 < ours["lambada_openai", "accuracy"] < 1 and 0 < ours["hellaswag", "accuracy"] < 1

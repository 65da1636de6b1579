"""Evaluation: the losses, accuracies and answers of the three models (chapters 5 to 7) → `metrics/evaluation.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from gpt_from_scratch.data.instructions.entries import Entry, Instructions
from gpt_from_scratch.data.instructions.prompts import style_of
from gpt_from_scratch.data.instructions.reading import read_parts
from gpt_from_scratch.data.messages.labelled import as_words
from gpt_from_scratch.data.messages.messages import read_split
from gpt_from_scratch.data.messages.spam import fold
from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.pretraining import read_pretraining_text
from gpt_from_scratch.data.text.shards import Workers
from gpt_from_scratch.evaluation.answers import answer_metrics
from gpt_from_scratch.evaluation.benchmarks import read_benchmarks
from gpt_from_scratch.evaluation.classification import (
    baseline,
    classification_metrics,
    reliability_points,
    roc_points,
)
from gpt_from_scratch.evaluation.figures import figures
from gpt_from_scratch.evaluation.instructions import fitting_entries, response_metrics
from gpt_from_scratch.evaluation.language import bits_per_byte, language_metrics, mean_bytes, perplexity, samples
from gpt_from_scratch.evaluation.measured import MEASURED, PARTS, measured
from gpt_from_scratch.evaluation.zero_shot import Scorer, benchmark_metrics
from gpt_from_scratch.files.curves import read_curve
from gpt_from_scratch.files.writing import read_json, write_csv, write_json, write_metrics
from gpt_from_scratch.generation.answering import answers
from gpt_from_scratch.generation.classifying import classify
from gpt_from_scratch.generation.sampling import Sampling
from gpt_from_scratch.generation.text import check_room, encode
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.int8 import to_int8
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.ranks import usable_cores
from gpt_from_scratch.training.workspace import Workspace, warn_cut
from gpt_from_scratch.weights.classifier import load_classifier
from gpt_from_scratch.weights.huggingface import load_config, load_facts, load_model
from gpt_from_scratch.weights.start import check_length

if TYPE_CHECKING:
    from gpt_from_scratch.data.fetch.download import Downloads
    from gpt_from_scratch.evaluation.judge import Judge

log = logging.getLogger(__name__)

MOST_WINDOWS = 2000
"""Windows of each part of a large corpus that the language model is measured on, at equal distances."""


def evaluate(work: Workspace, downloads: Downloads | None = None) -> None:
    """Measure language model, classifier and instruction model, and write their figures.

    Args:
        downloads: where benchmarks that `data/benchmarks` lacks are fetched to; None: they have to be there.
    """
    params = work.params.evaluate
    judges = ready_judges(work)
    check_prompts(work)
    benchmarks = read_benchmarks(work.root, params.benchmarks, params.benchmark_limit, downloads)
    if "wikitext" in benchmarks:
        context = load_config(work.models / params.benchmark_model).context_length
        check_length("evaluate.benchmark_stride", params.benchmark_stride, context, params.benchmark_model)
    device = prepare(work.params.runtime)
    trainings = {name: read_json(work.metrics / f"finetune_{name}.json") for name in ("classify", "instruct")}
    language = evaluate_language(work, device)
    classifier = evaluate_classifier(work, device)
    instructions = evaluate_instructions(work, device, judges)
    results = {"language_model": language, "classifier": classifier, "instructions": instructions}
    parts = dict(PARTS)
    if benchmarks:
        results["benchmarks"] = evaluate_benchmarks(work, device, benchmarks)
        parts = {params.benchmark_model: "benchmarks"} | parts
    noted = {part: found.pop("measured") for part, found in results.items()}
    write_json(work.metrics / MEASURED, {out: noted[part] for out, part in parts.items()})
    data = {section: work.data_facts(section)["data"] for section in ("pretrain", "classify", "instruct")}
    facts = {
        "data": data["pretrain"] if len({*data.values()}) == 1 else "; ".join(map(": ".join, data.items())),
        "pretrained": "; ".join(f"{name}: {facts['pretrained']}" for name, facts in trainings.items()),
    }
    results = {**facts, **results}
    write_metrics(work.metrics / "evaluation.json", results)
    work.tracker.tags(facts)
    work.tracker.metrics(figures(results))
    work.tracker.artifact(work.metrics / "evaluation.json")


def check_prompts(work: Workspace) -> None:
    """Refuse prompts that do not fit their model's context, before anything is computed.

    Raises:
        InputError: for a sample's prompt, and when no test instruction fits.
    """
    params, folder = work.params.evaluate, work.models / "pretrain"
    tokenizer, context = load_tokenizer(folder), load_config(folder).context_length
    for prompt in params.sample_prompts:
        check_room(encode(tokenizer, prompt), params.sample_tokens, context, name="evaluate.sample_prompts")
    folder = work.models / "instruct"
    tokenizer, style, context = load_tokenizer(folder), style_of(load_facts(folder)), load_config(folder).context_length
    fitting_entries(read_parts(work.raw, work.params.instruct)[1], tokenizer, style, context, params.response_tokens)


def load_for_evaluation(work: Workspace, name: str, device: Any) -> GPTModel:
    """Load a model with the weights that `evaluate.weights` asks for."""
    model = load_model(work.models / name, device=device)
    return to_int8(model) if work.params.evaluate.weights == "int8" else model


def evaluate_language(work: Workspace, device: Any) -> dict[str, Any]:
    """Measure the pretrained model on its text and let it write.

    The training's curve becomes one of perplexities and bits per byte. Its losses are those of the first batches of
    each part; a whole part's bytes per token stand for theirs, an estimate as the losses are of the whole part's.
    """
    params, model = work.params.evaluate, load_for_evaluation(work, "pretrain", device)
    tokenizer = load_tokenizer(work.models / "pretrain")
    workers = Workers(usable_cores(), work.on_fork)
    text = read_pretraining_text(
        work.params.pretrain, work.root, work.corpora_folder, tokenizer, work.models / "pretrain", workers
    )
    context = model.config.context_length
    windows = [TokenWindows(ids, context, context) for ids in (text.train, text.validation)]
    if not work.params.pretrain.corpus.is_book:
        windows = [Subset(part, range(0, len(part), -(-len(part) // MOST_WINDOWS))) for part in windows]
    loaders = (DataLoader(part, batch_size=params.batch_size) for part in windows)
    parts = dict(zip(("train", "validation"), loaders, strict=True))
    bytes_per_token = {part: mean_bytes(tokenizer, batches) for part, batches in parts.items()}
    metrics = language_metrics(model, parts, bytes_per_token)
    shares = params.top_p, params.min_p, params.repetition_penalty
    sampling = Sampling(params.temperature, params.top_k, params.seed, *shares, tuple(params.stop))
    written = samples(model, tokenizer, params.sample_prompts, params.sample_tokens, sampling)
    rows = [
        {
            "step": row["step"],
            **{f"{part}_perplexity": perplexity(row[f"{part}_loss"]) for part in parts},
            **{f"{part}_bits_per_byte": bits_per_byte(row[f"{part}_loss"], bytes_per_token[part]) for part in parts},
        }
        for row in read_curve(work.metrics / "plots" / "pretrain.csv")
    ]
    write_csv(work.metrics / "plots" / "perplexity.csv", rows)
    write_json(work.metrics / "samples" / "evaluate.json", written)
    work.tracker.table(written, "samples.json")
    return {
        **metrics,
        "measured": measured(work.models / "pretrain", [text.sha256, work.params.pretrain.train_fraction]),
    }


def evaluate_benchmarks(work: Workspace, device: Any, benchmarks: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Measure `evaluate.benchmark_model` on benchmarks' items, by name."""
    params, folder = work.params.evaluate, work.models / work.params.evaluate.benchmark_model
    model = load_for_evaluation(work, params.benchmark_model, device)
    scorer = Scorer(model, load_tokenizer(folder), params.batch_size)
    found = {
        name: benchmark_metrics(scorer, name, items, params.benchmark_stride) for name, items in benchmarks.items()
    }
    facts = {"model": params.benchmark_model, "pretrained": load_facts(folder).get("pretrained", "unknown")}
    return {**facts, **found, "measured": measured(folder, benchmarks)}


def evaluate_classifier(work: Workspace, device: Any) -> dict[str, Any]:
    """Measure the classifier on every set, on the test messages unlike any trained on, and the baseline beside it."""
    model, info = load_classifier(work.models / "classifier", device=device)
    tokenizer = load_tokenizer(work.models / "classifier")
    labels = info.labels
    files = sorted((work.messages).glob("*.csv"))
    frames = {path.stem: read_split(path, len(labels)) for path in files}
    seen = set(frames["train"]["Text"].map(fold))
    results: dict[str, Any] = {}
    for name in ("train", "validation", "test", "test_natural"):
        if name not in frames:
            continue
        frame = frames[name]
        classified = classify(model, info, tokenizer, frame["Text"], batch_size=work.params.evaluate.batch_size)
        warn_cut(int(classified.cut.sum()), len(frame), f"messages of {name}", info.max_length)
        found = classified.probabilities
        results[name] = classification_metrics(frame["Label"], found, labels)
        if name == "test":
            unseen = ~frame["Text"].map(fold).isin(seen).to_numpy()
            results["test_unseen"] = classification_metrics(frame["Label"][unseen], found[unseen], labels)
            words, pairs = as_words(labels), zip(frame["Label"], classified.best, strict=True)
            rows = [{"actual": words[actual], "predicted": words[predicted]} for actual, predicted in pairs]
            write_csv(work.metrics / "plots" / "confusion.csv", rows)
            write_csv(work.metrics / "plots" / "roc.csv", roc_points(frame["Label"], found))
            write_csv(work.metrics / "plots" / "reliability.csv", reliability_points(frame["Label"], found))
    texts = {name: (frame["Text"], frame["Label"]) for name, frame in frames.items()}
    simple = baseline(texts.pop("train"), texts, labels)
    tables = {**results, **{f"baseline/{name}": found for name, found in simple.items()}}
    write_json(
        work.metrics / "tables" / "classes.json", {name: found.pop("classes", {}) for name, found in tables.items()}
    )
    work.tracker.artifact(work.metrics / "tables" / "classes.json")
    test = [[labels[row.Label], row.Text] for row in frames["test"].itertuples()]
    return {**results, "baseline": simple, "measured": measured(work.models / "classifier", test)}


def evaluate_instructions(work: Workspace, device: Any, judges: Sequence[Judge] = ()) -> dict[str, Any]:
    """Let the instruction model answer the test entries, and compare with the reference answers, or have it judged.

    Entries whose prompt does not fit the model's context with an answer are named and left out of the answers; the loss
    on the responses is over all.
    """
    params, model = work.params.evaluate, load_for_evaluation(work, "instruct", device)
    folder = work.models / "instruct"
    tokenizer, style = load_tokenizer(folder), style_of(load_facts(folder))
    every: list[Entry] = read_parts(work.raw, work.params.instruct)[1]
    test, left_out = fitting_entries(every, tokenizer, style, model.config.context_length, params.response_tokens)
    for note in left_out:
        log.warning("left out of the answers: %s", note)
    longest = work.params.instruct.max_length
    cut = Instructions(every, tokenizer, longest, style).cut
    warn_cut(cut, len(every), "test instructions with their answers", longest)
    loss = response_metrics(model, tokenizer, every, longest, params.batch_size, style)
    with tqdm(total=len(test), desc="answers", unit="entry", mininterval=2) as bar:
        texts = answers(model, tokenizer, test, params.response_tokens, params.answers_at_once, bar.update, style)
    metrics = {**loss, "prompts_too_long": len(left_out), **answer_metrics(test, texts)}
    own = [{key: value for key, value in entry.items() if key != "scores"} for entry in test]  # these are the judges'
    responses = [{**entry, "model_response": text} for entry, text in zip(own, texts, strict=True)]
    verdicts = {}
    if judges:
        from gpt_from_scratch.evaluation.judge import judged

        scores = {judge.name: ask(judge, test, texts) for judge in judges}
        for response, *given in zip(responses, *scores.values(), strict=True):
            response["scores"] = dict(zip(scores, given, strict=True))
        verdicts = judged(scores)
    write_json(work.metrics / "responses.json", responses)
    work.tracker.table(responses, "responses.json")
    return {**metrics, **verdicts, "measured": measured(folder, [every, longest])}


def ready_judges(work: Workspace) -> list[Judge]:
    """Return the judges that the parameters ask for, each of which has just answered a first question.

    Raises:
        InputError: when one does not answer: now, and not after minutes of other work.
    """
    if not work.params.evaluate.judges:
        return []  # without judges no HTTP library is needed
    from gpt_from_scratch.evaluation.judge import Judge

    judges = [Judge(settings) for settings in work.params.evaluate.judges]
    for judge in judges:
        judge.check()
    return judges


def ask(judge: Judge, entries: Sequence[Entry], texts: Sequence[str]) -> list[int | None]:
    """Return a judge's scores of the answers."""
    from gpt_from_scratch.evaluation.judge import scores_of

    with tqdm(total=len(entries), desc=f"judge {judge.name}", unit="answer", mininterval=2) as bar:
        return scores_of(judge, entries, texts, bar.update)

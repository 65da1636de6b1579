"""Answers to instructions: the book's, and the same on every surface, in both prompt styles."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from gpt_from_scratch.app import instruct
from gpt_from_scratch.app.shelf import Shelf
from gpt_from_scratch.data.instructions.entries import format_prompt, split_entries
from gpt_from_scratch.data.instructions.prompts import response_header, style_of
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.generation.answering import answers, prompt_ids, stream_answer
from gpt_from_scratch.generation.stream import stream_text
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.recipes.evaluate import evaluate_instructions
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import load_facts, load_model

STYLES = ["alpaca", "phi3"]
TOKENS = 24


def loaded(project: Path) -> tuple[Any, Any]:
    folder = project / "models/instruct"
    return load_model(folder), load_tokenizer(folder)


@pytest.mark.parametrize("style", STYLES)
def test_the_model_generates_the_header_and_it_is_removed(taught, entries, style) -> None:
    model, tokenizer = loaded(taught[style])
    raw = ["".join(stream_text(model, tokenizer, prompt_ids(tokenizer, entry, style), TOKENS)) for entry in entries]
    assert sum(text.startswith(response_header(style)) for text in raw) == len(entries)
    found = answers(model, tokenizer, entries, TOKENS, 4, style=style)
    assert found == [text.removeprefix(response_header(style)).strip() for text in raw]
    assert sum(text == entry["output"] for text, entry in zip(found, entries, strict=True)) > len(entries) / 2


@pytest.mark.parametrize("batch_size", [1, 2, 5, 50])
@pytest.mark.parametrize("style", STYLES)
def test_answers_are_the_books_whatever_the_batches(taught, entries, style, batch_size) -> None:
    """Each prompt alone, token by token, without a cache; the header taken out as chapter 7 does."""
    (model, tokenizer), done, expected = loaded(taught[style]), [], []
    for entry in entries[:5]:
        ids = tokenizer.encode(format_prompt(entry, style))
        start = len(ids)
        for _ in range(12):
            chosen = model(torch.tensor([ids]))[0, -1].argmax().item()
            if chosen == tokenizer.eot_token:
                break
            ids.append(chosen)
        expected.append(tokenizer.decode(ids[start:]).replace(response_header(style).strip(), "").strip())
    assert answers(model, tokenizer, entries[:5], 12, batch_size, done.append, style) == expected
    assert len(set(expected)) > 1, "or a wrong order would not show"
    assert sum(done) == 5


def test_answers_with_the_header_without_it_and_with_its_beginning(taught, entries, monkeypatch) -> None:
    """Decoding is replaced by ready texts, in the order of the prompts' lengths; then piece by piece."""
    model, tokenizer = loaded(taught["alpaca"])
    texts = ["\n\n### Response:\nA wren.  ", "A wren, without a header", "\n\n### Resp"]
    expected = ["A wren.", "A wren, without a header", "### Resp"]

    def generate_each(model, prompts, max_new_tokens, *, eos_id, batch_size):
        assert eos_id == tokenizer.eot_token
        yield from enumerate(tokenizer.encode(text)[:max_new_tokens] for text in texts)

    monkeypatch.setattr("gpt_from_scratch.generation.answering.generate_each", generate_each)
    found = answers(model, tokenizer, entries[:3], 60, 2)
    by_length = sorted(range(3), key=lambda number: len(tokenizer.encode(format_prompt(entries[number]))))
    assert [found[number] for number in by_length] == expected
    for text, answer in zip(texts, expected, strict=True):
        monkeypatch.setattr("gpt_from_scratch.generation.answering.stream_text", lambda *_, text=text: iter(text))
        assert "".join(stream_answer(model, tokenizer, entries[0], 60, "alpaca")) == answer


def served(project: Path, questions: list[dict[str, str]], **params: Any) -> list[str]:
    from gpt_from_scratch.tracking.served.instructor import Instructor

    model = Instructor()
    model.load_context(SimpleNamespace(artifacts={"model": str(project / "models/instruct")}))
    columns = {key: [question[key] for question in questions] for key in ("instruction", "input")}
    return list(model.predict(None, pd.DataFrame(columns), {"max_new_tokens": TOKENS, **params})["answer"])


def evaluated(root: Path, project: Path, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the evaluation over the last nine tenths of the entries but one; return its figures and responses."""
    content = load_params(root / "profiles/quick.yaml").model_dump()
    content["instruct"] |= {"train_fraction": 0.1, "test_fraction": 0.8}
    content["evaluate"] |= {"response_tokens": TOKENS, "answers_at_once": 3, **changes}
    params = type(load_params(root / "profiles/quick.yaml")).model_validate(content)
    figures = evaluate_instructions(Workspace(project, params), torch.device("cpu"))
    return figures, json.loads((project / "metrics/responses.json").read_text())


@pytest.mark.parametrize("style", STYLES)
def test_all_surfaces_give_the_same_greedy_answers(root, taught, entries, gpt, style) -> None:
    project = taught[style]
    figures, responses = evaluated(root, project)
    test = split_entries(entries, 0.1, 0.8)[1]
    expected = [response["model_response"] for response in responses]
    assert (figures["entries"], figures["prompts_too_long"]) == (len(test), 0)
    assert figures["exact_match"] > 0.5

    assert served(project, test) == expected
    for entry, text in zip(test, expected, strict=True):
        options = ("--tokens", TOKENS, "--threads", 1)
        assert gpt(project, "instruct", entry["instruction"], "--input", entry["input"], *options).stdout == text + "\n"
        *_, (answer, _) = instruct.answer_pairs(Shelf(project / "models"), entry["instruction"], entry["input"], TOKENS)
        assert answer == text

    without = [{**entry, "input": ""} for entry in test[:3]]
    said = gpt(project, "chat", *options, input="\n/reset\n".join(entry["instruction"] for entry in without) + "\n")
    said = said.stdout.partition("/quit leaves.\n")[2]
    assert said.removesuffix("\n").split("\n(forgotten)\n") == served(project, without)


@pytest.mark.parametrize("style", STYLES)
def test_the_style_travels_with_an_exported_model(taught, entries, gpt, tmp_path, style) -> None:
    model, tokenizer = loaded(taught[style])
    said = gpt(taught[style], "export", "instruct", tmp_path / "out").stdout
    assert f"its prompts are in the style {style}\n" in said
    assert style_of(load_facts(tmp_path / "out")) == style
    card = (tmp_path / "out/README.md").read_text()
    assert repr(format_prompt({"instruction": "Name three colours.", "input": ""}, style)) in card
    assert f"`{response_header(style).strip()}`" in card
    copy = load_model(tmp_path / "out")
    found = answers(copy, tokenizer, entries[:2], TOKENS, 2, style=style_of(load_facts(tmp_path / "out")))
    assert found == answers(model, tokenizer, entries[:2], TOKENS, 2, style=style)


@pytest.mark.parametrize("style", STYLES)
def test_a_streamed_answer_is_the_whole_ones_without_a_moment_of_the_header(taught, entries, style) -> None:
    model, tokenizer = loaded(taught[style])
    for entry, whole in zip(entries, answers(model, tokenizer, entries, TOKENS, 10, style=style), strict=True):
        pieces = list(stream_answer(model, tokenizer, entry, TOKENS, style))
        assert len(pieces) > 1
        assert "".join(pieces) == whole


def numbers(prompt: int, tokens: int) -> str:
    return f"expected at most 160 tokens with the answer, the model's context, found {prompt} and {tokens} to generate"


@pytest.mark.parametrize("style", STYLES)
def test_a_question_that_does_not_fit_is_refused_with_the_numbers_everywhere(taught, gpt, style) -> None:
    project = taught[style]
    model, tokenizer = loaded(project)
    question = {"instruction": "Count them all, one by one." + " And again." * 18, "input": ""}
    length = len(prompt_ids(tokenizer, question, style))
    room = 160 - length
    assert room > 0
    said = numbers(length, room + 1)
    with pytest.raises(InputError, match=rf"instruction 2 of 2: {said}"):
        answers(model, tokenizer, [{"instruction": "a", "input": ""}, question], room + 1, 2, style=style)
    assert len(answers(model, tokenizer, [question], room, 1, style=style)) == 1

    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=f"row 2, instruction: {said}; .*max_new_tokens"):
        served(project, [{"instruction": "a", "input": ""}, question], max_new_tokens=room + 1)
    result = gpt(project, "instruct", question["instruction"], "--tokens", room + 1)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: instruction: {said}; shorten it, or ask for fewer with --tokens\n"
    assert gpt(project, "instruct", question["instruction"]).exit_code == 0, "without --tokens, as many as fit"
    result = gpt(project, "chat", "--tokens", room + 1, input=question["instruction"] + "\n")
    assert f"(instruction: {said}; shorten it, or ask for fewer with --tokens)" in result.stdout
    with pytest.raises(InputError, match=f"instruction: {said}; .*Tokens"):
        list(instruct.answer_pairs(Shelf(project / "models"), question["instruction"], "", room + 1))


def test_the_evaluation_names_what_does_not_fit_and_answers_the_rest(root, taught, entries, caplog) -> None:
    project, test = taught["phi3"], split_entries(entries, 0.1, 0.8)[1]
    _, tokenizer = loaded(project)
    lengths = [len(prompt_ids(tokenizer, entry, "phi3")) for entry in test]
    longest = [number for number, length in enumerate(lengths) if length == max(lengths)]
    tokens = 161 - max(lengths)
    figures, responses = evaluated(root, project, response_tokens=tokens)
    assert (figures["entries"], figures["prompts_too_long"]) == (len(test) - len(longest), len(longest))
    assert [row["instruction"] for row in responses] == [
        entry["instruction"] for number, entry in enumerate(test) if number not in longest
    ]
    assert [text for text in caplog.messages if "left out" in text] == [
        f"left out of the answers: entry {number + 1} of {len(test)}, {shown(test[number]['instruction'][:40])}: "
        f"prompt of {max(lengths)} tokens, limit {max(lengths) - 1}"
        for number in longest
    ]
    assert figures["response_loss"] == evaluated(root, project)[0]["response_loss"], "no room is needed for that"
    with pytest.raises(InputError, match=r"evaluate\.response_tokens: expected room"):
        evaluated(root, project, response_tokens=160)

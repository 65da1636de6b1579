"""The two styles of prompts, and what of an entry is learnt."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llms_from_scratch.ch07 import custom_collate_fn
from llms_from_scratch.ch07 import format_input as reference_prompt

from gpt_from_scratch.data.instructions.entries import Instructions, format_response, read_entries
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.data.instructions.preferences import Preferences, collate_pairs, read_preferences
from gpt_from_scratch.data.instructions.prompts import format_prompt, response_header, settled, style_of, without_header
from gpt_from_scratch.data.instructions.reading import read_instructions
from gpt_from_scratch.data.raw.files import named_file
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def entries(root):
    return read_entries(root / "data/sample/instruction-data.json")


def test_phi3_as_exercise_7_1_spells_it():
    spelling = {"instruction": "Identify the correct spelling.", "input": "Ocassion", "output": "Occasion"}
    assert format_prompt(spelling, "phi3") + format_response(spelling, "phi3") == (
        "<|user|>\nIdentify the correct spelling.\nOcassion\n<|assistant|>:\nOccasion"
    )
    assert format_prompt({**spelling, "input": ""}, "phi3") == "<|user|>\nIdentify the correct spelling."


def test_alpaca_is_the_references(entries):
    assert [format_prompt(entry, "alpaca") for entry in entries] == [reference_prompt(entry) for entry in entries]
    assert response_header() == "\n\n### Response:\n"


@pytest.mark.parametrize(("style", "mark"), [("alpaca", "### Response:"), ("phi3", "<|assistant|>:")])
def test_the_header_is_taken_out_of_the_answer(style, mark):
    assert without_header(f"\n{mark}\n A wren. ", style) == "A wren."
    assert without_header("A wren.", style) == "A wren."
    other = "<|assistant|>:" if style == "alpaca" else "### Response:"
    assert without_header(f"{other} A wren.", style) == f"{other} A wren."


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*"#: \na<|>", "##", " Resp", "onse", "### Response:", "<|", "assistant|>"])).map("".join)
)
@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_what_is_settled_stays_and_the_rest_completes_it(style, text):
    """Every beginning of a text settles a beginning of what the whole text gives."""
    whole = without_header(text, style)
    found = [settled(text[:end], style) for end in range(len(text) + 1)]
    assert all(later.startswith(earlier) for earlier, later in pairwise([*found, whole]))


def test_the_style_of_a_model_is_a_fact_of_it():
    assert style_of({}) == "alpaca"
    assert style_of({"prompt_style": "phi3"}) == "phi3"
    for wrong in ("chatml", None, ["phi3"], {"a": 1}):
        with pytest.raises(InputError, match="prompt_style of the model: expected alpaca or phi3, found "):
            style_of({"prompt_style": wrong})


@pytest.mark.parametrize("max_length", [256, 110])
def test_masked_targets_are_those_of_exercise_7_2(tokenizer, entries, max_length):
    """The reference's collation; then, as its solution does, all targets of the prompt's tokens ignored."""
    fitting = (entry for entry in entries if len(tokenizer.encode(reference_prompt(entry))) < 110)
    part, pad = sorted(fitting, key=lambda entry: -len(entry["output"]))[:40], tokenizer.eot_token
    data = Instructions(part, tokenizer, max_length)
    assert (data.cut > 0) is (max_length == 110)
    (found,) = instruction_loaders(data, data, len(part), pad, mask_instruction=True)[1]
    inputs, targets = custom_collate_fn(list(data), pad, allowed_max_length=max_length)
    for row, entry in enumerate(part):
        targets[row, : len(tokenizer.encode(reference_prompt(entry))) - 1] = -100
    assert torch.equal(found[0], inputs)
    assert torch.equal(found[1], targets)


def test_what_is_left_to_learn_is_the_response(tokenizer, entries):
    odd = {"instruction": "Begin anew. \n\n", "input": "\n", "output": "\n naïve \n"}
    part, pad = [*entries[:9], odd], tokenizer.eot_token
    for style in ("alpaca", "phi3"):
        data = Instructions(part, tokenizer, 256, style)
        (found,) = instruction_loaders(data, data, len(part), pad, mask_instruction=True)[1]
        for entry, targets in zip(part, found[1], strict=True):
            learnt = targets[targets != -100].tolist()
            assert learnt.pop() == pad
            expected = response_header(style) + entry["output"]
            # A token may hold the end of a prompt of blanks and the beginning of the header.
            written = tokenizer.decode(learnt)
            assert written == expected or (entry is odd and written.endswith(expected))


def test_grouping_and_masking_go_together(tokenizer, entries):
    data = Instructions(entries[:32], tokenizer, 256)
    torch.manual_seed(1)
    masked = list(instruction_loaders(data, data, 8, tokenizer.eot_token, True, True)[0])
    torch.manual_seed(1)
    plain = list(instruction_loaders(data, data, 8, tokenizer.eot_token, True, False)[0])
    for (inputs, targets), (same, all_targets) in zip(masked, plain, strict=True):
        assert torch.equal(inputs, same)
        assert torch.equal(targets[targets != -100], all_targets[targets != -100])
        assert (targets != -100).sum() < (all_targets != -100).sum()


def test_a_prompt_that_leaves_no_room(tokenizer, entries):
    with pytest.raises(InputError, match=r"instruct.max_length: .*prompt 1 of 3 has \d+ tokens, limit 20"):
        Instructions(entries[:3], tokenizer, 20).learnt(True)


def test_entries_of_alpacas_kind(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([{"instruction": "Say nothing.", "output": ""}]))
    assert read_entries(path, empty_answers=True) == [{"instruction": "Say nothing.", "input": "", "output": ""}]
    with pytest.raises(InputError, match="entry 1, output: expected a text, found an empty one"):
        read_entries(path)


def test_files_that_a_parameter_names(tmp_path):
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    (tmp_path / "data/own.json").write_text("[]")
    assert named_file(raw, "data/own.json") == tmp_path / "data/own.json"
    with pytest.raises(InputError, match=r"data/none\.json: file not found"):
        named_file(raw, "data/none.json")
    with pytest.raises(InputError, match=r"sources\.json: file not found"):
        named_file(raw, "data/raw/instruction-data.json")
    with pytest.raises(InputError, match=r"data/raw/own\.json: expected a file that fetch_data brings"):
        named_file(raw, "data/raw/own.json")


# Preferences


@pytest.fixture(scope="module")
def preferences(root):
    return read_preferences(root / "data/sample/preference-data.json")


def test_the_samples_preferences_are_its_instructions_with_another_answer(preferences, entries):
    known = {(entry["instruction"], entry["input"]): entry["output"] for entry in entries}
    assert len(preferences) == 60
    for entry in preferences:
        assert known[entry["instruction"], entry["input"]] == entry["chosen"] != entry["rejected"]
    for key in ("instruction", "rejected"):
        assert len({(entry[key], entry["input"]) for entry in preferences}) == 60


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_what_is_compared_is_the_header_and_the_answer(tokenizer, preferences, style):
    pairs = Preferences(preferences[:12], tokenizer, 256, style)
    (batch,) = pairs.batches(12, tokenizer.eot_token)
    inputs, targets, reference = batch
    assert inputs.shape == targets.shape == (12, 2, inputs.shape[2])
    assert reference.shape == (12, 2)
    mark = response_header(style).strip()
    for number, entry in enumerate(preferences[:12]):
        for place, key in enumerate(("chosen", "rejected")):
            ids = tokenizer.encode(
                format_prompt(entry, style) + response_header(style) + entry[key], disallowed_special=()
            )
            assert inputs[number, place, : len(ids)].tolist() == ids
            learnt = targets[number, place]
            where = (learnt != -100).nonzero().flatten().tolist()
            assert where == list(range(where[0], len(ids) - 1))  # without the end of the text
            assert tokenizer.decode(learnt[where].tolist()) == f"{mark}\n{entry[key]}"
            assert learnt[where].tolist() == ids[where[0] + 1 :]


def test_batches_are_all_pairs_in_order(tokenizer, preferences):
    pairs = Preferences(preferences[:5], tokenizer, 256)
    pairs.reference = torch.arange(10.0).view(5, 2)
    assert torch.cat([batch[2] for batch in pairs.batches(2, 0)]).tolist() == pairs.reference.tolist()
    assert [len(batch[0]) for batch in pairs.batches(2, 0)] == [2, 2, 1]


def test_cut_pairs_are_counted(tokenizer, preferences):
    whole = Preferences(preferences, tokenizer, 256)
    lengths = [max(map(len, pair.sequences)) for pair in whole]
    longest = sorted(lengths)[-3]
    cut = Preferences(preferences, tokenizer, longest)
    assert cut.cut == sum(length > longest for length in lengths) > 0
    assert whole.cut == 0
    assert collate_pairs(list(cut), 0, longest)[0].shape == (60, 2, longest)
    with pytest.raises(InputError, match=r"prompt 1 of 60 has \d+ tokens, limit 20"):
        Preferences(preferences, tokenizer, 20)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "expected a list of preferences"),
        ([{"instruction": "a", "chosen": "b"}], "entry 1: key 'rejected' is missing"),
        ([{"instruction": "a", "chosen": "b", "rejected": 3}], "entry 1, rejected: expected a text, found 3"),
        ([{"instruction": "a", "chosen": " ", "rejected": "b"}], "entry 1, chosen: expected a text, found an empty"),
    ],
)
def test_unusable_preferences(tmp_path, content, complaint):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content))
    for read in (read_preferences, partial(read_instructions, objective="preferences")):
        with pytest.raises(InputError, match=complaint):
            read(path)


def test_the_chosen_answer_of_a_pair_is_the_reference(root, preferences):
    path = root / "data/sample/preference-data.json"
    assert read_instructions(path, "preferences") == [{**pair, "output": pair["chosen"]} for pair in preferences]


def test_a_file_that_holds_both_fits_both_objectives(tmp_path):
    entry = {"instruction": "a", "input": "", "output": "b", "chosen": "c", "rejected": "d"}
    path = tmp_path / "data.json"
    path.write_text(json.dumps([entry]))
    assert read_instructions(path, "answers") == [entry]
    assert read_instructions(path, "preferences") == [{**entry, "output": "c"}]


@pytest.mark.parametrize(
    ("name", "objective", "complaint"),
    [
        (
            "preference-data",
            "answers",
            r"expected output in each entry \(instruct.objective is answers\), found chosen and rejected: "
            r"set instruct.data to another file, or instruct.objective to preferences",
        ),
        (
            "instruction-data",
            "preferences",
            r"expected chosen and rejected in each entry \(instruct.objective is preferences\), found output: "
            r"set instruct.data to another file, or instruct.objective to answers",
        ),
    ],
)
def test_a_file_of_the_other_objective_is_refused(root, name, objective, complaint):
    with pytest.raises(InputError, match=complaint):
        read_instructions(root / f"data/sample/{name}.json", objective)

"""Conversations: how they are read, written as tokens, and which of these are learnt."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_from_scratch.data.instructions.entries import Instructions, collate, encode_entry, read_entries
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.data.instructions.reading import objectives_of, read_instructions
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.judge import judging_prompt
from gpt_from_scratch.generation.answering import prompt_ids, turn_ids
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

SYSTEM = {"role": "system", "content": "You are brief."}
BIRD = [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": "A wren."}]
FISH = [{"role": "user", "content": "And a fish?"}, {"role": "assistant", "content": "A trout."}]
PLAIN = {"instruction": "Name a bird.", "input": "", "output": "A wren."}


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture
def read(tmp_path):
    """Reads messages, one list an entry, from a file of JSON Lines."""

    def entries(*conversations, key="messages"):
        path = tmp_path / "chat.jsonl"
        path.write_text("".join(json.dumps({key: messages}) + "\n" for messages in conversations))
        return read_entries(path)

    return entries


def test_a_conversation_is_the_entry_of_its_last_turn(read):
    first = {**PLAIN, "system_message": "You are brief."}
    last = {"instruction": "And a fish?", "input": "", "output": "A trout.", "earlier_turns": [first]}
    assert read([SYSTEM, *BIRD, *FISH], BIRD, [SYSTEM, *BIRD]) == [last, PLAIN, first]


def test_sharegpt_is_read_alike(read):
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    chat = [SYSTEM, *BIRD, *FISH]
    other = [{"from": names[message["role"]], "value": message["content"]} for message in chat]
    assert read(other, key="conversations") == read(chat)


def test_all_forms_may_stand_in_one_file(tmp_path):
    path = tmp_path / "mixed.json"
    kept = {**PLAIN, "messages": FISH}
    path.write_text(json.dumps([{"id": 7, "messages": BIRD}, {"conversations": BIRD}, PLAIN, kept]))
    assert read_entries(path) == [{"id": 7, **PLAIN}, PLAIN, PLAIN, kept]
    assert objectives_of(path) == ["answers"]
    with pytest.raises(InputError, match=r"expected chosen and rejected in each entry .*, found output"):
        read_instructions(path, "preferences")


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([*BIRD, FISH[0]], "message 3: expected an assistant's as the last, found user's"),
        ([SYSTEM], "message 1: expected an assistant's as the last, found system's"),
        ([*BIRD, FISH[1]], "message 3, role: expected user after assistant, found 'assistant'"),
        ([BIRD[0], *FISH], "message 2, role: expected assistant after user, found 'user'"),
        ([BIRD[1]], "message 1, role: expected system or user, found 'assistant'"),
        ([*BIRD, SYSTEM], "message 3, role: expected user after assistant, found 'system'"),
        ([BIRD[0], {"role": "tool", "content": "x"}], "message 2, role: expected assistant after user, found 'tool'"),
        ([{"content": "x"}], "message 1, role: expected system or user, found None"),
        ([{"role": ["user"], "content": "x"}], r"message 1, role: expected system or user, found \['user'\]"),
        ([BIRD[0], {"role": "assistant", "content": " "}], "message 2, content: expected a text, found an empty one"),
        ([{"role": "user", "content": [{"type": "text"}]}], r"message 1, content: expected a text, found \[\{"),
        (["Hello"], "message 1: expected an object with role and content, found 'Hello'"),
        ([], r"messages: expected a list of messages with role and content, found \[\]"),
        ("Hello", "messages: expected a list of messages with role and content, found 'Hello'"),
    ],
)
def test_faults_are_named_with_their_place(read, messages, complaint):
    with pytest.raises(InputError, match=rf"chat\.jsonl, entry 2, {complaint}") as caught:
        read(BIRD, messages)
    assert "\n" not in str(caught.value)


def test_our_own_keys_are_not_taken_from_a_file(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{**PLAIN, "earlier_turns": 5}]))
    with pytest.raises(
        InputError, match=r"entry 1: expected a conversation as messages, found the key 'earlier_turns'"
    ):
        read_entries(path)


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_a_single_turn_is_the_plain_entry(tokenizer, read, style):
    plain, chat = (Instructions(entries, tokenizer, 256, style) for entries in ([PLAIN], read(BIRD)))
    assert list(chat) == list(plain)
    for mask in (False, True):
        assert chat.learnt(mask) == plain.learnt(mask)
    (entry,) = read([SYSTEM, *BIRD])
    before = {"alpaca": "You are brief.\n\n", "phi3": "<|system|>\nYou are brief.\n"}[style]
    assert tokenizer.decode(encode_entry(tokenizer, entry, style)[0]) == before + tokenizer.decode(plain[0])


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_turns_follow_one_another_as_in_gpt_chat(tokenizer, read, style):
    (entry,) = read([*BIRD, *FISH])
    question = {"instruction": "And a fish?", "input": ""}
    asked = [*turn_ids(tokenizer, PLAIN, "A wren.", style), *prompt_ids(tokenizer, question, style)]
    assert prompt_ids(tokenizer, entry, style) == asked
    ids, _ = encode_entry(tokenizer, entry, style)
    assert ids[: len(asked)] == asked
    assert tokenizer.decode(ids[len(asked) :]).endswith("\nA trout.")


def walked(messages, tokenizer, style):
    """Inputs and targets of a conversation, written and masked message by message."""
    opening = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    )
    user, assistant = {
        "alpaca": (f"{opening}\n\n### Instruction:\n%s", "\n\n### Response:\n%s"),
        "phi3": ("<|user|>\n%s", "\n<|assistant|>:\n%s"),
    }[style]
    ids, learnt, before = [], [], ""
    for message in messages:
        if message["role"] == "system":
            before = message["content"] + "\n\n" if style == "alpaca" else f"<|system|>\n{message['content']}\n"
            continue
        text = (before + user if message["role"] == "user" else assistant) % message["content"]
        own = tokenizer.encode(text, disallowed_special=())
        ids += [*own, tokenizer.eot_token] if message["role"] == "assistant" else own
        learnt += [message["role"] == "assistant"] * (len(ids) - len(learnt))
        before = ""
    return ids[:-1], [token if use else -100 for token, use in zip(ids[1:], learnt[1:], strict=True)]


TEXT = st.lists(st.sampled_from(["a", "wren", "sings", "on", "naïve", "trees"]), min_size=1, max_size=4).map(" ".join)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.none() | TEXT, TURNS), min_size=1, max_size=3), st.sampled_from(["alpaca", "phi3"]))
@pytest.mark.parametrize("mask_instruction", [False, True])
def test_the_loss_is_on_the_assistants_turns_alone(tokenizer, tmp_path_factory, mask_instruction, found, style):
    chats = [
        [{"role": "system", "content": system}] * (system is not None)
        + [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        for system, turns in found
    ]
    path = tmp_path_factory.mktemp("chat") / "chat.json"
    path.write_text(json.dumps([{"messages": chat} for chat in chats]))
    data = Instructions(read_entries(path), tokenizer, 512, style)
    ((inputs, targets),) = instruction_loaders(
        data, data, len(chats), tokenizer.eot_token, mask_instruction=mask_instruction
    )[1]
    for row, chat in enumerate(chats):
        ids, expected = walked(chat, tokenizer, style)
        assert inputs[row, : len(ids)].tolist() == ids
        assert targets[row, : len(ids)].tolist() == expected
        assert (targets[row, len(ids) :] == -100).all()


def test_plain_entries_beside_conversations_keep_their_masking(tokenizer, read):
    data = Instructions([PLAIN, *read([*BIRD, *FISH])], tokenizer, 256)
    ((_, targets),) = instruction_loaders(data, data, 2, tokenizer.eot_token)[1]
    alone = collate([data[0]], tokenizer.eot_token)
    length = len(data[0])
    assert torch.equal(targets[:1, :length], alone[1])
    assert (targets[0, length:] == -100).all()


def test_long_conversations_are_cut_and_counted(tokenizer, read):
    entries = read([*BIRD, *FISH], BIRD)
    (ids, (first, second)), _ = (encode_entry(tokenizer, entry) for entry in entries)
    data = Instructions(entries, tokenizer, second[0])
    assert data.cut == 1
    ((inputs, targets),) = instruction_loaders(data, data, 2, tokenizer.eot_token)[1]
    assert inputs.shape == (2, second[0])
    assert targets[0][targets[0] != -100].tolist() == [*ids[first[0] : first[1]], ids[second[0]]]
    with pytest.raises(InputError, match=rf"prompt 1 of 2 has {first[0]} tokens, limit 20"):
        Instructions(entries, tokenizer, 20).learnt(False)


def test_a_judge_reads_the_whole_conversation(read):
    (entry,) = read([SYSTEM, *BIRD, *FISH])
    asked = judging_prompt(entry, "A cod.")
    places = [asked.index(text) for text in ("You are brief.", "Name a bird.", "A wren.", "And a fish?", "A trout.")]
    assert places == sorted(places)

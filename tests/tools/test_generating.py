"""Generated instruction data, from a function in a model's place and from an endpoint of this machine."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.commands.models import check_output
from gpt_from_scratch.data.instructions.reading import read_instructions
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tools.generating import Draft, Job, estimate, read_source
from tests.chat_endpoint import ChatEndpoint, chat

SOURCE = [
    {"instruction": "Name a bird.", "input": "", "output": "They saw a wren."},
    {"instruction": "Correct it.", "input": "He go.", "output": "He goes."},
    {"instruction": "Say nothing.", "input": "", "output": ""},
]


def asked_of(job, number, *replies):
    """Return the entry that a job makes of replies, and the prompts."""
    prompts, left = [], list(replies)

    def ask(prompt, expected):
        assert expected > 0
        prompts.append(prompt)
        return left.pop(0)

    entry = job.make(number, ask)
    assert left == []
    return entry, prompts


def test_a_new_instruction_is_asked_for_and_then_answered():
    entry, prompts = asked_of(Job("instructions", 5, 1), 0, "\n Name a river. \nSurely!", " The Elbe.\n")
    assert entry == {"instruction": "Name a river.", "input": "", "output": "The Elbe."}
    assert prompts[1] == "Name a river."
    assert asked_of(Job("instructions", 5, 1), 0, "a", "b")[1][0] == prompts[0]
    others = {asked_of(Job("instructions", 5, seed), place, "a", "b")[1][0] for seed in (1, 2) for place in range(5)}
    assert len(others) > 5


def test_reflection_improves_instruction_and_answer():
    job = Job("instructions", 2, 1, True, SOURCE)
    both = "Weak.\n[New Instruction] Name two birds. [End]\n[New Answer]\nA wren,\na robin. [End]"
    entry, prompts = asked_of(job, 0, both, "Short. [Better Answer] A wren and a robin.")
    assert entry == {"instruction": "Name two birds.", "input": "", "output": "A wren and a robin."}
    assert "They saw a wren." in prompts[0]
    assert "Name two birds." in prompts[1] and "A wren,\na robin." in prompts[1]
    assert asked_of(job, 0, "I like it.", "So do I.")[0] == SOURCE[0]
    entry, prompts = asked_of(job, 1, "[Better Answer] He goes there. [End]")
    assert entry == {**SOURCE[1], "output": "He goes there."}
    assert "[Input]\nHe go." in prompts[0]


def test_preferences_have_the_given_answer_on_either_side():
    job, manners = Job("preferences", 2, 1, False, SOURCE[:1] * 40), set()
    for place in range(40):
        entry, (prompt,) = asked_of(job, place, "Other.")
        manner = re.search(r"more (\w+),", prompt)[1]
        better, worse = ("Other.", "They saw a wren.") if manner == "polite" else ("They saw a wren.", "Other.")
        assert entry == {**SOURCE[0], "chosen": better, "rejected": worse}
        manners.add(manner)
    assert manners == {"polite", "impolite"}
    assert asked_of(job, 0, "They saw a wren.")[0] is None


def test_passive_voice_keeps_the_original():
    job = Job("passive", 3, 1, False, SOURCE)
    entry, (prompt,) = asked_of(job, 0, "\n A wren was seen by them. ")
    assert entry == {**SOURCE[0], "output": "A wren was seen by them.", "active": "They saw a wren."}
    assert prompt.endswith("They saw a wren.")
    assert asked_of(job, 0, " ")[0] is None
    assert asked_of(job, 2) == (None, [])


@pytest.mark.parametrize(
    ("job", "requests"),
    [
        (Job("instructions", 3, 1), 6),
        (Job("instructions", 3, 1, True), 12),
        (Job("instructions", 3, 1, True, SOURCE), 3),
        (Job("preferences", 3, 1, False, SOURCE), 2),
        (Job("passive", 3, 1, False, SOURCE), 2),
    ],
)
def test_the_estimate_counts_the_requests(job, requests):
    found = estimate(job, range(3), (2.0, 1e6))
    count, read, written, dollars = re.fullmatch(
        r"([\d,]+) requests, about ([\d,]+) tokens to the model and ([\d,]+) from it, about \$([\d,.]+)", found
    ).groups()
    assert int(count) == requests
    assert float(dollars.replace(",", "")) == pytest.approx(int(written.replace(",", "")), abs=0.01)
    assert int(read.replace(",", "")) > 0
    assert estimate(job, range(3), None) == found.rpartition(", about $")[0]


def test_a_draft_loses_no_more_than_half_a_line(tmp_path):
    out, settings = tmp_path / "data/new.json", {"kind": "passive", "seed": 1}
    draft = Draft(out, settings)
    draft.add(0, SOURCE[0])
    draft.add(2, None)
    with draft.path.open("a") as file:
        file.write('{"number": 1, "ent')
    again = Draft(out, settings)
    assert again.made == {0: SOURCE[0], 2: None}
    again.add(1, SOURCE[1])
    again = Draft(out, settings)
    assert again.finish(3) == 2
    assert json.loads(out.read_text()) == SOURCE[:2]
    assert list(out.parent.iterdir()) == [out]


def test_drafts_that_do_not_fit(tmp_path):
    out, begun = tmp_path / "new.json", {"kind": "passive", "seed": 1}
    Draft(out, begun).add(0, None)
    with pytest.raises(
        InputError, match=r"new\.json\.draft: expected a draft of {'seed': 2}, found {'seed': 1}; repeat"
    ):
        Draft(out, begun | {"seed": 2})
    with pytest.raises(InputError, match=r"expected usable replies of the model, found none in 1"):
        Draft(out, begun).finish(1)
    for row in ('{"place": 3}', "5", "[1]", '{"number": [1], "entry": null}', '{"number": 1, "entry": 5}'):
        out.with_name("new.json.draft").write_text(f"{json.dumps(begun)}\n{row}\n")
        with pytest.raises(InputError, match=r"line 2: expected a number and an entry, found .*; delete the draft"):
            Draft(out, begun)
    for whole in ("5", "[]", "null"):
        out.with_name("new.json.draft").write_text(f"{whole}\n")
        with pytest.raises(InputError, match=r"expected a draft of .*found"):
            Draft(out, begun)
    out.write_text("[]")
    for name, found in (("new.json", "one that exists"), ("new.jsonl", "another ending")):
        with pytest.raises(InputError, match=f"{name}: expected the name of a new .json file, found {found}"):
            Draft(tmp_path / name, {})


def test_conversations_are_no_source(tmp_path):
    chat = [{"role": role, "content": "a"} for role in ("user", "assistant") * 2]
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([SOURCE[0], {"messages": chat}]))
    with pytest.raises(InputError, match=r"entry 2: expected a single instruction, found a conversation"):
        read_source(path)


# The command


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.delenv("GPT_DATA_KEY", raising=False)
    found = ChatEndpoint()
    yield found
    found.close()


@pytest.fixture
def gpt(endpoint, tmp_path, monkeypatch):
    """Runs `gpt data generate KIND new.json` with options, against the endpoint, in a folder with a source."""
    (tmp_path / "source.json").write_text(json.dumps(SOURCE))
    monkeypatch.chdir(tmp_path)

    def run(kind, *options, **more):
        command = ["data", "generate", kind, "new.json", "--url", endpoint.url, *map(str, options)]
        return CliRunner().invoke(cli.app, command, **more)

    return run


def test_the_command_resumes_and_asks_for_nothing_twice(gpt, endpoint, tmp_path):
    refusal = (HTTPStatus.BAD_REQUEST, "no", {})
    endpoint.replies = ["A wren was seen.", refusal, "It is gone to."]
    options = ("--from", "source.json", "--yes", "--seed", 7)
    first = gpt("passive", *options)
    assert first.exit_code == 1
    assert "1 finished entries are in new.json.draft; the same command resumes\n" in first.stderr
    assert re.search(r"error: --url: http.*: expected an answer of llama3, found status 400", first.stderr)
    assert not (tmp_path / "new.json").exists()
    second = gpt("passive", *options)
    assert second.exit_code == 0, second.output
    assert "2 of 3 entries to write: 1 requests, about " in second.stderr
    assert second.stdout == (
        "new.json: 2 entries for instruct.data, instruct.objective answers\n"
        "1 left out: the model's reply was unusable\n"
    )
    assert [entry["output"] for entry in read_instructions(tmp_path / "new.json", "answers")] == [
        "A wren was seen.",
        "It is gone to.",
    ]
    assert [(body["seed"], body["temperature"]) for _, _, body in endpoint.asked] == [(7, 0.0), (8, 0.0), (8, 0.0)]
    assert "found one that exists" in gpt("passive", *options).stderr


def test_the_command_writes_pairs_and_new_instructions(gpt, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("GPT_DATA_KEY", "sk-1")
    endpoint.replies = ["Kindly: a wren."]
    done = gpt("preferences", "--from", "source.json", "--number", 2, "--yes", "--model", "big")
    assert done.stdout == "new.json: 2 entries for instruct.data, instruct.objective preferences\n"
    assert len(read_instructions(tmp_path / "new.json", "preferences")) == 2
    assert {(body["model"], headers["Authorization"]) for _, headers, body in endpoint.asked} == {
        ("big", "Bearer sk-1")
    }
    (tmp_path / "new.json").unlink()
    endpoint.asked.clear()
    assert gpt("instructions", "--number", 2, "--reflect", "--yes").exit_code == 0
    assert [(body["seed"], body["temperature"]) for _, _, body in endpoint.asked] == [(123, 1.0)] * 4 + [(124, 1.0)] * 4


def test_a_tilde_is_the_home_folder_where_the_shell_leaves_it(endpoint, tmp_path, monkeypatch):
    (tmp_path / "source.json").write_text(json.dumps(SOURCE[:1]))
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ["data", "generate", "passive", "~/new.json", "--from=~/source.json", "--yes", "--url", endpoint.url]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert len(read_instructions(tmp_path / "new.json", "answers")) == 1
    assert check_output(Path("~/report.html")) == tmp_path / "report.html"


def test_half_a_character_at_the_end_of_a_reply_is_replaced(gpt, endpoint, tmp_path):
    endpoint.replies = [(HTTPStatus.OK, r'{"choices": [{"message": {"content": "A wren \ud83d"}}]}', {})]
    assert gpt("instructions", "--number", 1, "--yes").exit_code == 0
    (entry,) = read_instructions(tmp_path / "new.json", "answers")
    assert entry["output"] == "A wren \N{REPLACEMENT CHARACTER}"


def test_no_thoughts_and_no_half_replies_are_learnt(gpt, endpoint, tmp_path):
    whole = "<think>They are two.</think>Tags such as <think> and </think> were seen."
    endpoint.replies = [(200, chat("A wren was", "length"), {}), whole]
    result = gpt("passive", "--from", "source.json", "--number", 2, "--yes")
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "new.json").read_text())
    assert entry["output"] == "Tags such as <think> and </think> were seen."
    assert "1 left out" in result.output


def test_the_command_asks_before_it_begins(gpt, endpoint, tmp_path):
    refused = gpt("instructions", "--price", 0.15, 0.6, input="n\n")
    assert refused.exit_code == 1
    assert re.search(
        r"100 of 100 entries to write: 200 requests, about [\d,]+ tokens .*, about \$0\.\d\d", refused.stderr
    )
    assert endpoint.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["source.json"]


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("passive", (), "--from: expected the file whose entries passive are made of, found none"),
        ("instructions", ("--from", "source.json"), "--from: expected --reflect too"),
        ("passive", ("--from", "source.json", "--reflect"), "--reflect: expected an option with an effect on passive"),
        (
            "passive",
            ("--from", "source.json", "--number", 4),
            "--number: expected at most 3, the entries of source.json",
        ),
        ("passive", ("--from", "none.json"), "none.json: file not found"),
        ("instructions", ("--price", "nan", "1"), "--price: expected two prices from 0 on, found nan and 1"),
    ],
)
def test_options_that_do_not_fit(gpt, endpoint, kind, options, complaint):
    done = gpt(kind, *options, "--yes")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"error: {complaint}" in done.stderr
    assert endpoint.asked == []

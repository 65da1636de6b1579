"""The measurements at tiny sizes: what they compute is right, and what disagrees is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments import attention, decoding, speed
from gpt_from_scratch.experiments.measure import measure
from gpt_from_scratch.experiments.study import read_study
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.model.attention import MultiHeadAttention

CPU = torch.device("cpu")
SHAPE = {"vocab_size": 97, "tokens": 16, "emb_dim": 32, "n_heads": 4, "n_layers": 2}


@pytest.fixture(autouse=True)
def _one_thread(_two_threads) -> None:
    torch.set_num_threads(1)  # so small that more would only wait for each other


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("name", [name for name in attention.FORMS if name != "flex"])
def test_every_form_of_attention_is_attention(name):
    torch.manual_seed(1)
    weights = MultiHeadAttention(32, 32, 16, 0.0, 4)
    x = torch.randn(2, 9, 32)
    queries, keys, values = (
        (x @ getattr(weights, part).weight.T).view(2, 9, 4, 8).transpose(1, 2)
        for part in ("W_query", "W_key", "W_value")
    )
    scores = (queries @ keys.mT / math.sqrt(8)).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    context = (scores.softmax(-1) @ values).transpose(1, 2).reshape(2, 9, 32)
    found = attention.projected(attention.FORMS[name](weights).eval(), weights, x)
    torch.testing.assert_close(found, F.linear(context, weights.out_proj.weight, weights.out_proj.bias))


def test_a_form_that_disagrees_is_refused(monkeypatch):
    sizes = {"batch": 1, "tokens": 8, "emb_dim": 32, "n_heads": 4, "repeats": 1}
    names = [name for name in attention.FORMS if name != "flex"]
    found = attention.measure(names, sizes, CPU, quiet)
    assert list(found) == names
    assert all(measured.ours["both"] > 0 for measured in found.values())

    def wrong(weights):
        form = attention.copied(weights)
        torch.nn.init.zeros_(form.W_key.weight)
        return form

    monkeypatch.setitem(attention.FORMS, "einsum", wrong)
    with pytest.raises(ValueError, match="einsum"):
        attention.measure(["explicit", "einsum"], sizes, CPU, quiet)


def test_the_ladder_on_a_cpu_and_on_a_gpu():
    on_cpu, on_gpu = speed.ladder(gpu=False), speed.ladder(gpu=True)
    assert set(on_gpu) - set(on_cpu) == {"tensor-cores", "bf16"}
    assert not any(rung.bf16 or rung.tensor_cores for rung in on_cpu.values())
    assert on_gpu["larger-batch"] == speed.Rung(True, True, True, True, True, True, True, 64, 4)


def test_the_rungs_train_as_a_plain_loop_does():
    sizes = {**SHAPE, "batch": 2, "updates": 3}
    names = ["book", "fused-adamw", "norm-and-gelu", "fused-attention", "all-kernels"]
    rungs = {name: speed.ladder(gpu=False)[name] for name in names}
    found = {name: loss for name, (_, loss) in speed.train_some(rungs, sizes, CPU).items()}
    alone = speed.train_some({"larger-batch": replace(speed.Rung(), batches=4)}, sizes, CPU)["larger-batch"][1]
    torch.manual_seed(123)
    ids = torch.randint(97, (4, 2, 17))
    model = speed.build(speed.Rung(), sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=speed.LR, weight_decay=speed.WEIGHT_DECAY)
    for rows in ids:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    assert found == pytest.approx(dict.fromkeys(found, loss.item()), rel=1e-5)
    assert alone != pytest.approx(loss.item(), rel=1e-3)  # other batches
    padded = speed.build(speed.Rung(vocabulary_multiple=64), sizes)
    assert padded.tok_emb.num_embeddings == 128


def test_unequal_losses_are_refused(monkeypatch):
    results = {"book": (1.0, 2.0), "fused-adamw": (1.0, 2.1)}
    monkeypatch.setattr(speed, "train_some", lambda rungs, sizes, device: {name: results[name] for name in rungs})
    for together in (True, False):
        monkeypatch.setattr(speed, "fits", lambda *arguments, together=together: together)
        with pytest.raises(ValueError, match="equal losses"):
            speed.measure(list(results), SHAPE, CPU, quiet)


def test_what_the_memory_does_not_hold_comes_one_after_the_other():
    assert speed.fits(8, SHAPE, CPU)
    assert not speed.fits(8, {**SHAPE, "emb_dim": 65536, "n_layers": 8}, CPU)


def test_all_ways_of_decoding_write_the_tokens_of_the_plain_way(monkeypatch):
    sizes = {**SHAPE, "context_length": 32, "prompt": 4, "new_tokens": 12, "repeats": 1}
    found = decoding.measure(["without", "growing", "preallocated", "engine"], sizes, CPU, quiet)
    assert all(measured.ours["tokens"] > 0 for measured in found.values())
    with_cache = decoding.with_cache
    monkeypatch.setattr(decoding, "with_cache", lambda *a: [(token + 1) % 97 for token in with_cache(*a)])
    with pytest.raises(ValueError, match="same tokens"):
        decoding.measure(["without", "growing"], sizes, CPU, quiet)


def test_times_are_medians_of_turns(monkeypatch):
    clock = iter([0, 1, 10, 13, 20, 29, 30, 34, 40, 42, 50, 55])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    order: list[str] = []
    times = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert order == ["a", "b", "a", "b", "a", "b", "a", "b"]
    assert times == {"a": 2, "b": 4}


@pytest.fixture
def measured(project, root, monkeypatch):
    (project / "experiments/kv-cache.yaml").write_text((root / "experiments/kv-cache.yaml").read_text())
    monkeypatch.setattr("gpt_from_scratch.tracking.studies.log_study", lambda *arguments: None)
    return project


def test_the_command_measures_and_shows_what_it_wrote(measured):
    small = {**SHAPE, "context_length": 32, "new_tokens": 8, "repeats": 1}
    small.pop("tokens")
    sizes = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    command = ["experiments", "run", "kv-cache", "--only", "without", "--only", "engine", *sizes]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    content = read_json(measured / ".cache/experiments/kv-cache.json")
    rate = content["forms"]["without"]["ours"]["tokens"]
    assert f"| without a cache [1] | {rate:,.0f} / 27 |" in result.stdout
    assert "other sizes than the published ones" in result.stdout
    assert (
        CliRunner().invoke(cli.app, ["experiments", "table", "kv-cache"]).stdout.splitlines()[-3:]
        == (result.stdout.splitlines()[-3:])
    )


@pytest.mark.parametrize("change", ["layers=3", "n_layers=0", "n_layers=many"])
def test_unknown_and_impossible_sizes_are_refused(measured, change):
    result = CliRunner().invoke(cli.app, ["experiments", "run", "kv-cache", "--set", change])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


def test_an_unknown_form_is_refused(measured):
    with pytest.raises(InputError, match="without"):
        measure(measured, "kv-cache", read_study(measured, "kv-cache"), reduced=True, only=("witout",))

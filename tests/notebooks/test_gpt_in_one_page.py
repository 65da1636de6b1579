"""The page of notebook 4: the package's model, and the reference's, in one cell."""

from __future__ import annotations

import ast
from dataclasses import asdict
from types import ModuleType

import jupytext
import pytest
import torch
from llms_from_scratch.ch04 import GPTModel as ReferenceModel
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.training.tasks import LanguageModelling

SHAPE = {"vocab_size": 61, "context_length": 12, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "drop_rate": 0.0}
VARIANTS = [{"qkv_bias": False, "tie_weights": False}, {"qkv_bias": True, "tie_weights": True}]


@pytest.fixture(scope="module")
def source(root) -> str:
    cells = jupytext.read(root / "notebooks/04_gpt_in_one_page.py").cells
    (cell,) = [cell for cell in cells if "the-page" in cell.metadata.get("tags", ())]
    return cell.source


@pytest.fixture(scope="module")
def page(source) -> ModuleType:
    module = ModuleType("page")
    exec(compile(source, "page", "exec", dont_inherit=True), module.__dict__)
    return module


def both(page: ModuleType, variant: dict[str, bool]) -> tuple[torch.nn.Module, GPTModel]:
    """Return the page's model and the package's, each built under the same seed."""
    torch.manual_seed(123)
    ours = page.GPT(page.Config(**SHAPE, **variant))
    torch.manual_seed(123)
    return ours.eval(), GPTModel(GPTConfig(**SHAPE, **variant)).eval()


def ids(rows: int = 2, tokens: int = 9) -> torch.Tensor:
    return torch.randint(61, (rows, tokens), generator=torch.Generator().manual_seed(1))


def test_it_stands_alone_and_is_about_a_page(source) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {name.split(".")[0] for name in imported} == {"math", "dataclasses", "pathlib", "torch", "safetensors"}
    assert len([line for line in source.splitlines() if line.strip()]) < 150


@pytest.mark.parametrize("variant", VARIANTS)
def test_initial_weights_equal_the_packages(page, variant) -> None:
    ours, package = both(page, variant)
    assert asdict(ours.cfg) == {
        name: value
        for name, value in asdict(package.config).items()
        if name not in ("kernels", "causal") and not name.startswith("drop_rate_")
    }
    found, expected = ours.state_dict(), package.state_dict()
    assert list(found) == list(expected)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert (ours.out_head.weight is ours.tok_emb.weight) == variant["tie_weights"]


def test_initial_weights_and_logits_equal_the_references(page) -> None:
    ours, _ = both(page, VARIANTS[0])
    torch.manual_seed(123)
    reference = ReferenceModel({**SHAPE, "qkv_bias": False}).eval()
    expected = reference.state_dict()
    assert [name for name, value in ours.state_dict().items() if not torch.equal(value, expected[name])] == []
    with torch.no_grad():
        torch.testing.assert_close(ours(ids()), reference(ids()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_loss_and_gradients_equal_the_packages(page, variant) -> None:
    ours, package = both(page, variant)
    with torch.no_grad():  # biases, norms and all: none may stay what it is by default
        for parameter in package.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    ours.load_state_dict(package.state_dict())
    torch.testing.assert_close(ours(ids()), package(ids()), rtol=1e-5, atol=1e-4)
    targets = ids().roll(-1, dims=1)
    targets[:, -3:] = -100
    losses = ours.loss(ids(), targets), LanguageModelling().loss(package, (ids(), targets), torch.device("cpu"))
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses[0], F.cross_entropy(ours(ids())[:, :-3].flatten(0, 1), targets[:, :-3].flatten()))
    for loss in losses:
        loss.backward()
    gradients = {name: parameter.grad for name, parameter in package.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_tokens_equal_the_packages_also_past_the_context(page, variant) -> None:
    ours, package = both(page, variant)
    prompts = ids(tokens=4)
    assert ours.generate(prompts, 15)[:, 4:].tolist() == generate(package, prompts, 15)


def test_drawn_tokens_are_among_the_k_best(page) -> None:
    ours, _ = both(page, VARIANTS[0])
    assert torch.equal(ours.generate(ids(), 6, temperature=2.0, top_k=1), ours.generate(ids(), 6))
    torch.manual_seed(1)
    many = ours.generate(ids(1).repeat(200, 1), 1, temperature=5.0, top_k=3)[:, -1]
    with torch.no_grad():
        assert set(many.tolist()) == set(ours(ids(1))[0, -1].topk(3).indices.tolist())


@pytest.mark.parametrize("tied", [True, False])
def test_it_reads_what_transformers_wrote(page, tmp_path, tied) -> None:
    torch.manual_seed(123)
    config = GPT2Config(vocab_size=61, n_positions=12, n_embd=24, n_head=3, n_layer=2, tie_word_embeddings=tied)
    theirs = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    ours = page.GPT(page.Config(**SHAPE, tie_weights=tied)).eval()
    ours.load_huggingface(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(ids()), theirs(ids()).logits, rtol=1e-5, atol=1e-4)


def test_dropout_stands_where_the_packages_does(page) -> None:
    torch.manual_seed(123)
    ours = page.GPT(page.Config(**{**SHAPE, "drop_rate": 0.5}))
    package = GPTModel(GPTConfig(**{**SHAPE, "drop_rate": 0.5}, qkv_bias=True, tie_weights=True))
    package.load_state_dict(ours.state_dict())
    results = []
    for model in (ours, package):
        torch.manual_seed(7)
        results.append(model.train()(ids()))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-4)

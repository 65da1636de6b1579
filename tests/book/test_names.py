"""Every public name of the book's package is here, with its signature."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

pytest.importorskip("llms_from_scratch")

MODULES = [
    "ch02",
    "ch03",
    "ch04",
    "ch05",
    "ch06",
    "ch07",
    "appendix_a",
    "appendix_d",
    "appendix_e",
    "generate",
    "kv_cache.gpt2",
    "kv_cache.generate",
    "kv_cache.utils",
]


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def own(module, thing):
    return (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith(module)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_and_signatures(name):
    theirs, ours = import_module(f"llms_from_scratch.{name}"), import_module(f"gpt_from_scratch.book.{name}")
    public = {key: thing for key, thing in vars(theirs).items() if key[0] != "_" and own("llms_from_scratch", thing)}
    assert public
    for key, thing in public.items():
        assert parameters(getattr(ours, key)) == parameters(thing), key


@pytest.mark.parametrize("name", MODULES)
def test_methods_take_the_same_arguments_first(name):
    theirs, ours = import_module(f"llms_from_scratch.{name}"), import_module(f"gpt_from_scratch.book.{name}")
    for key, thing in vars(theirs).items():
        if inspect.isclass(thing) and own("llms_from_scratch", thing):
            for method, function in vars(thing).items():
                if inspect.isfunction(function) and (not method.startswith("_") or method in ("__getitem__",)):
                    expected = parameters(function)
                    found = parameters(getattr(getattr(ours, key), method))
                    assert found[: len(expected)] == expected, f"{key}.{method}"
                    assert all(default is not inspect.Parameter.empty for _, _, default in found[len(expected) :])


def test_the_names_of_chapter_4_that_only_the_book_has():
    chapter = import_module("gpt_from_scratch.book.ch04")
    for name in ("DummyGPTModel", "DummyTransformerBlock", "DummyLayerNorm", "ExampleDeepNeuralNetwork"):
        assert hasattr(chapter, name)

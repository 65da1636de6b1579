"""The measurement of growth, at its smallest, and its picture."""

from __future__ import annotations

import pytest

from benchmarks.growth import draw, measure, points


def test_a_point_of_each_kind_and_the_picture(tmp_path):
    pytest.importorskip("datasets")
    small = {"n_layers": 1, "emb_dim": 64, "n_heads": 1, "context_length": 8}
    update, corpus = measure({**small, "batch": 2}), measure({"megabytes": 1})
    assert update["tokens"] == 16
    assert update["parameters"] == 12 * 64**2 + 2 * 50257 * 64
    assert update["peak"] > 4 * 4 * update["parameters"]  # weights, gradients, two averages of AdamW
    assert corpus["tokens"] > 2e5
    rows = {"model": update, "context": update, "batch": update, "corpus": corpus}
    assert rows.keys() == points().keys()
    results = {"machine": {"cores": 2, "processor": "any", "instructions": "", "threads": 2, "python": ""}}
    results |= {"ceiling": 1e11, **{name: [row, row | {"seconds": 2 * row["seconds"]}] for name, row in rows.items()}}
    draw(results, tmp_path / "images" / "growth.png")
    assert (tmp_path / "images" / "growth.png").stat().st_size > 10_000

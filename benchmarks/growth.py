"""Growth of a training's cost with model, context, batch and corpus: `python -m benchmarks.growth`.

Every point is measured in a process of its own, for its peak memory. Writes benchmarks/results/growth.json and
docs/images/growth.png; some minutes on two cores.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import in_words, machine_facts
from benchmarks.row import matrix_product_flops
from benchmarks.updates import OurUpdates, training_flops
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.model import GPTConfig

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "growth.json"
PICTURE = ROOT / "docs" / "images" / "growth.png"
MIDDLE = GPTConfig(context_length=128, emb_dim=384, n_heads=6, n_layers=6, drop_rate=0.0, kernels="fused")

Point = dict[str, Any]


def points() -> dict[str, list[Point]]:
    """Return what is to be measured, by what grows."""
    shapes = ((2, 128), (4, 256), (6, 384), (8, 512), (12, 768))
    return {
        "model": [{"n_layers": n, "emb_dim": d, "n_heads": d // 64, "context_length": 128} for n, d in shapes],
        "context": [{"context_length": tokens, "batch": 1} for tokens in (64, 128, 256, 512, 1024)],
        "batch": [{"batch": batch} for batch in (1, 2, 4, 8, 16)],
        "corpus": [{"megabytes": size} for size in (5, 10, 20, 40, 80)],
    }


def measure_update(n_batch: int, shape: dict[str, int], updates: int = 3) -> Point:
    """Time updates of a model like `MIDDLE` but for `shape`, on `n_batch` full sequences; after one unmeasured."""
    cfg = replace(MIDDLE, **shape)
    ids = torch.randint(cfg.vocab_size, (n_batch, cfg.context_length + 1))
    update = OurUpdates(cfg, (ids[:, :-1].contiguous(), ids[:, 1:].contiguous()), torch.device("cpu"))
    seconds = in_turn({"update": update}, updates)["update"]
    tokens = n_batch * cfg.context_length
    return {
        "seconds": seconds,
        "tokens": tokens,
        "parameters": 12 * cfg.n_layers * cfg.emb_dim**2 + 2 * cfg.vocab_size * cfg.emb_dim,
        "flops": tokens * training_flops(cfg),
    }


def measure(point: Point) -> Point:
    """Measure one point, and the peak memory of this process and of the largest that it started."""
    if "megabytes" in point:
        found = measure_corpus(point["megabytes"])
    else:
        found = measure_update(point.get("batch", 2), {key: size for key, size in point.items() if key != "batch"})
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(each).ru_maxrss for each in who) * (1 if sys.platform == "darwin" else 1024)
    return {**point, **found, "peak": peak}


def measure_all() -> dict[str, Any]:
    """Measure every point in its own process; return the results file's content."""
    results: dict[str, Any] = {"machine": machine_facts(), "ceiling": matrix_product_flops()}
    for grows, asked in points().items():
        results[grows] = []
        for point in asked:
            command = [sys.executable, "-m", "benchmarks.growth", json.dumps(point)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
            results[grows].append(json.loads(answer.stdout))
            found = results[grows][-1]
            print(f"{grows} {point}: {found['seconds']:.3g} s, {found['peak'] / 2**20:.0f} MiB", flush=True)
    return results


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw four panels: seconds on logarithmic axes, and peak memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {
        "model": ("parameters", "parameters", "update of 2 x 128 tokens"),
        "context": ("context_length", "context, tokens", "update of one sequence, 6 layers of 384"),
        "batch": ("batch", "sequences of 128 tokens", "update, 6 layers of 384"),
        "corpus": ("megabytes", "text, MB", "text to tokens, once, by all cores"),
    }
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for axis, (grows, (key, label, title)) in zip(axes.flat, panels.items(), strict=True):
        rows = results[grows]
        sizes = [row[key] for row in rows]
        axis.loglog(sizes, [row["seconds"] for row in rows], "o-", color="tab:blue", label="seconds")
        if "flops" in rows[0]:
            bound = [row["flops"] / results["ceiling"] for row in rows]
            axis.loglog(sizes, bound, ":", color="tab:blue", label="seconds, were it matrix products alone")
        axis.set(xlabel=label, ylabel="seconds", title=title)
        axis.yaxis.set_major_formatter("{x:g}")
        memory = axis.twinx()
        memory.plot(sizes, [row["peak"] / 2**30 for row in rows], "s--", color="tab:red")
        memory.set_ylim(bottom=0)
        memory.set_ylabel("peak memory, GiB", color="tab:red")
        axis.set_xticks(sizes, [f"{size / 1e6:.0f}M" if size >= 1e6 else str(size) for size in sizes])
        axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axis.legend(loc="upper left", fontsize="small")
    figure.suptitle(in_words(results["machine"]).split("; ")[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write and draw; with a point as argument, measure that."""
    if sys.argv[1:]:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
        return
    results = measure_all()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, PICTURE)
    print(f"{RESULTS}\n{PICTURE}")


def measure_corpus(megabytes: int) -> Point:
    """Time the way from a text of a size to the tokens that training windows are read from."""
    from benchmarks.tokenising import SAMPLE, write_text
    from gpt_from_scratch.data.text.documents import read_documents
    from gpt_from_scratch.data.text.large_corpus import tokenised
    from gpt_from_scratch.data.text.shards import Workers
    from gpt_from_scratch.training.ranks import usable_cores

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "text.txt", megabytes)
        began = time.perf_counter()
        documents = read_documents([folder / "text.txt"], strip_gutenberg=False)
        tokens, _ = tokenised(documents, folder, SAMPLE / "bpe", folder / "kept", Workers(usable_cores()))
        return {"seconds": time.perf_counter() - began, "tokens": len(tokens)}


if __name__ == "__main__":
    main()

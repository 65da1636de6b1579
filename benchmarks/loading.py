"""Loading a TensorFlow checkpoint of GPT-2 124M into a model, each time in a fresh process, from a warm page cache.

The reference reads through TensorFlow, whose import takes seconds and hundreds of megabytes; ours reads the file
itself. `ours` and `peers` are the loading alone, after all imports. The figures give both ways of counting: the whole
process, its imports included, and what the loading adds to the imports.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3

_WRITE = """
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.weights.synthetic import write_synthetic_checkpoint
write_synthetic_checkpoint(GPT2_SIZES["124M"], 123, folder, tokenizer)
"""

_OURS = """
import torch
from gpt_from_scratch.weights.openai import read_checkpoint
imported()
model = read_checkpoint(folder)
loaded(model)
"""

_REFERENCE = """
import json
import tensorflow, torch
from llms_from_scratch.ch04 import GPTModel
from llms_from_scratch.ch05 import load_gpt2_params_from_tf_ckpt, load_weights_into_gpt
imported()
hparams = json.loads((folder / "hparams.json").read_text())
params = load_gpt2_params_from_tf_ckpt(tensorflow.train.latest_checkpoint(str(folder)), hparams)
names = {"vocab_size": "n_vocab", "context_length": "n_ctx", "emb_dim": "n_embd", "n_heads": "n_head"}
sizes = {ours: hparams[theirs] for ours, theirs in (names | {"n_layers": "n_layer"}).items()}
model = GPTModel({**sizes, "drop_rate": 0.0, "qkv_bias": True})
load_weights_into_gpt(model, params)
loaded(model.eval())
"""

_FRAME = """
import time
began = time.perf_counter()
import hashlib, json, resource, sys
from pathlib import Path
folder, tokenizer = Path(sys.argv[1]), Path(sys.argv[2])
marks = {}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def imported():
    marks["imports"] = time.perf_counter() - began
    marks["peak_of_imports"] = peak()

def loaded(model):
    marks["process"] = time.perf_counter() - began
    marks["load"] = marks["process"] - marks["imports"]
    marks["peak"] = peak()
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        if not name.endswith("mask"):
            digest.update(name.encode() + values.numpy().tobytes())
    print(json.dumps({**marks, "digest": digest.hexdigest()}))

"""


def rows() -> Iterator[Row]:
    """Yield the one row.

    Raises:
        AssertionError: when any parameter differs from the reference's.
    """
    with tempfile.TemporaryDirectory() as folder:
        _process(_WRITE, folder)
        works = {"ours": _OURS, "llms-from-scratch": _REFERENCE}
        for work in works.values():
            _process(work, folder)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in works}
        for _ in range(REPEATS):
            for name, work in works.items():
                found[name].append(json.loads(_process(work, folder)))
    digests = {run["digest"] for runs in found.values() for run in runs}
    assert len(digests) == 1, "the two loaders' parameters differ"
    ours, theirs = ({key: _median(runs, key) for key in runs[0] if key != "digest"} for runs in found.values())
    yield Row(
        work="loading the TensorFlow checkpoint of 124M into a model (imports not counted, page cache warm)",
        ours=ours["load"],
        peers={"llms-from-scratch": theirs["load"]},
        agreement="SHA-256 over every parameter equal",
        at_least=2.0,
        figures={
            "ratio with imports": theirs["process"] / ours["process"],
            "seconds with imports": ours["process"],
            "seconds with imports, llms-from-scratch": theirs["process"],
            "peak bytes": ours["peak"],
            "peak bytes, llms-from-scratch": theirs["peak"],
            "share of its peak": ours["peak"] / theirs["peak"],
            "peak bytes above the imports": ours["peak"] - ours["peak_of_imports"],
            "peak bytes above the imports, llms-from-scratch": theirs["peak"] - theirs["peak_of_imports"],
            "share of its peak above the imports": (ours["peak"] - ours["peak_of_imports"])
            / (theirs["peak"] - theirs["peak_of_imports"]),
        },
    )


def _median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _process(work: str, folder: str) -> str:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n{_FRAME}{work}"
    command = [sys.executable, "-c", code, folder, str(ROOT / "data" / "sample" / "bpe")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

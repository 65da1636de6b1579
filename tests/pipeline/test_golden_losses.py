"""The losses of the profile quick, held to numbers."""

from __future__ import annotations

import pytest
from golden import losses

from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params

GOLDEN = {
    "pretrain": [7.50013, 7.41931, 7.03508, 5.85327, 5.88050, 5.82499],
    "classify": [0.73213, 0.68611, 0.80151, 0.85295, 0.47552, 0.62391],
    "frozen prefix": [0.73213, 0.61904, 0.69588, 0.62979, 0.52950, 0.35672],
    "instruct": [7.28276, 7.18684, 6.47933, 5.59460, 4.30095, 3.14910],
}
# With PyTorch's loops for SSE2, AVX2 and AVX-512, and MKL's own choice or its compatible mode, the largest difference
# was 1e-6.
TOLERANCE = 1e-4

FINAL = {"pretrain": 4.926, "finetune_instruct": 1.592}
# Hundreds of updates let a difference grow; with and without the pins of `runtime.portable` it was below 0.001.
FINAL_TOLERANCE = 0.05


@pytest.fixture(scope="module")
def found():
    return losses()


@pytest.mark.parametrize("training", GOLDEN)
def test_first_losses(found, training):
    assert found[training] == pytest.approx(GOLDEN[training], abs=TOLERANCE)


@pytest.mark.parametrize("training", FINAL)
def test_final_losses(root, training):
    if load_params(root / "params.yaml") != load_params(root / "profiles/quick.yaml"):
        pytest.skip("params.yaml is not the profile quick")
    metrics = read_json(root / "metrics" / f"{training}.json")
    assert metrics["final"]["validation_loss"] == pytest.approx(FINAL[training], abs=FINAL_TOLERANCE)

"""The losses of the profile quick, held to numbers."""

from __future__ import annotations

import pytest
from golden import losses

from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params

GOLDEN = {
    "pretrain": [7.50013, 7.41931, 7.35367, 6.76348, 6.09144, 5.75463],
    "classify": [0.67045, 0.60730, 0.78927, 0.73997, 0.55164, 0.54472],
    "frozen prefix": [0.73213, 0.61904, 0.70890, 0.60159, 0.56503, 0.36500],
    "instruct": [7.28276, 7.18684, 6.74184, 6.23202, 5.80117, 5.22171],
}
# With PyTorch's loops for SSE2, AVX2 and AVX-512, and MKL's own choice or its compatible mode, the largest difference
# was 1e-6.
TOLERANCE = 1e-4

FINAL = {"pretrain": 4.956, "finetune_instruct": 1.513}
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

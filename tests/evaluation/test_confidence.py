"""Intervals and paired tests are SciPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from gpt_from_scratch.evaluation.confidence import marks, mcnemar, paired, paired_means, sign_flips, wilson
from gpt_from_scratch.evaluation.figures import accuracy_text, figures, interval


@given(st.integers(1, 100_000).flatmap(lambda items: st.tuples(st.integers(0, items), st.just(items))))
def test_the_interval_is_scipys(numbers):
    right, items = numbers
    theirs = binomtest(right, items).proportion_ci(method="wilson")
    assert wilson(right / items, items) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_p_is_that_of_the_binomial_test(gained, lost):
    theirs = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(theirs, rel=1e-9)


def test_thousands_of_disagreements_overflow_nothing():
    assert 0.9 < mcnemar(3000, 3001) <= 1
    assert mcnemar(0, 5000) == 0.0
    assert mcnemar(20_000, 20_200) == pytest.approx(binomtest(20_000, 40_200).pvalue)  # at once: minutes if anew each


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=10))
def test_the_sign_flips_of_few_differences_are_all_tried(differences):
    theirs = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flips(differences) == pytest.approx(theirs, abs=1e-12)
    assert sign_flips([one / 10 for one in differences]) == sign_flips(differences)  # rounding breaks no tie


@pytest.mark.parametrize("mean", [0.0, 0.03, 0.06, 0.5])
def test_the_sign_flips_of_many_differences_are_drawn(mean):
    """As far from SciPy's draws as chance may bring two such shares, 4 deviations; the same again by their seed."""
    differences = np.random.default_rng(1).normal(mean, 0.3, 110).tolist()
    theirs = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20000, rng=2).pvalue
    ours = sign_flips(differences)
    assert ours == pytest.approx(theirs, abs=1e-3 + 4 * (theirs * (1 - theirs) * (1 / 8192 + 1 / 20000)) ** 0.5)
    assert ours == sign_flips(differences) > 0


def test_two_models_by_the_scores_of_their_answers():
    said = "noise (paired sign-flip test: p = {}; {} answers)"
    assert paired_means([0.5] * 8, [0.25] * 8) == "beyond " + said.format("0.0078", 8)
    assert paired_means([0.5, 0.1, 0.3], [0.25, 0.3, 0.3]) == "within " + said.format("1", 3)


def test_what_the_row_that_starts_from_random_weights_is_worth():
    """93.67 % of the companion's 300 test messages: both of ours lie within, as docs/experiments.md says."""
    assert interval({"test/accuracy": 281 / 300, "test/messages": 300}, "test/accuracy") == "90.3–95.9 %"
    low, high = wilson(281 / 300, 300)
    assert low < 275 / 300 < 280 / 300 < high


def test_two_models_on_the_same_items():
    rows = [{"actual": "ham", "predicted": found} for found in ("ham", "spam", "ham")]
    assert marks(rows) == "101"
    said = "noise (McNemar's exact test: p = {}; of 12 items, {} only now right, {} only before)"
    assert paired("111111110000", "000000001000") == "beyond " + said.format("0.039", 8, 1)
    assert paired("111000000000", "000100000000") == "within " + said.format("0.62", 3, 1)
    assert accuracy_text("1110") == "75.0 % (95 % interval 30.1–95.4 %)"


def test_only_a_share_of_counted_items_has_an_interval():
    found = figures({"test": {"messages": 4, "accuracy": 0.5, "f1": 0.5}, "entries": 9, "match": 0.0, "seen": {"a": 1}})
    assert {name: interval(found, name) for name in found if interval(found, name)} == {
        "test/accuracy": "15.0–85.0 %",
        "match": "0.0–29.9 %",
    }
    assert interval({"train_accuracy": 0.5}, "train_accuracy") == ""
    assert interval({"benchmarks/lambada/accuracy": 0.5, "benchmarks/lambada/items": 4}, "benchmarks/lambada/accuracy")

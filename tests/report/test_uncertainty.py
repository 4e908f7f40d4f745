"""Intervals and paired differences against answers known by hand."""

import tracemalloc

import numpy as np
import pytest

from cgc_tf.report import results, tables, uncertainty


def test_summary_by_hand():
    found = uncertainty.summary([1, 2, 3, np.nan])
    assert found["count"] == 3 and found["mean"] == 2
    np.testing.assert_allclose(found["standard_error"], 1 / np.sqrt(3))
    assert uncertainty.summary([np.nan]) is None
    assert uncertainty.summary([5.0]) == {"count": 1, "mean": 5, "standard_error": None, "interval": [5, 5]}


def test_interval_covers_the_mean():
    """Of samples of a normal distribution, about 95 in 100 intervals hold its mean; and the seed decides."""
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 1, (200, 40))
    intervals = np.array([uncertainty.summary(sample, 400)["interval"] for sample in samples])
    assert 0.89 <= np.mean((intervals[:, 0] < 3) & (intervals[:, 1] > 3)) <= 0.99
    assert uncertainty.summary(samples[0]) == uncertainty.summary(samples[0])


def test_interval_is_the_percentiles_of_resampled_means():
    """Within the noise of resampling, by a loop of its own; also of so many values that they are taken in batches."""
    rng = np.random.default_rng(1)
    for count, resamples in ((30, 4000), (50_000, 300)):
        values = rng.exponential(1, count)
        means = [rng.choice(values, count).mean() for _ in range(resamples)]
        error = uncertainty.summary(values)["standard_error"]
        found = uncertainty.summary(values, resamples)["interval"]
        np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), rtol=0, atol=0.5 * error)


def test_memory_does_not_grow_with_the_resamples():
    values = np.random.default_rng(0).random(50_000)
    tracemalloc.start()
    uncertainty.summary(values, 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6  # all resamples at once, and their indices, are 160 MB


@pytest.mark.filterwarnings("error")
def test_values_that_are_all_the_same():
    for values in ([0.25], [1.0] * 9, [0, 0, np.nan]):
        assert uncertainty.summary(values)["interval"] == [values[0], values[0]]
    assert uncertainty.paired([1, 2], [1, 2])["interval"] == [0, 0]


def test_balanced_accuracy_by_hand():
    """Class 0 is right once in four, class 2 always: a resample without class 2 is class 0 alone."""
    found = uncertainty.balanced_accuracy([0, 0, 0, 0, 2, 2], [1, 0, 0, 0, 1, 1], 500)
    assert (found["count"], found["mean"]) == (6, (1 / 4 + 1) / 2)
    low, high = found["interval"]
    assert low < 0.625 < high <= 1 and 0 < found["standard_error"] < 0.5
    assert uncertainty.balanced_accuracy([3], [1])["interval"] == [1, 1]
    assert uncertainty.balanced_accuracy([0, 1, 1], [1, 1, 1], 100)["interval"] == [1, 1]


def test_interval_of_balanced_accuracy_is_the_percentiles_of_resamples():
    """Within the noise of resampling, by a loop of its own."""
    rng = np.random.default_rng(2)
    labels = rng.choice(3, 80, p=[0.6, 0.3, 0.1])
    right = rng.random(80) < np.array([0.9, 0.5, 0.7])[labels]
    means = []
    for chosen in (rng.integers(80, size=80) for _ in range(2000)):
        present = np.unique(labels[chosen])
        means.append(np.mean([right[chosen][labels[chosen] == label].mean() for label in present]))
    found = uncertainty.balanced_accuracy(labels, right, 2000)
    np.testing.assert_allclose(found["interval"], np.percentile(means, [2.5, 97.5]), atol=0.02)
    np.testing.assert_allclose(found["standard_error"], np.std(means), rtol=0.1)


def test_paired_by_hand():
    found = uncertainty.paired([0, 0, 1, np.nan], [1, 3, 0, 1])
    assert found["mean"] == 1 and (found["higher"], found["lower"], found["count"]) == (2, 1, 3)


def test_comparison_pairs_by_index_and_knows_what_is_better():
    first = {"index": np.array([0, 1]), "top1": np.array([0.0, 1.0]), "deletion_auc": np.array([0.5, 0.5])}
    second = {"index": np.array([1, 0]), "top1": np.array([1.0, 1.0]), "deletion_auc": np.array([0.6, 0.3])}
    metrics = results.compare(["a", "b"], [results.Measurement(first), results.Measurement(second)])[0]["metrics"]
    assert (metrics["top1"]["better"], metrics["top1"]["worse"]) == (1, 0)
    assert (metrics["deletion_auc"]["better"], metrics["deletion_auc"]["worse"]) == (1, 1)
    np.testing.assert_allclose(metrics["deletion_auc"]["mean"], -0.05)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (tables.text, "run  top-1\na_b     5%"),
        (tables.markdown, "| run | top-1 |\n| --- | --- |\n| a_b | 5% |\n"),
        (
            tables.latex,
            "\\begin{tabular}{lr}\n\\toprule\nrun & top-1 \\\\\n\\midrule\na\\_b & 5\\% \\\\\n\\bottomrule\n"
            "\\end{tabular}\n",
        ),
    ],
)
def test_forms_of_a_table(draw, expected):
    assert draw(["run", "top-1"], [["a_b", "5%"]]) == expected


def test_latex_escapes():
    """Names of runs are text; a minus is one, and a hyphen stays."""
    row = tables.latex(["run", "top-1"], [["a_b{50%}^2\\", "-1.50 [-2.00, +1.00]"]]).splitlines()[4]
    assert row == "a\\_b\\{50\\%\\}\\textasciicircum{}2\\textbackslash{} & $-$1.50 [$-$2.00, +1.00] \\\\"
    assert "run & top-1" in tables.latex(["run", "top-1"], [])

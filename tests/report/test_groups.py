"""Groups of runs against answers known by hand, and their LaTeX through a real LaTeX."""

import csv
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import grouped
from cgc_tf.report import group_tables, groups, tables
from cgc_tf.report.results import COLUMNS

RNG = np.random.default_rng(0)
HARD = RNG.normal(0, 0.1, 80)  # what all runs find hard or easy about the images


def run(objective, seed, mean, spread=0.02, **settings):
    """A run whose CH is known: HARD, the group's mean, and what its seed adds."""
    shares = (mean + HARD + np.random.default_rng([seed, len(objective)]).normal(0, spread, 80)).astype(float)
    shares[seed] = np.nan
    report = {**dict.fromkeys(COLUMNS), "content_heatmap": float(np.nanmean(shares)), "name": f"{objective}-{seed}"}
    report |= {
        "config": {"objective": objective, "seed": seed, "epochs": 6, **settings},
        "workdir": f"{objective}{seed}",
    }
    report |= {"dataset": "toy", "split": "test", "examples": 80, "split_examples": 80, "protocol": {}}
    report["content_heatmap_of_uniform"] = 0.2
    return groups.Run(report, tuple(map(str, range(80))), {"content_heatmap": shares})


def _renamed(one, objective):
    return groups.Run({**one.report, "config": {**one.report["config"], "objective": objective}}, one.ids, one.values)


def grouping(runs, key):
    return groups.group(runs, groups.names([run.report["config"] for run in runs], key))


RUNS = [run(name, seed, mean) for name, mean in (("baseline_a", 0.5), ("cgc_b", 0.6)) for seed in (0, 1, 2)]


def test_pooled_by_hand_and_by_a_loop():
    found = groups.pooled(RUNS[:3], "content_heatmap", resamples=3000)
    means = [np.nanmean(each.values["content_heatmap"]) for each in RUNS[:3]]
    np.testing.assert_allclose([found["mean"], found["deviation"]], [np.mean(means), np.std(means, ddof=1)])
    values, drawn = np.stack([each.values["content_heatmap"] for each in RUNS[:3]]), []
    for _ in range(3000):
        images = RNG.integers(80, size=80)
        drawn.append(np.mean([np.nanmean(values[one][images]) for one in RNG.integers(3, size=3)]))
    np.testing.assert_allclose(found["interval"], np.percentile(drawn, [2.5, 97.5]), atol=2e-3)
    assert groups.pooled(RUNS[:3], "top1") is None


def test_differences_are_paired():
    """What all runs find hard cancels out; the test is over the seeds that both groups have, or else over images."""
    (found,) = groups.differences(grouping(RUNS, "objective"))
    np.testing.assert_allclose(found["difference"], 0.1, atol=5e-3)
    low, high = found["interval"]
    assert 0.08 < low < 0.1 < high < 0.12 and found["paired_over"] == "3 seeds"
    means = [np.mean(each.values["content_heatmap"][3:]) for each in RUNS]  # each of the first three is unknown to one
    np.testing.assert_allclose(found["p"], stats.ttest_rel(means[3:], means[:3]).pvalue)
    assert found["p"] == found["p_holm"] < 1e-2
    (over_images,) = groups.differences(grouping(RUNS[2:5], "objective"))
    assert over_images["paired_over"] == "77 images" and over_images["p"] < 1e-6
    (none,) = groups.differences(grouping([RUNS[0], _renamed(RUNS[0], "b")], "objective"))
    assert none["difference"] == 0 and none["p"] == 1


def test_groups_of_several_settings():
    found = grouping([*RUNS, run("cgc_b", 2, 0.6, epochs=9)], "objective,epochs")
    assert {name: len(runs) for name, runs in found.items()} == {"baseline_a, 6": 3, "cgc_b, 6": 3, "cgc_b, 9": 1}


def test_a_setting_that_a_run_does_not_read_is_no_part_of_its_groups_name():
    ours = [{"objective": "cgc", "seed": seed, "lambda_cgc": 2.0} for seed in (0, 1)]
    configs = [{"objective": "baseline", "seed": 0, "lambda_cgc": groups.UNREAD}, *ours]
    assert groups.names(configs, "objective,lambda_cgc") == ["baseline", "cgc, 2.0", "cgc, 2.0"]
    assert groups.names(configs, "lambda_cgc") == ["-", "2.0", "2.0"]
    with pytest.raises(UserError, match=r"'color' is no setting of a run; these runs differ in objective, seed$"):
        groups.names(configs, "color")


def test_changes_that_are_all_the_same_have_no_p():
    """Two seeds of which one picture more is right in both: a t-test would be certain."""
    moved = [run("cgc_b", seed, 0.5) for seed in (0, 1)]
    for one, first in zip(moved, RUNS, strict=False):
        one.values["content_heatmap"][:] = first.values["content_heatmap"] + 0.1
    others = [run("cgc_no", seed, 0.5) for seed in (0, 1)]
    same, tested = groups.differences(grouping([*RUNS[:2], *moved, *others], "objective"))
    np.testing.assert_allclose(same["difference"], 0.1)
    assert same["p"] is same["p_holm"] is None
    assert tested["p"] == tested["p_holm"] > 0  # of one test, as the other was none
    _, (row, _) = group_tables.differences([same, tested])
    assert row[3:5] == ["-", "-"]


def test_what_cannot_be_pooled(tmp_path):
    with pytest.raises(UserError, match=r"'color' is no setting of a run; these runs differ in objective, seed$"):
        grouping(RUNS, "objective,color")
    with pytest.raises(UserError, match=r"two runs of cgc_b have the seed 2$"):
        grouping([*RUNS, RUNS[-1]], "objective")
    with pytest.raises(UserError, match="of cgc_b have the seed 2; they differ in epochs, which --group_by=A,B can"):
        grouping([*RUNS, run("cgc_b", 2, 0.6, epochs=9)], "objective")
    other = groups.Run({**RUNS[0].report, "split": "train"}, RUNS[0].ids, RUNS[0].values)
    with pytest.raises(UserError, match="baseline_a0 and cgc_b0 were not measured alike, but with other split: "):
        grouping([other, RUNS[3]], "objective")
    with pytest.raises(UserError, match=r"has no evaluation that can be read .*: python evaluate.py --workdir="):
        groups.read(tmp_path)
    with pytest.raises(UserError, match="needs folders of trained runs"):
        grouped.make([str(tmp_path)], "objective")


def test_tables(tmp_path):
    """The best is bold, and best is low where less is better; what else differs is said."""
    found = grouping([*RUNS, run("cgc_b", 3, 0.62, epochs=9)], "objective")
    text = grouped.write(tmp_path / "by-objective", found, resamples=100)
    assert re.search(r"\| baseline_a \| 3 \| 5[\d.]+ ± [\d.]+ \[", text)
    assert re.search(r"\| cgc_b \| 4 \| \*\*6[\d.]+ ± [\d.]+\*\* \[", text)
    assert "Runs of one group differ in epochs." in text
    assert not list(tmp_path.glob("*.png"))  # nothing says how right they are
    assert json.loads((tmp_path / "by-objective.json").read_text())["differences"][0]["second"] == "cgc_b"
    less = [
        groups.Run(
            {**one.report, "deletion_auc": 0.1},
            one.ids,
            {**one.values, "deletion_auc": 1 - one.values["content_heatmap"]},
        )
        for one in RUNS
    ]
    head, rows = group_tables.scores(
        grouping(less, "objective"), {"cgc_b": {"deletion_auc": 7}, "baseline_a": {"deletion_auc": 8}}
    )
    assert head[-1] == "deletion, published" and [row[-1] for row in rows] == ["8.00", "7.00"]
    assert "**" in rows[1][head.index("deletion")] and "**" not in rows[0][head.index("deletion")]
    source = (tmp_path / "by-objective.tex").read_text()
    assert "\\textbf{6" in source and "cgc\\_b" in source


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX: install texlive-latex-recommended")
def test_latex_compiles_as_it_stands(tmp_path):
    table = ["run", "top-1"], [["a_b{50%}^2\\ & #1 ~$", "**-1.5 ± 2.0** [-2.00, +1.00]"], ["b", '<0.1 | "x"']]
    (tmp_path / "table.tex").write_text(tables.latex_document(table, table))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 5000 and "Overfull" not in done.stdout


def test_no_entropy_is_the_best_and_a_rank_says_among_how_many():
    both = {"retrieval_rank": 5.0, "entropy": 0.75, "retrieval_rank_among": 32}
    values = {"retrieval_rank": np.arange(80.0), "entropy": np.linspace(0, 1, 80)}
    less = {name: column / 2 for name, column in values.items()}
    found = grouping(
        [
            groups.Run({**one.report, **both}, one.ids, {**one.values, **added})
            for one, added in ((RUNS[0], values), (RUNS[3], less))
        ],
        "objective",
    )
    head, (first, second) = group_tables.scores(found)
    rank, entropy = head.index("rank of 32"), head.index("entropy")
    assert first[rank].startswith("39.5 [") and second[rank].startswith("**19.8** [")
    assert first[entropy].startswith("50.0 [") and second[entropy].startswith("25.0 [")
    _, rows = group_tables.differences(groups.differences(found))
    assert ["entropy", "-25.0 ["] in [[row[1], row[2][:7]] for row in rows]


def test_reads_what_an_evaluation_wrote(tmp_path):
    for one in RUNS[:1]:
        (tmp_path / "evaluation.json").write_text(json.dumps(one.report))
        with (tmp_path / "per_image.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["index", "id", "label", "content_heatmap"])
            for place in reversed(range(80)):
                value = one.values["content_heatmap"][place]
                rows.writerow([place, place, "a", "" if np.isnan(value) else value])
        found = groups.read(tmp_path)
        assert found.ids == one.ids and found.report == one.report
        np.testing.assert_array_equal(found.values["content_heatmap"], one.values["content_heatmap"])

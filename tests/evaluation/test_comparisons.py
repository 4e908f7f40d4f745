"""Several runs, side by side and in groups."""

import json
import shutil

import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluate, grouped
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import tables


@pytest.mark.slow
def test_groups_of_runs_by_another_protocol(workdir, tmp_path):
    """They are measured so where they were not, and what was measured as by default is left alone."""
    run = shutil.copytree(workdir, tmp_path / "run")
    (run / "evaluation.json").write_text("of the default")
    protocol = Protocol(tolerance=0, curves="none", resamples=100)
    text = grouped.make([str(run)], "objective", tmp_path, protocol)
    report = json.loads((run / "evaluation-tolerance-0.json").read_text())
    assert report["protocol"]["tolerance"] == 0 and f"{100 * report['pointing_game']:.1f}" in text
    assert (tmp_path / "by-objective-tolerance-0.md").read_text() == text + "\n"
    assert (run / "evaluation.json").read_text() == "of the default"


def test_runs_that_cannot_be_grouped_are_not_evaluated_first(workdir, tmp_path):
    runs = [shutil.copytree(workdir, tmp_path / name, ignore=shutil.ignore_patterns("evaluation*")) for name in "ab"]
    for key, message in (("objective", "two runs of cgc have the seed 0$"), ("color", "'color' is no setting")):
        with pytest.raises(UserError, match=message):
            grouped.make(list(map(str, runs)), key, tmp_path)
    assert not list(tmp_path.glob("*/evaluation*"))


@pytest.mark.slow
def test_comparison_of_two_runs(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "other")
    again = shutil.copytree(workdir, tmp_path / "again")
    (other / "report.html").write_text("of an earlier evaluation")
    reports, _, figure, _ = evaluate.evaluate([other, again], drawing=Drawing(2, gallery=2), batch_size=12)
    assert figure == tmp_path / "comparison.png" and figure.stat().st_size > 10_000
    assert "Scores" in (other / "report.html").read_text()
    assert reports[0]["content_heatmap"] == reports[1]["content_heatmap"]
    lines = tables.text(*tables.means(reports)).splitlines()
    titles = "top-1 CH pixel AP insertion deletion pointing consistency rank of 12 entropy"
    assert " ".join(lines[0].split()) == titles
    assert lines[1].startswith("cgc (other)") and lines[2].startswith("cgc (again)")
    assert f"{100 * reports[0]['content_heatmap']:.2f}" in lines[1]
    compared = json.loads((tmp_path / "comparison.json").read_text())[0]
    share = compared["metrics"]["content_heatmap"]
    assert (compared["first"], compared["second"]) == ("other", "again")
    assert share["mean"] == 0 and share["interval"] == [0, 0] and share["better"] == share["worse"] == 0
    for name in ("comparison.md", "comparison.tex", "comparison.html", "comparison_curves.pdf"):
        assert (tmp_path / name).exists(), name
    assert (tmp_path / "comparison.tex").read_text().count("\\begin{tabular}") == 2


@pytest.mark.slow
def test_runs_of_one_name_are_told_apart(workdir, tmp_path):
    copies = [shutil.copytree(workdir, tmp_path / seed / "run") for seed in ("seed-0", "seed-1")]
    protocol, drawing = Protocol(limit=2, curves="none"), Drawing(1, gallery=1)
    reports = evaluate.evaluate(copies, protocol=protocol, drawing=drawing).reports
    assert [tables.label(report) for report in reports] == ["cgc (seed-0/run)", "cgc (seed-1/run)"]
    with pytest.raises(UserError, match="names a run twice"):
        evaluate.evaluate([copies[0], tmp_path / "seed-1" / ".." / "seed-0" / "run"])

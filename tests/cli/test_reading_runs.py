"""Commands that read runs or papers: show, compare, report, env."""

import pytest
from scipy import stats

from tenfold.cli.compare import paired_difference
from tenfold.core.types import Scores

SHORT = ("--training.steps", "20", "--training.checkpoint-every", "5")


def test_show_prints_claims_and_configuration(tried_out, tenfold):
    status, out, _ = tenfold("show", tried_out)
    assert status == 0
    assert "Weight decay lowers the error on held-out data." in out
    assert "plain: the squared error alone" in out and "decayed: the squared error and weight decay" in out
    assert "weight_decay: 0.3" in out


def test_show_puts_sources_beside_published_values(tried_out, tenfold):
    status, out, _ = tenfold("show", tried_out, "--preset", "paper", "--task", "synthetic")
    assert status == 0
    assert any(line.split()[:3] == ["training.steps", "300", "unstated:"] for line in out.splitlines())


def test_show_of_an_announced_paper_says_so(paper_root, tenfold, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_PAPERS", str(tmp_path))
    folder = tmp_path / "announced_only"
    folder.mkdir()
    (folder / "paper.toml").write_text((paper_root / "tried_out" / "paper.toml").read_text())
    status, out, _ = tenfold("show", "announced_only")
    assert status == 0 and "Announced: it cannot be run yet." in out
    status, _, err = tenfold("run", "announced_only")
    assert status == 2 and "announced but not available yet" in err


def test_paired_difference_is_the_paired_t_interval():
    before, after = [0.5, 0.7, 0.9, 0.2], [0.6, 0.9, 0.95, 0.1]
    difference = paired_difference(
        {seed: Scores({"m/x": value}) for seed, value in enumerate(before)},
        {seed: Scores({"m/x": value}) for seed, value in enumerate([*after, 9.0])},
        "m/x",
    )
    reference = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert difference.seeds == 4
    assert difference.interval == pytest.approx((reference.low, reference.high))


def test_compare_puts_runs_side_by_side(tried_out, tenfold, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    assert tenfold("run", tried_out, *SHORT, "--seeds", "2", "--out", a)[0] == 0
    assert tenfold("run", tried_out, *SHORT, "--seeds", "3", "--data.noise", "2", "--out", b)[0] == 0
    status, out, _ = tenfold("compare", a, b)
    assert status == 0
    assert f"run A  {a}" in out and f"run B  {b}" in out
    assert "arm plain" in out and "arm decayed" in out and "B − A [95 %]" in out
    assert "test/error" in out and "train/error" in out
    assert "train/error" not in tenfold("compare", a, b, "--metrics", "test/error")[1]
    status, _, err = tenfold("compare", a, b, "--metrics", "test/eror")
    assert status == 2 and "--metrics names 'test/eror'" in err
    status, _, err = tenfold("compare", a, a)
    assert status == 2 and "name each run once" in err


def test_report_rebuilds_the_newest_run(tried_out, tenfold, tmp_path):
    assert tenfold("report")[0] == 2
    assert tenfold("run", tried_out, *SHORT)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    (run / "report.html").unlink()
    status, out, _ = tenfold("report")
    assert status == 0 and (run / "report.html").exists()
    assert str(run) in out.replace("\n", "")


def test_env_names_versions_and_hardware(tenfold):
    status, out, _ = tenfold("env")
    assert status == 0
    for name in ("tenfold", "python", "torch", "platform", "cores", "commit"):
        assert f"{name}: " in out

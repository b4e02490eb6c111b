"""The report: self-contained, complete, standard JSON, and escaped."""

import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tenfold.core.claims import judge_all
from tenfold.core.config import to_plain as config_to_plain
from tenfold.core.discovery import preset_config
from tenfold.core.report import changed_fields, metric_names, to_plain, write_report
from tenfold.core.terminal import print_report
from tenfold.core.types import Claim, Looks, Picture, Report, Scores

CLAIMS = (
    Claim("gain", "A <method> gains.", "superiority", "test/exact", "test", "method", "base", "higher", 0.0, "steps"),
    Claim("level", "It is high.", "threshold", "test/exact", "test", "method", None, "higher", 0.9, "steps"),
)
FACTS = {
    "command": "tenfold run demo --seeds 3",
    "date": "2026-01-02T03:04:05+00:00",
    "hardware": "AMD EPYC, 2 cores, 8 GB",
    "platform": "Linux",
    "device": "cpu",
    "dtype": "float32",
    "commit": "0123456789abcdef",
    "tree_clean": True,
    "versions": {"tenfold": "0.1.0"},
    "seconds": 125.0,
}


def make_report(seeds=3):
    values = {"base": [0.2, 0.25, 0.22], "method": [0.6, 0.62, 0.66]}
    scores = {
        arm: {
            seed: Scores(
                {"train/loss": math.nan, "test/exact": row[seed], "cost/parameters": 1000.0},
                items={"test/exact": [0.0, 1.0, row[seed]]},
                curves={"train/loss": [(1.0, 2.0), (2.0, 1.0)]},
            )
            for seed in range(seeds)
        }
        for arm, row in values.items()
    }
    seconds = {arm: {str(seed): 10.0 + seed for seed in range(seeds)} for arm in values}
    facts = FACTS | {"cell_seconds": seconds}
    return Report(
        "demo",
        "laptop",
        list(range(seeds)),
        scores,
        judge_all(CLAIMS, scores, Looks(plan=(0, 1, 2))),
        facts,
        {"steps": 5},
    )


class Outline(HTMLParser):
    """Collects tags and attributes, and checks that they are closed in order."""

    VOID = ("meta", "img", "link", "br", "line", "circle", "wbr")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.references = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_well_formed_file_without_scripts(tmp_path):
    write_report(make_report(), [], tmp_path)
    html = (tmp_path / "report.html").read_text()
    outline = Outline()
    outline.feed(html)
    assert outline.open == [] and "script" not in outline.seen and "link" not in outline.seen
    assert outline.references and all(value.startswith("data:image/svg+xml;base64,") for value in outline.references)
    assert not re.search(r"https?://", html) and "@import" not in html
    assert 'name="viewport"' in html and "prefers-color-scheme: dark" in html


def test_html_says_what_was_run_and_what_came_out(tmp_path):
    write_report(make_report(), [], tmp_path)
    html = (tmp_path / "report.html").read_text()
    for text in (
        "A &lt;method&gt; gains.", "supported", "not supported", "test/<wbr>exact", "cost/<wbr>parameters",
        "cost/<wbr>seconds", "tenfold run demo --seeds 3", "steps: 5", "AMD EPYC, 2 cores, 8 GB", "2 min 5 s",
        "0123456789abcdef",
    ):  # fmt: skip
        assert text in html
    assert "not finished" not in html


def test_one_seed_is_undecided_with_the_interval_over_items(tmp_path):
    write_report(make_report(seeds=1), [], tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "undecided (1 of 3 seeds)" in html and "over held-out items" in html


def test_a_missing_cell_is_announced(tmp_path):
    write_report(replace(make_report(), seeds=[0, 1, 2, 3]), [], tmp_path)
    assert "2 of 8 cells" in (tmp_path / "report.html").read_text()


def test_json_is_standard_and_holds_one_value_per_seed(tmp_path):
    write_report(make_report(), [], tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["arms"]["method"]["test/exact"] == [0.6, 0.62, 0.66]
    assert data["arms"]["base"]["cost/seconds"] == [10.0, 11.0, 12.0]
    assert data["arms"]["base"]["train/loss"] == [None, None, None]
    assert [claim["verdict"] for claim in data["claims"]] == ["supported", "not supported"]
    assert data["claims"][0]["interval"][0] < data["claims"][0]["effect"] < data["claims"][0]["interval"][1]
    assert data["curves"]["base"]["0"]["train/loss"] == [[1.0, 2.0], [2.0, 1.0]]
    assert data["config"] == {"steps": 5} and data["commit"] == "0123456789abcdef"


def test_pictures_of_the_recipe_replace_the_learning_curves(tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    picture = Picture("boards", "Boards", "One puzzle, step by step.", figure)
    write_report(make_report(), [picture], tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["boards.svg"]
    assert "One puzzle, step by step." in (tmp_path / "report.html").read_text()


def test_a_report_without_curves_and_claims_is_still_a_report(tmp_path):
    scores = {"base": {0: Scores({"test/exact": 0.5})}}
    facts = FACTS | {"cell_seconds": {"base": {"0": 1.0}}}
    write_report(Report("demo", "smoke", [0], scores, (), facts, {}), [], tmp_path)
    assert not (tmp_path / "plots").exists()
    assert "Verdicts" not in (tmp_path / "report.html").read_text()


def test_metrics_of_claims_come_first():
    assert metric_names(make_report())[0] == "test/exact"


def test_an_arm_that_is_not_finished_has_no_row():
    report = make_report()
    unfinished = replace(report, scores={**report.scores, "third": {}})
    assert list(to_plain(unfinished)["arms"]) == ["base", "method"]


def hrm_report(preset, config, **fields):
    plain = config_to_plain(config)
    plain["training"] |= fields
    return replace(make_report(), paper="hrm", preset=preset, config=plain)


def test_a_preset_as_it_is_has_no_changes():
    assert changed_fields(hrm_report("laptop", preset_config("hrm", "laptop"))) == {}
    assert changed_fields(hrm_report("paper:maze-hard", preset_config("hrm", "paper", "maze-hard"))) == {}


def test_changes_from_the_preset_are_in_all_headlines(tmp_path):
    report = hrm_report("laptop", preset_config("hrm", "laptop"), steps=7)
    write_report(report, [], tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["changed"] == {"training.steps": 7}
    html = (tmp_path / "report.html").read_text()
    assert "preset laptop with training.steps 7, 3 seeds" in html and "laptop with training.steps 7 · 3 seeds" in html
    console = Console(file=io.StringIO(), width=140)
    print_report(report, console, Path("run"))
    assert "hrm · laptop with training.steps 7 · 3 seeds" in console.file.getvalue()


def test_fields_that_only_the_run_or_the_preset_has_are_changes():
    report = hrm_report("laptop", preset_config("hrm", "laptop"), ancient=1)
    training = {name: value for name, value in report.config["training"].items() if name != "steps"}
    report = replace(report, config={**report.config, "training": training})
    assert changed_fields(report) == {"training.steps": "absent", "training.ancient": 1}


def test_without_the_papers_folder_nothing_is_known_of_its_presets():
    assert changed_fields(make_report()) is None


def test_terminal_tables_show_metrics_and_verdicts():
    console = Console(file=io.StringIO(), width=140)
    print_report(make_report(seeds=1), console, Path("run"))
    shown = console.file.getvalue()
    assert (
        "test/exact" in shown
        and "0.600" in shown
        and "undecided (1 of 3 seeds)" in shown
        and "A <method> gains." in shown
    )


def test_brackets_in_a_claim_are_not_markup():
    report = make_report()
    claim = replace(CLAIMS[0], text="It gains [red]much[/red].")
    console = Console(file=io.StringIO(), width=140)
    print_report(replace(report, judgements=judge_all([claim], report.scores, Looks())), console, Path("run"))
    assert "[red]much[/red]" in console.file.getvalue()


def test_no_name_of_a_metric_is_cropped_on_a_narrow_terminal():
    scores = {seed: Scores({"test/a_name_that_is_rather_long": 0.5 + seed}) for seed in range(3)}
    arms = ("plain", "hrm", "trm", "urm")
    facts = FACTS | {"cell_seconds": {arm: {str(seed): 10.0 for seed in scores} for arm in arms}}
    report = replace(make_report(), scores=dict.fromkeys(arms, scores), judgements=(), facts=facts)
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=60), Path("run"))
    assert "…" not in stream.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_nine_arms_are_readable_on_a_narrow_terminal(width):
    scores = {seed: Scores({"test/exact": 0.5 + seed, "test/other": 1.0}) for seed in range(3)}
    arms = ("base", "method", *(f"another_long_name_{number}" for number in range(7)))
    facts = FACTS | {"cell_seconds": {arm: {str(seed): 10.0 for seed in scores} for arm in arms}}
    report = replace(make_report(), scores=dict.fromkeys(arms, scores), facts=facts)
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width), Path("run"))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "…" not in stream.getvalue()
    for arm in arms:
        assert any(arm in line and "1.500 ± 2.484" in line for line in lines), "the whole name beside the whole number"
    assert "2 other metrics are in the report" in stream.getvalue()
    assert "gain (headline)" not in stream.getvalue() and "gain: undecided" not in stream.getvalue()


def test_the_command_that_gives_verdicts_is_told_until_all_planned_seeds_are_there():
    report = make_report(seeds=1)
    planned = replace(report, facts=report.facts | {"plan": {"seeds": [0, 1, 2], "why": "three"}})
    stream = io.StringIO()
    print_report(planned, Console(file=stream, width=200), Path("run"))
    assert "of which this run has 1." in stream.getvalue() and "--seeds plan" in stream.getvalue()
    whole = replace(planned, seeds=[0, 1, 2])
    stream = io.StringIO()
    print_report(whole, Console(file=stream, width=200), Path("run"))
    assert "--seeds plan" not in stream.getvalue()


def html_of(report, folder):
    write_report(report, [], folder)
    return (folder / "report.html").read_text()


def test_arms_are_described_and_the_headline_comes_first_and_is_marked(tmp_path):
    headline = replace(CLAIMS[1], headline=True, source="a pilot on the seeds 7 and 8")
    report = make_report()
    judged = judge_all([CLAIMS[0], headline], report.scores, Looks(plan=(0, 1, 2)))
    html = html_of(replace(report, judgements=judged, arms={"base": "nothing done", "method": "all <done>"}), tmp_path)
    assert "nothing done" in html and "all &lt;done&gt;" in html
    assert html.count('class="mark"') == 1
    assert html.index('class="mark"') < html.index("It is high.") < html.index("A &lt;method&gt; gains.")
    assert "Margin 0.9 (a pilot on the seeds 7 and 8). Budget: steps." in html


def test_nine_arms_stand_in_two_tables_and_each_number_once(tmp_path):
    report = make_report()
    scores = {f"arm_{number}": report.scores["method"] for number in range(9)}
    facts = FACTS | {"cell_seconds": {arm: {str(seed): 1.0 for seed in range(3)} for arm in scores}}
    html = html_of(replace(report, scores=scores, judgements=(), facts=facts), tmp_path)
    metrics = html.split("<h2>Metrics</h2>")[1].split("<h2>Pictures</h2>")[0]
    tables = metrics.split("<table")[1:]
    assert [table.split("</thead>")[0].count("arm_") for table in tables] == [5, 4]
    assert sum(table.count('data-label="arm_') for table in tables) == 9 * 2


def test_metrics_have_their_meaning_from_the_readme_and_none_where_it_says_nothing(tmp_path):
    metrics = {"test/exact_accuracy": 0.5, "test/unheard_of": 0.25}
    scores = {"hrm": {0: Scores(metrics)}}
    facts = FACTS | {"cell_seconds": {"hrm": {"0": 1.0}}}
    config = config_to_plain(preset_config("hrm", "laptop"))
    html = html_of(Report("hrm", "laptop", [0], scores, (), facts, config), tmp_path)
    row = html.split("exact_<wbr>accuracy</code>")[1].split("</tr>")[0]
    assert "share of held-out puzzles with <b>every</b> cell right" in row
    assert "small" not in html.split("unheard_<wbr>of</code>")[1].split("</tr>")[0]


def test_the_machine_is_described_as_it_was_used_with_plan_looks_and_texts(tmp_path):
    facts = {
        "device": "auto",
        "device_used": "cpu",
        "plan": {"seeds": [0, 1, 2, 3, 4], "why": "five, the fewest"},
        "looks": [[0, 1, 2, 3, 4, 5]],
        "data": {"licences": "ab12cd34"},
    }
    report = make_report()
    html = html_of(replace(report, facts=report.facts | facts), tmp_path)
    for text in (
        "auto (cpu), float32", "5 seeds, 0 to 4 (five, the fewest)", "6 seeds (0 to 5)", "licences", "ab12cd34",
    ):  # fmt: skip
        assert text in html
    assert "auto (cuda)" in html_of(replace(report, facts=report.facts | facts | {"device_used": "cuda"}), tmp_path)


def test_a_run_below_its_plan_shows_the_command_that_gives_verdicts(tmp_path):
    report = make_report()
    facts = report.facts | {"plan": {"seeds": [0, 1, 2, 3, 4], "why": "five"}}
    assert "tenfold run demo --preset laptop --seeds plan" in html_of(replace(report, facts=facts), tmp_path)

"""Published results: schema, what is added, joined and superseded, and README tables that are stale or not."""

import hashlib
import json
from copy import deepcopy
from dataclasses import replace
from shutil import copytree

import fake_recipe
import pytest
from fake_recipe import arguments
from rich.console import Console

from tenfold.core import results
from tenfold.core.entries import read, write
from tenfold.core.errors import UserError
from tenfold.core.results import added_to, planned_and_published, publish, run_from_directory, shown
from tenfold.core.runner import execute
from tenfold.core.stated import Stated
from tenfold.core.tables import front_page, refresh_readmes, render_summary, render_tables, stale, update_readme


@pytest.fixture(scope="module", autouse=True)
def paper_folder(tmp_path_factory):
    """The fake recipe as a paper that is found by its folder, so that its preset is known."""
    folder = tmp_path_factory.mktemp("papers") / "fake"
    folder.mkdir()
    fields = "".join(f'{name} = "x"\n' for name in ("title", "authors", "arxiv", "claim", "needs"))
    (folder / "paper.toml").write_text(fields)
    (folder / "recipe.py").write_text("from fake_recipe import *\n")
    (folder / "config.py").write_text("from fake_recipe import Config\n\n\ndef laptop():\n    return Config()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_PAPERS", str(folder.parent))
        yield folder


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    execute(**arguments(path), seeds=[0, 1, 2, 3, 4], console=Console(quiet=True))
    return path


@pytest.fixture(autouse=True)
def _plan_of_the_commit(monkeypatch):
    """The fake recipe lies in no repository; what its plan was at the commit of a run is that of today."""
    monkeypatch.setattr(results, "stated_at", lambda commit, study: Stated(plan=fake_recipe.PLAN))


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "tenfold"\n')
    paper = tmp_path / "src" / "tenfold" / "papers" / "fake"
    paper.mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Top\n\n<!-- results -->\nhand-written\n<!-- /results -->\n\nafter\n")
    (paper / "README.md").write_text("# Fake\n<!-- results:fake --><!-- /results:fake -->\n")
    return tmp_path


def test_an_entry_has_the_documented_fields(run_directory):
    run = run_from_directory(run_directory)
    assert set(run) == {
        "paper", "preset", "changed", "seeds", "command", "commit", "tree_clean", "date", "hardware", "versions",
        "seconds", "report_sha256", "arms", "claims", "run", "plan", "looks", "method_source", "config_sha256", "data",
        "dtype", "claims_sha256", "void", "hits",
    }  # fmt: skip
    assert run["report_sha256"] == hashlib.sha256((run_directory / "report.html").read_bytes()).hexdigest()
    assert len(run["arms"]["fast"]["test/near"]) == 5 and run["changed"] == {}
    assert run["plan"] == {"seeds": [0, 1, 2, 3, 4], "why": "five, the fewest"}
    claim = run["claims"][0]
    assert claim["verdict"] == "supported" and claim["interval"][0] > claim["margin"]
    assert (claim["headline"], claim["look"], claim["planned"], claim["together"]) == (True, 1, 5, True)


def test_publishing_writes_the_file_the_stored_data_and_both_tables(run_directory, repository):
    assert stale(repository) == []
    written = publish(run_directory, repository)
    readme, paper_readme = repository / "README.md", repository / "src/tenfold/papers/fake/README.md"
    path, stored, *tables = written
    assert path == repository / "results" / "fake.json" and tables == [readme, paper_readme]
    assert stored.parent == repository / "results" / "fake" and stored.name.endswith("-laptop.json.gz")
    top = readme.read_text()
    assert "hand-written" not in top and top.endswith("<!-- /results -->\n\nafter\n")
    assert "Fast ends nearer. | **supported** | 1 supported |" in top and "planned" in top
    assert "| Fast ends nearer. |" in paper_readme.read_text() and "tenfold run fake" in paper_readme.read_text()
    assert stale(repository) == []


def test_publishing_twice_changes_nothing(run_directory, repository):
    publish(run_directory, repository)
    before = (repository / "results" / "fake.json").read_bytes()
    assert publish(run_directory, repository) == []
    assert (repository / "results" / "fake.json").read_bytes() == before


def test_a_plan_that_the_commit_of_the_start_did_not_hold_is_refused(run_directory, repository, monkeypatch):
    monkeypatch.setattr(results, "stated_at", lambda commit, study: None)
    with pytest.raises(UserError, match=r"does not hold its plan of seeds \[0, 1, 2, 3, 4\]; commit the plan first"):
        publish(run_directory, repository)
    later = Stated(plan=replace(fake_recipe.PLAN, laptop=(0, 1, 2, 3, 4, 5)))
    monkeypatch.setattr(results, "stated_at", lambda commit, study: later)
    with pytest.raises(UserError, match="does not hold its plan"):
        publish(run_directory, repository)
    assert not (repository / "results").exists()


def test_an_edited_number_makes_the_tables_stale(run_directory, repository):
    publish(run_directory, repository)
    path = repository / "results" / "fake.json"
    runs = read(path)
    runs[0]["arms"]["fast"]["test/near"] = [0.1, 0.2, 0.3, 0.1, 0.3]
    write(path, runs)
    paper_readme = repository / "src/tenfold/papers/fake/README.md"
    assert stale(repository) == [paper_readme]
    refresh_readmes(repository)
    assert stale(repository) == [] and "0.200 ± 0.124" in paper_readme.read_text()


@pytest.fixture
def entry(run_directory):
    """The entry of a planned run, as published."""
    return run_from_directory(run_directory) | {"supersedes": None, "method_source": "a" * 64}


def part(entry, name, seeds):
    """A part of a planned run, published on its own."""
    arms = {
        arm: {metric: [values[seed] for seed in seeds] for metric, values in row.items()}
        for arm, row in entry["arms"].items()
    }
    return deepcopy(entry) | {"run": name, "seeds": seeds, "arms": arms}


def test_nothing_published_is_taken_away(entry):
    assert added_to([], entry) == [entry]
    again = entry | {"run": "other", "date": "2030-01-01"}
    assert added_to([entry], again) == [entry, again]
    assert added_to([entry, again], entry) == [entry, again], "it is there"


def test_seeds_of_one_plan_are_joined_and_judged_when_all_are_there(entry):
    first, second = part(entry, "one", [0, 1]), part(entry, "two", [2, 3, 4])
    alone = shown([first | {"claims": [claim | {"look": 0, "verdict": "undecided"} for claim in entry["claims"]]}])
    assert [len(alone), alone[0].run["seeds"]] == [1, [0, 1]]
    (joined,) = shown([second, first])
    assert joined.run["seeds"] == [0, 1, 2, 3, 4] and joined.run["arms"] == entry["arms"]
    assert [(judged.verdict, judged.look) for judged in joined.judgements] == [("supported", 1), ("supported", 1)]
    assert joined.run["seconds"] == 2 * entry["seconds"]
    assert joined.judgements[0].interval == pytest.approx(tuple(entry["claims"][0]["interval"]))


@pytest.mark.parametrize(
    "change",
    [{"method_source": "b" * 64}, {"config_sha256": "c"}, {"data": {"python": "d"}}, {"seeds": [1, 2, 3]},
     {"plan": {"seeds": [0, 1, 2, 3, 4, 5], "why": "six"}}, {"method_source": None}],
)  # fmt: skip
def test_what_did_not_run_the_same_is_not_joined(entry, change):
    other = part(entry, "two", [2, 3, 4]) | change
    assert len(shown([part(entry, "one", [0, 1]), other])) == 2


def test_a_run_that_grew_is_shown_once_with_its_newest_seeds(entry):
    (one,) = shown([part(entry, "one", [0, 1]), part(entry, "one", [0, 1, 2, 3, 4])])
    assert one.run["seeds"] == [0, 1, 2, 3, 4]


def test_another_plan_or_other_code_must_say_what_changed(entry):
    plan = {"seeds": [7, 8, 9, 10, 11], "why": "five"}
    other = part(entry, "two", [0, 1, 2, 3, 4]) | {"seeds": plan["seeds"], "plan": plan, "date": "2030-01-01"}
    with pytest.raises(
        UserError, match="is published, with another plan, settings, source, claims or arms; say what has changed since"
    ):
        added_to([entry], other)
    word = other | {"supersedes": "the target moved"}
    first, second = shown(added_to([entry], word))
    assert (first.superseded, second.superseded) == ("the target moved", "")
    with pytest.raises(UserError, match="no planned run of laptop is published"):
        added_to([], word)
    assert "planned, after 1 earlier plan" in render_summary({"fake": [entry, word]})
    tables = render_tables([entry, word])
    assert tables.index("2030-01-01") < tables.index("Superseded: the target moved")
    assert "<summary>1 other published run</summary>" in tables


GAIN, LEVEL = "superiority test/near fast slow", "threshold test/near fast"


def test_every_planned_run_counts_as_a_look_at_its_claims_in_the_order_of_publication(entry):
    later = [entry | {"run": name, "date": f"202{place}-01-01"} for place, name in enumerate(("two", "three"))]
    second = later[0] | {"claims": [claim | {"look": 2} for claim in entry["claims"]]}
    runs = [entry, second, later[1]]
    assert results.looks_before(runs, "laptop", "new") == {GAIN: 2, LEVEL: 2}
    assert results.looks_before(runs, "laptop", "three") == {GAIN: 2, LEVEL: 2}, "whatever its date"
    assert results.looks_before(runs, "laptop", "two") == {GAIN: 1, LEVEL: 1}, (
        "what was published later is no look before"
    )
    assert results.looks_before(runs, "gpu", "new") == {}


def test_copies_of_a_run_have_the_looks_of_all_and_none_with_fewer_seeds_is_added(entry):
    grown = part(entry, entry["run"], [0, 1, 2, 3, 4]) | {"seeds": [0, 1, 2, 3, 4, 9]}
    grown["arms"] = {arm: {name: [*v, v[0]] for name, v in row.items()} for arm, row in entry["arms"].items()}
    runs = added_to([entry], grown)
    assert results.looks_of_run(runs, entry["run"]) == [[0, 1, 2, 3, 4, 9]]
    with pytest.raises(UserError, match="of this run are published; one with"):
        added_to(runs, entry)


def test_parts_of_a_plan_hold_other_seeds_and_grow_within_it(entry):
    first = part(entry, "one", [0, 1])
    with pytest.raises(UserError, match=r"the planned seeds \[1\] are published from another run"):
        added_to([first], part(entry, "two", [1, 2]))
    second = part(entry, "two", [2, 3])
    assert len(shown([first, second])) == 1
    beyond = part(entry, "two", [2, 3, 4]) | {"seeds": [2, 3, 7]}
    assert len(shown([first, second, beyond])) == 2, "a part that left the plan is no part of it"


def test_a_changed_claim_a_changed_type_or_changed_code_is_no_part(entry):
    first = part(entry, "one", [0, 1])
    for change in ({"claims_sha256": "x"}, {"dtype": "bfloat16"}, {"void": "the code changed within the run"}):
        assert len(shown([first, part(entry, "two", [2, 3, 4]) | change])) == 2


def test_joined_parts_know_how_near_to_its_bound_a_metric_is(entry):
    def at_the_bound(name, seeds):
        run = part(entry, name, seeds)
        run["arms"]["fast"]["test/near"] = [1.0 - (seed == 0) * 0.01 for seed in seeds]
        run["hits"] = {"fast": {"test/near": [[100 - (seed == 0), 100] for seed in seeds]}}
        claim = next(claim for claim in run["claims"] if claim["id"] == "level")
        return run | {"claims": [claim | {"margin": 0.99}]}

    (joined,) = shown([at_the_bound("one", [0, 1]), at_the_bound("two", [2, 3, 4])])
    (level,) = joined.judgements
    assert (level.interval_over, level.verdict) == ("items", "undecided"), "499 of 500 do not show more than 99 %"


def test_a_preset_without_a_plan_stays_undecided_when_it_is_published(entry):
    claims = [claim | {"planned": 0, "look": 0, "verdict": "undecided"} for claim in entry["claims"]]
    unplanned = entry | {"preset": "gpu", "plan": None, "claims": claims}
    assert {judged.verdict for judged in shown([unplanned])[0].judgements} == {"undecided"}
    assert "undecided (no plan)" in render_summary({"fake": [unplanned]})


def test_a_part_or_a_run_of_fewer_arms_does_not_hide_a_verdict(entry):
    single = part(entry, "two", [0]) | {
        "claims": [c | {"look": 0, "seeds": 1, "verdict": "undecided"} for c in entry["claims"]]
    }
    summary = render_summary({"fake": [entry, single]})
    assert "**supported**" in summary and "1 of 5" not in summary
    fewer = entry | {"run": "two", "claims": entry["claims"][1:], "supersedes": None}
    assert "**supported**" in render_summary({"fake": [entry, fewer]})


def test_a_run_of_the_time_before_plans_is_not_published_any_more(run_directory, tmp_path):
    copytree(run_directory, tmp_path / "old")
    report = json.loads((tmp_path / "old" / "report.json").read_text())
    (tmp_path / "old" / "report.json").write_text(json.dumps({k: v for k, v in report.items() if k != "run"}))
    with pytest.raises(UserError, match="was run before there were plans; run it again to publish it"):
        run_from_directory(tmp_path / "old")


def test_the_second_run_of_a_plan_is_judged_as_look_2(run_directory, repository, tmp_path, monkeypatch):
    publish(run_directory, repository)
    monkeypatch.setattr("tenfold.core.runner.published_here", lambda paper: read(repository / "results/fake.json"))
    again = execute(**arguments(tmp_path / "again"), seeds=[0, 1, 2, 3, 4], console=Console(quiet=True))
    assert {judged.look for judged in again.judgements} == {2}
    assert again.judgements[0].confidence == 0.975


def test_planned_seeds_that_are_published_need_not_run_again(entry):
    facts = {name: entry[name] for name in results.SAME_RUN}
    parts = [part(entry, "one", [0, 1]), part(entry, "two", [3])]
    assert planned_and_published(parts, facts | {"arms": ("slow", "fast")}) == [0, 1, 3]
    assert planned_and_published(parts, facts | {"arms": ("slow",)}) == []
    assert planned_and_published(parts, facts | {"arms": ("slow", "fast"), "config_sha256": "other"}) == []


def old(entry, seeds, command="tenfold run fake"):
    """An entry as they were before there were plans."""
    since = ("run", "plan", "looks", "method_source", "config_sha256", "data", "supersedes")
    since += ("dtype", "claims_sha256", "void", "hits")
    run = {name: value for name, value in part(entry, "", seeds).items() if name not in since}
    kept = ("id", "text", "kind", "metric", "split", "arm", "baseline", "direction", "margin", "budget", "effect")
    kept += ("interval", "interval_over", "seeds", "verdict", "note")
    return run | {"command": command, "claims": [{name: claim[name] for name in kept} for claim in entry["claims"]]}


def test_an_entry_of_the_time_before_plans_stays_readable_and_is_judged_by_todays_rule(entry, tmp_path):
    write(tmp_path / "fake.json", [old(entry, [0, 1, 2])])
    (few,) = shown(read(tmp_path / "fake.json"))
    assert not few.planned and [(j.verdict, j.seeds, j.planned) for j in few.judgements] == [("undecided", 3, 5)] * 2
    table = render_tables([old(entry, [0, 1, 2])])
    assert "No plan was recorded" in table and "| supported | **undecided (3 of 5 seeds)**" in table
    assert "no plan recorded" in render_summary({"fake": [old(entry, [0, 1, 2])]})
    grown = old(entry, [0, 1, 2, 3, 4], "tenfold run fake --seeds 3\ntenfold run fake --resume runs/fake --seeds 5")
    assert [judged.look for judged in shown([grown])[0].judgements] == [2, 2]


def test_a_planned_run_stands_before_one_without_a_plan(entry):
    summary = render_summary({"fake": [old(entry, [0, 1, 2, 3, 4]) | {"date": "2030-01-01"}, entry]})
    assert "laptop, 5 seeds" in summary and "planned" in summary and "no plan recorded" not in summary


def test_finished_seeds_of_a_plan_are_published_before_the_others(run_directory, repository, tmp_path):
    copy = tmp_path / "copy"
    copytree(run_directory, copy)
    report = json.loads((copy / "report.json").read_text())
    report["seeds_finished"]["fast"] = [0, 1]
    report["arms"]["fast"] = {name: values[:2] for name, values in report["arms"]["fast"].items()}
    (copy / "report.json").write_text(json.dumps(report))
    publish(copy, repository)
    (run,) = read(repository / "results" / "fake.json")
    assert run["seeds"] == [0, 1] and len(run["arms"]["slow"]["test/near"]) == 2
    assert {claim["verdict"] for claim in run["claims"]} == {"undecided"}
    assert "undecided (2 of 5 seeds)" in (repository / "README.md").read_text()


def test_a_shortened_run_stands_beside_that_of_the_preset(run_directory, repository, tmp_path):
    short = tmp_path / "short"
    config = fake_recipe.Config(fake_recipe.Training(steps=10))
    execute(**arguments(short) | {"config": config}, seeds=[0], console=Console(quiet=True))
    publish(run_directory, repository)
    publish(short, repository)
    full, shortened = read(repository / "results" / "fake.json")
    assert (full["changed"], shortened["changed"]) == ({}, {"training.steps": 10})
    tables = (repository / "src/tenfold/papers/fake/README.md").read_text()
    assert "**laptop, 5 seeds**" in tables and "**laptop with training.steps 10, 1 seed**" in tables
    assert "laptop, 5 seeds" in (repository / "README.md").read_text()


def test_numbers_that_are_missing_or_not_finite_are_shown_as_such(run_directory):
    run = deepcopy(run_from_directory(run_directory))
    run["arms"]["fast"]["test/other"] = [None, 0.5, 0.5, 0.5, 0.5]
    assert "| `test/other` | – | not a number |" in render_tables([run])


def test_a_run_without_a_whole_seed_is_not_published(run_directory, repository, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    report = json.loads((run_directory / "report.json").read_text())
    report["seeds_finished"]["fast"] = []
    (copy / "report.json").write_text(json.dumps(report))
    (copy / "report.html").write_text("")
    with pytest.raises(UserError, match="arm fast finished seeds"):
        publish(copy, repository)
    report["seeds_finished"]["fast"], report["plan"] = [0, 1], None
    (copy / "report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match="allowed are a whole run, and those seeds of a plan"):
        publish(copy, repository)
    with pytest.raises(UserError, match="has no report"):
        publish(tmp_path, repository)


def test_publishing_needs_a_checkout(run_directory, tmp_path):
    with pytest.raises(UserError, match=r"has no pyproject\.toml of tenfold"):
        publish(run_directory, tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    with pytest.raises(UserError, match=r"has no pyproject\.toml of tenfold"):
        publish(run_directory, tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_report_without_changes_from_a_preset_is_not_published(run_directory, tmp_path):
    tmp_path = tmp_path / "copy"
    copytree(run_directory, tmp_path)
    report = json.loads((run_directory / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps(report | {"changed": None}))
    with pytest.raises(UserError, match="paper 'fake' has no preset here"):
        run_from_directory(tmp_path)
    del report["changed"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match="has no changed"):
        run_from_directory(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.pop("hardware"), "run 0 has no hardware"),
        (lambda run: run.pop("changed"), "run 0 has no changed"),
        (lambda run: run.update(seeds="three"), "seeds is 'three'"),
        (lambda run: run["arms"]["fast"].update({"test/near": [1.0]}), "fast has 1 values of test/near for 5 seeds"),
        (lambda run: run["claims"][0].update(verdict="yes"), "verdict is 'yes'; allowed are supported"),
        (lambda run: run["claims"][0].pop("effect"), "a claim has no effect"),
        (lambda run: run.pop("plan"), "run 0 has no plan"),
        (lambda run: run.update(looks="none"), "looks is 'none'"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(run_directory, tmp_path, change, message):
    run = deepcopy(run_from_directory(run_directory))
    change(run)
    (tmp_path / "fake.json").write_text(json.dumps([run]))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "fake.json")


def test_a_readme_without_a_place_for_the_tables_is_named(tmp_path):
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(UserError, match=r"README\.md has no place for the results"):
        update_readme(tmp_path / "README.md", "results", "text")


def test_the_fake_recipe_is_the_one_that_was_run(run_directory):
    assert list(run_from_directory(run_directory)["arms"]) == list(fake_recipe.ARMS)


def test_the_front_page_is_read_as_it_was_written(entry, repository):
    odd = [claim | {"text": "A | B."} for claim in entry["claims"]]
    (repository / "results").mkdir()
    write(repository / "results" / "fake.json", [entry | {"claims": odd}])
    refresh_readmes(repository)
    claim, verdict, run = front_page(repository)["fake"]
    assert (claim, verdict) == ("A | B.", "supported") and run.startswith("laptop, 5 seeds")


def test_the_tables_of_all_studies_of_a_paper_stand_in_its_readme(run_directory, repository):
    """Each block is written into what the others left: the last one must not bring back the old text of the first."""
    readme = repository / "src" / "tenfold" / "papers" / "fake" / "README.md"
    blocks = [
        f"<!-- results:{study} -->\nnot yet written\n<!-- /results:{study} -->\n" for study in ("fake", "fake/second")
    ]
    readme.write_text("".join(blocks))
    publish(run_directory, repository)
    (repository / "results" / "fake").mkdir(exist_ok=True)
    (repository / "results" / "fake" / "second.json").write_bytes((repository / "results" / "fake.json").read_bytes())
    refresh_readmes(repository)
    assert "not yet written" not in readme.read_text() and stale(repository) == []
    assert readme.read_text().count("| metric |") == 2

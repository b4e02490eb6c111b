"""A survey: ways side by side, where stages fail, records that are not made twice, and its page."""

from pathlib import Path

import pytest

from tenfold.envs.programs import InThisProcess
from tenfold.papers.msa.evaluation import gold_posteriors
from tenfold.papers.msa.method import Concept
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.survey import WAYS, draw_graph, page, survey
from tenfold.papers.msa.vignette import vignettes

from .oracle import Oracle

HERE = InThisProcess()
SOME = [vignette for vignette in vignettes() if vignette.name in ("greenhouse", "ferry-crossing", "rowing-relay")]
QUICK = Settings(k_background=1, samples=300)


def asked(folder, *, ways=WAYS, **changes):
    made = []

    def lm():
        made.append(Oracle(**changes))
        return made[-1]

    found = survey(lm, SOME, HERE, folder, settings=QUICK, participants=2, ways=ways, told=lambda line: None)
    return found, made


def test_a_model_that_knows_the_programs_is_nearer_by_them_than_by_numbers(tmp_path):
    found, made = asked(tmp_path)
    assert len(made) == len(SOME) * len(WAYS)
    agreements = found.agreements(gold_posteriors())
    assert agreements["msa"].wasserstein < 3 < agreements["direct"].wasserstein
    assert agreements["msa"].questions == sum(len(vignette.queries) for vignette in SOME)
    assert found.failures("msa")["answered"] == 1.0
    _, again = asked(tmp_path)
    assert again == [], "what is there is not made again"


def test_failures_are_told_by_stage(tmp_path):
    calls = []

    def sometimes(text, i):
        calls.append(text)
        return "nothing" if len(calls) % 2 else text

    found, _ = asked(tmp_path, ways=("msa",), program=sometimes)
    assert found.failures("msa") == pytest.approx(
        {"answered": 0.5, "parse": 0, "background and graph": 0, "program": 0.5, "the model": 0, "answer": 0}
    )


def test_the_page_has_programs_conditions_graphs_and_refusals_and_no_markup_of_the_models(tmp_path):
    evil = "<script>alert(1)</script>"
    found, _ = asked(tmp_path, ways=("msa", "direct"), program=lambda text, i: text if len(text) % 2 else evil)
    text = page(found, SOME, gold_posteriors())
    assert evil not in text
    for vignette in SOME:
        assert f"<h2>{vignette.name}</h2>" in text
    if found.failures("msa")["program"]:
        assert "A program that was refused" in text
    assert "which are not human judgments" in text and text.count("data:image/svg+xml") >= len(SOME)


def test_a_graph_is_drawn_with_an_arrow_for_each_dependency():
    figure = draw_graph([Concept("a", ()), Concept("b", ()), Concept("c", ("a", "b")), Concept("d", ("c",))])
    texts = figure.axes[0].texts
    assert sorted(text.get_text() for text in texts if text.get_text()) == ["a", "b", "c", "d"]
    assert len([text for text in texts if not text.get_text()]) == 3


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.spec("msa", "12")
@pytest.mark.usefixtures("_smollm2_installed", "_bubblewrap")
def test_a_small_instruct_model_goes_through_the_whole_pipeline(tmp_path, capsys):
    """What it gets right is not the point: whatever it writes ends as data, by stage."""
    from tenfold.cli.main import main

    folder = tmp_path / "vignettes"
    folder.mkdir()
    source = Path(survey.__code__.co_filename).parent / "vignettes" / "ferry-crossing.yaml"
    (folder / source.name).write_text(source.read_text())
    arguments = ["--settings.k-background", "1", "--settings.judges", "0", "--settings.max-tokens", "200"]
    out = tmp_path / "out"
    assert main(["survey", "msa", str(out), "--lm", "smollm2-135m", "--vignettes", str(folder), *arguments]) == 0
    said = capsys.readouterr().out
    assert "chain of thought" in said and (out / "survey.html").is_file()

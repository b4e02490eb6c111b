"""Our vignettes: whole, of all regimes, with gold programs that both executors agree on and stored posteriors."""

import ast

import numpy as np
import pytest
from scipy import stats

from tenfold.core.errors import UserError
from tenfold.envs.programs import InThisProcess, infer, validate
from tenfold.eval.distributions import wasserstein_1
from tenfold.papers.msa.evaluation import GOLD_SAMPLES, gold_posteriors
from tenfold.papers.msa.method import check_graph, check_parse, check_program
from tenfold.papers.msa.prompts import load_examples
from tenfold.papers.msa.vignette import REGIMES, load_vignette, read_vignette, vignettes

HERE = InThisProcess()
ALL = vignettes()


def test_there_are_twelve_of_three_regimes_and_none_is_of_an_examples_domain():
    assert len(ALL) >= 12 and {vignette.regime for vignette in ALL} == set(REGIMES)
    assert len({vignette.domain for vignette in ALL}) == len(ALL)
    assert not {vignette.domain for vignette in ALL} & {example.vignette.domain for example in load_examples()}
    for vignette in ALL:
        assert vignette.regime != "open-world" or len(vignette.conditions) >= 4


@pytest.mark.parametrize("vignette", ALL, ids=lambda vignette: vignette.name)
def test_gold_programs_condition_on_each_sentence_in_order(vignette):
    tree = validate(vignette.gold_program, vignette.query_names)
    conditions = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "condition"
    ]
    lines = vignette.gold_program.splitlines()
    above = [lines[line - 2].strip().removeprefix("# ") for line in sorted(conditions)]
    assert above == list(vignette.conditions)


@pytest.mark.spec("msa", "4")
@pytest.mark.parametrize("vignette", ALL, ids=lambda vignette: vignette.name)
def test_both_executors_agree_on_every_gold_program(vignette):
    """The scalar one is slow, so it gets fewer samples; the slow test below has 5,000 of both."""
    agree(vignette, 300)


@pytest.mark.slow
@pytest.mark.spec("msa", "4")
@pytest.mark.parametrize("vignette", ALL, ids=lambda vignette: vignette.name)
def test_both_executors_agree_on_every_gold_program_with_many_samples(vignette):
    agree(vignette, 5000)


def agree(vignette, scalar_samples):
    vector, scalar = (
        infer(vignette.gold_program, "likelihood_weighting", n, 3, executor=name, max_seconds=300, runner=HERE)
        for name, n in (("vector", 5000), ("scalar", scalar_samples))
    )
    for query in vignette.query_names:
        pair = [equally_weighted(posterior, query) for posterior in (vector, scalar)]
        assert stats.ks_2samp(*pair).pvalue > 0.001, query
    assert vector.out_of_range(vignette.ranges) == []


def equally_weighted(posterior, query):
    """Independent samples; of weighted ones half as many as they are worth, for drawing from them is noise too."""
    if np.ptp(posterior.weights) == 0:
        return posterior.samples[query]
    return posterior[query].resample(int(posterior.effective_size / 2), 1)


def test_stored_posteriors_are_those_of_the_gold_programs():
    stored = gold_posteriors()
    assert set(stored) == {vignette.name for vignette in ALL}
    for vignette in ALL:
        posterior = infer(vignette.gold_program, n=3000, seed=5, max_seconds=60, runner=HERE)
        for query, (low, high) in vignette.ranges.items():
            gold = stored[vignette.name][query]
            assert len(gold) == GOLD_SAMPLES and low <= gold.min() <= gold.max() <= high
            noise = 6 * (high - low) / np.sqrt(3000)
            assert wasserstein_1(posterior.samples[query], gold, posterior.weights) < noise / 2, (vignette.name, query)


@pytest.mark.parametrize("example", load_examples(), ids=lambda example: example.vignette.domain)
def test_examples_are_what_they_ask_of_others(example):
    placeholders = check_parse(example.parse, len(example.vignette.conditions), len(example.vignette.queries))
    check_graph(example.graph, placeholders)
    check_program(example.program, example.parse, placeholders)
    posterior = infer(example.program, n=300, runner=HERE)
    assert posterior.out_of_range(example.vignette.ranges) == []


def test_a_vignette_goes_to_plain_data_and_back():
    for vignette in ALL:
        assert read_vignette(vignette.to_plain()) == vignette


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a", "must have the keys background, conditions and queries"),
        ("background: a\nconditions: [b]\nqueries: []", "queries must be a list of at least one"),
        ("background: a\nconditions: b\nqueries: [c]", "conditions must be a list of sentences"),
        ("conditions: [b]\nqueries: [c]", "background is missing"),
        ("background: a\nconditions: [b]\nqueries: [c]\nquestions: [d]", "unknown key questions"),
        ("background: a\nconditions: [b]\nqueries: [{text: c, range: [5, 1]}]", "range is \\[5, 1\\]"),
        ("background: a\nconditions: [b]\nqueries: [{text: c, kind: odd}]", "kind is 'odd'; allowed: constant"),
        ("background: a\nregime: odd\nconditions: [b]\nqueries: [c]", "regime is 'odd'"),
        ("background: [", "is no YAML"),
        ("background: " + "9" * 6000, "is no YAML"),
        ("background: 2024-13-45", "is no YAML"),
        ("[" * 3000, "is no YAML"),
    ],
)
def test_a_wrong_vignette_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as caught:
        load_vignette(path)
    assert "\n" not in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_missing_vignette_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_vignette(tmp_path / "none.yaml")

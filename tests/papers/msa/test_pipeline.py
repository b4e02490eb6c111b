"""The pipeline with a model that knows the answers, one that errs, and records that repeat it."""

import json

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.envs.programs import InThisProcess
from tenfold.eval.distributions import wasserstein_1
from tenfold.papers.msa.baselines import DirectLM, read_numbers
from tenfold.papers.msa.evaluation import gold_posteriors
from tenfold.papers.msa.method import Concept, Placeholder, Unsound, best, check_graph
from tenfold.papers.msa.pipeline import MSA, read_record, replay
from tenfold.papers.msa.prompts import load_examples, shown, tagged
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.vignette import read_vignette, vignettes
from tenfold.policies import ScriptedBackend

from .oracle import Oracle

HERE = InThisProcess()
ALL = {vignette.name: vignette for vignette in vignettes()}
QUICK = Settings(k_background=2, samples=400)


def run(vignette="rowing-relay", settings=QUICK, participants=1, seed=0, **changes):
    oracle = Oracle(**changes)
    return oracle, MSA(oracle, HERE, settings=settings).run(ALL[vignette], participants, seed)


@pytest.mark.spec("msa", "12")
@pytest.mark.parametrize("name", ALL)
def test_every_vignette_is_answered_as_its_gold_program_answers(name):
    _, result = run(name)
    assert result.problems == []
    for query, (low, high) in ALL[name].ranges.items():
        distance = wasserstein_1(result.posterior.samples[query], gold_posteriors()[name][query])
        assert distance < 0.08 * (high - low)


@pytest.mark.spec("msa", "8")
def test_a_record_is_repeated_bit_for_bit_without_a_model(tmp_path):
    _, result = run(participants=2, settings=Settings(k_background=3, k_parse=2, samples=200))
    text = result.to_json()
    plain = read_record(text)
    assert replay(plain, HERE).to_json() == text
    assert plain["calls"] and json.loads(text)["participants"][1]["stages"]


@pytest.mark.spec("msa", "8")
def test_a_direct_answer_is_repeated_too():
    result = DirectLM(Oracle(), thinks=True).run(ALL["greenhouse"], participants=3)
    assert result.posterior["query1"].mean() == pytest.approx(50, abs=10)
    assert replay(read_record(result.to_json()), HERE).to_json() == result.to_json()


@pytest.mark.spec("msa", "8")
def test_no_example_of_the_targets_domain_is_in_any_prompt():
    examples = load_examples()
    for example in examples:
        target = example.vignette
        lm = ScriptedBackend(["nothing"] * 50)
        result = MSA(lm, HERE, settings=QUICK).run(target)
        asked = [message["content"] for call in result.calls for message in call["messages"]]
        assert asked
        for other in examples:
            is_shown = any(other.vignette.background.strip() in text.rsplit("Now this one", 1)[0] for text in asked)
            assert is_shown == (other.vignette.domain != target.domain)


@pytest.mark.spec("msa", "8")
def test_each_stage_sees_examples_up_to_what_it_must_write():
    oracle, _ = run(settings=Settings(k_background=2, samples=100, judges=1))
    blocks = {"parse": "PARSE", "background": "GRAPH", "program": "PROGRAM"}
    seen = set()
    for messages, _, _ in oracle.asked:
        text = messages[-1][1]
        stage = Oracle.stage(text)
        seen.add(stage)
        if stage == "score":
            assert [role for role, _ in messages] == ["user"], "a judge gets no system message"
            continue
        for example in load_examples():
            assert tagged(example.blocks(), blocks[stage]) in text
        examples, target = text.rsplit("Now this one", 1)
        assert ("<GRAPH>" in examples) == (stage != "parse") and ("<PROGRAM>\ndef" in examples) == (stage == "program")
        assert ("<PARSE>" in target) == (stage != "parse") and ("<GRAPH>" in target) == (stage == "program")
        assert [role for role, _ in messages] == (["user"] if stage == "program" else ["system", "user"])
    assert seen == {"parse", "background", "program", "score"}


def test_examples_are_shuffled_at_each_call():
    examples, vignette = load_examples(), ALL["greenhouse"]
    orders = {tuple(e.vignette.domain for e in shown(examples, vignette, 0, call)) for call in range(30)}
    assert len(orders) == 6


def test_temperatures_and_numbers_of_candidates_are_those_that_were_set():
    oracle, _ = run(settings=Settings(samples=100))
    asked = {Oracle.stage(messages[-1][1]): (n, temperature) for messages, n, temperature in oracle.asked}
    assert asked == {"parse": (1, 0.2), "background": (8, 0.5), "program": (1, 0.2), "score": (1, 0.0)}


@pytest.mark.spec("msa", "9")
@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ([("a", ("b",)), ("b", ())], "a depends on b, which comes later"),
        ([("a", ("b",)), ("b", ("a",))], "a depends on b, which comes later or is itself: a cycle"),
        ([("a", ("a",))], "a depends on a, which comes later or is itself"),
        ([("a", ())], "wins is used by the conditions or questions, and is not in the graph"),
        ([("a", ()), ("wins", ("strength",))], "wins depends on strength, which is not listed"),
        ([("a", ()), ("a", ()), ("wins", ())], "a is listed twice"),
        ([("the wind", ()), ("wins", ())], "'the wind' is no name"),
        ([], "no concepts"),
    ],
)
def test_graphs_that_are_not_in_order_or_not_whole_are_rejected(graph, reason):
    with pytest.raises(Unsound, match=reason):
        check_graph([Concept(*entry) for entry in graph], [Placeholder("wins", ((2, ()),))])


@pytest.mark.spec("msa", "9")
def test_the_highest_score_is_kept_and_of_equals_the_first():
    assert best([3.0, 9.0, 9.0, 1.0]) == 1 and best([0.0, 0.0]) == 0
    ratings = iter(["3", "9", "9", "1"])
    _, result = run(settings=Settings(k_background=4, samples=100), score=lambda text, i: next(ratings))
    stage = next(stage for stage in result.participants[0].stages if stage["name"] == "background and graph")
    assert [candidate["score"] for candidate in stage["candidates"]] == [3, 9, 9, 1] and stage["chosen"] == 1


@pytest.mark.spec("msa", "9")
def test_an_unsound_graph_is_out_before_a_judge_is_asked():
    oracle, result = run(background=lambda text, i: text.replace("strength:", "strength: speed") if i == 0 else text)
    stage = next(stage for stage in result.participants[0].stages if stage["name"] == "background and graph")
    assert stage["candidates"][0]["score"] == 0 and "comes later" in stage["candidates"][0]["problem"]
    assert stage["chosen"] == 1
    assert sum(Oracle.stage(messages[-1][1]) == "score" for messages, _, _ in oracle.asked) == 1


NO_CHANCE = (
    ("return gaussian(100, 20)", "return 100 + 0 * gaussian(0, 1)"),
    ("return min(max(gaussian(categorical([0.2, 0.6, 0.2], [40, 60, 80]), 10), 0), 100)", "return 50"),
)


def replaced(*pairs):
    def change(text):
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text

    return change


FAILURES = {
    "parse": [
        (lambda text: "I cannot.", "parse: 0 conditions for 3 sentences"),
        (replaced(("condition(beat(['cilla'", "condition(lambda: (['cilla'")), "parse: the expression for"),
        (replaced(("'asta'", "asta")), "bare name asta"),
    ],
    "background": [(lambda text: "Rowing is fun.", "background and graph: there is no <GRAPH>")],
    "program": [
        (replaced(("def model", "import os\ndef model")), "import is not allowed"),
        (replaced(("def speed(boat, race)", "def speed(boat)")), "does not bind to speed"),
        (replaced(('condition(beat(["cilla"], ["bror"], 2))', "pass")), "the conditions are not those of the parse"),
        (replaced(("100 * beat", "beat")), "query4 is"),
        (replaced(("def beat(", "def beats(")), "the name beat is not defined"),
        (replaced(*NO_CHANCE), "no particle meets"),
        (replaced(("return gaussian(100, 20)", "return 1 / (1 - 1)")), "ZeroDivisionError"),
    ],
}


@pytest.mark.spec("msa", "12")
@pytest.mark.parametrize(
    ("stage", "change", "reason"), [(stage, *failure) for stage, failures in FAILURES.items() for failure in failures]
)
def test_what_a_model_gets_wrong_is_data_in_the_result(stage, change, reason):
    _, result = run(
        **{stage: lambda text, i: change(text)}, settings=Settings(k_background=2, samples=100, max_seconds=3.0)
    )
    assert result.posterior is None
    (problem,) = result.problems
    assert reason in problem and "\n" not in problem
    json.loads(result.to_json())


def test_an_error_that_is_told_can_be_mended():
    def change(text, i, tries=[]):  # noqa: B006 -- counts calls
        tries.append(text)
        return text.replace("def model", "import os\ndef model") if len(tries) == 1 else text

    settings = Settings(k_background=1, samples=100, repairs=2)
    oracle, result = run(settings=settings, program=change)
    stage = result.participants[0].stages[-1]
    assert result.posterior is not None and stage["chosen"] == 1
    assert "import is not allowed" in stage["candidates"][0]["problem"]
    assert "The program has an error: program, line" in oracle.asked[-1][0][-1][1]


def test_participants_are_pooled_equally_and_failures_left_out():
    calls = []

    def fail_second(text, i):
        calls.append(text)
        return "nothing" if len(calls) == 2 else text

    _, result = run(participants=3, parse=fail_second)
    assert len(result.problems) == 1 and len(result.posterior.weights) == 2 * QUICK.samples


def test_without_background_nothing_of_it_is_asked_or_shown():
    oracle, result = run(settings=Settings(samples=100, has_background=False))
    assert result.kind == "msa without background" and result.posterior is not None
    stages = {Oracle.stage(messages[-1][1]) for messages, _, _ in oracle.asked}
    assert stages == {"parse", "program"}
    for messages, _, _ in oracle.asked:
        assert "<GRAPH>" not in messages[-1][1].replace("between <GRAPH> and </GRAPH>", "")
    assert replay(read_record(result.to_json()), HERE).to_json() == result.to_json()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("none", "no JSON object"),
        ('{"query1": [1, 2]}', "no numbers for query2"),
        ('{"query1": [101], "query2": 3}', "query1 has '101'; allowed: 0 to 100"),
        ('{"query1": [true], "query2": 3}', "query1 has 'True'"),
    ],
)
def test_numbers_that_cannot_be_read_say_why(text, reason):
    vignette = read_vignette({"background": "b", "conditions": ["c"], "queries": ["one?", "two?"]})
    with pytest.raises(ValueError, match=reason):
        read_numbers(text, vignette)


def test_the_last_object_of_a_long_thought_counts():
    vignette = read_vignette({"background": "b", "conditions": ["c"], "queries": ["one?"]})
    said = 'Perhaps {"query1": [1]}. No: {"query1": [5, 6, 7, 8, 9, 10]} it is.'
    assert read_numbers(said, vignette) == {"query1": [5, 6, 7, 8, 9]}


def test_a_scripted_model_that_has_nothing_to_say_is_a_problem_of_the_model():
    result = MSA(ScriptedBackend([]), HERE, settings=QUICK).run(ALL["greenhouse"])
    assert result.posterior is None and result.problems[0].startswith("the model: nothing is recorded")
    assert np.isscalar(result.seed)


def test_what_is_no_record_is_refused():
    for text, reason in (("{", "is no JSON"), ("{}", "is no record of a run"), ("[]", "is no record")):
        with pytest.raises(UserError, match=reason):
            read_record(text)
    with pytest.raises(UserError, match="participants = 0"):
        MSA(ScriptedBackend([]), HERE).run(ALL["greenhouse"], 0)

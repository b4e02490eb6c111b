"""What is reported, against numbers counted by hand on five traces."""

import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tenfold.core.errors import UserError
from tenfold.core.report import write_report
from tenfold.core.terminal import print_report
from tenfold.core.types import Report, Scores
from tenfold.papers.cort import pictures, recipe
from tenfold.papers.cort.config import Config, EvaluationConfig
from tenfold.papers.cort.environment import CodeEnvironment
from tenfold.papers.cort.measures import measure, pass_at, purpose_of, summary
from tenfold.papers.cort.pictures import stretches
from tenfold.papers.cort.traces import Trace
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout
from tenfold.study.pictures import coloured_lines, colours
from tenfold.study.questions import Question

CODE = "```python\nprint(42)\n```\n"
SAID = (
    f"{CODE}</think>\\boxed{{42}}",  # right, one program that computes
    f"6*5=30. 30+12=42.\n{CODE}</think>\\boxed{{42}}",  # right, delayed: the program verifies
    f"{CODE}Wait. 6*5=30. 30+12=42.</think>\\boxed{{41}}",  # wrong, distrusts
    "</think>\\boxed{40}",  # wrong, without a program
    f"```python\nx = 42\n```\n{CODE}</think>\\boxed{{42}}",  # right; the first of two programs prints nothing: it fails
)
OUTPUT, NOTHING = len("```output\n42\n```\n"), len("```output\n\n```\n")  # a token for each character
TOOL = [OUTPUT, OUTPUT, OUTPUT, 0, NOTHING + OUTPUT]


@pytest.fixture(scope="module")
def traces(sandbox):
    tokenizer = character_tokenizer()
    policy = ScriptedPolicy(tokenizer, lambda prompt, sample: SAID[prompt])
    prompts = [policy.encode("p")] * len(SAID)
    found = rollout(policy, prompts, Sampling(3000), environment=CodeEnvironment(sandbox, tokenizer))
    return [Trace(one) for one in found]


@pytest.fixture(scope="module")
def samples(traces):
    return measure(traces, ["42"] * len(SAID), character_tokenizer())


@pytest.mark.spec("cort", "11")
def test_the_numbers_of_five_traces(samples):
    model = [len(said) + 1 for said in SAID]  # the end of the sequence is said, too
    assert [sample.model_tokens for sample in samples] == model
    assert [sample.tool_tokens for sample in samples] == TOOL
    numbers = summary(samples, budgets=(model[0], 1000))
    expected = {
        "accuracy": 3 / 5,
        "pass_at_k": 3 / 5,
        "model_tokens": sum(model) / 5,
        "model_tokens_right": (model[0] + model[1] + model[4]) / 3,
        "model_tokens_wrong": (model[2] + model[3]) / 2,
        "tool_tokens": sum(TOOL) / 5,
        "code_use": 4 / 5,
        "accuracy_with_code": 3 / 4,
        "accuracy_without_code": 0.0,
        "block_success": 4 / 5,
        "blocks_per_answer": 5 / 5,
        "verification_share": 1 / 5,
        "delayed": 1 / 5,
        "distrust": 1 / 5,
        "ended": 1.0,
        f"accuracy_within_{model[0]}": 1 / 5,
        "accuracy_within_1000": 3 / 5,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


@pytest.mark.spec("cort", "11")
def test_the_report_prints_model_and_tool_tokens_apart(traces, samples, tmp_path):
    """The real report of a run with one arm, on the terminal and as a page."""
    questions = [Question("p", ("42",), str(number)) for number in range(len(SAID))]
    drawn_from = pictures.drawn_from(traces, questions, samples, character_tokenizer())
    config = Config(evaluation=EvaluationConfig(budgets=(1000,)))
    scores = Scores(recipe.metrics_of(config, samples), samples=drawn_from)
    facts = {"command": "tenfold run cort", "date": "2026-01-02T03:04:05+00:00", "hardware": "2 cores"}
    facts |= {"commit": "0", "tree_clean": True, "versions": {}, "seconds": 1.0, "cell_seconds": {"rl": {"0": 1.0}}}
    facts |= {"platform": "Linux", "device": "cpu", "dtype": "float32"}
    report = Report("cort", "laptop", [0], {"rl": {0: scores}}, (), facts, {})
    model = [len(said) + 1 for said in SAID]
    expected = {"test/model_tokens": sum(model) / 5, "test/tool_tokens": sum(TOOL) / 5, "test/accuracy": 3 / 5}
    console = Console(width=100, record=True, file=StringIO())
    print_report(report, console, Path("run"))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    printed = {row[0]: row[1] for row in rows if len(row) == 2}
    assert {name: float(printed[name]) for name in expected} == pytest.approx(expected, abs=0.05)
    drawn = pictures.draw(report, colours(tuple(recipe.ARMS)))
    write_report(report, drawn, tmp_path)
    page = (tmp_path / "report.html").read_text().replace("<wbr>", "")  # where a long name may break
    assert all(name in page and printed[name] in page for name in expected)
    letters = "".join(text.get_text() for axes in drawn[0].figure.axes for text in axes.texts)
    assert f"rl: 0, right, {model[0]} model tokens, {OUTPUT} tool tokens" in letters


def test_averages_over_samples_of_a_problem(samples):
    right = [sample for sample in samples if sample.right]
    wrong = [sample for sample in samples if not sample.right]
    numbers = summary([right[0], wrong[0], wrong[1], wrong[1]], num_samples=2)
    assert (numbers["accuracy"], numbers["pass_at_k"]) == (0.25, 0.5)
    with pytest.raises(UserError, match="there are 3; allowed: a multiple of num_samples = 2"):
        summary(right[:3], num_samples=2)
    with pytest.raises(UserError, match="there are 0"):
        summary([])


def test_shares_of_nothing_are_no_numbers(samples):
    numbers = summary([samples[3]])
    assert all(math.isnan(numbers[name]) for name in ("block_success", "verification_share", "accuracy_with_code"))
    assert numbers["accuracy_without_code"] == 0.0


def test_pass_at_k_is_the_chance_of_a_draw_without_replacement():
    assert pass_at(10, 0, 3) == 0.0 and pass_at(10, 10, 1) == 1.0
    assert pass_at(5, 2, 1) == pytest.approx(2 / 5)
    assert pass_at(5, 2, 2) == pytest.approx(1 - (3 / 5) * (2 / 4))


def test_what_a_program_is_for():
    text = f"Go.\n{CODE}```output\n42\n```\n6*7=42.\n{CODE}```output\n42\n```\n"
    assert [purpose_of(text, number) for number in (0, 1)] == ["calculation", "verification"]


def test_each_program_has_a_purpose_of_its_own(sandbox):
    tokenizer = character_tokenizer()
    policy = ScriptedPolicy(tokenizer, lambda prompt, sample: f"Go.\n{CODE}6*7=42.\n{CODE}Again.\n{CODE}")
    found = rollout(policy, [[5]], Sampling(3000), environment=CodeEnvironment(sandbox, tokenizer))
    (sample,) = measure([Trace(found[0])], ["42"], tokenizer)
    assert sample.purposes == ("calculation", "verification", "calculation")


def test_a_judge_may_decide_what_a_program_is_for(sandbox):
    tokenizer = character_tokenizer()
    policy = ScriptedPolicy(tokenizer, lambda prompt, sample: SAID[0])
    found = rollout(policy, [[5]], Sampling(3000), environment=CodeEnvironment(sandbox, tokenizer))
    (sample,) = measure([Trace(found[0])], ["42"], tokenizer, purpose=lambda text, number: "verification")
    assert sample.purposes == ("verification",)


def test_traces_in_colour_keep_every_character_but_line_ends():
    text = f"It looks tedious, and we can use python code to simplify the reasoning.\n{CODE}```output\n42\n```\nSo."
    lines = coloured_lines(stretches(text), columns=20)
    assert "".join(piece for line in lines for _, piece in line) == text.replace("\n", "")
    kinds = [kind for line in lines for kind, _ in line]
    assert list(dict.fromkeys(kinds)) == ["hint", "code", "output", "prose"]
    assert all(sum(len(piece) for _, piece in line) <= 20 for line in lines)

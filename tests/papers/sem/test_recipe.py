"""The recipe: what the arms pay, what the warm start teaches, and whether first answers are worth spoiling."""

from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.results import read
from tenfold.papers.sem import answering, recipe, stages
from tenfold.papers.sem.config import (
    Config,
    EvaluationConfig,
    RewardConfig,
    SearchConfig,
    TaskConfig,
    laptop,
    paper,
    smoke,
    training_of,
)
from tenfold.papers.sem.fact_world import SAME, fact_world, lessons, query_of
from tenfold.papers.sem.pictures import lines_of
from tenfold.policies import Sampling, ScriptedPolicy, rollout

README = Path(recipe.__file__).with_name("README.md")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def config():
    return smoke()


@pytest.fixture(scope="module")
def material(config):
    return stages.load_material(config, seed=0)


@pytest.fixture(scope="module")
def policy(config):
    return stages.build(config, seed=0)


def cell_of(folder, arm="sem", seed=0):
    return Cell(arm=arm, seed=seed, directory=folder / "run" / "cells" / arm / f"seed-{seed}", device="cpu")


def paid(config, arm, text, query=""):
    """What an arm pays for a completion to a question whose answer is amber."""
    inserted = [" <result>\nhome bakolu=amber\n</result>"] if query else []
    functions, weights = recipe.rewards_of(config, arm)
    columns = {"answers": [["amber"]], "answer": [{"answers": ["amber"]}], "inserted": [inserted]}
    scores = [function(prompts=["home bakolu?"], completions=[text], **columns)[0] for function in functions]
    return sum(weight * score for weight, score in zip(weights, scores, strict=True))


SEARCHED = "<search>home bakolu</search> <result>\nhome bakolu=amber\n</result><answer>amber</answer>"


def first(answer):
    return f"<think>{answer},{answer} same</think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("arm", "right", "right_searched", "wrong", "wrong_searched"),
    [
        ("answer_reward", 1.0, 1.0, 0.0, 1.0),
        ("sem", 1.0, 0.0, 0.0, 1.0),
        ("sem_discount", 1.0, 0.0, 0.0, 0.5),
    ],
)
def test_what_the_arms_pay(config, arm, right, right_searched, wrong, wrong_searched):
    assert paid(config, arm, first("amber")) == right
    assert paid(config, arm, first("amber") + SEARCHED, "home bakolu") == right_searched
    assert paid(config, arm, first("coral")) == wrong
    assert paid(config, arm, first("coral") + SEARCHED, "home bakolu") == wrong_searched


@pytest.mark.parametrize(("answer", "confidence", "reward"), [("amber", "0.9", 1.495), ("coral", "0.9", 0.595)])
def test_the_composition_is_paid_for_its_confidence(config, answer, confidence, reward):
    text = f"{first(answer)}<confidence>{confidence}</confidence>"
    assert paid(config, "sem_confidence", text) == pytest.approx(reward)


def test_examples_have_loss_on_the_policys_tokens_alone(config, material, policy):
    environment = stages.environment_of(config, policy, material.retriever)
    (lesson,) = lessons(material.world, 1, 0, search_same=1.0, search_differ=1.0)
    (row,) = stages.as_rows([lesson], policy, environment)
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    own = f"{lesson.said}<search>{lesson.query}</search><answer>{lesson.final}</answer><eos>"
    assert policy.decode(learned) == own
    assert all(label in (-100, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))


def test_results_of_the_warm_start_are_those_of_the_rollout(config, material, policy):
    """Token by token, for a policy is to meet what it was taught."""
    question = material.test[0]
    environment = stages.environment_of(config, policy, material.retriever)
    script = f"{first('amber')}<search>{query_of(question)}</search><answer>amber</answer>"
    scripted = ScriptedPolicy(policy.tokenizer, lambda *_: script)
    (said,) = rollout(scripted, [scripted.encode(question.question)], Sampling(60), environment=environment)
    inserted = [token for token, sampled in zip(said.token_ids, said.loss_mask, strict=True) if not sampled]
    assert inserted == stages.result_ids(query_of(question), policy, environment)
    assert question.answers[0] in policy.decode(inserted)
    kinds = [kind for kind, _ in answering.pieces(said, policy)]
    assert kinds == ["prose", "search", "result", "prose"]
    assert "".join(text for _, text in answering.pieces(said, policy)) == policy.decode(said.token_ids)


def test_training_asks_as_many_known_as_unknown_questions_and_no_test_question(config, material):
    rows = material.train
    assert rows["source"][:].count("known") == rows["source"][:].count("unknown") == len(rows) // 2
    fresh = [row["id"] for row in rows if row["source"] == "unknown"]
    assert len(set(fresh)) == len(fresh)
    assert not {row["id"].split()[1] for row in rows} & {question.id.split()[1] for question in material.test}


def test_arms_of_a_seed_share_one_warm_start(config, material, tmp_path):
    parts = [recipe.part_of(config, arm, cell_of(tmp_path, arm), "warm-start") for arm in ("sem", "answer_reward")]
    assert parts[0].directory == parts[1].directory
    made, loaded = (stages.warm_start(config, material, 0, part) for part in parts)
    for one, other in zip(made.model.parameters(), loaded.model.parameters(), strict=True):
        assert (one == other).all()


def scripted(saying, policy, questions, text):
    """Says to each question what ``text`` gives for it."""
    return saying(policy.tokenizer, lambda i, _: text(questions[i]))


def asked_once(config):
    return replace(config, evaluation=replace(config.evaluation, samples=1))


def test_samples_of_a_question_stand_together_and_differ(config, material, policy):
    answers = recipe.ask(config, "sem", policy, material, material.test, 0)
    assert config.evaluation.samples == 2 and answers.questions[::2] == answers.questions[1::2] == material.test
    assert any(
        one.token_ids != other.token_ids
        for one, other in zip(answers.trajectories[::2], answers.trajectories[1::2], strict=True)
    )
    shown = answering.material(answers, [1.0] * len(answers.questions), policy)["examples"]
    assert len({example["question"] for example in shown}) == len(shown) == 6


def test_arms_without_reinforcement_search_for_nothing_or_for_each_question(config, material, policy, saying):
    said = {
        "never_search": lambda one: f"{first(one.answers[0])}<search>{query_of(one)}</search>",
        "always_search": lambda one: f"{first(one.answers[0])}{query_of(one)}</search><answer>amber</answer>",
    }
    once = asked_once(config)
    for arm, searches in (("never_search", 0), ("always_search", 1)):
        asked = scripted(saying, policy, material.test, said[arm])
        answers = recipe.ask(once, arm, asked, material, material.test, 0)
        assert [one.searches for one in answers.measured] == [searches] * len(material.test), arm
        assert all(one.valid and one.first_right for one in answers.measured), arm
    pieces = answering.pieces(answers.trajectories[0], policy)
    assert [kind for kind, _ in pieces] == ["prose", "result", "search", "result", "prose"], (
        "of a search that was opened"
    )
    assert pieces[2][1] == f"{query_of(material.test[0])}</search>"


def test_what_is_known_is_asked_of_the_policy_before_its_reinforcement(config, material, monkeypatch, tmp_path):
    start, trained = stages.build(config, 0), stages.build(config, 1)
    asked = []

    def answer(policy, *given):
        asked.append(policy)
        return [0.0] * len(material.test)

    ask = recipe.ask
    monkeypatch.setattr(stages, "warm_start", lambda *given: start)
    monkeypatch.setattr(recipe, "train", lambda *given: trained)
    monkeypatch.setattr(stages, "knowledge", lambda config, policy, *given: answer(policy))
    monkeypatch.setattr(
        recipe, "ask", lambda config, arm, policy, *given: answer(policy) and ask(config, arm, policy, *given)
    )
    scores = recipe.run(config, "sem", 0, cell_of(tmp_path))
    assert len(asked) == 3 and asked[0] is start and asked[1] is start and asked[2] is trained
    assert scores.metrics["start/closed_book"] == 0.0


def test_the_halves_are_those_of_what_is_expected_and_of_what_is_known(config, material, policy, saying):
    """Known facts are answered rightly at once, and unknown ones are searched for, but for the last."""
    last = material.test[-1]

    def text(one):
        if one.expected == "direct":
            return first(one.answers[0])
        return first("amber") + (
            "" if one is last else f"<search>{query_of(one)}</search><answer>{one.answers[0]}</answer>"
        )

    asked = scripted(saying, policy, material.test, text)
    answers = recipe.ask(asked_once(config), "sem", asked, material, material.test, 0)
    halves = answering.halves(answers)
    size = len(material.test) // 2
    assert (halves["search_known"], halves["first_known"], halves["f1_known"]) == (0.0, 1.0, 1.0)
    assert halves["search_unknown"] == halves["f1_unknown"] == 1 - 1 / size
    assert halves["first_unknown"] < 0.5
    closed_book = [1.0] * size + [0.25] * (size - 1) + [0.5]
    items = answering.items(answers, closed_book, config.evaluation)
    assert items["test/search_known"] == [0.0] * size
    assert items["test/search_unknown"] == [1.0] * (size - 1) + [0.0]
    assert items["test/over_search"] == [0.0] * (size + 1)
    assert items["test/f1"] == [1.0] * (2 * size - 1) + [0.0]
    report = answering.report(answers, closed_book, config.evaluation, "test")
    for name, values in items.items():
        assert report[name] == sum(values) / len(values), name


def test_the_taught_confidence_goes_by_the_drafts_and_not_by_what_is_known():
    """Guesses about unknown facts that happen to agree are stated as surely as known facts."""
    world = fact_world(0, num_known=8, num_test=2, num_validation=2, num_taught=200, num_fresh=1)
    found = {}
    for lesson in lessons(world, 40_000, 0, num_drafts=2, confidences=True):
        stated = float(lesson.said.partition("<confidence>")[2].removesuffix("</confidence>"))
        found.setdefault((lesson.question.source, SAME in lesson.said), []).append(stated)
    mean = {key: sum(values) / len(values) for key, values in found.items()}
    assert set(found) == {("known", True), ("unknown", True), ("unknown", False)}
    assert len(found["unknown", True]) > 200
    # means of 0.1 … 0.9 under the two weights; the standard error of some hundred draws is below 0.02
    assert mean["known", True] == pytest.approx(0.56, abs=0.01)
    assert mean["unknown", True] == pytest.approx(0.56, abs=0.06)
    assert mean["unknown", False] == pytest.approx(0.44, abs=0.01)


def test_what_is_claimed():
    table = [(one.id, one.kind, one.metric, one.margin, one.baseline) for one in recipe.CLAIMS]
    assert table == [
        ("known", "threshold", "test/search_known", 0.2, None),
        ("unknown", "threshold", "test/search_unknown", 0.8, None),
        ("f1", "non_inferiority", "test/f1", 0.02, "answer_reward"),
        ("over-search", "superiority", "test/over_search", 0.0, "answer_reward"),
    ]
    assert [one.direction for one in recipe.CLAIMS] == ["lower", "higher", "higher", "lower"]
    assert {(one.arm, one.split) for one in recipe.CLAIMS} == {("sem", "test")}


@pytest.mark.parametrize(
    ("part", "option", "message"),
    [
        (RewardConfig, {"tau": 2.0}, "tau = 2.0: must be above 0 and at most 1"),
        (RewardConfig, {"low_a2_discount": -0.5}, r"low_a2_discount = -0.5: must lie in \[0, 1\]"),
        (RewardConfig, {"search_below": 1.5}, "search_below = 1.5"),
        (RewardConfig, {"search_cost": -1.0}, "search_cost = -1.0: must be at least 0"),
        (SearchConfig, {"max_searches": 0}, "max_searches = 0: must be at least 1"),
        (SearchConfig, {"passages": 0}, "passages = 0: must be at least 1"),
        (SearchConfig, {"max_result_tokens": -1}, "max_result_tokens = -1"),
        (EvaluationConfig, {"known_from": 7.0}, "known_from = 7.0: must be above 0 and at most 1"),
        (EvaluationConfig, {"known_from": 0.0}, "known_from = 0.0"),
        (EvaluationConfig, {"closed_book_samples": 0}, "closed_book_samples = 0: must be at least 1"),
        (EvaluationConfig, {"temperature": -1.0}, "temperature = -1.0: must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(part, option, message):
    with pytest.raises(UserError, match=message):
        part(**option)


def test_smoke_searches_in_synchronous_rounds():
    assert smoke().search.deterministic and not paper().search.deterministic


@pytest.mark.parametrize(("arm", "stated"), [("always_search", ""), ("sem_confidence", "<confidence>0.1</confidence>")])
def test_searches_that_the_environment_opens_are_answered_and_counted(config, material, policy, saying, arm, stated):
    def text(question):
        return f"{first('amber')}{stated}{query_of(question)}</search><answer>coral</answer>"

    asked = scripted(saying, policy, material.test, text)
    answers = recipe.ask(config, arm, asked, material, material.test, 0)
    for question, said, response, one in zip(
        answers.questions, answers.trajectories, answers.responses, answers.measured, strict=True
    ):
        (call,) = said.tool_calls
        assert (call["query"], call["error"]) == (query_of(question), None)
        assert question.answers[0] in call["inserted"]
        assert one.valid and one.searches == 1 and response.queries == (query_of(question),)
    assert answers.searched.all()


@pytest.mark.spec("sem", "9")
def test_first_answers_to_known_facts_are_logged_over_training_in_both_discounts(config, tmp_path):
    for arm in ("sem", "sem_discount"):
        scores = recipe.run(config, arm, 0, cell_of(tmp_path, arm))
        for name in ("first_known", "first_shown", "search_known", "search_unknown"):
            steps = [step for step, _ in scores.curves[f"reinforcement/validation/{name}"]]
            assert steps == [4.0, 8.0], name
        assert "reinforcement/rewards/first_f1/mean" in scores.curves


@pytest.mark.spec("sem", "9")
def test_the_readme_says_what_happens_with_both_discounts():
    """In the laptop's setting, and in one where searching at first pays more than knowing."""
    text = README.read_text().partition("What the numbers say")[2].partition("## Deviations")[0]
    assert "`a2_discount`" in text
    runs = [run for run in read(ROOT / "results" / "sem.json") if {"sem", "sem_discount"} <= set(run["arms"])]
    assert [sorted(run["changed"]) for run in runs] == [[], ["warm_start.search_differ", "warm_start.search_same"]]
    for run in runs:
        for arm in ("sem", "sem_discount"):
            values = run["arms"][arm]["test/first_known"]
            assert len(values) >= 3 and f"{sum(values) / len(values):.2f}" in text, (run["changed"], arm)


def test_text_is_cut_into_lines_without_losing_a_letter():
    pieces = [["prose", "x" * 70], ["search", "y" * 70]]
    lines = lines_of(pieces, width=50)
    assert "".join(text for line in lines for _, text in line) == "x" * 70 + "y" * 70
    assert all(sum(len(text) for _, text in line) <= 50 for line in lines)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match="num_drafts = 1"):
        replace(laptop().warm_start, num_drafts=1)
        Config(warm_start=replace(laptop().warm_start, num_drafts=1))
    with pytest.raises(UserError, match=r"policy\.model = ''"):
        Config(task=TaskConfig(kind="questions"), warm_start=paper().warm_start)
    with pytest.raises(UserError, match="task = 'gsm8k'"):
        paper("gsm8k")


def test_every_trained_arm_has_the_same_training_but_for_its_rate():
    config = laptop()
    trainings = [
        replace(training_of(config, arm), optimizer=config.training.optimizer)
        for arm in recipe.ARMS
        if arm not in recipe.UNTRAINED
    ]
    assert len(trainings) == 4 and len(set(map(repr, trainings))) == 1


@pytest.mark.slow
@pytest.mark.spec("sem", "8")
def test_sem_learns_to_search_for_what_it_does_not_know(tmp_path):
    """Three seeds at the laptop preset, apart from those of the measured run; every number is printed."""
    config = laptop()
    found = {arm: [] for arm in ("sem", "answer_reward")}
    for seed in (20, 21, 22):
        for arm, rows in found.items():
            rows.append(recipe.run(config, arm, seed, cell_of(tmp_path, arm, seed)).metrics)
            print(seed, arm, {name: value for name, value in rows[-1].items() if name.startswith("test/")})
    mean = {
        arm: {name: sum(row[f"test/{name}"] for row in rows) / 3 for name in ("search_known", "search_unknown", "f1")}
        for arm, rows in found.items()
    }
    assert mean["sem"]["search_known"] < 0.2 and mean["sem"]["search_unknown"] > 0.8
    assert mean["answer_reward"]["search_known"] > mean["sem"]["search_known"]
    # Published: -0.024 [-0.063, 0.014], so whether it is kept within the claim's 0.02 is undecided.
    assert mean["sem"]["f1"] >= mean["answer_reward"]["f1"] - 0.06

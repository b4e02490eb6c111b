"""The recipe: what the arms pay, what the warm start teaches, and whether first answers are worth spoiling."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.cli.tune import main as tune
from tenfold.core.cell import Cell, read_stages
from tenfold.core.errors import UserError
from tenfold.core.results import read
from tenfold.papers.sem import answering, recipe, stages
from tenfold.papers.sem.answering import ask
from tenfold.papers.sem.arms import ARMS
from tenfold.papers.sem.config import (
    Config,
    EvaluationConfig,
    RatesConfig,
    RewardConfig,
    SearchConfig,
    TaskConfig,
    WarmStartConfig,
    laptop,
    own,
    paper,
    smoke,
)
from tenfold.papers.sem.data import draw_questions
from tenfold.papers.sem.fact_world import SAME, fact_world, lessons, query_of
from tenfold.policies import Sampling, ScriptedPolicy, rollout
from tenfold.study.language import PolicyConfig
from tenfold.study.tuning import with_value

README = Path(recipe.__file__).with_name("README.md")
ROOT = Path(__file__).parents[3]
TRAINED = [name for name, arm in ARMS.items() if arm.rewards]


@pytest.fixture(scope="module")
def config():
    return smoke()


@pytest.fixture(scope="module")
def questions(config):
    return draw_questions(config, seed=0)


@pytest.fixture(scope="module")
def policy(config):
    return stages.build(config, seed=0)


def cell_of(folder, arm="sem", seed=0):
    directory = folder / "run" / "cells" / arm / f"seed-{seed}"
    shared = folder / "run" / "shared" / f"seed-{seed}"
    return Cell(arm=arm, seed=seed, directory=directory, shared_directory=shared, device="cpu")


def paid(config, arm, text, query=""):
    """What an arm pays for a completion to a question whose answer is amber."""
    inserted = [" <result>\nhome bakolu=amber\n</result>"] if query else []
    functions, weights = ARMS[arm].rewards(config.reward)
    columns = {"answer": [["amber"]], "inserted": [inserted]}
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


def test_the_baseline_may_be_paid_by_another_rival(config):
    lenient = replace(config, reward=RewardConfig(rival="research"))
    assert paid(config, "answer_reward", first("coral")) == 0.0
    assert paid(lenient, "answer_reward", first("coral")) == 0.1
    assert paid(lenient, "sem", first("coral")) == 0.0


def test_examples_have_loss_on_the_policys_tokens_alone(config, questions, policy, study_of):
    search = study_of(config, questions=questions).search(policy)
    (lesson,) = lessons(questions.world, 1, 0, search_same=1.0, search_differ=1.0)
    (row,) = stages.as_rows([lesson], policy, search)
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    own_text = f"{lesson.said}<search>{lesson.query}</search><answer>{lesson.final}</answer><eos>"
    assert policy.decode(learned) == own_text
    assert all(label in (-100, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))


def test_results_of_the_warm_start_are_those_of_the_rollout(config, questions, policy, study_of):
    """Token by token, for a policy is to meet what it was taught."""
    question = questions.test[0]
    search = study_of(config, questions=questions).search(policy)
    script = f"{first('amber')}<search>{query_of(question)}</search><answer>amber</answer>"
    scripted = ScriptedPolicy(policy.tokenizer, lambda *_: script)
    (said,) = rollout(scripted, [scripted.encode(question.prompt)], Sampling(60), environment=search)
    inserted = [token for token, sampled in zip(said.token_ids, said.loss_mask, strict=True) if not sampled]
    assert inserted == stages.result_ids(query_of(question), policy, search)
    assert question.answers[0] in policy.decode(inserted)
    kinds = [kind for kind, _ in answering.pieces(said, policy)]
    assert kinds == ["prose", "search", "result", "prose"]
    assert "".join(text for _, text in answering.pieces(said, policy)) == policy.decode(said.token_ids)


def test_training_asks_as_many_known_as_unknown_questions_and_no_test_question(questions):
    sources = [question.source for question in questions.train]
    assert sources.count("known") == sources.count("unknown") == len(sources) // 2
    fresh = [question.key for question in questions.train if question.source == "unknown"]
    assert len(set(fresh)) == len(fresh)
    names = [{question.key.split()[1] for question in part} for part in (questions.train, questions.test)]
    assert not names[0] & names[1]


def weights_of(policy):
    return [weight.clone() for weight in policy.model.parameters()]


def are_equal(weights, others):
    return all((one == other).all() for one, other in zip(weights, others, strict=True))


def test_arms_of_a_seed_share_one_warm_start_and_what_it_knows(config, questions, study_of, tmp_path, monkeypatch):
    trained, asked = [], []
    sft, rollout = stages.sft, answering.rollout
    monkeypatch.setattr(stages, "sft", lambda *given: trained.append(1) or sft(*given))
    monkeypatch.setattr("tenfold.papers.sem.questions.rollout", lambda *a, **o: asked.append(1) or rollout(*a, **o))
    found = []
    for arm in ("sem", "answer_reward", "never_search"):
        study = replace(study_of(config, arm, questions), cell=cell_of(tmp_path, arm))
        found.append((stages.known_before(study), weights_of(stages.warm_start(study))))
    assert found[0][0] == found[1][0] == found[2][0] and len(found[0][0]) == len(questions.test)
    assert are_equal(found[0][1], found[1][1]) and are_equal(found[0][1], found[2][1])
    assert len(trained) == len(asked) == 1
    shared = read_stages(tmp_path / "run" / "shared" / "seed-0")
    assert set(shared) == {"warm-start", "closed-book"} and "train/loss" in shared["warm-start"].curves


def test_the_warm_start_of_the_composition_is_its_own(config, tmp_path):
    scores = recipe.run(config, "sem_confidence", 0, cell_of(tmp_path, "sem_confidence"))
    assert set(read_stages(tmp_path / "run" / "shared" / "seed-0")) == {"warm-start", "closed-book"}
    assert "confidence/train/loss" in scores.curves and "reinforcement/rewards/calibration/mean" in scores.curves


def scripted(saying, policy, asked, text):
    """Says to each question what ``text`` gives for it."""
    return saying(policy.tokenizer, lambda i, _: text(asked[i]))


def asked_once(config):
    return replace(config, evaluation=replace(config.evaluation, samples=1))


def test_samples_of_a_question_stand_together_and_differ(config, questions, policy, study_of):
    answers = ask(study_of(config, questions=questions), policy, questions.test)
    assert config.evaluation.samples == 2 and answers.questions[::2] == answers.questions[1::2] == questions.test
    assert any(
        one.token_ids != other.token_ids
        for one, other in zip(answers.trajectories[::2], answers.trajectories[1::2], strict=True)
    )
    shown = answering.drawn_from(answers, [1.0] * len(answers.questions), policy)["examples"]
    assert len({example["question"] for example in shown}) == len(shown) == 6
    assert [example["expected"] for example in shown] == ["direct"] * 3 + ["search"] * 3


def test_arms_without_reinforcement_search_for_nothing_or_for_each_question(
    config, questions, policy, saying, study_of
):
    said = {
        "never_search": lambda one: f"{first(one.answers[0])}<search>{query_of(one)}</search>",
        "always_search": lambda one: f"{first(one.answers[0])}{query_of(one)}</search><answer>amber</answer>",
    }
    test = questions.test
    for arm, searches in (("never_search", 0), ("always_search", 1)):
        study = study_of(asked_once(config), arm, questions)
        answers = ask(study, scripted(saying, policy, test, said[arm]), test)
        assert [one.searches for one in answers.measured] == [searches] * len(test), arm
        assert all(one.valid and one.first_right for one in answers.measured), arm
    pieces = answering.pieces(answers.trajectories[0], policy)
    assert [kind for kind, _ in pieces] == ["prose", "result", "search", "result", "prose"], (
        "of a search that was opened"
    )
    assert pieces[2][1] == f"{query_of(test[0])}</search>"


def test_what_is_known_is_asked_of_the_policy_before_its_reinforcement(config, questions, monkeypatch, tmp_path):
    start, trained = stages.build(config, 0), stages.build(config, 1)
    asked = []

    def accuracies(policy, *given, **options):
        asked.append(policy)
        return [0.0] * len(questions.test)

    def noted(study, policy, given):
        asked.append(policy)
        return ask(study, policy, given)

    monkeypatch.setattr(stages, "warm_start", lambda study: start)
    monkeypatch.setattr(recipe, "reinforce", lambda *given: trained)
    monkeypatch.setattr(stages, "closed_book_accuracy", accuracies)
    monkeypatch.setattr(recipe, "ask", noted)
    scores = recipe.run(config, "sem", 0, cell_of(tmp_path))
    assert len(asked) == 3 and asked[0] is start and asked[1] is start and asked[2] is trained
    assert scores.metrics["start/closed_book"] == 0.0


def test_the_halves_are_those_of_what_is_expected_and_of_what_is_known(config, questions, policy, saying, study_of):
    """Known facts are answered rightly at once, and unknown ones are searched for, but for the last."""
    test = questions.test
    last = test[-1]

    def text(one):
        if one.facts["expected"] == "direct":
            return first(one.answers[0])
        return first("amber") + (
            "" if one is last else f"<search>{query_of(one)}</search><answer>{one.answers[0]}</answer>"
        )

    study = study_of(asked_once(config), questions=questions)
    answers = ask(study, scripted(saying, policy, test, text), test)
    halves = answering.halves(answers)
    size = len(test) // 2
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
        (RewardConfig, {"tau": 0.0}, "tau = 0.0"),
        (WarmStartConfig, {"num_drafts": 1}, "num_drafts = 1"),
        (TaskConfig, {"musique_share": 1.0}, "musique_share = 1.0: must be above 0 and below 1"),
        (TaskConfig, {"kind": "own", "closed_book_samples": -1}, "closed_book_samples = -1: must be at least 0"),
        (
            TaskConfig,
            {"kind": "own", "closed_book_samples": 2, "known_from": 5.0},
            "known_from = 5.0: must be above 0 and at most 1",
        ),
    ],
)
def test_settings_out_of_range_are_refused(part, option, message):
    with pytest.raises(UserError, match=message):
        part(**option)


@pytest.mark.parametrize(
    ("config", "field", "value", "acts"),
    [
        (laptop(), "task.musique_train", "x", "task.kind = questions"),
        (laptop(), "task.data", "x", "task.kind = own"),
        (own("x"), "task.num_taught", 1, "task.kind = facts"),
        (laptop(), "task.instructions", "none", "task.kind = questions"),
        (laptop(), "task.closed_book_samples", 2, "task.kind = questions"),
        (own("x"), "task.known_from", 0.25, "task.closed_book_samples above 0"),
        (laptop(), "search.index", "x", "task.kind = questions"),
        (laptop(), "training.optimizer.learning_rate", 0.7, "the arm's rate, such as rates.sem"),
        (laptop(), "training.reward_weights", (2.0,), "a field of the reward, such as reward.a2_discount"),
        (laptop(), "warm_start.training.epochs", 2.0, "warm_start.training.steps"),
        (laptop(), "warm_start.training.evaluate_every", 5, "training.evaluate_every"),
        (paper(), "warm_start.num_examples", 5, "warm_start.training.steps above 0"),
        (paper(), "warm_start.search_same", 0.1, "warm_start.training.steps above 0"),
    ],
)
def test_what_does_nothing_is_refused_with_what_acts(config, field, value, acts):
    with pytest.raises(UserError) as refused:
        with_value(config, field, value)
    assert str(refused.value).startswith(f"{field} = {value}: does not act here; set {acts}")


@pytest.mark.parametrize(
    ("config", "field", "value"), [(laptop(), "task.num_validation", 0), (paper(), "training.evaluate_every", 10)]
)
def test_curves_without_validation_questions_are_refused(config, field, value):
    mended = r"10: .*; set task\.num_validation above 0, or training\.evaluate_every to 0$"
    with pytest.raises(UserError, match=r"^training\.evaluate_every = " + mended):
        with_value(config, field, value)


def test_smoke_searches_in_synchronous_rounds():
    assert smoke().search.deterministic and not paper().search.deterministic


@pytest.mark.parametrize(("arm", "stated"), [("always_search", ""), ("sem_confidence", "<confidence>0.1</confidence>")])
def test_searches_that_the_environment_opens_are_answered_and_counted(
    config, questions, policy, saying, study_of, arm, stated
):
    def text(question):
        return f"{first('amber')}{stated}{query_of(question)}</search><answer>coral</answer>"

    study = study_of(config, arm, questions)
    answers = ask(study, scripted(saying, policy, questions.test, text), questions.test)
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
            assert steps == [2.0, 4.0], name
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


def test_settings_that_contradict_each_other_are_refused(study_of):
    with pytest.raises(UserError, match=r"policy\.model = ''"):
        Config(task=TaskConfig(kind="questions"), warm_start=paper().warm_start)
    with pytest.raises(UserError, match=r"warm_start\.training\.steps: a warm start is for facts"):
        Config(task=TaskConfig(kind="questions"), policy=PolicyConfig(model="x"))
    with pytest.raises(UserError, match="task = 'gsm8k'"):
        paper("gsm8k")
    with pytest.raises(
        UserError, match=r"task\.kind = own is only for tenfold train sem; allowed in a run: facts, quest"
    ):
        draw_questions(own("rows.jsonl"), 0)


def test_every_trained_arm_has_the_same_training_but_for_its_rate(study_of, questions):
    rates = RatesConfig(answer_reward=0.1, sem=0.2, sem_discount=0.3, sem_confidence=0.4)
    config = replace(laptop(), rates=rates)
    settings = [recipe.settings_of(study_of(config, arm, questions)) for arm in TRAINED]
    assert [one.optimizer.learning_rate for one in settings] == [0.1, 0.2, 0.3, 0.4]
    assert {repr(replace(one, optimizer=config.training.optimizer)) for one in settings} == {repr(config.training)}


def test_the_grid_is_the_same_for_every_trained_arm():
    assert TRAINED == ["answer_reward", "sem", "sem_discount", "sem_confidence"] == list(vars(RatesConfig()))
    assert list(recipe.GRID) == [f"rates.{arm}" for arm in TRAINED]
    assert set(recipe.GRID.values()) == {(3e-3, 6e-3, 1e-2, 2e-2)}


def test_a_tuning_measures_validation_questions_from_one_start(tmp_path, capsys, monkeypatch):
    few = {"steps": 2, "log_every": 2, "checkpoint_every": 2}
    lessons = replace(smoke().warm_start, training=replace(smoke().warm_start.training, **few))
    short = replace(smoke(), warm_start=lessons, training=replace(smoke().training, evaluate_every=2, **few))
    monkeypatch.setattr("tenfold.papers.sem.config.smoke", lambda: short)
    starts = []
    reinforce = recipe.reinforce

    def noted(study, policy, cell):
        starts.append((study.arm.rate, recipe.settings_of(study).optimizer.learning_rate, weights_of(policy)))
        return reinforce(study, policy, cell)

    monkeypatch.setattr(recipe, "reinforce", noted)
    flags = ["--preset", "smoke", "--device", "cpu", "--fields", "sem", "sem_confidence", "--rates", "1e-3", "1e-2"]
    tune(["sem", "--out", str(tmp_path / "grid"), *flags])
    rows = json.loads((tmp_path / "grid" / "tuning.json").read_text())
    expected = [(arm, rate) for arm in ("sem", "sem_confidence") for rate in (1e-3, 1e-2)]
    assert [(arm, rate) for arm, rate, _ in starts] == expected
    assert [(row["field"], row["learning_rate"]) for row in rows] == [(f"rates.{arm}", rate) for arm, rate in expected]
    assert {"validation/f1", "validation/search_known", "validation/search_unknown"} <= set(rows[0])
    assert are_equal(starts[0][2], starts[1][2]) and are_equal(starts[2][2], starts[3][2])
    assert not are_equal(starts[0][2], starts[2][2]), "it is taught to state a confidence"
    stages_made = {path.parent.name for path in (tmp_path / "grid").rglob("done.json")}
    assert stages_made == {"warm-start", "confidence"}, "each once, for all rates"
    assert re.search(r"rates\.sem_confidence +0\.001", capsys.readouterr().out)


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

"""Questions of MuSiQue and MMLU, from the published files to SEM's numbers, without a model."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tenfold.papers.sem import answering, recipe, stages
from tenfold.papers.sem.answering import ask
from tenfold.papers.sem.arms import ARMS
from tenfold.papers.sem.data import draw_questions
from tenfold.papers.sem.prompts import CLOSED_BOOK, CONFIDENCE, SEM
from tenfold.papers.sem.questions import balanced
from tenfold.policies import character_tokenizer
from tenfold.policies.tiny import ASCII

TOKENIZER = character_tokenizer()


def said_to(question):
    """What knows sums, and looks rivers up."""
    first = f"<think>hm</think><answer>{question.answers[0] if question.choices else 'Lethe'}</answer>"
    if question.choices:
        return first
    query = question.prompt.removesuffix("?")
    return f"{first}<search>{query}</search><answer>{question.answers[0]}</answer>"


def tokenizer_of(questions):
    """A token for each character that is asked or answered; others, on pages, are unknown."""
    asked = "".join("".join([one.prompt, *one.answers, *one.choices]) for one in questions)
    return character_tokenizer("".join(sorted(set(ASCII + asked))))


def trained_with(study, monkeypatch):
    """What the arm's reinforcement gives to GRPO: rows, rewards, settings, options."""
    seen = []

    def grpo(policy, rows, functions, settings, cell, **options):
        seen.append((rows, functions, settings, options))
        return SimpleNamespace(merged=lambda: policy)

    monkeypatch.setattr(recipe, "grpo", grpo)
    recipe.reinforce(study, SimpleNamespace(tokenizer=TOKENIZER), None)
    return seen[0]


def test_the_numbers_of_a_policy_that_searches_what_it_does_not_know(published_layout, study_of, saying):
    study = study_of(published_layout)
    test = study.questions.test
    assert [one.source for one in test] == ["musique"] * 2 + ["mmlu"] * 2
    answers = ask(study, saying(TOKENIZER, lambda i, _: said_to(test[i])), test)
    found = answering.report(answers, [0.0, 0.0, 1.0, 1.0], published_layout.evaluation, "test")
    for name in ("exact_match", "f1", "judged", "valid", "ended", "decision_f1", "repair_rate"):
        assert found[f"test/{name}"] == 1.0, name
    for name in ("over_search", "under_search", "search_known", "first_unknown", "duplicates"):
        assert found[f"test/{name}"] == 0.0, name
    assert (found["test/search_ratio"], found["test/search_unknown"], found["test/first_known"]) == (0.5, 1.0, 1.0)
    calls = [call for said in answers.trajectories for call in said.tool_calls]
    assert [len(call["ids"]) for call in calls] == [3, 3], "as many passages as the configuration says"
    rivers = [one.answers[0] for one in test if one.source == "musique"]
    assert all(river in call["inserted"] for river, call in zip(rivers, calls, strict=True))
    assert found["test/tool_tokens"] == sum(call["num_reply_tokens"] for call in calls) / 4


def test_training_mixes_both_in_the_form_of_each_arm(published_layout, study_of, monkeypatch):
    for arm, instructions in (("sem", SEM), ("answer_reward", SEM), ("sem_confidence", CONFIDENCE)):
        rows, _, settings, _ = trained_with(study_of(published_layout, arm), monkeypatch)
        assert set(rows["source"]) == {"mmlu", "musique"}
        assert {row["prompt"][0]["content"] for row in rows} == {instructions}
        sums = [row["prompt"][1]["content"] for row in rows if row["source"] == "mmlu"]
        assert all("\n(A) 2\n(B) 3\n(C) 4\n(D) 5" in text for text in sums)
        assert settings.stop == (("</confidence>",) if arm == "sem_confidence" else ())
    assert "<confidence>" in CONFIDENCE and "<confidence>" not in SEM + CLOSED_BOOK


def test_without_instructions_the_plain_question_is_asked(published_layout, study_of, monkeypatch):
    config = replace(published_layout, task=replace(published_layout.task, instructions="none"))
    for arm in ("sem", "sem_confidence"):
        rows, *_ = trained_with(study_of(config, arm), monkeypatch)
        assert {row["prompt"].partition("?")[0] for row in rows} <= {
            "What river is Rome on", "What river is Turin on", "1 + 1", "2 + 1"
        }  # fmt: skip


def test_a_run_may_train_on_known_and_unknown_questions_in_equal_parts(published_layout, study_of, monkeypatch):
    """By samples of the untrained policy, which are asked for once."""
    asked = []

    def accuracies(policy, questions, sampling, **options):
        asked.append((sampling.stop, options["num_samples"], options["instructions"]))
        return [float("river" in question.prompt) for question in questions]

    monkeypatch.setattr(stages, "closed_book_accuracy", accuracies)
    config = replace(published_layout, task=replace(published_layout.task, closed_book_samples=3))
    for _ in range(2):
        study = study_of(config)
        rows, *_ = trained_with(study, monkeypatch)
        known = [float(question.source == "musique") for question in study.questions.train]
        mixed = balanced(study.questions.train, known, seed=0)
        assert rows["key"][:] == [question.key for question in mixed]
        assert rows["expected"][:] == [question.facts["expected"] for question in mixed]
    assert asked == [(("</answer>",), 3, CLOSED_BOOK)]


@pytest.mark.spec("sem", "3")
def test_the_composition_grades_options_as_every_arm_does(published_layout, study_of, monkeypatch):
    rows, functions, _, _ = trained_with(study_of(published_layout, "sem_confidence"), monkeypatch)
    (row,) = [row for row in rows if row["prompt"][1]["content"].startswith("1 + 1?")]
    columns = {name: [value] for name, value in row.items() if name != "prompt"}
    for answer, right in (("A", 1), ("(a)", 1), ("A. 2", 1), ("2", 1), ("B", 0), ("3", 0)):
        text = f"<think>hm</think><answer>{answer}</answer><confidence>0.9</confidence>"
        scores = [function(prompts=[row["prompt"]], completions=[text], **columns)[0] for function in functions]
        assert scores == [1.0, right, pytest.approx(0.99 if right else 0.19)], answer


def test_each_arm_is_asked_in_its_own_form(published_layout, study_of, saying, monkeypatch):
    asked = {}

    def prompt_of(question, instructions):
        asked[arm] = instructions
        return "?"

    monkeypatch.setattr(answering, "prompt_of", prompt_of)
    for arm in ARMS:
        study = study_of(published_layout, arm)
        ask(study, saying(TOKENIZER, lambda i, _: "Po"), study.questions.test)
    forms = {"never_search": CLOSED_BOOK, "sem_confidence": CONFIDENCE}
    assert asked == {arm: forms.get(arm, SEM) for arm in ARMS}


def test_what_is_known_is_asked_without_a_search_and_once(published_layout, study_of, monkeypatch):
    asked = []

    def accuracies(*given, **options):
        asked.append((given, options))
        return [0.5]

    monkeypatch.setattr(stages, "closed_book_accuracy", accuracies)
    model = SimpleNamespace()
    built_on = []

    def build(config, seed, device):
        built_on.append(device)
        return SimpleNamespace(model=model)

    monkeypatch.setattr(stages, "build", build)
    monkeypatch.setattr("tenfold.train.distributed.compute_device", lambda device: f"where {device} computes")
    study = study_of(published_layout)
    assert [stages.known_before(study) for _ in range(2)] == [[0.5], [0.5]]
    (((policy, questions, sampling), options),) = asked
    assert policy.model is model and questions == study.questions.test
    assert built_on == ["where cpu computes"], "no trainer has moved it before it is asked"
    assert (options["instructions"], options["num_samples"], sampling.stop) == (CLOSED_BOOK, 2, ("</answer>",))


@pytest.mark.parametrize("arm", ["never_search", "always_search", "sem", "sem_confidence"])
def test_without_a_warm_start_an_arm_starts_where_its_cell_computes(published_layout, study_of, monkeypatch, arm):
    built_on, start = [], SimpleNamespace(model=SimpleNamespace())

    def build(config, seed, device):
        built_on.append(device)
        return start

    monkeypatch.setattr(stages, "build", build)
    monkeypatch.setattr("tenfold.train.distributed.compute_device", lambda device: f"where {device} computes")
    study = study_of(published_layout, arm)
    assert recipe.start_of(study, recipe.trainings_of(study)) is start
    assert built_on == ["where cpu computes"]


@pytest.mark.parametrize("given", [False, True])
def test_the_limits_of_a_search_hold_in_training_and_test(published_layout, study_of, monkeypatch, given):
    limits = replace(published_layout.search, count_results=given, deterministic=given, end_over_budget=given)
    config = replace(published_layout, search=limits)
    for arm in ("sem", "sem_confidence"):
        options = trained_with(study_of(config, arm), monkeypatch)[3]
        assert (options["count_replies"], options["deterministic"]) == (given, given)
        assert (options["environment"] is None) == (arm == "sem_confidence")
    asked = []
    monkeypatch.setattr(answering, "rollout", lambda *given, **options: asked.append((given, options)) or [])
    ask(study_of(config), SimpleNamespace(tokenizer=TOKENIZER), [])
    ((_, _, sampling), options) = asked[0]
    assert (sampling.count_replies, options["deterministic"]) == (given, given)
    assert options["environment"].end_over_budget == given


def test_a_confidence_makes_a_response_of_other_arms_malformed(published_layout, study_of, saying):
    sums = draw_questions(published_layout, 0).test[2:]
    stated = "<confidence>0.9</confidence>"
    policy = saying(TOKENIZER, lambda i, _: said_to(sums[i]) + stated)
    for arm, valid in (("sem", 0.0), ("answer_reward", 0.0), ("sem_confidence", 1.0)):
        answers = ask(study_of(published_layout, arm), policy, sums)
        assert answering.report(answers, [1.0, 1.0], published_layout.evaluation, "test")["test/valid"] == valid, arm


@pytest.mark.slow
def test_the_numbers_on_the_published_samples(published, published_layout, study_of, saying):
    """All 140 questions of MuSiQue's sample and as many of MMLU's, with every paragraph in the corpus."""
    musique, mmlu = published("musique-sample") / "musique_ans_140.jsonl", published("mmlu-sample") / "test.jsonl"
    task = replace(
        published_layout.task,
        musique_train=str(musique),
        musique_test=str(musique),
        mmlu_train=str(mmlu),
        mmlu_test=str(mmlu),
        num_test=140,
    )
    evaluation = replace(published_layout.evaluation, max_new_tokens=2000)
    config = replace(published_layout, task=task, evaluation=evaluation)
    study = study_of(config)
    test = study.questions.test
    assert [one.source for one in test] == ["musique"] * 140 + ["mmlu"] * 140
    assert {question.answers[0] for question in test[140:]} == set("ABCD")
    answers = ask(study, saying(tokenizer_of(test), lambda i, _: said_to(test[i])), test)
    closed_book = [0.0] * 140 + [1.0] * 140
    found = answering.report(answers, closed_book, config.evaluation, "test")
    for name in ("exact_match", "f1", "judged", "valid", "decision_f1", "first_known", "search_unknown"):
        assert found[f"test/{name}"] == 1.0, name
    assert found["test/search_known"] == found["test/over_search"] == found["test/first_unknown"] == 0.0
    supported = [
        any(passage in call["ids"] for passage in question.facts.get("supporting", ()))
        for question, said in zip(answers.questions, answers.trajectories, strict=True)
        for call in said.tool_calls
    ]
    assert len(supported) == 140 and sum(supported) > 100, "three passages of BM25 hold one that supports the answer"

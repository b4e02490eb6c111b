"""Questions of MuSiQue and MMLU, from the published files to SEM's numbers, without a model."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tenfold.papers.sem import answering, recipe, stages
from tenfold.papers.sem.prompts import CLOSED_BOOK, CONFIDENCE, SEM
from tenfold.policies import character_tokenizer
from tenfold.policies.tiny import ASCII

TOKENIZER = character_tokenizer()


def said_to(question):
    """What knows sums, and looks rivers up."""
    first = f"<think>hm</think><answer>{question.answers[0] if question.kind == 'choice' else 'Lethe'}</answer>"
    if question.kind == "choice":
        return first
    query = question.question.removesuffix("?")
    return f"{first}<search>{query}</search><answer>{question.answers[0]}</answer>"


def tokenizer_of(material):
    """A token for each character that is asked or answered; others, on pages, are unknown."""
    asked = "".join("".join([one.question, *one.answers, *one.choices]) for one in material.test)
    return character_tokenizer("".join(sorted(set(ASCII + asked))))


def trained_with(config, arm, monkeypatch):
    """What the arm's reinforcement gives to GRPO: rows, rewards, settings, options."""
    seen = []

    def grpo(policy, rows, functions, settings, cell, **options):
        seen.append((rows, functions, settings, options))
        return policy

    monkeypatch.setattr(recipe, "grpo", grpo)
    monkeypatch.setattr(stages, "merged", lambda policy: policy)
    material = stages.load_material(config, 0)
    recipe.reinforce(config, arm, 0, None, SimpleNamespace(tokenizer=TOKENIZER), material)
    return seen[0]


def test_the_numbers_of_a_policy_that_searches_what_it_does_not_know(published_layout, saying):
    material = stages.load_material(published_layout, 0)
    assert [one.source for one in material.test] == ["musique"] * 2 + ["mmlu"] * 2
    policy = saying(TOKENIZER, lambda i, _: said_to(material.test[i]))
    answers = recipe.ask(published_layout, "sem", policy, material, material.test, 0)
    found = answering.report(answers, [0.0, 0.0, 1.0, 1.0], published_layout.evaluation, "test")
    for name in ("exact_match", "f1", "judged", "valid", "ended", "decision_f1", "repair_rate"):
        assert found[f"test/{name}"] == 1.0, name
    for name in ("over_search", "under_search", "search_known", "first_unknown", "duplicates"):
        assert found[f"test/{name}"] == 0.0, name
    assert (found["test/search_ratio"], found["test/search_unknown"], found["test/first_known"]) == (0.5, 1.0, 1.0)
    calls = [call for said in answers.trajectories for call in said.tool_calls]
    assert [len(call["ids"]) for call in calls] == [3, 3], "as many passages as the configuration says"
    assert all(river in call["inserted"] for river, call in zip(_answers(material), calls, strict=True))
    assert found["test/tool_tokens"] == sum(call["num_reply_tokens"] for call in calls) / 4


def _answers(material):
    return [one.answers[0] for one in material.test if one.source == "musique"]


def test_training_mixes_both_in_the_form_of_each_arm(published_layout, monkeypatch):
    for arm, instructions in (("sem", SEM), ("answer_reward", SEM), ("sem_confidence", CONFIDENCE)):
        rows, _, settings, _ = trained_with(published_layout, arm, monkeypatch)
        assert set(rows["source"]) == {"mmlu", "musique"}
        assert {row["prompt"][0]["content"] for row in rows} == {instructions}
        sums = [row["prompt"][1]["content"] for row in rows if row["source"] == "mmlu"]
        assert all("\n(A) 2\n(B) 3\n(C) 4\n(D) 5" in text for text in sums)
        assert settings.stop == (("</confidence>",) if arm == "sem_confidence" else ())
    assert "<confidence>" in CONFIDENCE and "<confidence>" not in SEM + CLOSED_BOOK


@pytest.mark.spec("sem", "3")
def test_the_composition_grades_options_as_every_arm_does(published_layout, monkeypatch):
    rows, functions, _, _ = trained_with(published_layout, "sem_confidence", monkeypatch)
    (row,) = [row for row in rows if row["question"] == "1 + 1?"]
    columns = {name: [value] for name, value in row.items() if name != "prompt"}
    for answer, right in (("A", 1), ("(a)", 1), ("A. 2", 1), ("2", 1), ("B", 0), ("3", 0)):
        text = f"<think>hm</think><answer>{answer}</answer><confidence>0.9</confidence>"
        scores = [function(prompts=[row["prompt"]], completions=[text], **columns)[0] for function in functions]
        assert scores == [1.0, right, pytest.approx(0.99 if right else 0.19)], answer


def test_each_arm_is_asked_in_its_own_form(published_layout, monkeypatch):
    asked = {}

    def answer(policy, questions, config, environment, **options):
        asked[arm] = options["instructions"]

    monkeypatch.setattr(answering, "answer", answer)
    material = stages.load_material(published_layout, 0)
    for arm in recipe.ARMS:
        recipe.ask(published_layout, arm, SimpleNamespace(tokenizer=TOKENIZER), material, material.test, 0)
    forms = {"never_search": CLOSED_BOOK, "sem_confidence": CONFIDENCE}
    assert asked == {arm: forms.get(arm, SEM) for arm in recipe.ARMS}


def test_what_is_known_is_asked_without_a_search(published_layout, monkeypatch):
    asked = []
    monkeypatch.setattr(stages, "closed_book_accuracy", lambda *given, **options: asked.append((given, options)))
    stages.knowledge(published_layout, None, [], 0)
    ((_, _, sampling), options) = asked[0]
    assert (options["instructions"], options["num_samples"], sampling.stop) == (CLOSED_BOOK, 2, ("</answer>",))


@pytest.mark.parametrize("given", [False, True])
def test_the_limits_of_a_search_hold_in_training_and_test(published_layout, monkeypatch, given):
    limits = replace(published_layout.search, count_results=given, deterministic=given)
    config = replace(published_layout, search=limits)
    for arm in ("sem", "sem_confidence"):
        options = trained_with(config, arm, monkeypatch)[3]
        assert (options["count_replies"], options["deterministic"]) == (given, given)
    asked = []
    monkeypatch.setattr(answering, "rollout", lambda *given, **options: asked.append((given, options)) or [])
    material = stages.load_material(config, 0)
    recipe.ask(config, "sem", SimpleNamespace(tokenizer=TOKENIZER), material, [], 0)
    ((_, _, sampling), options) = asked[0]
    assert (sampling.count_replies, options["deterministic"]) == (given, given)


def test_a_confidence_makes_a_response_of_other_arms_malformed(published_layout, saying):
    material = stages.load_material(published_layout, 0)
    sums = material.test[2:]
    stated = "<confidence>0.9</confidence>"
    policy = saying(TOKENIZER, lambda i, _: said_to(sums[i]) + stated)
    for arm, valid in (("sem", 0.0), ("answer_reward", 0.0), ("sem_confidence", 1.0)):
        answers = recipe.ask(published_layout, arm, policy, material, sums, 0)
        assert answering.report(answers, [1.0, 1.0], published_layout.evaluation, "test")["test/valid"] == valid, arm


@pytest.mark.slow
def test_the_numbers_on_the_published_samples(published, published_layout, saying):
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
    material = stages.load_material(config, 0)
    sources = [one.source for one in material.test]
    assert sources == ["musique"] * 140 + ["mmlu"] * 140
    assert {question.answers[0] for question in material.test[140:]} == set("ABCD")
    tokenizer = tokenizer_of(material)
    policy = saying(tokenizer, lambda i, _: said_to(material.test[i]))
    answers = recipe.ask(config, "sem", policy, material, material.test, 0)
    closed_book = [0.0] * 140 + [1.0] * 140
    found = answering.report(answers, closed_book, config.evaluation, "test")
    for name in ("exact_match", "f1", "judged", "valid", "decision_f1", "first_known", "search_unknown"):
        assert found[f"test/{name}"] == 1.0, name
    assert found["test/search_known"] == found["test/over_search"] == found["test/first_unknown"] == 0.0
    supported = [
        any(passage in call["ids"] for passage in question.supporting)
        for question, said in zip(answers.questions, answers.trajectories, strict=True)
        for call in said.tool_calls
    ]
    assert len(supported) == 140 and sum(supported) > 100, "three passages of BM25 hold one that supports the answer"

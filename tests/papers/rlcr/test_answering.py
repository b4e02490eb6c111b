"""Reading answers, votes and resampled confidences, with a policy that has a script."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tenfold.eval.exact_match import exact_match
from tenfold.papers.rlcr import answering
from tenfold.papers.rlcr.answering import Examiner
from tenfold.papers.rlcr.masked_addition import completion, problems
from tenfold.study.questions import Question

EXAMINER = Examiner("ac", exact_match)


def test_greedy_answers_and_their_report(scripted, sums, evaluation):
    policy = scripted([[completion("2", "0.9")], [completion("5", "0.4")], ["<answer>4</answer>"]])
    answers = answering.answer(policy, sums, EXAMINER, evaluation)
    assert [parsed.answer for parsed in answers.parsed] == ["2", "5", "4"]
    assert answers.confidences.tolist() == [0.9, 0.4, 0.0] and answers.right.tolist() == [1, 0, 1]
    report = answering.report(answers, sums, EXAMINER, "test")
    assert report["test/accuracy"] == pytest.approx(2 / 3) and report["test/format"] == pytest.approx(2 / 3)
    assert report["test/brier"] == pytest.approx((0.01 + 0.16 + 1) / 3)


def test_equal_prompts_are_answered_once_and_the_end_token_is_no_text(scripted, sums, evaluation):
    policy = scripted([["<answer>2</answer><confidence>0.9</confidence>"]])  # a second prompt would have no script
    answers = answering.answer(policy, [sums[0]] * 3, EXAMINER, evaluation)
    assert answers.right.tolist() == [1] * 3 and answers.parsed[0].ok
    unstopped = scripted([["<answer>2</answer>"]])
    assert answering.answer(unstopped, sums[:1], Examiner("a", exact_match), evaluation).parsed[0].ok


def test_answers_are_the_most_probable_tokens(tiny, sums, evaluation):
    answers = answering.answer(tiny, sums, EXAMINER, evaluation)
    for question, trajectory in zip(sums, answers.trajectories, strict=True):
        ids = [*tiny.encode(question.prompt, start=True), *trajectory.token_ids]
        with torch.no_grad():
            best = tiny.model(torch.tensor([ids])).logits[0, : len(ids) - 1].argmax(-1).tolist()
        assert trajectory.token_ids == best[-len(trajectory.token_ids) :]


def test_where_the_law_is_known_accuracy_is_expected(scripted, evaluation):
    hidden = [Question("?+1=", (answer,), answer) for answer in ("1", "2", "5")]
    answers = answering.answer(scripted([[completion("1", "0.5")]]), hidden, EXAMINER, evaluation)
    knowing = Examiner("ac", exact_match, knows_law=True)
    assert answering.report(answers, hidden, knowing, "test")["test/accuracy"] == pytest.approx(0.5)
    assert answering.report(answers, hidden, EXAMINER, "test")["test/accuracy"] == pytest.approx(1 / 3)


def test_confidence_by_difficulty(scripted, evaluation):
    found = problems(40, 0, "t")
    distinct = list(dict.fromkeys(q.prompt for q in found))
    policy = scripted([[completion("0", "0.5" if "?" in text else "1.0")] for text in distinct])
    table = answering.by_hidden(answering.answer(policy, found, EXAMINER, evaluation), found)
    assert [table[k][0] for k in sorted(table)] == [1.0, 0.5, 0.5]
    unknown = [Question("1+1=", ("2",), "1")]
    assert answering.by_hidden(answering.answer(policy, unknown, EXAMINER, evaluation), unknown) == {}


def test_votes_with_samples_made_by_hand(scripted, sums, evaluation):
    samples = [
        [("2", "0.9"), ("3", "0.1"), ("3", "0.2")],  # weighted and surest are right
        [("4", "0.4"), ("4", "0.4"), ("5", "0.6")],  # the surest is wrong
        [None, ("7", "0.3"), None],  # one ballot, wrong
    ]
    # What is sampled with the answers is noise and must not count: the confidences are read again, greedily.
    answers = [["" if one is None else completion(one[0], "0.5") for one in samples_] for samples_ in samples]
    confidences = [[f"<confidence>{one[1]}</confidence>"] for samples_ in samples for one in samples_ if one]
    scripts = iter([answers, confidences])

    class Next:  # each rollout begins with the first sample of the first prompt
        def __getitem__(self, prompt):
            if prompt == 0 and not self.begun:
                self.texts = next(scripts)
            self.begun = prompt == 0
            return self.texts[prompt]

        begun = False

    policy = scripted(Next())
    found = answering.vote(policy, sums, EXAMINER, evaluation, seed=0)
    assert found["vote/single"] == pytest.approx(2 / 3)
    assert found["vote/majority"] == pytest.approx(1 / 3)
    assert found["vote/weighted"] == pytest.approx(2 / 3)
    assert found["vote/max_confidence"] == pytest.approx(1 / 3)
    assert found["vote/gain"] == pytest.approx(1 / 3)
    assert found["vote/confidence_sum"] == pytest.approx(np.mean([0.9 + 0.15, 0.4 + 0.6, 0.3]))


def test_answers_that_the_verifier_takes_for_the_same_vote_together(scripted, evaluation):
    capital = [Question("1+1=", ("paris",), "1")]
    said = [[completion(answer, "0.5") for answer in ("rome", "the paris", "paris.")]]
    again = [[completion("", "0.5")]] * 2  # the confidence after each answer is read once more
    found = answering.vote(scripted(said + again), capital, EXAMINER, evaluation, seed=0)
    assert found["vote/majority"] == 1 and found["vote/single"] == 0


def test_where_the_law_is_known_an_answer_is_read_as_the_verifier_reads_it():
    knowing, question = Examiner("ac", exact_match, knows_law=True), Question("?+1=", ("1",), "1")
    for answer in ("1", "1.", "(1)", "12", "", None):
        assert (knowing.chance(question, answer) > 0) is knowing.right(question, answer)


def test_a_question_without_ballots_counts_as_wrong(scripted, sums, evaluation):
    found = answering.vote(scripted([[""] * 3] * 3), sums, EXAMINER, evaluation, seed=0)
    assert found["vote/weighted"] == found["vote/majority"] == 0 and np.isnan(found["vote/confidence_sum"])


def test_confidences_are_resampled_after_the_fixed_answer(scripted, sums, evaluation):
    answers = answering.answer(scripted([[completion("2", "0.9")], [""], ["<answer>4"]]), sums, EXAMINER, evaluation)
    again = scripted([["<confidence>0.2</confidence>", "<confidence>0.6</confidence>"]])
    twice = replace(evaluation, resampled=2)
    stated = answering.resampled_confidences(again, answers, EXAMINER, twice, seed=0)
    assert stated == [[0.2, 0.6], [0.0, 0.0], [0.0, 0.0]]
    found = answering.ensembled(again, answers, EXAMINER, twice, seed=0)
    assert found["ensemble/intra_answer_std"] == pytest.approx(0.2 / 3)
    assert found["ensemble/brier"] == pytest.approx((0.6**2 + 0 + 0) / 3)


def test_the_resampled_prefix_is_the_very_tokens_that_were_sampled(tiny, sums, evaluation, monkeypatch):
    seen = []
    real = answering.rollout

    def watch(policy, prompts, *arguments, **options):
        seen.append([list(prompt) for prompt in prompts])
        return real(policy, prompts, *arguments, **options)

    policy = tiny
    said = policy.encode("<answer>7</answer><confidence>0.5</confidence>")
    answers = answering.answer(policy, sums, EXAMINER, evaluation)
    trajectory = answers.trajectories[0]
    trajectory.token_ids[:] = said
    monkeypatch.setattr(answering, "rollout", watch)
    answering.resampled_confidences(policy, answers, EXAMINER, replace(evaluation, resampled=2), seed=0)
    assert seen[0][0] == [*trajectory.prompt_ids, *said[:3]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<answer>7</answer>", 2),
        ("12</answer>3</answer>4", 4),
        ("<answer>7", None),
        ("", None),
        ("a < / answer>", None),
    ],
)
def test_the_token_that_completes_the_last_occurrence(scripted, text, wanted):
    policy = scripted([[]])
    assert answering.first_token(policy, policy.encode(text), "</answer>") == wanted


def test_a_tag_of_several_tokens_is_found_at_its_last_one(scripted):
    policy = scripted([[]])
    ids = [token for letter in "ab</answer>c" for token in policy.encode(letter)]
    assert len(ids) == 12 and answering.first_token(policy, ids, "</answer>") == 10

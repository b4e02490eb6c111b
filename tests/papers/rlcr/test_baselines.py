"""Answer probability, verbalised confidence, probe and classifier against what is known by hand."""

import math

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Trajectory
from tenfold.papers.rlcr import baselines
from tenfold.policies import Sampling, rollout


def trajectory(policy, text, probabilities, prompt="1+1="):
    ids = policy.encode(text)
    return Trajectory(
        tuple(policy.encode(prompt)), ids, [True] * len(ids), [math.log(p) for p in probabilities], "stop"
    )


def test_the_answer_probability_is_the_mean_over_the_tokens_between_the_tags(scripted):
    policy = scripted([[]])
    one = trajectory(policy, "<answer>42</answer><confidence>", [0.9, 0.5, 0.7, 0.2, 0.1])
    none = trajectory(policy, "42", [0.5, 0.7])
    empty = trajectory(policy, "<answer></answer>", [0.5, 0.7])
    last = trajectory(policy, "<answer>1</answer><answer>2</answer>", [0.9, 0.1, 0.9, 0.9, 0.3, 0.9])
    unopened = trajectory(policy, "4</answer>", [0.5, 0.5])
    found = baselines.answer_probability(policy, [one, none, empty, last, unopened])
    assert found == pytest.approx([0.6, 0, 0, 0.3, 0])


def test_offsets_of_tags_that_are_several_tokens(scripted):
    policy = scripted([[]])
    text = "<answer>7</answer>"
    ids = [token for letter in text for token in policy.encode(letter)]
    probabilities = [0.9] * 8 + [0.25] + [0.9] * 9
    one = Trajectory((1,), ids, [True] * 18, [math.log(p) for p in probabilities], "stop")
    assert baselines.answer_probability(policy, [one]) == pytest.approx([0.25])


def test_the_answer_probability_of_a_rollout_is_that_of_a_fresh_forward_pass(tiny):
    said = rollout(tiny, [tiny.encode("1+1=")], Sampling(6), num_samples=1, seed=0)[0]
    forced = trajectory(tiny, "<answer>7</answer>", [1.0] * 3)
    ids = torch.tensor([[*forced.prompt_ids, *forced.token_ids]])
    with torch.no_grad():
        log_probs = tiny.model(ids).logits.log_softmax(-1)[0]
    place = len(forced.prompt_ids)
    forced.log_probs[:] = [float(log_probs[place - 1 + k, token]) for k, token in enumerate(forced.token_ids)]
    expected = float(log_probs[place, forced.token_ids[1]].exp())
    assert baselines.answer_probability(tiny, [forced])[0] == pytest.approx(expected)
    assert len(said.log_probs) == len(said.token_ids)


def test_the_policy_is_asked_after_its_answer(scripted, monkeypatch):
    policy = scripted([["85"], ["0.3"], ["no idea"], ["100"]])
    answers = [trajectory(policy, f"<answer>{k}</answer><eos>", [0.5] * 4) for k in range(4)]
    seen = []
    real = baselines.rollout
    monkeypatch.setattr(
        baselines, "rollout", lambda policy, prompts, *a, **o: seen.extend(prompts) or real(policy, prompts, *a, **o)
    )
    found = baselines.verbalised_confidence(policy, answers, "sure ", percent=True)
    assert found == pytest.approx([0.85, 0.003, 0.0, 1.0])
    assert policy.decode(seen[0]) == "1+1=<answer>0</answer>sure "  # the end token is gone
    fractions = baselines.verbalised_confidence(policy, answers, "sure ", percent=False)
    assert fractions == pytest.approx([0.85, 0.3, 0.0, 1.0])


@pytest.mark.parametrize("loss", ["bce", "brier"])
def test_the_probe_finds_a_linear_law_and_gives_its_probabilities(loss):
    generator = numpy_generator(0, "probe")
    states = generator.normal(size=(4000, 3))
    p = 1 / (1 + np.exp(-(2 * states[:, 0] - 1)))
    right = (generator.random(4000) < p).astype(float)
    probe = baselines.Probe(loss, penalty=0.0).fit(torch.tensor(5 + 3 * states), right)
    assert np.abs(probe.predict(torch.tensor(5 + 3 * states)) - p).mean() < 0.03


def test_the_penalty_keeps_a_probe_of_separable_states_from_certainty():
    states, right = torch.tensor([[0.0], [1.0]]).repeat(20, 1), np.array([0.0, 1.0] * 20)
    by_penalty = [
        baselines.Probe("bce", penalty).fit(states, right).predict(states)[1] for penalty in (0.3, 0.03, 3e-4)
    ]
    assert 0.5 < by_penalty[0] < by_penalty[1] < by_penalty[2] < 0.999


def test_the_probe_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    generator = numpy_generator(1, "probe")
    states = generator.normal(size=(500, 4))
    right = (generator.random(500) < 1 / (1 + np.exp(-states[:, 0]))).astype(float)
    ours = baselines.Probe("bce", penalty=0.0).fit(torch.tensor(states), right).predict(torch.tensor(states))
    theirs = LogisticRegression(C=1e8, tol=1e-10).fit(states, right).predict_proba(states)[:, 1]
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_states_are_those_of_the_last_token_whatever_is_in_the_batch(tiny):
    texts = ["<answer>7</answer>", "7", "<answer>", "77777"]
    answers = [trajectory(tiny, text, [0.5] * len(tiny.encode(text))) for text in texts]
    together = baselines.last_states(tiny, answers)
    alone = torch.cat([baselines.last_states(tiny, [one]) for one in answers])
    assert torch.allclose(together, alone, atol=1e-5)
    ids = torch.tensor([[*answers[0].prompt_ids, *answers[0].token_ids]])
    with torch.no_grad():
        expected = tiny.model.model(ids).last_hidden_state[0, -1]
    assert torch.allclose(together[0], expected, atol=1e-5)


@pytest.mark.parametrize("loss", ["bce", "brier"])
def test_the_classifier_learns_which_answers_are_right_and_leaves_the_policy_alone(tiny, loss):
    answers = [trajectory(tiny, f"<answer>{k}</answer>", [0.5] * 3) for k in range(10)]
    right = np.array([float(k < 5) for k in range(10)])
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    classifier = baselines.Classifier(tiny, loss, steps=60, batch_size=16, learning_rate=3e-3)
    found = classifier.fit(answers, right).predict(answers)
    assert ((found > 0.5) == (right == 1)).all()
    again = baselines.Classifier(tiny, loss, steps=60, batch_size=16, learning_rate=3e-3)
    assert again.fit(answers, right).predict(answers) == pytest.approx(found)
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())


def test_a_classifier_needs_responses(tiny):
    with pytest.raises(UserError, match="at least one"):
        baselines.Classifier(tiny).fit([], np.array([]))

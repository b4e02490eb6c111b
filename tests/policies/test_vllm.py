"""The adapter against a stand-in for vLLM's interface that samples with a tiny model; vLLM itself is not run here."""

import threading
import time
from dataclasses import dataclass
from itertools import count
from random import Random
from types import SimpleNamespace

import pytest
import torch
from acting import Echo, check_log_probs, digits_policy

from tenfold.core.errors import UserError
from tenfold.core.types import Reply
from tenfold.policies import Sampling, rollout
from tenfold.policies.vllm import VLLMPolicy, vllm_policy


@dataclass
class Params:
    max_tokens: int
    temperature: float
    seed: int
    logprobs: int
    stop: list
    stop_token_ids: list
    skip_special_tokens: bool
    spaces_between_special_tokens: bool


class StandIn:
    """``LLM.generate`` by the book: a seed for each request, stops by token and by text, the last token kept whole."""

    def __init__(self, policy):
        self.policy, self.requests, self.batches = policy, [], []

    def generate(self, prompts, sampling_params, use_tqdm):
        self.batches.append(len(prompts))
        return [
            self._one(prompt["prompt_token_ids"], params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def _one(self, prompt_ids, params):
        self.requests.append((prompt_ids, params))
        generator = torch.Generator().manual_seed(params.seed)
        token_ids, log_probs = [], []
        while len(token_ids) < params.max_tokens:
            with torch.no_grad():
                logits_V = self.policy.model(torch.tensor([[*prompt_ids, *token_ids]])).logits[0, -1]
            log_probs_V = (logits_V / params.temperature).log_softmax(-1)
            token_ids.append(int(torch.multinomial(log_probs_V.exp(), 1, generator=generator)))
            log_probs.append({token_ids[-1]: SimpleNamespace(logprob=float(log_probs_V[token_ids[-1]]))})
            text = self.policy.decode(token_ids)
            if token_ids[-1] in params.stop_token_ids or any(stop in text for stop in params.stop):
                break
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=token_ids, logprobs=log_probs)])


@pytest.fixture
def policy():
    tiny = digits_policy()
    return VLLMPolicy(StandIn(tiny), tiny.tokenizer, tiny.context, Params)


def test_trajectories_carry_what_the_engine_sampled(policy):
    said = rollout(policy, [[9, 10], [11]], Sampling(max_new_tokens=9, temperature=0.7), num_samples=3)
    assert len({tuple(each.token_ids) for each in said}) > 4
    for trajectory in said:
        check_log_probs(policy.llm.policy.model, trajectory, temperature=0.7)
    assert len(policy.llm.requests) == 6 and len({params.seed for _, params in policy.llm.requests}) == 6


def test_after_a_reply_the_engine_gets_the_very_tokens_back(policy):
    echo = Echo([Reply("=42<answer>"), Reply("+")], stop=("1", "2", "3"))
    said = rollout(policy, [[9, 10], [11]], Sampling(max_new_tokens=30), num_samples=5, environment=echo)
    assert sum(not all(each.loss_mask) for each in said) > 5
    for trajectory in said:
        check_log_probs(policy.llm.policy.model, trajectory)
        assert sum(trajectory.loss_mask) <= 30 and len(trajectory.prompt_ids) + len(trajectory.token_ids) <= 64
    assert len(policy.llm.requests) == 10 + sum(
        1 for turns in echo.turns.values() for turn, _ in zip(turns, echo.replies, strict=False)
    ) - sum(each.stop_reason == "length" and not each.loss_mask[-1] for each in said)


@dataclass
class Slow:
    """Answers two turns of each session after ``wait(number, turn number)``."""

    wait: object
    stop: tuple = ("1", "2", "3")

    def open(self, *number):
        turns = count(1)

        def respond(turn):
            self.wait(number, turn_number := next(turns))
            return Reply("=42") if turn.stop and turn_number < 3 else None

        return SimpleNamespace(respond=respond, close=lambda: None)


def test_sessions_answer_side_by_side_and_change_nothing(policy):
    random = Random()
    settings = dict(sampling=Sampling(max_new_tokens=20), num_samples=5)
    expected = rollout(policy, [[9], [10]], environment=Slow(lambda *_: None), deterministic=True, **settings)
    everybody = threading.Barrier(10)

    def wait(number, turn):
        if turn == 1:
            everybody.wait(60)  # nobody is answered before all have asked
        time.sleep(random.random() * 0.02)

    said = rollout(policy, [[9], [10]], environment=Slow(wait), **settings)
    assert said == expected and any(not all(each.loss_mask) for each in said)


def test_the_engine_is_not_called_for_a_few_rows_while_more_of_them_wait(policy):
    policy.llm.batches.clear()
    first_batch = threading.Barrier(8)
    arrivals = threading.Lock()

    def wait(number, turn):
        if turn == 1:
            first_batch.wait(20)
        with arrivals:  # one reply after the other
            time.sleep(0.02)

    prompt, script = [9], dict(num_samples=8, environment=Slow(wait))
    rollout(policy, [prompt], Sampling(max_new_tokens=40), **script)
    assert policy.llm.batches[0] == 8 and policy.llm.batches[1] >= 4, "half of them, or more"


def test_top_p_is_refused_and_a_missing_engine_named(policy):
    with pytest.raises(UserError, match=r"top_p = 0\.9"):
        rollout(policy, [[9]], Sampling(max_new_tokens=3, top_p=0.9))
    with pytest.raises(UserError, match="the extra vllm"):
        vllm_policy("anything")

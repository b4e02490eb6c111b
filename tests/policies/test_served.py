"""A policy behind HTTP, against a stand-in for vLLM's server that samples with a tiny model."""

import threading
import time
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace

import pytest
from acting import Echo, check_log_probs
from completions_server import StandIn, serving

from tenfold.core.errors import UserError
from tenfold.core.types import Reply
from tenfold.policies import ChatServer, Sampling, rollout, served_policy, tiny_policy
from tenfold.policies.served import PROBE, ServerError

LETTERS = "".join(dict.fromkeys("0123456789+=#" + PROBE))


def tiny(letters=LETTERS):
    return tiny_policy(letters, ("<answer>", "</answer>"), width=16, layers=2, heads=2, context=64)


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture
def stand_in(model):
    return StandIn(model)


@pytest.fixture
def url(stand_in):
    with serving(stand_in) as url:
        yield url


@pytest.fixture
def policy(stand_in, url):
    policy = connect(url, stand_in)
    stand_in.requests.clear()
    return policy


def connect(url, stand_in, **options):
    options = {"seconds": 10.0, "wait_seconds": 0.01, "retries": 2} | options
    return served_policy(url, stand_in.policy.tokenizer, **options)


def test_trajectories_carry_what_the_server_sampled(policy, stand_in):
    said = rollout(policy, [[9, 10], [11]], Sampling(max_new_tokens=9, temperature=0.7), num_samples=3)
    assert len({tuple(each.token_ids) for each in said}) > 4
    for trajectory in said:
        check_log_probs(stand_in.policy.model, trajectory, temperature=0.7)
    assert len(stand_in.requests) == 6 and len({request["seed"] for request in stand_in.requests}) == 6


def test_a_request_says_all_that_a_server_could_decide_by_itself(policy, stand_in):
    rollout(policy, [[9, 10]], Sampling(max_new_tokens=9, temperature=0.7, stop=("#",)))
    (request,) = stand_in.requests
    assert request.pop("seed") >= 0
    assert request == {
        "model": "tiny",
        "prompt": [9, 10],
        "max_tokens": 9,
        "temperature": 0.7,
        "stop": ["#"],
        "stop_token_ids": [stand_in.policy.tokenizer.eos_token_id],
        "ignore_eos": True,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logprobs": 0,
        "return_token_ids": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }


def test_equal_seeds_repeat_whatever_is_sampled_beside_them(policy):
    sampling = Sampling(max_new_tokens=8)
    both = rollout(policy, [[9], [10]], sampling, num_samples=3, keys=["a", "b"])
    assert both[3:] == rollout(policy, [[10]], sampling, num_samples=3, keys=["b"], batch_size=1)
    assert both[3:] != rollout(policy, [[10]], sampling, num_samples=3, keys=["b"], seed=1)


def test_after_a_reply_the_server_gets_the_very_tokens_back(policy, stand_in):
    echo = Echo([Reply("=42<answer>"), Reply("+")], stop=("1", "2", "3"))
    said = rollout(policy, [[9, 10], [11]], Sampling(max_new_tokens=40), num_samples=5, environment=echo)
    assert sum(not all(each.loss_mask) for each in said) > 2
    for trajectory in said:
        check_log_probs(stand_in.policy.model, trajectory)
        assert sum(trajectory.loss_mask) <= 40 and len(trajectory.prompt_ids) + len(trajectory.token_ids) <= 64
    prompts = {tuple(request["prompt"]) for request in stand_in.requests}
    for trajectory in said:
        if not all(trajectory.loss_mask) and trajectory.loss_mask[-1]:
            after = len(trajectory.loss_mask) - trajectory.loss_mask[::-1].index(False)
            assert (*trajectory.prompt_ids, *trajectory.token_ids[:after]) in prompts


@dataclass
class Slow:
    """Answers two turns of each session after ``wait(number, turn number)``."""

    wait: object
    stop: tuple = ("1", "2", "3", "a", "e", "r")

    def open(self, *number):
        turns = count(1)

        def respond(turn):
            self.wait(number, turn_number := next(turns))
            return Reply("=42") if turn.stop and turn_number < 3 else None

        return SimpleNamespace(respond=respond, close=lambda: None)


def test_sessions_answer_side_by_side_and_change_nothing(policy):
    settings = dict(sampling=Sampling(max_new_tokens=20), num_samples=5)
    expected = rollout(policy, [[9], [10]], environment=Slow(lambda *_: None), deterministic=True, **settings)
    said = rollout(policy, [[9], [10]], environment=Slow(lambda number, _: time.sleep(number[1] * 0.01)), **settings)
    assert said == expected and any(not all(each.loss_mask) for each in said)


def test_a_reply_is_sent_on_while_another_turn_is_still_sampled(policy, stand_in):
    """The first request is held up until the other trajectory has had its reply and its second turn."""
    others_went_on = threading.Event()
    first = iter([True])

    def said(ids, request):
        if next(first, False):
            stand_in.lock.release()
            assert others_went_on.wait(10)
            stand_in.lock.acquire()
        elif len(ids) > 1:
            others_went_on.set()
        return [stand_in.policy.encode("1")[0]], [-1.0]

    stand_in.said = said
    rollout(policy, [[9]], Sampling(max_new_tokens=9), num_samples=2, environment=Slow(lambda *_: time.sleep(0.05)))
    assert others_went_on.is_set()


def test_no_more_requests_are_under_way_than_the_batch_has_rows(policy, stand_in):
    stand_in.delay = 0.02
    rollout(policy, [[9], [10]], Sampling(max_new_tokens=3), num_samples=8, batch_size=4)
    assert 2 <= stand_in.most_under_way <= 4


def test_rows_are_spread_over_servers(model):
    two = [StandIn(model), StandIn(model)]
    with serving(two[0]) as first, serving(two[1]) as second:
        policy = connect([first, second], two[0])
        rollout(policy, [[9], [10]], Sampling(max_new_tokens=3), num_samples=16)
    assert all(len(each.requests) > 8 for each in two) and sum(len(each.requests) for each in two) == 34


@pytest.mark.parametrize("failure", [503, "cut", 429])
def test_what_may_pass_by_itself_is_tried_again(policy, stand_in, failure):
    expected = rollout(policy, [[9]], Sampling(max_new_tokens=5), num_samples=2)
    stand_in.script = [failure, failure]
    assert rollout(policy, [[9]], Sampling(max_new_tokens=5), num_samples=2) == expected


def test_a_server_that_stays_silent_or_refuses_ends_the_rollout_in_a_sentence(url, stand_in):
    policy = connect(url, stand_in, seconds=0.3, retries=1)
    stand_in.script = ["hang", "hang"]
    with pytest.raises(ServerError, match=rf"^{url}: no answer within 0\.3 s \(tried 2 times\)$"):
        rollout(policy, [[9]], Sampling(max_new_tokens=5))
    stand_in.context = 4  # less than it said
    with pytest.raises(ServerError, match=r"status 400 .*maximum context length is 4 tokens"):
        rollout(policy, [[9] * 6], Sampling(max_new_tokens=5))


def test_a_rollout_that_is_given_up_breaks_off_its_requests(policy, stand_in):
    stand_in.script = ["hang", "hang", "hang", 400]
    with pytest.raises(ServerError, match="status 400"):
        rollout(policy, [[9]], Sampling(max_new_tokens=5), num_samples=4)
    until = time.monotonic() + 5
    while len(stand_in.calls) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert stand_in.calls == [("gone", b"")] * 3, "the other side has closed each of them"
    assert rollout(policy, [[9]], Sampling(max_new_tokens=5)), "and the policy goes on serving"


def test_what_cannot_be_served_is_refused_by_name(policy, model):
    with pytest.raises(UserError, match=r"top_p = 0\.9: with a served policy"):
        rollout(policy, [[9]], Sampling(max_new_tokens=3, top_p=0.9))
    with pytest.raises(UserError, match="a chat client gives text and no token ids"):
        served_policy(ChatServer("http://127.0.0.1:9/v1", "small"), model.tokenizer)
    with pytest.raises(UserError, match="starts with http"):
        served_policy("127.0.0.1:8000", model.tokenizer)
    with pytest.raises(UserError, match="at least one address"):
        served_policy([], model.tokenizer)


def test_a_server_that_is_absent_or_has_another_model_is_told_apart(url, stand_in):
    with pytest.raises(ServerError, match="Connection refused"):
        connect("http://127.0.0.1:9/v1", stand_in, retries=0)
    with pytest.raises(ServerError, match=r"model = 'large': .* does not serve it; allowed: tiny"):
        connect(url, stand_in, model="large")
    with pytest.raises(ServerError, match="status 404"):
        connect(url.removesuffix("/v1") + "/v2", stand_in)


def test_another_tokenizer_is_found_out_by_a_probe(url):
    other = SimpleNamespace(policy=tiny(LETTERS[::-1]))
    with pytest.raises(ServerError, match=r"reads a probe text as .*, and the given tokenizer as"):
        connect(url, other)


def test_log_probabilities_of_another_distribution_are_found_out(url, stand_in):
    stand_in.processed = False
    with pytest.raises(ServerError, match="--logprobs-mode processed_logprobs"):
        connect(url, stand_in)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>", "no JSON"),
        (b"{}", "no choices"),
        (b'{"choices": [{"text": "a"}]}', "returns no token ids"),
        (b'{"choices": [{"token_ids": [1, 2], "logprobs": {"token_logprobs": [-1.0]}}]}', "2 tokens and 1 log-prob"),
        (b'{"choices": [{"token_ids": [1], "logprobs": {"token_logprobs": [null]}}]}', "1 tokens and 1 log-prob"),
    ],
)
def test_answers_of_another_kind_are_errors(policy, stand_in, answer, message):
    stand_in.script = [answer]
    with pytest.raises(ServerError, match=message):
        rollout(policy, [[9]], Sampling(max_new_tokens=5))

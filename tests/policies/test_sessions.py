"""Sessions answer in their own time: what is sampled does not depend on it, and rows that wait hold nobody up."""

import threading
import time
from dataclasses import replace
from random import Random

import pytest
from acting import check_log_probs, digits_policy

from tenfold.core.types import Reply
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout
from tenfold.policies.decoding import _placed

PROMPTS = [[9, 10, 11], [12], [13, 14, 15, 16, 17, 18, 9, 10], [9, 10, 11], [20, 21]]
DEADLINE = 60  # of what would hang if it were broken


class Environment:
    """A session is ``answer(number, turn number, turn)``; the numbers of opened and closed sessions are kept."""

    stop = ("1", "2", "3")

    def __init__(self, answer):
        self.answer, self.opened, self.closed = answer, [], []

    def open(self, prompt, sample):
        self.opened.append((prompt, sample))
        return Session(self, (prompt, sample))


class Session:
    def __init__(self, environment, number):
        self.environment, self.number, self.turns, self.lock = environment, number, 0, threading.Lock()
        self.threads = set()

    def respond(self, turn):
        self.threads.add(threading.current_thread())
        assert self.lock.acquire(blocking=False), "one question at a time"
        self.turns += 1
        try:
            return self.environment.answer(self.number, self.turns, turn)
        finally:
            self.lock.release()

    def close(self):
        assert not self.lock.locked() and self.threads <= {threading.current_thread()}, "one thread for a session"
        self.environment.closed.append(self.number)


def sleeping(longest=0.02):
    """Answers after a random time, in another order in each rollout; what it answers is a function of the turn."""
    random = Random()

    def answer(number, turns, turn):
        time.sleep(random.random() * longest)
        if turn.stop is None or turns == 5:
            return None
        said = Reply(
            ("=", "4=", "4<answer>", "=4=2")[len(turn.text) % 4],
            tool_calls=[{"turn": turns}],
            reward_parts={"n": turns},
        )
        return replace(said, end=turns == 4 and turn.stop == "2")

    return Environment(answer)


def settled(trajectories):
    return [replace(each, log_probs=[]) for each in trajectories]


@pytest.mark.parametrize("count_replies", [False, True])
def test_timing_rounds_and_batches_change_no_trajectory(count_replies):
    policy = digits_policy()
    sampling = Sampling(max_new_tokens=25, count_replies=count_replies)
    settings = dict(num_samples=4, seed=2)
    expected = rollout(policy, PROMPTS, sampling, environment=sleeping(0), deterministic=True, **settings)
    assert sum(len(each.tool_calls) > 1 for each in expected) > 5
    assert {each.stop_reason for each in expected} == {"stop", "length", "environment"}
    for deterministic, batch_size in ((False, 64), (False, 7), (False, 2), (False, 1), (True, 7), (True, 1)):
        environment = sleeping()
        options = dict(environment=environment, deterministic=deterministic, batch_size=batch_size)
        said = rollout(policy, PROMPTS, sampling, **settings, **options)
        assert settled(said) == settled(expected)
        for one, other in zip(said, expected, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
            check_log_probs(policy.model, one)
        assert sorted(environment.closed) == sorted(environment.opened) and len(environment.opened) == 20


def test_a_scripted_policy_says_the_same_at_any_time():
    policy = ScriptedPolicy(character_tokenizer("0123456789+=", ("<answer>",)), lambda i, j: f"{i}1{j}2{i + j}3" * 3)
    prompts = [policy.encode("0+")] * 4
    said = [
        rollout(policy, prompts, Sampling(30), num_samples=3, environment=sleeping(), deterministic=deterministic)
        for deterministic in (True, False, False)
    ]
    assert said[0] == said[1] == said[2] and any(len(each.tool_calls) > 2 for each in said[0])


def waits_for_the_others(last):
    """Sample 0 is answered when all others are finished, so that who waits for it waits forever."""
    finished = threading.Semaphore(0)

    class Slow(Session):
        def close(self):
            super().close()
            finished.release()

    def answer(number, turns, turn):
        if number[1] == 0 and turns == 1:
            for _ in range(last):
                assert finished.acquire(timeout=DEADLINE), "the other rows did not go on"
        return Reply("=") if turn.stop else None

    environment = Environment(answer)
    environment.open = lambda *number: Slow(environment, number)
    return environment


def test_rows_go_on_while_one_waits():
    policy = digits_policy()
    calm = Environment(lambda number, turns, turn: Reply("=") if turn.stop else None)
    settings = dict(sampling=Sampling(max_new_tokens=30), num_samples=6, seed=1)
    expected = rollout(policy, [[9]], environment=calm, deterministic=True, **settings)
    assert expected[0].tool_calls == () and not all(expected[0].loss_mask), "the first one asks"
    for batch_size in (64, 3, 2):  # with places for all, and with less, where others come in beside the one that waits
        said = rollout(policy, [[9]], environment=waits_for_the_others(5), batch_size=batch_size, **settings)
        assert settled(said) == settled(expected)


def test_a_scripted_policy_goes_on_while_one_waits():
    policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: "1+1+" * (sample + 1))
    said = rollout(policy, [[9]], Sampling(30), num_samples=4, environment=waits_for_the_others(3))
    assert [policy.decode(each.token_ids) for each in said] == ["1=+1=+" * (n + 1) + "<eos>" for n in range(4)]


def test_rows_that_wait_are_not_computed():
    policy = digits_policy()
    shapes = []
    policy.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    # Replies of three tokens: what is fed of them beside the last is two columns or more.
    said = rollout(policy, [[9], [10]], Sampling(30), num_samples=8, environment=Environment(reply_of_three))
    assert sum(rows for rows, columns in shapes if columns == 1) == sum(sum(each.loss_mask) for each in said)


def reply_of_three(number, turns, turn):
    time.sleep(0.01)
    return Reply("=42") if turn.stop and turns < 3 else None


def test_when_all_wait_nothing_is_polled():
    policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: "1")
    make, steps = policy.decoder, []

    def counting(rows, sampling, batch_size):
        decoder = make(rows, sampling, batch_size)
        step = decoder.step
        decoder.step = lambda: steps.append(0) or step()
        return decoder

    object.__setattr__(policy, "decoder", counting)
    everybody_asked = threading.Barrier(4)

    def answer(number, turns, turn):
        if turn.stop is None:
            return None
        everybody_asked.wait(DEADLINE)
        time.sleep(0.1 + 0.05 * number[1])
        return Reply("=")

    rollout(policy, [[9]], Sampling(9), num_samples=4, environment=Environment(answer))
    assert len(steps) < 30, "a few for each reply"


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_session_that_fails_ends_the_rollout_and_all_sessions(deterministic):
    def answer(number, turns, turn):
        time.sleep(0.01)
        if number == (1, 1) and turns == 2:
            raise ValueError("a defect of the environment")
        return Reply("=")

    environment = Environment(answer)
    policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: "12" * 9)
    with pytest.raises(ValueError, match="a defect of the environment"):
        settings = dict(num_samples=3, environment=environment, deterministic=deterministic)
        rollout(policy, [[9], [10]], Sampling(20), **settings)
    assert sorted(environment.closed) == sorted(environment.opened) and len(environment.opened) == 6


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_session_that_cannot_be_closed_is_told_and_the_others_are_closed(deterministic):
    class Stuck(Session):
        def close(self):
            super().close()
            if self.number == (0, 1):
                raise OSError("cannot close")

    environment = Environment(lambda number, turns, turn: None)
    environment.open = lambda *number: Stuck(environment, number)
    policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: "12")
    with pytest.raises(OSError, match="cannot close"):
        rollout(policy, [[9]] * 3, Sampling(9), num_samples=2, environment=environment, deterministic=deterministic)
    assert len(environment.closed) == len(set(environment.closed)) == 6


def test_a_session_is_closed_when_its_trajectory_is_finished():
    """Sessions that need one of two places, from their first question to their end: nobody waits forever."""
    places = threading.Semaphore(2)

    class Holding(Session):
        def close(self):
            super().close()
            if self.turns:
                places.release()

    def answer(number, turns, turn):
        if turns == 1:
            assert places.acquire(timeout=DEADLINE), "places are given back at the end alone"
        time.sleep(0.005)
        return Reply("=") if turn.stop else None

    for batch_size, deterministic in ((64, False), (3, False), (2, True)):
        environment = Environment(answer)
        environment.open = lambda *number, environment=environment: Holding(environment, number)
        options = dict(batch_size=batch_size, deterministic=deterministic)
        said = rollout(digits_policy(), PROMPTS, Sampling(20), num_samples=3, environment=environment, **options)
        assert len(said) == len(environment.closed) == 15


def conversation(text, reply, **sampling):
    policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: text)
    environment = Environment(lambda number, turns, turn: reply if turn.stop else None)
    (said,) = rollout(policy, [policy.encode("9+")], Sampling(**sampling), environment=environment)
    return policy.decode(said.token_ids), said.stop_reason


@pytest.mark.spec("cort", "3")
@pytest.mark.parametrize(
    ("limit", "reply", "said"),
    [
        (20, Reply("==="), ("01===4<eos>", "stop")),
        (6, Reply("==="), ("01===4", "length")),
        (5, Reply("==="), ("01", "length")),  # no room for a token after the reply, so it is left out
        (4, Reply("==="), ("01", "length")),
        (5, Reply("===", end=True), ("01===", "environment")),  # none is needed after the end
        (4, Reply("===", end=True), ("01", "length")),
        (3, Reply(""), ("014", "length")),
        (2, Reply(""), ("01", "length")),
        (1, Reply(""), ("0", "length")),
    ],
)
def test_the_whole_completion_is_limited_where_replies_count(limit, reply, said):
    assert conversation("014", reply, max_new_tokens=limit, count_replies=True) == said


@pytest.mark.spec("cort", "3")
def test_the_limit_is_never_exceeded_and_is_off_by_default():
    policy = digits_policy()
    environment = Environment(lambda number, turns, turn: Reply("=42=") if turn.stop else None)
    for limit in (1, 5, 12, 30):
        settings = dict(num_samples=20, environment=environment)
        counted = rollout(policy, PROMPTS, Sampling(limit, count_replies=True), **settings)
        assert max(len(each.token_ids) for each in counted) <= limit
        free = rollout(policy, PROMPTS, Sampling(limit), **settings)
        assert max(sum(each.loss_mask) for each in free) == limit
    assert any(len(each.token_ids) > limit for each in free)


def test_places_of_a_region_are_filled_with_the_fewest_moves():
    random = Random(0)
    for _ in range(200):
        places = random.sample(range(12), random.randint(0, 8))
        start = random.randint(0, 12 - len(places))
        region = range(start, start + len(places))
        placed = _placed(places, region)
        assert sorted(placed) == list(region) and sorted(placed.values()) == sorted(places)
        assert sum(source != target for target, source in placed.items()) == len(set(places) - set(region))

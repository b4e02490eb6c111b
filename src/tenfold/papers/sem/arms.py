"""The arms as data: how each is asked, what answers its searches, what it is paid, and which fields act in it alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.core.types import Environment, Trajectory
from tenfold.papers.sem.config import RewardConfig
from tenfold.papers.sem.decided import ANSWERED, STATED, DecidedSearch, always, read_decided, when_unsure
from tenfold.papers.sem.environment import SearchEnvironment
from tenfold.papers.sem.grammar import Response, read_response
from tenfold.papers.sem.method import Weighted, confidence_rewards, rival_rewards, sem_rewards
from tenfold.papers.sem.prompts import CLOSED_BOOK, CONFIDENCE, SEM

Searching = Callable[[SearchEnvironment, RewardConfig], Environment | None]
"""From what answers queries to what a policy acts on in a test."""
Reader = Callable[[Trajectory, Any], Response]
"""A trajectory and the tokenizer to what was said."""
Rewards = Callable[[RewardConfig], Weighted]


@dataclass(frozen=True)
class Form:
    """How a policy is asked, and how its responses are read.

    Args:
        instructions: of the system, for a policy that reads words.
        searching: what it acts on in a test.
        read: its responses.
        states_confidence: whether a confidence follows the first answer. A warm start of the arm's own teaches to state
            it, and its reinforcement ends there.
    """

    instructions: str
    searching: Searching
    read: Reader = read_response
    states_confidence: bool = False


@dataclass(frozen=True)
class Arm:
    """One arm.

    Args:
        text: what it is, in a sentence.
        form: how it is asked.
        rewards: what its reinforcement pays; ``None`` for none, so that it is the warm start.
        rate: the name of its learning rate.
        fields: fields of the configuration that act in its reinforcement and not in every other one.
    """

    text: str
    form: Form
    rewards: Rewards | None = None
    rate: str = ""
    fields: tuple[str, ...] = ()


def _no_search(search: SearchEnvironment, reward: RewardConfig) -> Environment | None:
    return None


def _own_searches(search: SearchEnvironment, reward: RewardConfig) -> Environment | None:
    return search


def _always_searched(search: SearchEnvironment, reward: RewardConfig) -> Environment | None:
    return DecidedSearch(search, ANSWERED, always)


def _searched_when_unsure(search: SearchEnvironment, reward: RewardConfig) -> Environment | None:
    return DecidedSearch(search, STATED, when_unsure(reward.search_below))


def _rival(reward: RewardConfig) -> Weighted:
    return rival_rewards(reward.rival, reward.normalisation)


def _sem(reward: RewardConfig) -> Weighted:
    return _sem_at(reward, reward.a2_discount)


def _sem_discount(reward: RewardConfig) -> Weighted:
    return _sem_at(reward, reward.low_a2_discount)


def _sem_at(reward: RewardConfig, a2_discount: float) -> Weighted:
    return sem_rewards(
        tau=reward.tau,
        searched_but_known_reward=reward.searched_but_known_reward,
        a2_discount=a2_discount,
        search_cost=reward.search_cost,
        normalisation=reward.normalisation,
    )


def _confidence(reward: RewardConfig) -> Weighted:
    return confidence_rewards(reward.normalisation)


SEARCHING = Form(SEM, _own_searches)
_SEM_FIELDS = ("reward.tau", "reward.searched_but_known_reward", "reward.search_cost")

ARMS: Mapping[str, Arm] = {
    "answer_reward": Arm(
        "GRPO on the exact match of the final answer, as in Search-R1, or on the reward of another rival",
        SEARCHING,
        _rival,
        rate="answer_reward",
        fields=("reward.rival", "rates.answer_reward"),
    ),
    "never_search": Arm("the warm start, which answers every question without search", Form(CLOSED_BOOK, _no_search)),
    "always_search": Arm("the warm start, which is made to search for every question", Form(SEM, _always_searched)),
    "sem": Arm(
        "GRPO on SEM's reward",
        SEARCHING,
        _sem,
        rate="sem",
        fields=(*_SEM_FIELDS, "reward.a2_discount", "rates.sem"),
    ),
    "sem_discount": Arm(
        "GRPO on SEM's reward, with less paid for an answer after a search",
        SEARCHING,
        _sem_discount,
        rate="sem_discount",
        fields=(*_SEM_FIELDS, "reward.low_a2_discount", "rates.sem_discount"),
    ),
    "sem_confidence": Arm(
        "GRPO on RLCR's reward for the first answer and its confidence; a low confidence starts a search",
        Form(CONFIDENCE, _searched_when_unsure, read_decided, states_confidence=True),
        _confidence,
        rate="sem_confidence",
        fields=("rates.sem_confidence",),
    ),
}

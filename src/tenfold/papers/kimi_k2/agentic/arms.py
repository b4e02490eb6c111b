"""The arms as data: which dialogues a policy is taught, and by which objective it is reinforced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenfold.papers.kimi_k2.agentic.small_agents import SmallDialogue

Selection = Callable[[Sequence[SmallDialogue], float], list[SmallDialogue]]
"""Dialogues and the least score to be kept to those that are taught."""


@dataclass(frozen=True)
class Objective:
    """What a reinforcement minimises.

    Args:
        rate: name of its learning rate.
        is_squared: whether it is K2's objective; GRPO's otherwise.
        has_texts: whether the supervised loss on kept dialogues is added (PTX).
        has_budget: whether dialogues beyond the budget are cut and penalised.
    """

    rate: str
    is_squared: bool = False
    has_texts: bool = False
    has_budget: bool = False


@dataclass(frozen=True)
class Arm:
    """One arm.

    Args:
        text: what it is, in a phrase.
        taught: dialogues of its own supervised training; ``None`` where it starts from the training on all dialogues,
            which is a stage that arms share.
        objective: of its reinforcement, if it has one.
    """

    text: str
    taught: Selection | None = None
    objective: Objective | None = None


def everything(dialogues: Sequence[SmallDialogue], passing: float) -> list[SmallDialogue]:
    """No filter."""
    return list(dialogues)


def passed(dialogues: Sequence[SmallDialogue], passing: float) -> list[SmallDialogue]:
    """Those that meet their rubric."""
    return [dialogue for dialogue in dialogues if dialogue.verdict.score >= passing]


def as_many_as_passed(dialogues: Sequence[SmallDialogue], passing: float) -> list[SmallDialogue]:
    """The first ones, as many as meet their rubric: less data, and no better."""
    return list(dialogues[: len(passed(dialogues, passing))])


ARMS: Mapping[str, Arm] = {
    "unfiltered": Arm("supervised training on all dialogues"),
    "kept": Arm("supervised training on the dialogues that met their rubric", taught=passed),
    "fewer": Arm("supervised training on as many dialogues as met their rubric, unfiltered", taught=as_many_as_passed),
    "grpo": Arm("GRPO from the training on all dialogues", objective=Objective("grpo")),
    "k2": Arm("K2's objective from the training on all dialogues", objective=Objective("k2", is_squared=True)),
    "k2_ptx": Arm(
        "K2's objective and the supervised loss on kept dialogues, from the training on all dialogues",
        objective=Objective("k2", is_squared=True, has_texts=True),
    ),
    "k2_budget": Arm(
        "K2's objective with a budget of tokens, from the training on all dialogues",
        objective=Objective("k2", is_squared=True, has_budget=True),
    ),
}

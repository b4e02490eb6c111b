"""Masked addition by two small networks, with group-relative policy gradients written out: seconds in place of minutes.

The first network gives the answer, the second, which sees it, one of eleven confidences. Here scaling of advantages,
entropy bonus and rewards can be compared over seeds without a language model; the laptop run does the same in text.

    A_ij = r_ij − mean_j r_ij  (÷ std_j on request)
    loss = − mean_ij A_ij (log π(y_ij | x_i) + log π(q_ij | x_i, y_ij)) − bonus · mean H(q | x, y)

Shapes: B prompts, G samples of each, N = B·G.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tenfold.core.seeding import key_to_seed, torch_generator
from tenfold.data.questions import Question
from tenfold.eval.calibration import calibration_report
from tenfold.papers.rlcr.masked_addition import SYMBOLS, problems, symbols_of

NUM_CONFIDENCES = 11


@dataclass(frozen=True)
class SmallTraining:
    """How the small policy is trained."""

    steps: int = 600
    """Of reinforcement."""
    prompts: int = 32
    """Of a step."""
    samples: int = 16
    """Of each prompt."""
    learning_rate: float = 1e-3
    """Learning rate of Adam, in warm start and reinforcement."""
    entropy_bonus: float = 0.01
    """Per nat of the confidence's entropy."""
    scale: Literal["none", "group"] = "none"
    """Whether advantages are divided by the group's standard deviation."""
    warm_start_steps: int = 1000
    """Of supervised training."""
    warm_start_batch: int = 256
    """Problems of such a step."""
    confidence_law: tuple[float, ...] = (*[0.015] * 7, 0.055, 0.14, 0.30, 0.40)
    """Of the warm start's confidences."""


class SmallPolicy(nn.Module):
    """Logits of the answer, and of the confidence given an answer.

    Example:
        >>> policy = SmallPolicy()
        >>> hidden_BD = policy.trunk(policy.encode(problems(2, 0)))
        >>> policy.answer(hidden_BD).shape, policy.confidence(hidden_BD, torch.tensor([3, 7])).shape
        (torch.Size([2, 10]), torch.Size([2, 11]))
    """

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2 * len(SYMBOLS), width), nn.ReLU())
        self.answer_head = nn.Linear(width, 10)
        self.confidence_head = nn.Sequential(nn.Linear(width + 10, width), nn.ReLU(), nn.Linear(width, NUM_CONFIDENCES))

    @staticmethod
    def encode(found: list[Question]) -> Tensor:
        """Both symbols of each problem, one-hot, float32 [B, 22]."""
        pairs_B2 = torch.tensor([symbols_of(str(problem.prompt)) for problem in found])
        return nn.functional.one_hot(pairs_B2, len(SYMBOLS)).flatten(1).float()

    def answer(self, hidden_BD: Tensor) -> Tensor:
        """Logits [B, 10]."""
        return self.answer_head(hidden_BD)

    def confidence(self, hidden_BD: Tensor, answers_B: Tensor) -> Tensor:
        """Logits [B, 11]."""
        given_BY = nn.functional.one_hot(answers_B, 10).float()
        return self.confidence_head(torch.cat([hidden_BD, given_BY], dim=-1))


def right_answers(found: list[Question]) -> Tensor:
    """The right digits, int64 [B]."""
    return torch.tensor([int(problem.answers[0]) for problem in found])


def warm_start(seed: int, training: SmallTraining) -> SmallPolicy:
    """A policy that imitates right answers and confidences that don't look at the problem."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "weights"))
        policy = SmallPolicy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=training.learning_rate)
    law = torch.tensor(training.confidence_law)
    for step in range(training.warm_start_steps):
        found = problems(training.warm_start_batch, seed, "warm start", step)
        answers_B = right_answers(found)
        stated_B = torch.multinomial(law, len(found), True, generator=torch_generator(seed, "warm start", step))
        hidden_BD = policy.trunk(policy.encode(found))
        loss = nn.functional.cross_entropy(policy.answer(hidden_BD), answers_B)
        loss = loss + nn.functional.cross_entropy(policy.confidence(hidden_BD, answers_B), stated_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


def reinforce(
    policy: SmallPolicy, reward: Callable[[Tensor, Tensor], Tensor], seed: int, training: SmallTraining
) -> SmallPolicy:
    """Train in place.

    Args:
        policy: warm.
        reward: (confidences q, outcomes c) to rewards, all [N].
        seed: of problems and samples.
        training: how.
    """
    optimizer = torch.optim.Adam(policy.parameters(), lr=training.learning_rate)
    for step in range(training.steps):
        generator = torch_generator(seed, "samples", step)
        found = problems(training.prompts, seed, "reinforcement", step)
        hidden_ND = policy.trunk(policy.encode(found)).repeat_interleave(training.samples, 0)
        true_N = right_answers(found).repeat_interleave(training.samples)
        # The confidence is sampled after the answer and may depend on it, as in a completion.
        answer_NY = policy.answer(hidden_ND).log_softmax(-1)
        answers_N = torch.multinomial(answer_NY.exp(), 1, generator=generator).squeeze(1)
        confidence_NQ = policy.confidence(hidden_ND, answers_N).log_softmax(-1)
        bins_N = torch.multinomial(confidence_NQ.exp(), 1, generator=generator).squeeze(1)
        rewards_N = reward(bins_N / (NUM_CONFIDENCES - 1), (answers_N == true_N).float())
        advantages_N = group_advantages(rewards_N, training.samples, training.scale)
        # Both choices share one advantage: the reward pays for the pair.
        log_probs_N = answer_NY.gather(1, answers_N[:, None]) + confidence_NQ.gather(1, bins_N[:, None])
        entropy = -(confidence_NQ.exp() * confidence_NQ).sum(-1).mean()
        loss = -(advantages_N * log_probs_N.squeeze(1)).mean() - training.entropy_bonus * entropy
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


def group_advantages(rewards_N: Tensor, samples: int, scale: str) -> Tensor:
    """Rewards minus their group's mean, [N]; divided by its standard deviation + 1e-4 for ``scale = "group"``.

    Example:
        >>> group_advantages(torch.tensor([1.0, 0.0, 1.0, 1.0]), 2, "none").tolist()
        [0.5, -0.5, 0.0, 0.0]
    """
    rewards_BG = rewards_N.view(-1, samples)
    advantages_BG = rewards_BG - rewards_BG.mean(1, keepdim=True)
    if scale == "group":
        advantages_BG = advantages_BG / (rewards_BG.std(1, keepdim=True) + 1e-4)
    return advantages_BG.flatten()


@torch.no_grad()
def measure(policy: SmallPolicy, seed: int, num: int = 6000) -> dict[str, float]:
    """The calibration report of the most probable answers and confidences, on fresh problems."""
    found = problems(num, seed, "test")
    hidden_BD = policy.trunk(policy.encode(found))
    answers_B = policy.answer(hidden_BD).argmax(-1)
    stated_B = policy.confidence(hidden_BD, answers_B).argmax(-1).double() / (NUM_CONFIDENCES - 1)
    right_B = answers_B == right_answers(found)
    return calibration_report(stated_B.numpy(), right_B.double().numpy())


def rlcr(q_N: Tensor, c_N: Tensor) -> Tensor:
    """c − (q − c)²."""
    return c_N - (q_N - c_N) ** 2


def rlvr(q_N: Tensor, c_N: Tensor) -> Tensor:
    """c."""
    return c_N


def brier_only(q_N: Tensor, c_N: Tensor) -> Tensor:
    """−(q − c)²."""
    return -((q_N - c_N) ** 2)


VARIANTS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], SmallTraining]] = {
    "rlvr": (rlvr, SmallTraining()),
    "rlcr": (rlcr, SmallTraining()),
    "brier_only": (brier_only, SmallTraining()),
    "rlcr, no bonus": (rlcr, SmallTraining(entropy_bonus=0.0)),
    "rlcr, no bonus, scaled": (rlcr, SmallTraining(entropy_bonus=0.0, scale="group")),
}
"""Name to reward and training; the last two tell what dividing by the group's deviation does."""


def compare(
    seed: int, variants: Mapping[str, tuple[Callable[..., Tensor], SmallTraining]]
) -> dict[str, dict[str, float]]:
    """Variant to its calibration report, all from the same warm start, whose own report is ``start``.

    Args:
        seed: of weights, problems and samples.
        variants: as :data:`VARIANTS`; the warm start is that of the first one's training.

    Example:
        >>> short = SmallTraining(steps=1, warm_start_steps=1)
        >>> list(compare(0, {"rlcr": (rlcr, short)}))
        ['start', 'rlcr']
    """
    start = warm_start(seed, next(iter(variants.values()))[1])
    reports = {"start": measure(start, seed)}
    for name, (reward, training) in variants.items():
        reports[name] = measure(reinforce(copy.deepcopy(start), reward, seed, training), seed)
    return reports

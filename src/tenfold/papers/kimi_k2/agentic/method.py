"""Kimi K2's self-critique reward (section 3.2.2): a critic compares pairs of responses, and its verdicts are rewards.

    l_ij  log-odds that response i is better than j, as the critic states them when i is shown first
    d_ij = (l_ij - l_ji) / 2            both orders; a preference for a place cancels
    r_i  = mean_j sigmoid(d_ij)         win rate, or s_i / (1 + s_i) of the Bradley-Terry strengths s of the same odds

Some criteria are mandatory and checked beforehand: who fails one gets 0, and has lost to everybody who does not. The
critic is the policy itself. It is *refined* on pairs whose better part a verifier knows, drawn from the policy's own
responses, by the logistic loss on d; and it is not asked any more where its tracked accuracy on such pairs falls below
a bound. What the report leaves open is ours: both orders, the rates, the cut-off, the two lists of phrases.

Shapes: K responses to one prompt, P pairs.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError

Response = TypeVar("Response")
How = Literal["win_rate", "bradley_terry"]

CORE_RUBRICS = (
    "Clear and relevant: short, to the point, and one plain answer where a choice is asked for.",
    "Fluent and engaging: a natural conversation that takes up what the other person wants.",
    "Objective and grounded: about the matter, without remarks on the conversation itself and without flattery.",
)
"""What a language model as a critic weighs, in our words."""
PRAISE = (
    r"(what an?|that('s| is) an?|this is an?) (\w+ )?(great|excellent|good|wonderful|fantastic|brilliant) \w+",
    r"(great|excellent|good|wonderful|fantastic|brilliant) (question|idea|point|thinking)\b",
    r"(i (really )?(love|admire)|thank you for) (this|that|your) (\w+ )?(question|idea|request)",
)
"""How a response may open with praise of the user or of the question; begins are matched, in lower case."""
JUSTIFICATION = (
    r"\bthis (answer|response|solution|reply) (is|was) (\w+ )?(complete|correct|comprehensive|high.quality|good|best)",
    r"\b(i|we) have (fully|completely|successfully) (met|satisfied|addressed|followed|fulfilled)",
    r"\bthis (answer|response|solution|reply) (\w+ )?(meets|satisfies|addresses|fulfils|fulfills) (all|every|your)",
)
"""How a response may argue that it is good itself."""


def opens_with_praise(text: str, patterns: Iterable[str] = PRAISE) -> bool:
    """Whether a response begins by praising the user or the question.

    Example:
        >>> opens_with_praise("Great question! It is 4."), opens_with_praise("It is 4.")
        (True, False)
    """
    start = text.strip().lower()
    return any(re.match(pattern, start) for pattern in patterns)


def argues_for_itself(text: str, patterns: Iterable[str] = JUSTIFICATION) -> bool:
    """Whether a sentence of a response argues that the response is good.

    Example:
        >>> argues_for_itself("It is 4. This answer is complete."), argues_for_itself("It is 4.")
        (True, False)
    """
    return any(re.search(pattern, text.lower()) for pattern in patterns)


def symmetrised(log_odds_KK: Tensor) -> Tensor:
    """d_ij from l_ij; antisymmetric, and 0 for a critic that looks at the place alone.

    Example:
        >>> symmetrised(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    return (log_odds_KK - log_odds_KK.T) / 2


def compared(responses: Sequence[Response], critic: Callable[[Response, Response], float]) -> Tensor:
    """Log-odds of all ordered pairs, float32 [K, K] with a diagonal of 0.

    Args:
        responses: to one prompt.
        critic: two of them to the log-odds that the first is better.
    """
    found = torch.zeros(len(responses), len(responses))
    for place, one in enumerate(responses):
        for other_place, other in enumerate(responses):
            if place != other_place:
                found[place, other_place] = critic(one, other)
    return found


def order_agreement(log_odds_KK: Tensor) -> float:
    """Share of the pairs in which both orders prefer the same response.

    Example:
        >>> order_agreement(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
        0.0
    """
    above = torch.triu_indices(len(log_odds_KK), len(log_odds_KK), offset=1)
    one, other = log_odds_KK[above[0], above[1]], log_odds_KK.T[above[0], above[1]]
    return float(((one > 0) == (other < 0)).float().mean())


def bradley_terry(wins_KK: Tensor, rounds: int = 500) -> Tensor:
    """Strengths s with P(i beats j) = s_i / (s_i + s_j), by the minorise-maximise updates of Hunter (2004).

    Args:
        wins_KK: probability, or number, of wins of the row over the column; a little is added to each, so that who
            never wins has a strength, too.
        rounds: of the updates.

    Returns:
        [K], with geometric mean 1.

    Example:
        >>> strengths = bradley_terry(torch.tensor([[0.0, 0.75], [0.25, 0.0]]))
        >>> round(float(strengths[0] / strengths[1]), 1)
        3.0
    """
    others = 1 - torch.eye(len(wins_KK))
    wins_KK = (wins_KK + _LITTLE) * others
    games_KK, strengths_K = wins_KK + wins_KK.T, torch.ones(len(wins_KK))
    for _ in range(rounds):
        expected_K = (games_KK / (strengths_K[:, None] + strengths_K)).sum(1)
        strengths_K = wins_KK.sum(1) / expected_K
        strengths_K = strengths_K / strengths_K.log().mean().exp()
    return strengths_K


_LITTLE = 1e-3


def critique_rewards(log_odds_KK: Tensor, is_compliant_K: Sequence[bool], how: How = "win_rate") -> Tensor:
    """Rewards in [0, 1] from comparisons; 0 where a mandatory criterion fails, above it elsewhere.

    Args:
        log_odds_KK: l_ij, of at least two responses.
        is_compliant_K: whether each meets all mandatory criteria.
        how: the win rate, or the Bradley-Terry strengths.

    Raises:
        UserError: there are fewer than two responses, or the flags are not as many.

    Example:
        >>> log_odds_KK = torch.tensor([[0.0, 9.0], [-9.0, 0.0]])
        >>> critique_rewards(log_odds_KK, [False, True])
        tensor([0., 1.])
    """
    number = len(log_odds_KK)
    if number < 2 or len(is_compliant_K) != number:
        raise UserError(
            f"is_compliant_K: {len(is_compliant_K)} flags for {number} responses; needed: one for each of two or more"
        )
    wins_KK = symmetrised(log_odds_KK).sigmoid()
    compliant_K = torch.tensor(is_compliant_K)
    wins_KK = wins_KK.masked_fill(compliant_K[:, None] & ~compliant_K, 1.0)
    wins_KK = wins_KK.masked_fill(~compliant_K[:, None] & compliant_K, 0.0)
    wins_KK = wins_KK * (1 - torch.eye(number))
    if how == "win_rate":
        rewards_K = wins_KK.sum(1) / (number - 1)
    else:
        strengths_K = bradley_terry(wins_KK)
        rewards_K = strengths_K / (1 + strengths_K)
    return rewards_K.clamp(min=_LITTLE).masked_fill(~compliant_K, 0.0)


def centred(rewards_K: Tensor) -> Tensor:
    """The rewards of one prompt without their mean."""
    return rewards_K - rewards_K.mean()


def with_calibration(rewards_K: Tensor, confidences_K: Tensor, is_right_K: Tensor, weight: float) -> Tensor:
    """The rewards with a proper score of stated confidences beside them, against the critic's taste for sure answers.

        r_i - weight (confidence_i - right_i)^2

    Args:
        rewards_K: of the critic.
        confidences_K: stated, in [0, 1].
        is_right_K: whether each response is right, where that is known.
        weight: at least 0; 0 leaves the rewards.

    Raises:
        UserError: the weight is negative.

    Example:
        >>> with_calibration(torch.tensor([0.5]), torch.tensor([0.9]), torch.tensor([False]), weight=1.0)
        tensor([-0.3100])
    """
    if weight < 0:
        raise UserError(f"weight = {weight}: must be at least 0")
    return rewards_K - weight * (confidences_K - is_right_K.float()) ** 2


def verified_pairs(is_right: Sequence[bool], most: int) -> list[tuple[int, int]]:
    """Places of (right, wrong) responses to one prompt whose true reward is known: each used as rarely as possible.

    Args:
        is_right: by the verifier.
        most: pairs.

    Example:
        >>> verified_pairs([True, False, False, True], most=3)
        [(0, 1), (3, 2), (0, 2)]
    """
    right = [place for place, value in enumerate(is_right) if value]
    wrong = [place for place, value in enumerate(is_right) if not value]
    pairs = [
        (right[turn % len(right)], wrong[(turn + shift) % len(wrong)])
        for shift in range(len(wrong))
        for turn in range(len(right))
        if wrong
    ]
    return list(dict.fromkeys(pairs))[:most]


def pair_loss(right_first_P: Tensor, wrong_first_P: Tensor) -> Tensor:
    """The logistic loss on d, scalar; it teaches to prefer the right response wherever it stands.

    Args:
        right_first_P: log-odds of "the first is better" where the right response is first.
        wrong_first_P: the same where it is second.

    Example:
        >>> round(float(pair_loss(torch.tensor([0.0]), torch.tensor([0.0]))), 3)
        0.693
    """
    both = torch.cat((right_first_P, -wrong_first_P))
    return nn.functional.softplus(-both).mean()


def pair_accuracy(right_first_P: Tensor, wrong_first_P: Tensor) -> float:
    """Share of pairs whose right response is preferred when both orders are counted together; a tie is half.

    Example:
        >>> pair_accuracy(torch.tensor([3.0, -1.0]), torch.tensor([1.0, 0.5]))
        0.5
    """
    d_P = right_first_P - wrong_first_P
    return float(((d_P > 0).float() + 0.5 * (d_P == 0).float()).mean())


@dataclass
class CriticTrack:
    """How often a critic has been right on recent verifiable pairs, and whether it may be asked.

    Args:
        cut_off: least accuracy.
        window: number of pairs that are remembered.
        fewest: pairs below which the critic is not asked, for nothing is known of it.

    Raises:
        UserError: the cut-off is no share, or the window holds fewer pairs than are needed.

    Example:
        >>> track = CriticTrack(cut_off=0.7, window=4, fewest=2)
        >>> track.add([True, True]), track.is_trusted
        (None, True)
        >>> track.add([False, False]), track.accuracy, track.is_trusted
        (None, 0.5, False)
    """

    cut_off: float = 0.7
    window: int = 512
    fewest: int = 64
    _seen: deque[bool] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.cut_off <= 1:
            raise UserError(f"cut_off = {self.cut_off}: must lie in [0, 1]")
        if not 1 <= self.fewest <= self.window:
            raise UserError(f"fewest = {self.fewest}: must be at least 1 and at most window = {self.window}")
        self._seen = deque(maxlen=self.window)

    def add(self, is_right: Iterable[bool]) -> None:
        """Note some comparisons, oldest first."""
        self._seen.extend(is_right)

    @property
    def accuracy(self) -> float:
        """Over the window; not a number before the first pair."""
        return sum(self._seen) / len(self._seen) if self._seen else float("nan")

    @property
    def is_trusted(self) -> bool:
        """Whether the critic's rewards are to be used."""
        return len(self._seen) >= self.fewest and self.accuracy >= self.cut_off


def refine(
    critic: Callable[[Sequence[Response], Sequence[Response]], Tensor],
    batches: Iterable[Sequence[tuple[Response, Response]]],
    optimizer: torch.optim.Optimizer,
    track: CriticTrack,
) -> list[float]:
    """Closed-loop refinement: each batch is judged first, for the track, and learned from then.

    Args:
        critic: first and second responses of P pairs to the log-odds [P] that the first is better, with a gradient.
        batches: (right, wrong) pairs of the policy of that moment, known by the verifier.
        optimizer: of the critic's weights.
        track: is told how often the critic was right before it learned.

    Returns:
        The loss of each batch.
    """
    losses = []
    for pairs in batches:
        right, wrong = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        right_first_P, wrong_first_P = critic(right, wrong), critic(wrong, right)
        track.add(((right_first_P - wrong_first_P) > 0).tolist())
        loss = pair_loss(right_first_P, wrong_first_P)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

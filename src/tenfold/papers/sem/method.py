"""SEM's reward on a typed response, and rival rewards of search agents beside it, with trl's signature.

    R = f 1{F1(a1) >= tau, s = 0, t = 1} F1(a1)  +  f 1{F1(a1) < tau, u = 1} F1(a2)        (specification, section 3)

f: the whole structure is valid; s: a search was made; t: one pair of thinking and answer; u: searches and results are
well formed; a1, a2: first and last answer. t and u are read whatever else is wrong. That f gates the second term as
well is a decision of ours, and so is tau = 0.5: neither can be told from what is published. Three known weaknesses have
options, off by default: a known answer that was searched is paid no more than nonsense
(``searched_but_known_reward``), a first answer may be spoilt on purpose (``a2_discount``), and a search costs nothing
(``search_cost``).

Rivals in one line each, on the same response: Search-R1 (exact match of the final answer, whatever the structure),
ReSearch (format and F1). What the literature calls OTC and boundary contrast is not copied here: ``otc_like`` and
``boundary_contrast_like`` have the idea, and a law of ours. :func:`sem_rewards`, :func:`rival_rewards` and
:func:`confidence_rewards` are what GRPO takes.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.types import Trajectory
from tenfold.eval.answer_text import Normalisation, require_normalisation
from tenfold.eval.exact_match import exact_match
from tenfold.eval.multiple_choice import multiple_choice
from tenfold.eval.references import reference_texts
from tenfold.eval.token_f1 import token_f1
from tenfold.papers.sem.grammar import Response, parse, parse_trajectory
from tenfold.rewards import CalibrationReward, CorrectnessReward, FormatReward
from tenfold.rewards.said import text_of

DEFAULT_THRESHOLD = 0.5
"""tau; ours."""
RewardFunction = Callable[..., list[float | None]]
Weighted = tuple[list[RewardFunction], list[float]]
"""Reward functions of trl, and their weights."""


@dataclass(frozen=True)
class Gold:
    """What counts as right for one question.

    Args:
        answers: the answer and its aliases; of a choice the letter or the text.
        choices: the options, in order; empty for an open question.
        choice: whether an option is asked for; with choices it is.
        normalisation: of open answers, careful or squad; see :mod:`tenfold.eval.answer_text`.

    Example:
        >>> Gold(("A",), ("Paris", "London")).f1("(a)"), Gold(("A",), choice=True).f1("A.")
        (1.0, 1.0)
        >>> Gold(("서울",)).f1("서울은"), Gold(("서울",)).f1("부산")
        (0.8, 0.0)
        >>> Gold(("-3",)).f1("3"), Gold(("-3",), normalisation="squad").f1("3")
        (0.0, 1.0)
    """

    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    choice: bool = False
    normalisation: Normalisation = "careful"

    def f1(self, answer: str | None) -> float:
        """Token F1, best over aliases; of a choice 1 for the right option, else 0; 0 for no answer."""
        if answer is None:
            return 0.0
        if self.choices or self.choice:
            return float(multiple_choice(answer, self.answers, self.choices))
        return token_f1(answer, self.answers, self.normalisation)

    def exact(self, answer: str | None) -> bool:
        """Whether the answer is the right option, or equals an alias after normalisation."""
        if self.choices or self.choice:
            return bool(self.f1(answer))
        return answer is not None and exact_match(answer, self.answers, self.normalisation)


@dataclass(frozen=True)
class Components:
    """What SEM's reward is made of, logged apart.

    Args:
        valid: f, whether the whole structure is.
        searched: s, whether a search was made.
        one_pair: t, whether there is exactly one pair of thinking and answer, in an invalid structure too.
        well_searched: u, whether there were searches, all well formed, in an invalid structure too.
        first_f1: F1(a1).
        final_f1: F1(a2), 0 where nothing was searched.
    """

    valid: bool
    searched: bool
    one_pair: bool
    well_searched: bool
    first_f1: float
    final_f1: float


def components(response: Response, gold: Gold) -> Components:
    """f, s, t, u, F1(a1) and F1(a2) of a response.

    Example:
        >>> components(Response("Hm.", "Po", final_answer="Po"), Gold(("the Tiber",)))
        Components(valid=True, searched=False, one_pair=True, well_searched=False, first_f1=0.0, final_f1=0.0)
    """
    return Components(
        valid=response.valid,
        searched=response.searched,
        one_pair=response.one_pair,
        well_searched=response.well_searched,
        first_f1=gold.f1(response.first_answer),
        final_f1=gold.f1(response.final_answer) if response.searched else 0.0,
    )


Rule = Callable[[Response, Gold, Sequence[Response]], float]
"""A reward: a response, what is right, and all responses to the same question, this one among them."""


def sem(
    response: Response,
    gold: Gold,
    group: Sequence[Response] = (),
    *,
    tau: float = DEFAULT_THRESHOLD,
    searched_but_known_reward: float = 0.0,
    a2_discount: float = 1.0,
    search_cost: float = 0.0,
) -> float:
    """SEM's reward.

    Args:
        response: what was said.
        gold: what is right.
        group: not read.
        tau: the first answer is good from this F1 on.
        searched_but_known_reward: of a valid response that searched though its first answer was good.
        a2_discount: factor of F1(a2); below 1 it does not pay to spoil the first answer.
        search_cost: taken off for each search, down to a reward of 0.

    Example:
        >>> gold = Gold(("Tiber",))
        >>> sem(Response("", "Tiber", final_answer="Tiber"), gold), sem(Response("", "Po", final_answer="Po"), gold)
        (1.0, 0.0)
    """
    parts = components(response, gold)
    f, s, t, u = parts.valid, parts.searched, parts.one_pair, parts.well_searched
    first, final = parts.first_f1, parts.final_f1
    reward = f * (first >= tau and not s and t) * first + f * (first < tau and u) * a2_discount * final
    reward += f * (first >= tau and s) * searched_but_known_reward
    return max(0.0, reward - search_cost * len(response.searches))


def search_r1(response: Response, gold: Gold, group: Sequence[Response] = ()) -> float:
    """Search-R1's reward: exact match of the final answer, whatever the structure.

    Example:
        >>> search_r1(Response("", "Po", final_answer="the Tiber", problem="blocks out of order"), Gold(("Tiber",)))
        1.0
    """
    return float(gold.exact(response.final_answer))


def research(response: Response, gold: Gold, group: Sequence[Response] = ()) -> float:
    """ReSearch's reward: 0 for an invalid structure, 0.1 for a final answer without any right word, else its F1.

    Example:
        >>> research(Response("", "Po", final_answer="Po"), Gold(("Tiber",)))
        0.1
    """
    if not response.valid:
        return 0.0
    return gold.f1(response.final_answer) or 0.1


def otc_like(response: Response, gold: Gold, group: Sequence[Response] = ()) -> float:
    """Exact match of the final answer times (least + 1)/(searches + 1).

    The least is over the right responses of the group: what OTC scales by, with a law of ours.

    Example:
        >>> direct, gold = Response("", "Tiber", final_answer="Tiber"), Gold(("Tiber",))
        >>> searched = parse(
        ...     "<think></think><answer>Po</answer><search>q</search><result>r</result><answer>Tiber</answer>",
        ...     ["<result>r</result>"],
        ... )
        >>> otc_like(searched, gold, [searched]), otc_like(searched, gold, [searched, direct])
        (1.0, 0.5)
    """
    if not search_r1(response, gold):
        return 0.0
    least = min(len(other.searches) for other in [response, *group] if search_r1(other, gold))
    return (least + 1) / (len(response.searches) + 1)


def boundary_contrast_like(
    response: Response, gold: Gold, group: Sequence[Response] = (), *, weight: float = 0.2
) -> float:
    """Accuracy first, then whether the decision to search was the one that the group's first answers suggest.

    The first answers stand for responses with the search turned off: at least half of them right, and the question is
    known. A right final answer earns 1, less ``weight`` where a known question was searched or an unknown one was not.

    Example:
        >>> direct, gold = Response("", "Tiber", final_answer="Tiber"), Gold(("Tiber",))
        >>> guesses = [Response("", "Po", final_answer="Po")] * 2
        >>> boundary_contrast_like(direct, gold, [direct]), boundary_contrast_like(direct, gold, [direct, *guesses])
        (1.0, 0.8)
    """
    if not search_r1(response, gold):
        return 0.0
    first = [gold.exact(other.first_answer) for other in group or [response]]
    known = sum(first) >= len(first) / 2
    return 1.0 - weight * (response.searched == known)


RULES: dict[str, Rule] = {
    "sem": sem,
    "search_r1": search_r1,
    "research": research,
    "otc_like": otc_like,
    "boundary_contrast_like": boundary_contrast_like,
}


class SearchReward:
    """A rule as a reward function of trl.

    It reads the columns ``answer`` (a text or several), ``choices`` and ``kind`` (``open`` or ``choice``), which may be
    missing, and what the environment inserted: from the column ``trajectory``, which ``tenfold.train.grpo`` gives, or
    else from a column ``inserted`` with a list of texts for each completion. Without both, no result is the
    environment's. Of a conversation the assistant's words alone are read; prompts never are.

    Args:
        rule: one of :data:`RULES`, or another function of that form.
        name: in the logs.
        normalisation: of open answers.

    Raises:
        UserError: if the answers of a row are none.

    Example:
        >>> reward = SearchReward(sem)
        >>> reward(["river of Rome?"], ["<think></think><answer>the Tiber</answer>"], answer=[["Tiber"]])
        [1.0]
    """

    def __init__(self, rule: Rule, name: str = "", normalisation: Normalisation = "careful") -> None:
        require_normalisation(normalisation)
        self.rule, self.normalisation = rule, normalisation
        self.__name__ = name or getattr(rule, "__name__", "reward")

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        answer: Sequence[Any],
        choices: Sequence[Any] | None = None,
        kind: Sequence[str] | None = None,
        trajectory: Sequence[Trajectory] | None = None,
        inserted: Sequence[Sequence[str]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score each completion; equal prompts in a row are a group."""
        texts = [text_of(completion) for completion in completions]
        if trajectory is not None:
            responses = [parse_trajectory(text, one) for text, one in zip(texts, trajectory, strict=True)]
        else:
            responses = [parse(text, found) for text, found in zip(texts, inserted or [()] * len(texts), strict=True)]
        golds = _golds(answer, choices, kind, self.normalisation)
        scores: list[float | None] = []
        for _, numbers in itertools.groupby(range(len(texts)), key=lambda i: (repr(prompts[i]), golds[i])):
            members = list(numbers)
            group = [responses[i] for i in members]
            scores += [float(self.rule(responses[i], golds[i], group)) for i in members]
        return scores


def sem_rewards(
    *,
    tau: float = DEFAULT_THRESHOLD,
    searched_but_known_reward: float = 0.0,
    a2_discount: float = 1.0,
    search_cost: float = 0.0,
    normalisation: Normalisation = "careful",
) -> Weighted:
    """SEM's reward and its parts as reward functions with their weights, for trl's trainers and ``tenfold.train.grpo``.

    Args:
        tau: see :func:`sem`.
        searched_but_known_reward: see :func:`sem`.
        a2_discount: see :func:`sem`.
        search_cost: see :func:`sem`.
        normalisation: of open answers; squad is what ReSearch grades by, and published rows.

    Raises:
        UserError: if an option is out of range.

    Example:
        >>> functions, weights = sem_rewards()
        >>> [function.__name__ for function in functions], weights[:2]
        (['sem', 'valid', 'searched', 'one_pair', 'well_searched', 'first_f1', 'final_f1'], [1.0, 0.0])
    """
    if not 0 < tau <= 1:
        raise UserError(f"tau = {tau}: must be above 0 and at most 1")
    for name, value in (("searched_but_known_reward", searched_but_known_reward), ("a2_discount", a2_discount)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} = {value}: must lie in [0, 1]")
    if search_cost < 0:
        raise UserError(f"search_cost = {search_cost}: must be 0 or more")
    rule = partial(
        sem,
        tau=tau,
        searched_but_known_reward=searched_but_known_reward,
        a2_discount=a2_discount,
        search_cost=search_cost,
    )
    return _with_parts(SearchReward(rule, "sem", normalisation))


def rival_rewards(rival: str, normalisation: Normalisation = "careful") -> Weighted:
    """A rival's reward, with SEM's parts to be logged beside it.

    Args:
        rival: a name in :data:`RULES`.
        normalisation: of open answers.

    Example:
        >>> functions, weights = rival_rewards("search_r1")
        >>> [function.__name__ for function in functions][:2], weights[:2]
        (['search_r1', 'valid'], [1.0, 0.0])
    """
    return _with_parts(SearchReward(RULES[rival], rival, normalisation))


def confidence_rewards(normalisation: Normalisation = "careful") -> Weighted:
    """RLCR's rewards of a first answer and its stated confidence; answers are graded as SEM grades them.

    Args:
        normalisation: of open answers.

    Example:
        >>> functions, weights = confidence_rewards()
        >>> said = "<think></think><answer>(b)</answer><confidence>0.9</confidence>"
        >>> [function(["?"], [said], answer=["B"], choices=[["Po", "Tiber"]]) for function in functions]
        [[1.0], [1.0], [0.99]]
    """
    correctness = CorrectnessReward("tac", _is_right)
    calibration = CalibrationReward("tac", verifier=_is_right)
    graded = [_graded_by_gold(reward, normalisation) for reward in (correctness, calibration)]
    return [FormatReward("tac"), *graded], [0.5, 0.5, 0.5]


def _with_parts(reward: SearchReward) -> Weighted:
    """The reward counts; SEM's parts have weight 0: they are logged, and change nothing."""
    functions: list[RewardFunction] = [reward]
    for name in Components.__dataclass_fields__:
        functions.append(SearchReward(partial(_part, name=name), name, reward.normalisation))
    return functions, [1.0] + [0.0] * (len(functions) - 1)


def _part(response: Response, gold: Gold, group: Sequence[Response], *, name: str) -> float:
    return float(getattr(components(response, gold), name))


def _is_right(answer: str, gold: Gold) -> bool:
    """A verifier for the rewards of ``tenfold.rewards``."""
    return gold.exact(answer)


def _graded_by_gold(reward: Any, normalisation: Normalisation) -> RewardFunction:
    """The same reward, whose verifier gets what counts as right with the options of a choice."""

    def graded(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        answer: Sequence[Any],
        choices: Sequence[Any] | None = None,
        kind: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        golds = _golds(answer, choices, kind, normalisation)
        scores: list[float | None] = reward(prompts, completions, answer=golds, **columns)
        return scores

    graded.__name__ = reward.__name__
    return graded


def _golds(
    answer: Sequence[Any], choices: Sequence[Any] | None, kind: Sequence[str] | None, normalisation: Normalisation
) -> list[Gold]:
    """What is right for each row of a batch; columns that are missing say nothing."""
    number = len(answer)
    rows = zip(answer, choices or [()] * number, kind or [""] * number, strict=True)
    return [_gold(*row, normalisation) for row in rows]


def _gold(answer: Any, choices: Any, kind: str, normalisation: Normalisation) -> Gold:
    accepted = tuple(reference_texts(answer))
    if not accepted:
        raise UserError(f"answer = {answer!r}; allowed: a text, a number, or a list of at least one")
    if kind not in ("", "open", "choice"):  # empty: no such column
        raise UserError(f"kind = {kind!r}; allowed: open, choice")
    return Gold(accepted, () if kind == "open" else tuple(choices or ()), kind == "choice", normalisation)

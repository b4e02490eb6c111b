"""The little world of the laptop experiment: contests between people, told in sentences, with a program that is true.

A situation has a background (how much people differ, how much luck matters, how a team counts, which events there are
and what they do), facts in the order of days (contests with their results, events, remarks that mean nothing, storms)
and questions (how strong is somebody; who would win). Results are drawn from the situation's own program, so that its
conditions can be met. The posterior is found twice over: by :func:`simulate`, which makes the labels of training
quickly, and by the executor from the gold program; a test holds them against each other.

A storm makes luck large on its day. The language of the synthesised programs has no word for it: that is where
synthesis can lose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np

Rule = Literal["mean", "max", "min"]
PEOPLE = ("ann", "bo", "cy", "dee", "ed", "fay", "gus", "hal", "ida", "jo", "kim", "lou")
STRANGERS = ("mo", "nia", "otto", "pia")  # in training they only bring sandwiches
EVENTS = ("slipped", "overslept", "trained", "fasted", "stumbled", "rested")
SPREADS, LUCKS = (10, 25), (5, 20)
RULES: tuple[Rule, ...] = ("mean", "max", "min")
EFFECTS, RATES = (0.5, 0.8, 1.3), (0.05, 0.15)
LAST_DAY = 8
STORM = 60
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles that stand for a distribution over ranks
FRESH = 99  # others that a rank counts
HELD_OUT = {(0.5, 0.15, True), (0.8, 0.05, False), (1.3, 0.05, True), (1.3, 0.15, False)}
"""Effect, rate and whether it lasts, of events that no training situation has."""


@dataclass(frozen=True)
class Kind:
    """An event that can happen to somebody on a day: a factor on the strength, on that day or from then on."""

    name: str
    effect: float
    rate: float
    lasts: bool


@dataclass(frozen=True)
class Contest:
    """Somebody, or two, beat as many others."""

    day: int
    winners: tuple[str, ...]
    losers: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """It is known that this happened."""

    day: int
    person: str
    kind: str


@dataclass(frozen=True)
class Remark:
    """Somebody brought something; it means nothing."""

    day: int
    person: str


@dataclass(frozen=True)
class Storm:
    """On this day luck was large."""

    day: int


Fact = Contest | Event | Remark | Storm


@dataclass(frozen=True)
class Question:
    """How many of 99 others is the one person stronger than; or would the first of two people beat the second."""

    people: tuple[str, ...]
    day: int = 0


@dataclass(frozen=True)
class Situation:
    """All that is told, and asked."""

    spread: int
    luck: int
    rule: Rule
    people: tuple[str, ...]
    kinds: tuple[Kind, ...]
    facts: tuple[Fact, ...]
    questions: tuple[Question, ...]

    @property
    def contests(self) -> list[Contest]:
        """The facts with a result."""
        return [fact for fact in self.facts if isinstance(fact, Contest)]


@dataclass(frozen=True)
class Split:
    """What distinguishes the situations of a split from those of training.

    Args:
        text: what is unlike training.
        contests: fewest and most.
        held_out: events in combinations that training lacks.
        strangers: names that training never asks about.
        rewords: sentences in forms that training lacks.
        storms: whether there is a storm: always, never, or now and then.
        expressible: whether the language of programs can say all of it.
    """

    text: str
    contests: tuple[int, int] = (1, 4)
    held_out: bool = False
    strangers: bool = False
    rewords: bool = False
    storms: Literal["never", "always", "some"] = "never"
    expressible: bool = True


TRAINING = Split("as in training", storms="some")
SPLITS = {
    "same": Split("as in training, without storms"),
    "longer": Split("five to seven contests", contests=(5, 7)),
    "kinds": Split("events that do what no event of training does", held_out=True),
    "far": Split("five to seven contests, and such events", contests=(5, 7), held_out=True),
    "names": Split("people that training never asks about", strangers=True),
    "wording": Split("sentences of another form", rewords=True),
    "everything": Split("all of these", contests=(5, 7), held_out=True, strangers=True, rewords=True),
    "storms": Split("a storm, which programs have no word for", storms="always", expressible=False),
}


def draw_situation(generator: np.random.Generator, split: Split) -> Situation:
    """A situation of a split, with its questions: the rank of everybody, and who would win, for all pairs."""
    size = int(generator.integers(1, 3))
    pool = STRANGERS if split.strangers else PEOPLE
    least = 3 if size == 1 else 4
    people = tuple(generator.choice(pool, size=int(generator.integers(least, 5)), replace=False).tolist())
    situation = Situation(
        spread=int(generator.choice(SPREADS)),
        luck=int(generator.choice(LUCKS)),
        rule=RULES[int(generator.integers(len(RULES)))],
        people=people,
        kinds=_draw_kinds(generator, split),
        facts=(),
        questions=(),
    )
    situation = replace(situation, facts=_draw_facts(generator, situation, split, size))
    return replace(situation, questions=_all_questions(generator, situation))


def _draw_kinds(generator: np.random.Generator, split: Split) -> tuple[Kind, ...]:
    combinations = [c for c in product(EFFECTS, RATES, (False, True)) if (c in HELD_OUT) == split.held_out]
    count = int(generator.integers(1, 3)) if split.held_out else int(generator.integers(0, 3))
    names = generator.choice(EVENTS, size=count, replace=False).tolist()
    return tuple(Kind(name, *combinations[int(generator.integers(len(combinations)))]) for name in names)


def _draw_facts(generator: np.random.Generator, situation: Situation, split: Split, size: int) -> tuple[Fact, ...]:
    """Contests on rising days with results from the situation's program; events that did happen, most of them told."""
    low, high = split.contests
    count = int(generator.integers(low, high + 1))
    days = sorted(generator.choice(np.arange(1, LAST_DAY), size=count, replace=count > LAST_DAY - 1).tolist())
    has_storm = split.storms == "always" or (split.storms == "some" and generator.random() < 0.15)
    stormy = {int(generator.choice(days))} if has_storm else set()
    told: list[Fact] = [Storm(day) for day in stormy]
    for kind in situation.kinds:
        for _ in range(int(generator.integers(0, 3))):
            told.append(Event(int(generator.choice(days)), str(generator.choice(situation.people)), kind.name))
    told = list(dict.fromkeys(told))
    strengths = dict(zip(situation.people, generator.normal(100, situation.spread, len(situation.people)), strict=True))
    happened = _happened(generator, situation, [fact for fact in told if isinstance(fact, Event)])
    for day in days:
        order = generator.permutation(len(situation.people))[: 2 * size]
        teams = [tuple(situation.people[i] for i in order[start : start + size]) for start in (0, size)]
        totals = []
        for team in teams:
            powers = [strengths[p] * _factor(situation, happened, p, day) for p in team]
            sd = STORM if day in stormy else situation.luck
            powers = [power + generator.normal(0, sd) for power in powers]
            totals.append(getattr(np, situation.rule)(powers))
        first, second = teams if totals[0] > totals[1] else teams[::-1]
        told.append(Contest(day, first, second))
    for _ in range(int(generator.integers(0, 3))):
        pool = (*situation.people, *STRANGERS)
        told.append(Remark(int(generator.choice(days)), str(generator.choice(pool))))
    order_of = {Storm: 0, Event: 1, Remark: 2, Contest: 3}
    return tuple(sorted(told, key=lambda fact: (fact.day, order_of[type(fact)])))


def _happened(
    generator: np.random.Generator, situation: Situation, known: Sequence[Event]
) -> dict[tuple[str, str, int], bool]:
    certain = {(event.kind, event.person, event.day) for event in known}
    return {
        (kind.name, person, day): bool((kind.name, person, day) in certain or generator.random() < kind.rate)
        for kind in situation.kinds
        for person in situation.people
        for day in range(1, LAST_DAY + 1)
    }


def _factor(situation: Situation, happened: dict[tuple[str, str, int], bool], person: str, day: int) -> float:
    factor = 1.0
    for kind in situation.kinds:
        days = range(1, day + 1) if kind.lasts else (day,)
        if any(happened[kind.name, person, each] for each in days):
            factor *= kind.effect
    return factor


def _all_questions(generator: np.random.Generator, situation: Situation) -> tuple[Question, ...]:
    """Each person's rank, and each pair in one order, on the day after the last contest; in random order."""
    day = situation.contests[-1].day + 1
    questions = [Question((person,)) for person in situation.people]
    for i, first in enumerate(situation.people):
        for second in situation.people[i + 1 :]:
            pair = (first, second) if generator.random() < 0.5 else (second, first)
            questions.append(Question(pair, day))
    return tuple(questions[i] for i in generator.permutation(len(questions)))


@dataclass(frozen=True)
class Labels:
    """The posterior of a situation, as numbers from 0 to 100.

    Args:
        answers: for each question its numbers: quantiles of a rank at :data:`LEVELS`, or one probability.
        thoughts: for each fact the mean rank of each person in it, given the facts so far.
        kept: particles that the last numbers come from.
    """

    answers: tuple[tuple[float, ...], ...]
    thoughts: tuple[tuple[float, ...], ...]
    kept: int


def simulate(situation: Situation, generator: np.random.Generator, particles: int) -> Labels:
    """The posterior from particles of the situation's own program, with the events that are told set.

    Shapes: N particles, P people, D days.
    """
    people = {person: i for i, person in enumerate(situation.people)}
    strengths_NP = generator.normal(100.0, situation.spread, (particles, len(people)))
    factors_NPD = np.ones((particles, len(people), LAST_DAY + 1))
    for kind in situation.kinds:
        events_NPD = generator.random((particles, len(people), LAST_DAY + 1)) < kind.rate
        for fact in situation.facts:
            if isinstance(fact, Event) and fact.kind == kind.name:
                events_NPD[:, people[fact.person], fact.day] = True
        events_NPD[:, :, 0] = False  # days count from 1
        if kind.lasts:
            events_NPD = np.logical_or.accumulate(events_NPD, axis=2)
        factors_NPD = np.where(events_NPD, kind.effect * factors_NPD, factors_NPD)
    stormy = {fact.day for fact in situation.facts if isinstance(fact, Storm)}

    def strength_N(person: str, day: int) -> np.ndarray:
        return np.asarray(strengths_NP[:, people[person]] * factors_NPD[:, people[person], day])

    def total_N(team: Sequence[str], day: int) -> np.ndarray:
        sd = STORM if day in stormy else situation.luck
        powers = [strength_N(person, day) + generator.normal(0, sd, particles) for person in team]
        return np.asarray(getattr(np, situation.rule)(np.stack(powers), axis=0))

    ranks_NP = 100.0 * _normal_cdf((strengths_NP - 100.0) / situation.spread)
    alive_N = np.ones(particles, dtype=bool)
    thoughts = []
    for fact in situation.facts:
        if isinstance(fact, Contest):
            beats_N = total_N(fact.winners, fact.day) > total_N(fact.losers, fact.day)
            alive_N = alive_N & beats_N if (alive_N & beats_N).any() else alive_N
        thoughts.append(tuple(float(ranks_NP[alive_N, people[p]].mean()) for p in people_of(fact) if p in people))
    answers = []
    for question in situation.questions:
        if len(question.people) == 1:
            shares = ranks_NP[alive_N, people[question.people[0]]] / 100.0
            answers.append(tuple(float(q) for q in np.quantile(generator.binomial(FRESH, shares), LEVELS)))
        else:
            first_N, second_N = (strength_N(person, question.day)[alive_N] for person in question.people)
            chances_N = _normal_cdf((first_N - second_N) / (situation.luck * 2**0.5))  # luck is averaged out
            answers.append((100.0 * float(chances_N.mean()),))
    return Labels(tuple(answers), tuple(thoughts), int(alive_N.sum()))


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def people_of(fact: Fact) -> tuple[str, ...]:
    """Who a fact tells something about."""
    if isinstance(fact, Contest):
        return (*fact.winners, *fact.losers)
    return (fact.person,) if isinstance(fact, Event) else ()


def prior_answer(question: Question) -> tuple[float, ...]:
    """Without reading: a rank is uniform, and anybody wins half of the time."""
    return tuple(FRESH * level for level in LEVELS) if len(question.people) == 1 else (50.0,)


def wins_minus_losses(situation: Situation, person: str) -> int:
    """What counting knows of a person."""
    return sum((person in contest.winners) - (person in contest.losers) for contest in situation.contests)

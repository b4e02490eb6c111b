"""Situations in words, and programs in fragments of Python: what the small network reads and writes.

A text is a list of words from a fixed vocabulary. The network writes code fragment by fragment; joined, they are the
program. A name or an event is one word in sentences and in code, so that binding need not be learned across two
spellings. Numbers of direct answers are words in steps of two.
"""

from collections.abc import Sequence

import numpy as np

from tenfold.papers.msa.situations import (
    EFFECTS,
    EVENTS,
    LAST_DAY,
    LUCKS,
    PEOPLE,
    RATES,
    RULES,
    SPREADS,
    STORM,
    STRANGERS,
    Contest,
    Event,
    Fact,
    Kind,
    Question,
    Remark,
    Situation,
    Storm,
)

END, ANSWER, PAD = "<end>", "<answer>", "<pad>"
TASKS = ("<background>", "<condition>", "<query>", "<direct>", "<thought>")
STEP = 2  # of numbers in words
NUMBERS = tuple(f"#{value}" for value in range(0, 101, STEP))

# fragments of code; a name is written with its quotes
STRENGTH = "    @mem\n    def strength(person):\n        return gaussian(100, "
LUCK = "    @mem\n    def luck(person, day):\n        return gaussian(0, "
CLOSE = ")\n"
DEFINE, RATE = "    @mem\n    def ", "(person, day):\n        return flip("
POWER = "    def power(person, day):\n        value = strength(person)\n"
TIMES, ONCE, LASTING = "        value *= ", " if ", " if any_previous_time(lambda time: "
AT_ONCE, AT_LAST = "(person, day) else 1\n", "(person, time), day) else 1\n"
TEAM = "        return value + luck(person, day)\n    def total(team, day):\n        return "
BEATS = (
    "([power(person, day) for person in team])\n"
    "    def beats(winners, losers, day):\n        return total(winners, day) > total(losers, day)\n"
)
CONDITION, BEAT, OVER, ON, DONE = "    condition(", "beats([", "], [", "], ", "))\n"
COMMA, NOTHING = ", ", "    pass\n"
RANK, WIN, SHUT = "rank_among(strength, ", "100 * beats([", ")"
CODE = (
    STRENGTH, LUCK, CLOSE, DEFINE, RATE, POWER, TIMES, ONCE, LASTING, AT_ONCE, AT_LAST, TEAM, BEATS, CONDITION, BEAT,
    OVER, ON, DONE, COMMA, NOTHING, RANK, WIN, SHUT, "(",
)  # fmt: skip

SPORTS = {"mean": ("rowing", "cycling"), "max": ("archery", "diving"), "min": ("climbing", "sailing")}
RULE_WORDS = {"mean": "average", "max": "best", "min": "weakest"}
EFFECT_WORDS = dict(zip(EFFECTS, ("halved", "lower", "higher"), strict=True))
RATE_WORDS = dict(zip(RATES, ("rare", "common"), strict=True))
SPREAD_WORDS = dict(zip(SPREADS, ("alike", "different"), strict=True))
LUCK_WORDS = dict(zip(LUCKS, ("little", "much"), strict=True))
WORDS = (
    "people are ; luck matters . the sport is a team counts as its member who has strength that day from then on , it "
    "happens beat won against lost to and brought bread storm came rank of will wins losses"
)


def _vocabulary() -> tuple[str, ...]:
    groups = [
        (PAD, END, ANSWER, *TASKS),
        NUMBERS,
        CODE,
        [str(day) for day in range(1, LAST_DAY + 2)],
        [str(number) for number in (*SPREADS, *LUCKS, *RATES, *EFFECTS)],
        [*RULES, *PEOPLE, *STRANGERS, *EVENTS],
        [sport for sports in SPORTS.values() for sport in sports],
        [*RULE_WORDS.values(), *EFFECT_WORDS.values(), *RATE_WORDS.values(), *SPREAD_WORDS.values()],
        [*LUCK_WORDS.values(), *WORDS.split()],
    ]
    return tuple(dict.fromkeys(word for group in groups for word in group))


VOCABULARY = _vocabulary()
INDEX = {word: number for number, word in enumerate(VOCABULARY)}


def number_word(value: float) -> str:
    """The word of a number from 0 to 100."""
    return NUMBERS[round(min(max(value, 0.0), 100.0) / STEP)]


def answer_words(numbers: Sequence[float]) -> list[str]:
    """The numbers of an answer in words: of quantiles the middle one first, which tells most about the others.

    Example:
        >>> answer_words([10, 30, 50, 70, 90]), answer_words([62.0])
        (['#50', '#10', '#30', '#70', '#90'], ['#62'])
    """
    middle = len(numbers) // 2
    return [number_word(each) for each in (numbers[middle], *numbers[:middle], *numbers[middle + 1 :])]


def answer_numbers(words: Sequence[str]) -> tuple[float, ...]:
    """The numbers of an answer from its words; of quantiles the middle one was said first.

    Example:
        >>> answer_numbers(["#50", "#10", "#30", "#70", "#90"])
        (10.0, 30.0, 50.0, 70.0, 90.0)
    """
    first, *others = (float(word.removeprefix("#")) for word in words)
    middle = len(words) // 2
    return (*others[:middle], first, *others[middle:])


def background_words(situation: Situation, generator: np.random.Generator) -> list[str]:
    """The background in words; the team's rule is said, or implied by the sport, half and half."""
    words = f"people are {SPREAD_WORDS[situation.spread]} ; luck matters {LUCK_WORDS[situation.luck]} .".split()
    if generator.random() < 0.5:
        words += f"a team counts as its {RULE_WORDS[situation.rule]} member .".split()
    else:
        words += f"the sport is {generator.choice(SPORTS[situation.rule])} .".split()
    for kind in situation.kinds:
        duration = "from then on" if kind.lasts else "that day"
        words += f"who {kind.name} has {EFFECT_WORDS[kind.effect]} strength {duration} ,".split()
        words += f"it is {RATE_WORDS[kind.rate]} .".split()
    return words


def fact_words(fact: Fact, generator: np.random.Generator, reworded: bool) -> list[str]:
    """A fact in words, in one of the forms of training, or in one that training lacks."""
    day = f"day {fact.day}"
    if isinstance(fact, Storm):
        return f"on {day} a storm came .".split()
    if isinstance(fact, Remark):
        forms = [f"{fact.person} brought bread on {day} .", f"on {day} {fact.person} brought bread ."]
        others = [f"bread {fact.person} brought on {day} ."]
    elif isinstance(fact, Event):
        forms = [f"{fact.person} {fact.kind} on {day} .", f"on {day} {fact.person} {fact.kind} ."]
        others = [f"on {day} it happens that {fact.person} {fact.kind} .", f"{day} : {fact.kind} {fact.person} ."]
    else:
        winners, losers = " and ".join(fact.winners), " and ".join(fact.losers)
        forms = [
            f"on {day} {winners} beat {losers} .",
            f"{winners} won against {losers} on {day} .",
            f"{losers} lost to {winners} on {day} .",
        ]
        others = [f"against {losers} {winners} won on {day} .", f"on {day} to {winners} lost {losers} ."]
    words = str(generator.choice(others if reworded else forms)).split()
    return [word for word in words if word != ":"]


def question_words(question: Question) -> list[str]:
    """A question in words; it ends with a name, so that what answers knows whom it is about."""
    if len(question.people) == 1:
        return f"rank of {question.people[0]}".split()
    first, second = question.people
    return f"on day {question.day} will {first} beat {second}".split()


def background_code(situation: Situation) -> list[str]:
    """The model, in fragments."""
    code = [STRENGTH, str(situation.spread), CLOSE, LUCK, str(situation.luck), CLOSE]
    for kind in situation.kinds:
        code += [DEFINE, kind.name, RATE, str(kind.rate), CLOSE]
    code.append(POWER)
    for kind in situation.kinds:
        last = [LASTING, kind.name, AT_LAST] if kind.lasts else [ONCE, kind.name, AT_ONCE]
        code += [TIMES, str(kind.effect), *last]
    return [*code, TEAM, situation.rule, BEATS]


def fact_code(fact: Fact) -> list[str]:
    """A condition, in fragments; what means nothing, and what there is no word for, is ``pass``."""
    if isinstance(fact, Event):
        return [CONDITION, fact.kind, "(", fact.person, COMMA, str(fact.day), DONE]
    if not isinstance(fact, Contest):
        return [NOTHING]
    code = [CONDITION, BEAT, *_names(fact.winners), OVER, *_names(fact.losers)]
    return [*code, ON, str(fact.day), DONE]


def question_code(question: Question) -> list[str]:
    """A query, in fragments."""
    if len(question.people) == 1:
        return [RANK, question.people[0], SHUT]
    first, second = question.people
    return [WIN, first, OVER, second, ON, str(question.day), SHUT]


def _names(people: Sequence[str]) -> list[str]:
    return [people[0]] if len(people) == 1 else [people[0], COMMA, people[1]]


def spelled(code: Sequence[str]) -> str:
    """Fragments as text: names get their quotes.

    Example:
        >>> spelled(["rank_among(strength, ", "ann", ")"])
        "rank_among(strength, 'ann')"
    """
    return "".join(f"{word!r}" if word in PEOPLE or word in STRANGERS else word for word in code)


def program_text(
    background: Sequence[str], conditions: Sequence[tuple[str, Sequence[str]]], queries: Sequence[str]
) -> str:
    """A whole program.

    Args:
        background: fragments of the model.
        conditions: each sentence with the fragments of its condition.
        queries: Python of each query.
    """
    body = [spelled(background)]
    body += [f"    # {sentence}\n{spelled(code)}" for sentence, code in conditions]
    answers = ", ".join(f"'q{number}': {query}" for number, query in enumerate(queries))
    return "def model():\n" + "".join(body) + f"    return {{{answers}}}\n"


def gold_program(situation: Situation, sentences: Sequence[str], questions: Sequence[Question]) -> str:
    """The program that a situation was drawn from, storms included."""
    conditions = [(sentence, fact_code(fact)) for sentence, fact in zip(sentences, situation.facts, strict=True)]
    text = program_text(background_code(situation), conditions, [spelled(question_code(q)) for q in questions])
    stormy = [fact.day for fact in situation.facts if isinstance(fact, Storm)]
    if stormy:
        plain = f"gaussian(0, {situation.luck})"
        text = text.replace(plain, f"gaussian(0, {STORM} if day in {stormy} else {situation.luck})", 1)
    return text


def default_background(kinds: Sequence[str]) -> list[str]:
    """The model of who has not read the background: middling numbers, and each event that is spoken of."""
    known = tuple(Kind(name, 0.8, 0.05, lasts=False) for name in kinds)
    return background_code(Situation(SPREADS[1], LUCKS[0], "mean", (), known, (), ()))

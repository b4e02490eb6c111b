"""What SEM asks of questions: how they are graded, which cannot be used, and which of them a policy itself knows.

Questions have a fact ``expected``, whether search is thought to be needed (``search`` or ``direct``), by their source
or by the policy itself (k closed-book samples, known if at least m are right). It is for analysis, and no reward reads
it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tenfold.core.errors import UserError
from tenfold.data.question_answering import DataMix
from tenfold.eval.answer_text import Normalisation
from tenfold.papers.sem.grammar import read_response
from tenfold.papers.sem.method import Gold
from tenfold.papers.sem.prompts import CLOSED_BOOK, prompt_of
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study.language import prompt_ids
from tenfold.study.questions import Question, read_questions, with_facts

MOST_CHOICES = 26
"""As there are letters."""


def gold_of(question: Question, normalisation: Normalisation = "careful") -> Gold:
    """What counts as right for a question.

    Args:
        question: what was asked.
        normalisation: of open answers.

    Example:
        >>> gold_of(Question("2 + 2?", ("4", "four"), "1")).f1("Four.")
        1.0
    """
    return Gold(question.answers, question.choices, normalisation=normalisation)


def read_own(path: Path) -> list[Question]:
    """The questions of a user's own file, each checked by :func:`check_question`.

    Raises:
        UserError: with the row, counted from 1, and what is wrong with it.
    """
    questions = read_questions(path, facts=("expected",), check=check_question)
    return [replace(question, source=question.source or "own") for question in questions]


def check_question(question: Question) -> None:
    """Refuse what SEM cannot ask or grade.

    Raises:
        UserError: the question is a conversation, there are more options than letters, an answer names none of the
            options or holds no word and no number, or the fact ``expected`` is none.

    Example:
        >>> check_question(Question("River of Rome?", ("B",), "1", choices=("Po", "Tiber")))
    """
    if not isinstance(question.prompt, str):
        raise UserError("the question is a conversation; allowed: a text, for the instructions are SEM's")
    if len(question.choices) > MOST_CHOICES:
        raise UserError(f"choices: there are {len(question.choices)}; allowed: at most {MOST_CHOICES}")
    expected = question.facts.get("expected", "search")
    if expected not in ("search", "direct"):
        raise UserError(f"expected is {expected!r}; allowed: search, direct")
    for answer in question.answers:  # an answer that is no option is refused by the scorer itself
        if not gold_of(replace(question, answers=(answer,))).f1(answer):
            raise UserError(f"answer is {answer!r}, which leaves nothing to compare; allowed: words or numbers")


def closed_book_accuracy(
    policy: Policy,
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    num_samples: int = 4,
    seed: int = 0,
    instructions: str = CLOSED_BOOK,
    batch_size: int = 64,
    normalisation: Normalisation = "careful",
) -> list[float]:
    """Share of right answers to each question without any tool: of the first answer, whatever follows it.

    Args:
        policy: who is asked.
        questions: what.
        sampling: how.
        num_samples: k, answers to each question.
        seed: of the noise.
        instructions: of the system; empty for prompts of plain text.
        batch_size: answers at the same time.
        normalisation: of open answers.
    """
    prompts, keys = [], []
    for question in questions:
        prompts.append(prompt_ids(policy, prompt_of(question, instructions)))
        keys.append(("closed book", question.source, question.key))
    said = rollout(policy, prompts, sampling, num_samples=num_samples, seed=seed, keys=keys, batch_size=batch_size)
    num_right = [0] * len(questions)
    for number, trajectory in enumerate(said):
        place = number // num_samples
        response = read_response(trajectory, policy.tokenizer)
        num_right[place] += gold_of(questions[place], normalisation).exact(response.first_answer)
    return [right / num_samples for right in num_right]


def labelled(
    questions: Sequence[Question], accuracies: Sequence[float], *, known_from: float = 0.5
) -> dict[str, list[Question]]:
    """Questions by what the policy itself needs.

    Args:
        questions: of any source.
        accuracies: closed-book accuracy of each.
        known_from: m/k: at least this share of right answers makes a question known.

    Returns:
        ``direct``: the known ones, ``search``: the others, with the fact ``expected`` set accordingly.

    Example:
        >>> question = Question("River of Rome?", ("Tiber",), "1")
        >>> parts = labelled([question, question], [0.75, 0.25])
        >>> [one.facts["expected"] for one in parts["direct"]], len(parts["search"])
        (['direct'], 1)
    """
    parts: dict[str, list[Question]] = {"direct": [], "search": []}
    for question, accuracy in zip(questions, accuracies, strict=True):
        label = "search"
        if accuracy >= known_from:
            label = "direct"
        parts[label].append(with_facts(question, expected=label))
    return parts


def balanced(
    questions: Sequence[Question], accuracies: Sequence[float], *, known_from: float = 0.5, seed: int = 0
) -> list[Question]:
    """Known and unknown questions in equal parts, until there are no more of one kind.

    Args:
        questions: of any source.
        accuracies: closed-book accuracy of each.
        known_from: share of right answers that makes a question known.
        seed: of the order.

    Raises:
        UserError: all questions are known, or all unknown.

    Example:
        >>> asked = [Question("River of Rome?", ("Tiber",), str(number)) for number in range(4)]
        >>> [one.facts["expected"] for one in balanced(asked, [1.0, 0.0, 1.0, 0.0])]
        ['direct', 'search', 'search']
    """
    parts = labelled(questions, accuracies, known_from=known_from)
    if not all(parts.values()):
        raise UserError(
            f"{len(parts['direct'])} known and {len(parts['search'])} unknown questions; "
            "allowed: at least one of each, or closed_book_samples = 0"
        )
    return DataMix({"direct": 0.5, "search": 0.5}, seed).mixed(parts)

"""Instructions for policies that read words; the wording is ours, for the paper's is not known.

They hold tags as an example, which is why rewards read the completion alone.
"""

import string
from collections.abc import Sequence

from tenfold.data.questions import Messages, Question

SEM = (
    "Answer the question in this form. First think within <think> and </think> about what you know, and give the "
    "answer that you would give from your own knowledge within <answer> and </answer>; a first answer is always "
    "wanted, a guess too. If you are sure of it, stop there. If you are not, look it up: write a query within <search> "
    "and </search>. What is found follows within <result> and </result>, which you never write yourself. You may think "
    "about it within <think> and </think>, and search again. Then give your final answer within <answer> and "
    "</answer>, and stop. An answer is a few words without explanation; of options give the letter. For example: "
    "<think>I am not sure who built it.</think><answer>Bernini</answer><search>architect of the Trevi Fountain"
    "</search> <result> ... </result><answer>Nicola Salvi</answer>"
)
"""SEM's grammar explained."""

CONFIDENCE = (
    "Answer the question in this form. First think within <think> and </think> about what you know, and give the "
    "answer that you would give from your own knowledge within <answer> and </answer>; an answer is always wanted, a "
    "guess too. Then state within <confidence> and </confidence> the probability that it is right, a number from 0 to "
    "1, and write nothing else: if it is high, you are done. If it is not, <search> follows: write a query and "
    "</search>. What is found follows within <result> and </result>, which you never write yourself. Then give your "
    "final answer within <answer> and </answer>, and stop. An answer is a few words without explanation; of options "
    "give the letter. For example: <think>I am not sure who built it.</think><answer>Bernini</answer>"
    "<confidence>0.3</confidence><search>architect of the Trevi Fountain</search> <result> ... </result>"
    "<answer>Nicola Salvi</answer>"
)
"""The same with a confidence that decides whether to search."""

CLOSED_BOOK = (
    "Answer the question from your own knowledge. Think within <think> and </think>, then give the answer within "
    "<answer> and </answer>, and stop. An answer is a few words without explanation; of options give the letter."
)
"""For measuring what a policy knows: no search is offered."""


def question_text(question: str, choices: Sequence[str] = ()) -> str:
    """A question, with its options below it.

    Example:
        >>> print(question_text("What river is Rome on?", ["Po", "Tiber"]))
        What river is Rome on?
        (A) Po
        (B) Tiber
    """
    options = zip(string.ascii_uppercase, choices, strict=False)
    return "\n".join([question, *(f"({letter}) {choice}" for letter, choice in options)])


def prompt_of(question: Question, instructions: str = SEM) -> str | Messages:
    """The prompt of a question: a conversation, or its plain text where there are no instructions.

    Args:
        question: with its options, in order.
        instructions: of the system; empty for a policy that needs none.

    Example:
        >>> question = Question("What river is Rome on?", ("Tiber",), "1")
        >>> [message["role"] for message in prompt_of(question)]
        ['system', 'user']
        >>> prompt_of(question, instructions="")
        'What river is Rome on?'
    """
    text = question_text(str(question.prompt), question.choices)
    if not instructions:
        return text
    return [{"role": "system", "content": instructions}, {"role": "user", "content": text}]

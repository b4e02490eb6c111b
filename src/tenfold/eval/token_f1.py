"""How many words an answer shares with its reference: the token F1 of SQuAD's evaluation, best over aliases.

    F1 = 2 P R / (P + R),  P and R the share of the answer's and of the reference's words that the other has

Words are counted as often as they come, after the normalisation of :mod:`tenfold.eval.exact_match`. As in HotpotQA's
evaluation, which later work on search took over, "yes", "no" and "noanswer" on either side are right or wrong and
nothing between. An answer of which the normalisation leaves nothing scores 0, the option letter A among them:
multiple choice has a scorer of its own, :mod:`tenfold.eval.multiple_choice`.
"""

from collections import Counter
from collections.abc import Sequence

from tenfold.eval.exact_match import normalized

WHOLE = frozenset({"yes", "no", "noanswer"})
"""Normalised answers that only an equal one matches."""


def token_f1(answer: str, references: str | Sequence[str]) -> float:
    """The largest token F1 of an answer with one of its references, in [0, 1].

    Args:
        answer: the given answer.
        references: one right answer or several names of it; with none of them the score is 0.

    Example:
        >>> token_f1("the tower of Paris", ["Eiffel Tower", "Tour Eiffel"])
        0.4
        >>> token_f1("Yes, it is", "yes"), token_f1("YES.", "yes")
        (0.0, 1.0)
    """
    accepted = [references] if isinstance(references, str) else references
    return max((_f1(normalized(answer), normalized(reference)) for reference in accepted), default=0.0)


def _f1(answer: str, reference: str) -> float:
    if answer != reference and not WHOLE.isdisjoint((answer, reference)):
        return 0.0
    said, wanted = Counter(answer.split()), Counter(reference.split())
    num_shared = (said & wanted).total()
    # 2 P R / (P + R) with P = shared / said and R = shared / wanted
    return 2 * num_shared / (said.total() + wanted.total()) if num_shared else 0.0

"""How many tokens an answer shares with its reference: the F1 of SQuAD's evaluation, best over aliases.

    F1 = 2 P R / (P + R),  P and R the share of the answer's and of the reference's tokens that the other has

Tokens are counted as often as they come, after a normalisation of :mod:`tenfold.eval.answer_text`. What a token is:

``words``: what stands between spaces, as in SQuAD's evaluation. In Korean a word carries its particles, so that
서울은 shares nothing with 서울; Chinese and Japanese write no spaces at all.

``characters``: every character but spaces, as in KorQuAD's evaluation, for any script.

``script``, the default: words, but each character by itself where it is Korean, Japanese or Chinese.

As in HotpotQA's evaluation, which later work on search took over, "yes", "no" and "noanswer" on either side are right
or wrong and nothing between; so are their Korean forms. An answer of which the normalisation leaves nothing scores 0:
with SQuAD's the option A among them. Multiple choice has a scorer of its own, :mod:`tenfold.eval.multiple_choice`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from tenfold.core.errors import UserError
from tenfold.eval.answer_text import Normalisation, normalized, require_normalisation
from tenfold.eval.references import reference_texts

Tokens = Literal["script", "words", "characters"]

WHOLE = frozenset({"yes", "no", "noanswer", "예", "네", "아니요", "아니오"})
"""Normalised answers that only an equal one matches."""

# Hangul (letters and syllables), kana, and Han with its extensions.
_SYLLABIC = (
    "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7ff\U00020000-\U0003ffff"
)
_BY_SCRIPT = re.compile(rf"[{_SYLLABIC}]|[^\s{_SYLLABIC}]+")


def token_f1(
    answer: str,
    references: str | Sequence[str],
    normalisation: Normalisation = "careful",
    tokens: Tokens | None = None,
) -> float:
    """The largest F1 of an answer with one of its references, in [0, 1].

    Args:
        answer: the given answer.
        references: one right answer or several names of it; with none of them the score is 0.
        normalisation: careful, or squad for the published one.
        tokens: what is counted; by default words with SQuAD's normalisation, else by script.

    Raises:
        UserError: for an unknown normalisation or kind of tokens.

    Example:
        >>> token_f1("the tower of Paris", ["Eiffel Tower", "Tour Eiffel"])
        0.4
        >>> token_f1("Yes, it is", "yes"), token_f1("YES.", "yes"), token_f1("-3", "3")
        (0.0, 1.0, 0.0)
        >>> token_f1("서울은", "서울"), token_f1("서울은", "서울", tokens="words"), token_f1("부산", "서울")
        (0.8, 0.0, 0.0)
    """
    require_normalisation(normalisation)
    if tokens is None:
        tokens = "words" if normalisation == "squad" else "script"
    if tokens not in get_args(Tokens):
        raise UserError(f"tokens = {tokens!r}: must be one of {', '.join(get_args(Tokens))}")
    given, accepted = normalized(answer, normalisation), reference_texts(references)
    return max((_f1(given, normalized(reference, normalisation), tokens) for reference in accepted), default=0.0)


def _f1(answer: str, reference: str, tokens: Tokens) -> float:
    if answer != reference and not WHOLE.isdisjoint((answer, reference)):
        return 0.0
    said, wanted = Counter(_split(answer, tokens)), Counter(_split(reference, tokens))
    num_shared = (said & wanted).total()
    # 2 P R / (P + R) with P = shared / said and R = shared / wanted
    return 2 * num_shared / (said.total() + wanted.total()) if num_shared else 0.0


def _split(text: str, tokens: Tokens) -> list[str]:
    if tokens == "words":
        return text.split()
    if tokens == "characters":
        return list("".join(text.split()))
    return _BY_SCRIPT.findall(text)

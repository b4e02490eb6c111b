"""Whether two mathematical answers are the same, by the package math-verify (extra ``math``)."""

import importlib.util
from collections.abc import Sequence

from tenfold.core.errors import UserError


def math_match(answer: str, references: str | Sequence[str]) -> bool:
    """Whether an answer is equal to a reference as mathematics: ``1/2`` is ``0.5`` is ``\\frac{1}{2}``.

    Args:
        answer: the given answer.
        references: one right answer or several, in text or LaTeX.

    Raises:
        UserError: if the package is not installed.

    Example:
        >>> math_match("1/2", "0.5"), math_match("2", "3")  # doctest: +SKIP
        (True, False)
    """
    if importlib.util.find_spec("math_verify") is None:
        raise UserError("verifier = math: needs the package math-verify: pip install 'tenfold[math]'")
    from math_verify import parse, verify  # type: ignore[import-untyped]

    accepted = [references] if isinstance(references, str) else references
    # A limit in time would need signals, which work in the main thread alone; answers here are short.
    given = parse(answer, parsing_timeout=None)
    return any(
        bool(verify(parse(reference, parsing_timeout=None), given, timeout_seconds=None)) for reference in accepted
    )

"""One spelling for characters that say the same: what every grader and every reader of options does first.

Two texts that look alike may differ in their code points: Korean in composed and in decomposed letters, full-width
digits, the minus sign and the hyphen. Unicode's compatibility form joins most of them, but it also turns ``m²`` into
``m2`` and ``3½`` into ``31/2``, which are other values; so powers and fractions are written out before. What it leaves
apart (quotation marks, dashes, the stops and brackets of Chinese, Japanese and Korean) is in the table.
"""

import re
import unicodedata

_SUPERSCRIPTS = {**dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)), "⁺": "+", "⁻": "-", "ⁿ": "n"}
_SUBSCRIPTS = {**dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)), "₊": "+", "₋": "-"}
_SUPERSCRIPT_RUN = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SUBSCRIPT_RUN = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_SQUARES = {
    **dict(zip("㎟㎠㎡㎢", ("mm²", "cm²", "m²", "km²"), strict=True)),
    **dict(zip("㎣㎤㎥㎦", ("mm³", "cm³", "m³", "km³"), strict=True)),
    "º": "°",  # the ordinal that keyboards have, used for degrees
}
_AFTER_DIGIT = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞↉])")
_THOUSANDS = re.compile("(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")

_TABLE: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "“”„‟«»〝〞〟「」『』《》〈〉″"), '"'),
    **dict.fromkeys(map(ord, "‘’‚‛‹›′‵"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), "-"),
    **dict.fromkeys(map(ord, "〜∼"), "~"),
    **dict.fromkeys(map(ord, "【〔〖"), "("),
    **dict.fromkeys(map(ord, "】〕〗"), ")"),
    **dict.fromkeys(map(ord, "⁄∕"), "/"),
    ord("。"): ".",
    ord("、"): ",",
    ord("∗"): "*",
    **{ord(one): to for one, to in (("≤", "<="), ("⩽", "<="), ("≥", ">="), ("⩾", ">="), ("≠", "!="))},
    **{ord(one): to for one, to in (("×", "*"), ("⋅", "*"), ("✕", "*"), ("✖", "*"), ("⨯", "*"), ("÷", "/"))},
    # Characters without a width, and those that set the direction of writing.
    **dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]),
}


def plain_characters(text: str) -> str:
    """The text in one spelling of its characters; white space is collapsed.

    Args:
        text: any text.

    Example:
        >>> plain_characters("“Paris”。"), plain_characters("３½ m²"), plain_characters("−５")
        ('"Paris".', '3 1/2 m^2', '-5')
    """
    if text.isascii():
        return " ".join(text.split())
    text = _THOUSANDS.sub("", _with_digits(text))
    text = "".join(_SQUARES.get(character, character) for character in text)
    text = _AFTER_DIGIT.sub(" ", text)
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^" + "".join(map(_SUPERSCRIPTS.__getitem__, run[0])), text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_" + "".join(map(_SUBSCRIPTS.__getitem__, run[0])), text)
    # Twice: what the table takes away may have stood between a letter and its accent.
    text = unicodedata.normalize("NFKC", text).translate(_TABLE)
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _with_digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9."""
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text)

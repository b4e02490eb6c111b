"""Keeps the beginning and the end of an output of any length in bounded memory."""

import codecs


def cut(text: str, characters: int) -> str:
    """The first and the last ``characters // 2`` characters with ``...`` between them, if the text is longer.

    Example:
        >>> cut("0123456789", 4)
        '01...89'
    """
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]}...{text[len(text) - half :]}"


class Collector:
    """Collects bytes, and gives their text cut to the first and last half of ``characters``.

    Bytes that are no UTF-8 become replacement characters, and count as these. Line ends at the end of the output are
    only counted: whether they are at its end shows when more comes.

    Example:
        >>> collector = Collector(4)
        >>> for part in (b"0123", b"456789"):
        ...     collector.feed(part)
        >>> collector.result()
        (b'01...89', 10)
    """

    def __init__(self, characters: int) -> None:
        self.characters = characters
        self.half = characters // 2
        self.head = ""  # the first characters, as many as are kept if there are no more
        self.tail = ""  # the last ones, as many as are kept of a longer output
        self.length = 0  # up to the line ends that may be the last
        self.line_ends = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def num_characters(self) -> int:
        """The length of what has come so far, in characters, line ends at its end included."""
        return self.length + self.line_ends

    def feed(self, part: bytes) -> None:
        """Add bytes to the output."""
        self._add(self._decoder.decode(part))

    def result(self) -> tuple[bytes, int]:
        """The cut output in UTF-8, without line ends at its end, and its length in characters before the cut."""
        self._add(self._decoder.decode(b"", final=True))
        text = self.head if self.length <= self.characters else f"{self.head[: self.half]}...{self.tail}"
        return text.encode(), self.num_characters

    def _add(self, text: str) -> None:
        shown = text.rstrip("\n")
        if not shown:
            self.line_ends += len(text)
            return
        between = "\n" * min(self.line_ends, self.characters)
        room = self.characters - len(self.head)
        if room > 0:
            self.head += (between + shown[:room])[:room]
        self.tail = (self.tail + between + shown[-self.half :])[-self.half :]
        self.length += self.line_ends + len(shown)
        self.line_ends = len(text) - len(shown)

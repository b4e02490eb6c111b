"""Keeps the beginning and the end of an output of any length in bounded memory."""

CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character


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

    Example:
        >>> collector = Collector(4)
        >>> for part in (b"0123", b"456789"):
        ...     collector.feed(part)
        >>> collector.result()
        (b'01...89', 10)
    """

    def __init__(self, characters: int) -> None:
        self.characters = characters
        self.kept = 4 * characters + 64  # a character has at most four bytes
        self.head = b""
        self.tail = b""
        self.num_characters = 0

    def feed(self, part: bytes) -> None:
        """Add bytes to the output."""
        self.num_characters += len(part.translate(None, CONTINUATION))
        room = self.kept - len(self.head)
        if room > 0:
            self.head += part[:room]
            part = part[room:]
        if part:
            self.tail = (self.tail + part[-self.kept :])[-self.kept :]

    def result(self) -> tuple[bytes, int]:
        """The cut output in UTF-8, without line ends at its end, and its length in characters before the cut."""
        # Head and tail are longer than the halves that are kept, so what was between them is not missed.
        text = (self.head + self.tail).decode(errors="replace").rstrip("\n")
        return cut(text, self.characters).encode(), self.num_characters

"""Keeps the beginning and the end of an output of any length in bounded memory."""

CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character


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
        self.half = characters // 2
        self.whole = characters
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
        if not self.tail:
            text = self.head.decode(errors="replace").rstrip("\n")
            if len(text) > self.whole:
                text = f"{text[: self.half]}...{text[-self.half :]}"
            return text.encode(), self.num_characters
        first = self.head.decode(errors="replace")[: self.half]
        last = (self.head + self.tail)[-self.kept :].decode(errors="replace").rstrip("\n")[-self.half :]
        return f"{first}...{last}".encode(), self.num_characters

"""SEM's output grammar: a completion's text to a typed response, and back.

    direct   := THINK ANSWER
    searched := THINK ANSWER (SEARCH RESULT THINK?)+ ANSWER          (specification, section 2)

White space may stand between blocks, nothing else. No tag may stand within what the policy writes in a block; an answer
and a query must say something; after the last answer the completion ends.

A result is the environment's or it is none: which ones are is never read off the tags, which a policy can write as
well. The texts that an environment inserted are given to :func:`parse` beside the completion's text, in order
(``inserted`` in the ``tool_calls`` of a trajectory), and each must follow the search that asked for it, where the
policy's turn ended. So a page that holds tags does no harm, and a ``<result>`` that is not among them makes the
response invalid. Tags may be special tokens or plain text: only their spelling is read.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.core.types import Trajectory

BlockName = Literal["think", "answer", "search", "result"]

NAMES: tuple[BlockName, ...] = ("think", "answer", "search", "result")
TAGS = tuple(f"<{slash}{name}>" for name in NAMES for slash in ("", "/"))
STOP = "</search>"
RESULT_OPENING, RESULT_CLOSING = " <result>\n", "\n</result>"

_TEXT = re.compile(r"\S")
_TAG = re.compile("|".join(map(re.escape, TAGS)))
_ANSWER = re.compile(r"<answer>((?:(?!</?(?:think|answer|search|result)>).)*)</answer>", re.DOTALL)
_ORDER = re.compile(r"TA(SRT?)*A?")
_VALID = re.compile(r"TA(?:(?:SRT?)+A)?")
_WELL_SEARCHED = re.compile(r"[TA]*(?:SRT?)+[TA]*")


@dataclass(frozen=True)
class Search:
    """One search of a response.

    Args:
        query: as the policy wrote it.
        result: what the environment answered, without its frame.
        thought: that followed the result; ``None`` for none.
    """

    query: str
    result: str
    thought: str | None = None

    @property
    def inserted(self) -> str:
        """The result as the environment inserts it."""
        return f"{RESULT_OPENING}{self.result}{RESULT_CLOSING}"


@dataclass(frozen=True)
class Response:
    """What a completion says.

    Where the structure is invalid, ``first_answer`` and ``final_answer`` are the first and the last answer that can be
    read, for rewards that do not ask for a structure, and ``thought`` is empty.

    Args:
        thought: before the first answer.
        first_answer: from the policy's own knowledge; ``None`` if there is none to be read.
        searches: with a result each; those before the problem, where the structure is invalid.
        final_answer: the last answer, which is the first one where nothing was searched.
        problem: why the structure is invalid, in a few words; empty for a valid one.
        letters: of the blocks as they were read, up to the problem: T, A, S, R, and in lower case a search or a result
            that is the problem itself; by default those of a valid response with such parts, none of an invalid one.
    """

    thought: str
    first_answer: str | None
    searches: tuple[Search, ...] = ()
    final_answer: str | None = None
    problem: str = ""
    letters: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.valid and not self.letters:
            object.__setattr__(self, "letters", "TA" + "SR" * len(self.searches) + "A" * bool(self.searches))

    @property
    def valid(self) -> bool:
        """Whether the whole structure is as the grammar has it."""
        return not self.problem

    @property
    def queries(self) -> tuple[str, ...]:
        """What was searched for."""
        return tuple(search.query for search in self.searches)

    @property
    def results(self) -> tuple[str, ...]:
        """What the environment answered."""
        return tuple(search.result for search in self.searches)

    @property
    def inserted(self) -> tuple[str, ...]:
        """The results as they stand in the text, for :func:`parse`."""
        return tuple(search.inserted for search in self.searches)

    @property
    def searched(self) -> bool:
        """Whether a search was made."""
        return bool(self.searches)

    @property
    def one_pair(self) -> bool:
        """Whether there is exactly one pair of thinking and answer, whatever else is wrong.

        Example:
            >>> parse("<think></think><answer>Po</answer> That is it.").one_pair
            True
        """
        return self.letters.startswith("TA") and self.letters.count("A") == 1

    @property
    def well_searched(self) -> bool:
        """Whether there are searches, each with its result, one after the other, whatever else is wrong."""
        return _WELL_SEARCHED.fullmatch(self.letters) is not None


def render(response: Response) -> str:
    """The text of a valid response; ``parse(render(response), response.inserted)`` is the response.

    Example:
        >>> render(Response("Hm.", "Po", final_answer="Po"))
        '<think>Hm.</think><answer>Po</answer>'
        >>> searched = Response("Hm.", "Po", (Search("river of Rome", "Rome is on the Tiber."),), "Tiber")
        >>> render(searched).partition("</answer>")[2]
        '<search>river of Rome</search> <result>\\nRome is on the Tiber.\\n</result><answer>Tiber</answer>'
        >>> parse(render(searched), searched.inserted) == searched, parse(render(searched)).valid
        (True, False)
    """
    parts = [f"<think>{response.thought}</think><answer>{response.first_answer}</answer>"]
    for search in response.searches:
        parts.append(f"<search>{search.query}</search>{search.inserted}")
        parts.append("" if search.thought is None else f"<think>{search.thought}</think>")
    if response.searches:
        parts.append(f"<answer>{response.final_answer}</answer>")
    return "".join(parts)


def parse(text: str, inserted: Sequence[str] = (), *, ended: bool = True) -> Response:
    """Read a completion, alone: never with its prompt, whose instructions may hold tags.

    Args:
        text: without the end-of-sequence token.
        inserted: the texts that the environment inserted, in their order.
        ended: whether the policy came to an end by itself.

    Example:
        >>> parse("<think>Hm.</think><answer>Po</answer>").first_answer
        'Po'
        >>> parse("<think>Hm.</think><answer>Po</answer><result>Rome is on the Tiber.</result>").problem
        'a result that the environment did not write'
    """
    return _parse(text, tuple(inserted), ended)


def parse_trajectory(text: str, trajectory: Trajectory) -> Response:
    """Read a completion whose trajectory is known.

    Args:
        text: of the completion, as ``tenfold.train.grpo.completion_text`` gives it.
        trajectory: its ``tool_calls`` say in ``inserted`` what the environment inserted.

    Example:
        >>> cut = Trajectory((1,), [2], [True], [0.0], "length")
        >>> parse_trajectory("<think></think><answer>Po</answer>", cut).problem
        'cut by a limit'
    """
    return _parse(text, inserted_by(trajectory), trajectory.stop_reason == "stop")


def inserted_by(trajectory: Trajectory) -> tuple[str, ...]:
    """The texts that the environment inserted, in their order."""
    return tuple(str(call["inserted"]) for call in trajectory.tool_calls if call.get("inserted"))


def read_response(trajectory: Trajectory, tokenizer: Any) -> Response:
    """What the completion of a trajectory says, a final end-of-sequence token left out.

    Args:
        trajectory: of ``rollout`` with a ``SearchEnvironment``, or without any.
        tokenizer: of the policy.

    Example:
        >>> from tenfold.policies import character_tokenizer
        >>> tokenizer = character_tokenizer(special=TAGS)
        >>> token_ids = tokenizer.encode("<think></think><answer>Po</answer><eos>")
        >>> size = len(token_ids)
        >>> read_response(Trajectory((1,), token_ids, [True] * size, [0.0] * size, "stop"), tokenizer).valid
        True
    """
    return parse_trajectory(text_without_end(trajectory, tokenizer), trajectory)


def text_without_end(trajectory: Trajectory, tokenizer: Any) -> str:
    """The text of a completion, a final end-of-sequence token of the policy left out."""
    token_ids = trajectory.token_ids
    if token_ids and token_ids[-1] == tokenizer.eos_token_id and trajectory.loss_mask[-1]:
        token_ids = token_ids[:-1]
    return str(tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))


def pieces_of(text: str, inserted: Sequence[str]) -> list[str]:
    """The policy's text and the environment's, in turn; the first and the last piece are the policy's.

    Args:
        text: of the completion.
        inserted: the texts that the environment inserted, in their order; from the first that is not found on, what
            follows is one piece.

    Example:
        >>> pieces_of("<search>q</search> <result>r</result>so", ["<result>r</result>"])
        ['<search>q</search> ', '<result>r</result>', 'so']
    """
    pieces, start = [], 0
    for result in inserted:
        turn_end = text.find(STOP, start)
        found = -1 if turn_end < 0 else text.find(result.strip(), turn_end + len(STOP))
        # A tokenizer may lose white space at the seam, and a token may hold more than the end of the stop string. What
        # else stands between stays in the policy's piece, where nothing may follow a search.
        if found < 0:
            break
        pieces += [text[start:found], result.strip()]
        start = found + len(result.strip())
    return [*pieces, text[start:]]


@dataclass(frozen=True)
class _Block:
    name: BlockName
    text: str


def _parse(text: str, inserted: tuple[str, ...], ended: bool) -> Response:
    """Read it, or find it: the parts of a reward read the same completion one after the other."""
    key = (text, inserted, ended)
    response = _READ.get(key)
    if response is None:
        response = _parsed(*key)
        _READ.keep(key, response, len(text) + sum(map(len, inserted)))
    return response


class _Read:
    """What was read last, as far as the texts have no more than so many characters together.

    Args:
        most_characters: of the completions and of what was inserted into them.
    """

    def __init__(self, most_characters: int) -> None:
        self.most_characters, self.num_characters = most_characters, 0
        self._kept: OrderedDict[tuple[Any, ...], tuple[Response, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Response | None:
        """The response, if it is kept."""
        found = self._kept.get(key)
        return None if found is None else found[0]

    def keep(self, key: tuple[Any, ...], response: Response, size: int) -> None:
        """Keep it, and drop the oldest ones that have no room beside it."""
        with self._lock:
            if key in self._kept or size > self.most_characters:
                return
            self._kept[key] = (response, size)
            self.num_characters += size
            while self.num_characters > self.most_characters:
                self.num_characters -= self._kept.popitem(last=False)[1][1]


_READ = _Read(most_characters=1 << 24)  # a text and its parts: 16 million characters take 32 to 128 MB


def _parsed(text: str, inserted: tuple[str, ...], ended: bool) -> Response:
    pieces = pieces_of(text, inserted)
    blocks, problem = _blocks(pieces)
    letters = "".join(block.name[0].upper() for block in blocks)
    if not problem and len(pieces) < 2 * len(inserted) + 1:
        problem = "a result is missing"
    letters += _letter_at_fault(problem)
    if not problem and not _VALID.fullmatch(letters):
        problem = _order_problem(letters)
    if not problem and not ended:
        problem = "cut by a limit"
    searches = _searches(blocks)
    if problem:
        own = "</result>".join(pieces[::2])  # a tag, so that no answer reaches from one piece into the next
        answers = _ANSWER.findall(own) or [None]
        return Response("", answers[0], searches, answers[-1], problem, letters)
    return Response(blocks[0].text, blocks[1].text, searches, blocks[-1].text, letters=letters)


def _blocks(pieces: list[str]) -> tuple[list[_Block], str]:
    """The blocks up to the first problem, and the problem."""
    blocks: list[_Block] = []
    for number, piece in enumerate(pieces):
        if number % 2:
            if not blocks or blocks[-1].name != "search":
                return blocks, "a result without a search"
            blocks.append(_Block("result", _unframed(piece)))
            continue
        if problem := _read(piece, blocks):
            return blocks, problem
    return blocks, "" if blocks else "no text"


def _read(piece: str, blocks: list[_Block]) -> str:
    """Add the blocks of one piece of the policy's text; what is wrong with it."""
    at = _space_after(piece, 0)
    while at < len(piece):
        opening = _TAG.match(piece, at)
        if opening is None:
            return "text outside of blocks"
        tag = opening[0]
        if tag.startswith("</"):
            return f"{tag} without <{tag[2:]}"
        if tag == "<result>":
            return "a result that the environment did not write"
        if blocks and blocks[-1].name == "search":
            return "a search without a result"
        closing = _TAG.search(piece, opening.end())
        if closing is None:
            return f"{tag} is not closed"
        if closing[0] != f"</{tag[1:]}":
            return f"{closing[0]} within {tag}"
        block = _Block(_name(tag), piece[opening.end() : closing.start()])
        if block.name != "think" and not block.text.strip():
            return f"{tag} is empty"
        blocks.append(block)
        at = _space_after(piece, closing.end())
    return ""


def _space_after(piece: str, at: int) -> int:
    """Where the white space from here on ends."""
    found = _TEXT.search(piece, at)
    return len(piece) if found is None else found.start()


def _letter_at_fault(problem: str) -> str:
    """What stands for a block that could not be read, if it is one of a search."""
    return next((name[0] for name in ("result", "search") if name in problem), "")


def _name(tag: str) -> BlockName:
    return next(name for name in NAMES if tag == f"<{name}>")


def _order_problem(letters: str) -> str:
    if letters.endswith("S"):
        return "a search without a result"
    if _ORDER.fullmatch(letters) or "TA".startswith(letters):
        return "no answer at the end"
    return "blocks out of order: " + " ".join(next(name for name in NAMES if name[0].upper() == x) for x in letters)


def _searches(blocks: list[_Block]) -> tuple[Search, ...]:
    """The searches that have a result."""
    found = []
    for number, block in enumerate(blocks):
        if block.name == "result":
            after = blocks[number + 1] if number + 1 < len(blocks) else None
            thought = after.text if after is not None and after.name == "think" else None
            found.append(Search(blocks[number - 1].text, block.text, thought))
    return tuple(found)


def _unframed(result: str) -> str:
    opening, closing = RESULT_OPENING.strip(), RESULT_CLOSING.strip()
    inside = result.removeprefix(opening).removesuffix(closing)
    return inside.removeprefix("\n").removesuffix("\n")

"""Traces: what a policy sampled through the tool loop, with the hints that were put into it and who decided so.

A trace is a trajectory and a list of placed hints; text is derived from its ids. It goes to JSON lines and back, and to
a row of supervised training: the loss is on what the policy is to say, which is what was sampled and the hints, and not
on output blocks (the paper does not say whether it masks them; ``mask_outputs=False`` turns it off).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.types import Message, Trajectory
from tenfold.data.json_lines import read_json_lines
from tenfold.papers.cort.environment import Resumption
from tenfold.papers.cort.formats import END_OF_THINK
from tenfold.policies.stopping import turn_text

_OUTPUT, _CLOSED = "```output\n", "\n```\n"  # around what a program wrote
_NO_END = END_OF_THINK.replace("<", "(")


@dataclass(frozen=True)
class PlacedHint:
    """A hint in a trace.

    Args:
        at: index in the completion of the hint's first token.
        num_tokens: of the hint.
        kind: general, compute or trust.
        text: as it was inserted.
        decided_by: who chose the place: ``manual: NAME``, ``heuristic``, ``llm``, ``random`` or ``start``.
        num_cut: tokens of the original trace that the hint and what follows replaced.
    """

    at: int
    num_tokens: int
    kind: str
    text: str
    decided_by: str
    num_cut: int = 0


@dataclass(frozen=True)
class Trace:
    """A trajectory with its hints.

    Args:
        trajectory: prompt and completion; tokens of hints are not sampled ones, so its mask is false there.
        hints: in the order of their places.
        key: what names it, such as the number of its problem.

    Example:
        >>> trace = Trace(Trajectory((1,), [5, 6, 7], [False, True, False], [0.0, -0.1, 0.0], "stop"))
        >>> trace.training_row()
        {'input_ids': [1, 5, 6, 7], 'completion_mask': [0, 0, 1, 0]}
    """

    trajectory: Trajectory
    hints: tuple[PlacedHint, ...] = ()
    key: str = ""

    def text(self, tokenizer: Any) -> str:
        """The completion's text, special tokens but a final end of sequence spelled out."""
        token_ids = self.trajectory.token_ids
        if token_ids and token_ids[-1] == tokenizer.eos_token_id:
            token_ids = token_ids[:-1]
        return turn_text(tokenizer, token_ids)

    def said_text(self, tokenizer: Any) -> str:
        """What the policy said or was made to say, without output blocks: what a program wrote is no answer of it."""
        kept = zip(self.trajectory.token_ids, self.said, strict=True)
        return turn_text(tokenizer, [token for token, said in kept if said])

    def fenced_text(self, tokenizer: Any) -> str:
        """The text with outputs that cannot be taken for a fence or for the end of the thinking; as long as the text.

        It is what detectors and proposers read: the format does not tell a line of three back-ticks that a program
        printed from the one that ends its output.
        """
        text, token_ids = self.text(tokenizer), self.trajectory.token_ids
        for call in self.trajectory.tool_calls:
            begin, end = (len(turn_text(tokenizer, token_ids[: call[name]])) for name in ("begin", "end"))
            before, block, after = text[:begin], text[begin:end], text[end:]
            inside = block[len(_OUTPUT) : len(block) - len(_CLOSED)]
            inside = inside.replace("`", "'").replace(END_OF_THINK, _NO_END)
            text = f"{before}{block[: len(_OUTPUT)]}{inside}{block[len(block) - len(_CLOSED) :]}{after}"
        return text

    @property
    def said(self) -> list[bool]:
        """For each token of the completion whether the policy said it or was made to: not of an output block."""
        said = list(self.trajectory.loss_mask)
        for hint in self.hints:
            said[hint.at : hint.at + hint.num_tokens] = [True] * hint.num_tokens
        return said

    def training_row(self, mask_outputs: bool = True) -> dict[str, list[int]]:
        """``input_ids`` and ``completion_mask`` for :func:`tenfold.train.sft.sft`."""
        prompt, completion = list(self.trajectory.prompt_ids), self.trajectory.token_ids
        mask = [int(said) for said in self.said] if mask_outputs else [1] * len(completion)
        return {"input_ids": prompt + completion, "completion_mask": [0] * len(prompt) + mask}

    def foreign(self, at: int) -> str:
        """What a cut before token ``at`` would break in two: an output block, a hint, or nothing, which is ``""``."""
        if any(call["begin"] < at < call["end"] for call in self.trajectory.tool_calls):
            return "an output block"
        return "a hint" if any(hint.at < at < hint.at + hint.num_tokens for hint in self.hints) else ""

    def up_to(self, at: int) -> "Trace":
        """The first ``at`` tokens of the completion, with the hints and programs that lie within."""
        full = self.trajectory
        head = replace(
            full,
            token_ids=full.token_ids[:at],
            loss_mask=full.loss_mask[:at],
            log_probs=full.log_probs[:at],
            tool_calls=tuple(call for call in full.tool_calls if call["end"] <= at),
        )
        return Trace(head, tuple(hint for hint in self.hints if hint.at + hint.num_tokens <= at), self.key)

    def resumption(self, tokenizer: Any) -> Resumption:
        """What the tool loop must know to go on after the last token."""
        calls = self.trajectory.tool_calls
        start = calls[-1]["end"] if calls else 0
        pending = turn_text(tokenizer, self.trajectory.token_ids[start:])
        return Resumption(calls, pending, len(self.trajectory.token_ids))


def unbegun(prompts: Sequence[Sequence[int]], keys: Sequence[str]) -> list[Trace]:
    """Traces of prompts in which nothing is said yet, one for each key.

    Example:
        >>> unbegun([[1, 2]], ["a"])[0].trajectory.prompt_ids
        (1, 2)
    """
    return [Trace(Trajectory(tuple(p), [], [], [], "length"), (), key) for p, key in zip(prompts, keys, strict=True)]


def token_offset(tokenizer: Any, token_ids: Sequence[int], at: int) -> int:
    """How many tokens lie wholly before character ``at`` of their text.

    Example:
        >>> from tenfold.policies import character_tokenizer
        >>> tokenizer = character_tokenizer(special=("hello",))
        >>> token_offset(tokenizer, tokenizer.encode("ahellob"), 3)
        1
    """
    low, high = 0, len(token_ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(turn_text(tokenizer, token_ids[:middle])) <= at:
            low = middle
        else:
            high = middle - 1
    return low


def write_traces(file: Path, traces: Sequence[Trace], tokenizer: Any) -> None:
    """Write traces as JSON lines, with their text for readers."""
    lines = [to_json(_plain(trace) | {"text": trace.text(tokenizer)}) for trace in traces]
    write_atomically(file, "".join(line + "\n" for line in lines))


def read_traces(file: Path) -> list[Trace]:
    """The traces of a file by :func:`write_traces`.

    Raises:
        UserError: the file is missing or empty, or a row is no trace; with the row, counted from 1.
    """
    rows = read_json_lines(file, ("prompt_ids", "token_ids", "loss_mask", "stop_reason", "hints"))
    return [_trace(row, f"{file}, row {number}") for number, row in enumerate(rows, start=1)]


def _plain(trace: Trace) -> dict[str, Any]:
    return json.loads(
        json.dumps({"key": trace.key, **asdict(trace.trajectory), "hints": [asdict(h) for h in trace.hints]})
    )


def _trace(row: Mapping[str, Any], where: str) -> Trace:
    try:
        trajectory = Trajectory(
            tuple(row["prompt_ids"]),
            list(row["token_ids"]),
            list(row["loss_mask"]),
            list(row["log_probs"]),
            row["stop_reason"],
            tuple(Message(**message) for message in row.get("messages", ())),
            tuple(row.get("tool_calls", ())),
            dict(row.get("reward_parts", {})),
        )
        trace = Trace(trajectory, tuple(PlacedHint(**hint) for hint in row["hints"]), str(row.get("key", "")))
    except (TypeError, KeyError) as error:
        raise UserError(f"{where}: is no trace ({error}); allowed: rows that write_traces wrote") from error
    lengths = {len(trajectory.token_ids), len(trajectory.loss_mask), len(trajectory.log_probs)}
    if len(lengths) != 1:
        raise UserError(
            f"{where}: token_ids, loss_mask and log_probs have lengths {sorted(lengths)}; allowed: equal ones"
        )
    return trace

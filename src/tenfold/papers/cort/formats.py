"""The text of a CoRT trajectory: prompt, program, output block, notice, and the answer at its end.

    prose ```python\\n program ```\\n ```output\\n text \\n```\\n prose ... </think> ... \\boxed{answer}

A turn of the policy ends at the stop string, one back-tick and a newline. Where the text since the last output block
holds a closed ``python`` fence, the program in it is run, without the indent that its lines have in common, and its
output block follows directly; at any other closing fence nothing is appended and the policy goes on (specification,
section 2). The wording of the request and of the notice is ours. ``replayed_program`` is what the released code
executes instead of keeping a process, and ``as_released`` how.
"""

import re
from collections.abc import Sequence
from typing import Any

from tenfold.core.errors import UserError
from tenfold.eval.math_forms import last_boxed

STOP = "`\n"
OPENING = "```python\n"
THINK, END_OF_THINK = "<think>", "</think>"
REQUEST = (
    "Please integrate natural language reasoning with python programs to solve the problem above, "
    "and put your final answer within \\boxed{}."
)
NOTICE = (
    "[SYSTEM] The allowed number of code executions is used up: no more code can be run. "
    "Please go on by reasoning alone."
)

_FENCE = "```python"  # it may follow prose on its line: hints end in one
_PRINTING = ("print", "pprint", "rprint", "sp.pprint", "sympy.pprint")
TRACEBACK = "Traceback (most recent call last):"
_FAILED = re.compile("error|exception|traceback", re.IGNORECASE)


def user_prompt(problem: str, request: str = REQUEST) -> str:
    """What the user says: the problem, a newline, and the request to reason with programs.

    Example:
        >>> user_prompt("What is 2 + 2?").splitlines()[0]
        'What is 2 + 2?'
    """
    return f"{problem}\n{request}"


class ProgramReader:
    """Finds the program of the last ``python`` fence in a text that comes piece by piece; each line is read once.

    Example:
        >>> reader = ProgramReader()
        >>> reader.read("1. So:\\n   ```python\\n   x = 2\\n   print(x)\\n")
        >>> reader.read("   ```\\n")
        >>> reader.program()
        'x = 2\\nprint(x)\\n'
    """

    def __init__(self) -> None:
        self._begun = ""  # a line whose end has not come yet
        self._lines: list[str] = []
        self._is_open = False
        self.has_program = False

    def read(self, text: str) -> None:
        """Take in the next piece."""
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            self._take(line)

    def end(self) -> None:
        """Take what has come of the last line for the whole of it."""
        self._take(self._begun)
        self._begun = ""

    def program(self) -> str:
        """The program, where there is one: ``has_program``."""
        assert self.has_program
        return dedented("".join(f"{line}\n" for line in self._lines))

    def _take(self, line: str) -> None:
        _, fence, language_end = line.rpartition(_FENCE)
        if fence:  # it may follow prose on its line
            self._is_open, self.has_program, self._lines = not language_end.strip(), False, []
        elif self._is_open and line.strip() == "```":
            self._is_open, self.has_program = False, True
        elif self._is_open:
            self._lines.append(line)


def dedented(program: str) -> str:
    """A program without the indent that its lines have in common, as it has in a numbered list.

    What is common is counted in characters, as in the released code, and blank lines do not count.

    Example:
        >>> dedented("  if x:\\n    print(1)\\n\\n  print(2)\\n")
        'if x:\\n  print(1)\\n\\nprint(2)\\n'
    """
    lines = program.split("\n")
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    common = min(indents, default=0)
    return "\n".join(line[common:] if line.strip() else line for line in lines)


def parse_program(text: str) -> str | None:
    """The program of the last ``python`` fence in ``text`` if that fence is closed, else ``None``.

    Args:
        text: what a policy said since it was last answered.

    Example:
        >>> parse_program("Let us see.\\n```python\\nprint(2 * 3)\\n```\\n")
        'print(2 * 3)\\n'
        >>> parse_program("```text\\nnot a program\\n```\\n") is None
        True
    """
    reader = ProgramReader()
    reader.read(text)
    reader.end()
    return reader.program() if reader.has_program else None


def output_block(output: str, notice: str = "") -> str:
    """What follows a program: its output in a fence, the notice below it.

    Example:
        >>> output_block("6")
        '```output\\n6\\n```\\n'
    """
    inside = f"{output}\n{notice}" if output and notice else output or notice
    return f"```output\n{inside}\n```\n"


def is_failure(output: str) -> bool:
    """Whether the released reward counts a program with this output as failed.

    Empty, ``Done`` and ``[]`` count, and whatever contains ``error``, ``exception`` or ``traceback`` in any case.

    Example:
        >>> [is_failure(output) for output in ("9716", "", "[]", "ZeroDivisionError: division by zero")]
        [False, True, True, True]
    """
    return output.strip() in ("", "Done", "[]") or has_error(output)


def has_error(output: str) -> bool:
    """Whether an output speaks of an error, as the released code decides what to replay.

    Example:
        >>> has_error("NameError: name 'x' is not defined"), has_error("")
        (True, False)
    """
    return bool(_FAILED.search(output))


def replayed_program(earlier: Sequence[tuple[str, str]], program: str) -> str:
    """The program that the released code executes: the earlier ones again, without their printing, and then the new.

    Programs whose output speaks of an error are left out; of the others blank lines and those that begin with a helper
    for printing are removed (``print``, ``pprint``, ``rprint``, ``sp.pprint``, ``sympy.pprint``, by their first
    characters: ``printed = 1`` is one). One that still says ``print`` after that, in an indented line for instance, is
    left out as a whole.

    Args:
        earlier: programs and their outputs, in order.
        program: the new one.

    Example:
        >>> replayed_program([("x = 3\\nprint(x)", "3"), ("y", "NameError: y")], "print(x + 1)")
        'x = 3\\nprint(x + 1)'
    """
    kept = []
    for source, output in earlier:
        lines = [line for line in source.split("\n") if line.strip() and not line.startswith(_PRINTING)]
        if not has_error(output) and "print" not in "\n".join(lines):
            kept.append("\n".join(lines))
    return "\n".join([*filter(None, kept), program])


def as_released(program: str) -> str:
    """A program that does what the released code does with one: what is shown is as there.

    The program is executed in names of its own, where ``__name__`` is not ``"__main__"``. Shown is what it printed,
    stripped on both sides; or, whatever ended it early, the traceback alone, which begins with :data:`TRACEBACK`.

    Args:
        program: what to execute.

    Example:
        >>> names = {}
        >>> exec(as_released("print('  6 ')"), names)
        6
    """
    return f"""\
import contextlib, io, traceback
program = {program!r}
printed = io.StringIO()
try:
    with contextlib.redirect_stdout(printed):
        exec(program, {{}})
    shown = printed.getvalue()
except BaseException:
    shown = traceback.format_exc()
print(shown.strip())
"""


def final_answer(text: str) -> str | None:
    """The content of the last box after the first ``</think>``; ``None`` without either. Braces may nest.

    What follows a second ``</think>`` is not read, as in the released grader.

    Example:
        >>> final_answer("... </think>\\n\\\\boxed{\\\\frac{1}{2}}")
        '\\\\frac{1}{2}'
        >>> final_answer("\\\\boxed{4}") is None
        True
    """
    _, ended, after = text.partition(END_OF_THINK)
    return last_boxed(after.partition(END_OF_THINK)[0]) if ended else None


def require_stop_token(tokenizer: Any) -> None:
    """Check that the stop string is one token, as the released rollout needs it to be; ours does not.

    Raises:
        UserError: the tokenizer spells it with several.

    Example:
        >>> from tenfold.policies import character_tokenizer
        >>> require_stop_token(character_tokenizer(special=(STOP,)))
    """
    if len(tokenizer.encode(STOP, add_special_tokens=False)) != 1:
        raise UserError(f"state = replay: the tokenizer must have one token for {STOP!r}; allowed: persistent, fresh")

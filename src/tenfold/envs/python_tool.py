"""Python as a tool of a policy: programs between tags, run in the code sandbox, one interpreter for a trajectory."""

from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.core.errors import UserError
from tenfold.envs.tools import Observation


class Ran(Protocol):
    """What is read of an execution; ``tenfold.envs.Execution`` is one."""

    @property
    def output(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def num_characters(self) -> int: ...  # noqa: D102


class Interpreter(Protocol):
    """A persistent interpreter; ``tenfold.envs.CodeSession`` is one."""

    def run(self, code: str, *, echo_last_expression: bool = False) -> Ran: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Executor(Protocol):
    """What opens interpreters; ``tenfold.envs.Sandbox`` is one."""

    def open(self) -> Interpreter: ...  # noqa: D102


@dataclass(frozen=True)
class PythonTool:
    """A code sandbox that a policy can use, ``<python>program</python>`` by default.

    Names persist from program to program of a trajectory. Whatever a program does is an observation: its output, a
    traceback, that it was stopped.

    Args:
        sandbox: a ``tenfold.envs.Sandbox``.
        tag: what programs are enclosed in.
        echo_last_expression: show the value of a last line that is an expression, as notebooks do.
        no_output: said where a program printed nothing.
        no_program: said where the closing tag has no opening one.

    Example:
        >>> from tenfold.envs import Sandbox
        >>> with Sandbox(modules=("math",)) as sandbox:
        ...     session = PythonTool(sandbox).open()
        ...     for program in ("n = 2**61 - 1", "n % 7"):
        ...         print(session.call(f"<python>{program}</python>").text)
        ...     session.close()
        The program printed nothing.
        1
    """

    sandbox: Executor
    tag: str = "python"
    echo_last_expression: bool = True
    no_output: str = "The program printed nothing."
    no_program: str = "There is no program before the closing tag."

    @property
    def stop(self) -> str:
        """The closing tag, at which the policy waits for the output."""
        return f"</{self.tag}>"

    def open(self) -> "PythonSession":
        """The tool for one trajectory."""
        return PythonSession(self)


class PythonSession:
    """The programs of one trajectory; see :class:`PythonTool`."""

    def __init__(self, tool: PythonTool) -> None:
        self._tool = tool
        self._interpreter: Interpreter | None = None

    def call(self, text: str) -> Observation:
        """Run the program at the end of a turn, which is what follows the last opening tag."""
        tool = self._tool
        _, opening, program = text.removesuffix(tool.stop).rpartition(f"<{tool.tag}>")
        if not opening:
            return self._observation(tool.no_program, "", "refused", 0)
        if self._interpreter is None:
            self._interpreter = tool.sandbox.open()
        program = program.strip("\n")
        try:
            ran = self._interpreter.run(program, echo_last_expression=tool.echo_last_expression)
        except RuntimeError as error:  # nothing that the policy could do anything about
            raise UserError(f"sandbox: {error}") from error
        return self._observation(ran.output or tool.no_output, program, ran.status, ran.num_characters)

    def close(self) -> None:
        """End the interpreter."""
        if self._interpreter is not None:
            self._interpreter.close()

    def _observation(self, text: str, program: str, status: str, num_characters: int) -> Observation:
        facts: dict[str, Any] = {"program": program, "status": status, "num_characters": num_characters}
        return Observation(text, status == "ok", facts)

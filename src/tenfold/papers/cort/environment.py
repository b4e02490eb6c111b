"""The tool loop: programs inside the thinking are run, and their outputs follow as tokens of the environment.

Three states: ``persistent`` keeps one interpreter for a trajectory, so that names survive from block to block (what the
paper describes); ``fresh`` runs each program alone; ``replay`` does what the released code does: it runs the earlier
programs again, without their printing, and it answers a turn without a program by an empty output block.

Budgets (specification, section 2): of T generation rounds the last has no tool, so ``max_tool_calls`` = T - 1 programs
run, the output of the last one carries the notice, and a further program is left as it is. In the state ``replay`` a
round without a program counts too. The length budget is that of the sampling: with ``Sampling.count_replies`` outputs
use it up, as in the released code, and one that leaves no room for a further token is not appended and ends the
trajectory; without it, which is the sampling's default, only sampled tokens count.

Different from the released code: sampled tokens are never encoded again, an output cannot spell a special token, and
what isolates programs is the sandbox, so no program is refused for its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tenfold.core.errors import UserError
from tenfold.core.types import Reply, Turn
from tenfold.envs.foreign_text import plain_ids
from tenfold.papers.cort import formats

State = Literal["persistent", "fresh", "replay"]


class Ran(Protocol):
    """What is read of an execution; ``tenfold.envs.Execution`` is one."""

    @property
    def output(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102


class Interpreter(Protocol):
    """One interpreter; ``tenfold.envs.CodeSession`` is one."""

    def run(self, code: str, *, echo_last_expression: bool = False) -> Ran: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Executor(Protocol):
    """What opens interpreters; ``tenfold.envs.Sandbox`` is one."""

    def open(self) -> Interpreter: ...  # noqa: D102


@dataclass(frozen=True)
class LoopSettings:
    """How programs are run and limited.

    Args:
        state: what a program finds of the earlier ones; see the module's docstring.
        max_tool_calls: programs that run in a trajectory.
        notice: below the output of the last program.
        echo_last_expression: show the value of a last line that is an expression, as notebooks do.

    Raises:
        UserError: if a number is out of range or the state unknown.

    Example:
        >>> LoopSettings(max_tool_calls=2).state
        'persistent'
    """

    state: State = "persistent"
    max_tool_calls: int = 14
    notice: str = formats.NOTICE
    echo_last_expression: bool = False

    def __post_init__(self) -> None:
        if self.state not in ("persistent", "fresh", "replay"):
            raise UserError(f"state = {self.state!r}; allowed: persistent, fresh, replay")
        if self.max_tool_calls < 0:
            raise UserError(f"max_tool_calls = {self.max_tool_calls}: must be 0 or more")


@dataclass(frozen=True)
class Resumption:
    """What happened in a trajectory before the place at which it goes on.

    Args:
        calls: the ``tool_calls`` up to there; their programs are run again where the state needs it.
        pending: the text since the last output block, an opened fence included.
        num_tokens: of the completion up to there.
    """

    calls: tuple[Mapping[str, Any], ...] = ()
    pending: str = ""
    num_tokens: int = 0


@dataclass(frozen=True)
class CodeEnvironment:
    """Answers programs in a policy's text with their output: a :class:`tenfold.core.types.Environment`.

    Args:
        executor: opens interpreters; a ``tenfold.envs.Sandbox``.
        tokenizer: of the policy.
        settings: limits and state.
        resumed: for prompts that are trajectories to be continued, by the prompt's number.

    Raises:
        UserError: state replay with a tokenizer that needs several tokens for the stop string.

    A trajectory's ``tool_calls`` have ``program``, ``output``, ``status`` and ``failed``. Their ``begin`` and ``end``
    are the place of the output block among the tokens of the completion.
    """

    executor: Executor
    tokenizer: Any
    settings: LoopSettings = LoopSettings()
    resumed: Mapping[int, Resumption] = field(default_factory=dict)
    stop: tuple[str, ...] = (formats.STOP,)

    def __post_init__(self) -> None:
        if self.settings.state == "replay":
            formats.require_stop_token(self.tokenizer)

    def open(self, prompt: int, sample: int) -> "CodeLoop":
        """The loop of one trajectory; interpreters start with its first program."""
        return CodeLoop(self, self.resumed.get(prompt, Resumption()))


class CodeLoop:
    """The loop of one trajectory: a :class:`tenfold.core.types.Session`."""

    def __init__(self, environment: CodeEnvironment, before: Resumption) -> None:
        self._executor, self._tokenizer = environment.executor, environment.tokenizer
        self._settings = environment.settings
        self._before = before
        self._pending = before.pending
        self._history = [(str(call["program"]), str(call["output"])) for call in before.calls]
        self._rounds = len(self._history)
        self._interpreter: Interpreter | None = None

    def respond(self, turn: Turn) -> Reply | None:
        """Run the program that ends the turn, if there is one."""
        if turn.stop is None:
            return None
        self._pending += turn.text
        program = formats.parse_program(self._pending)
        may_run = self._rounds < self._settings.max_tool_calls
        if self._settings.state == "replay" or program is not None:
            self._rounds += 1
        if not may_run or (program is None and self._settings.state != "replay"):
            return Reply()
        is_last = self._rounds == self._settings.max_tool_calls
        return self._answer(
            program, self._settings.notice if is_last else "", self._before.num_tokens + len(turn.token_ids)
        )

    def close(self) -> None:
        """End the interpreter."""
        if self._interpreter is not None:
            self._interpreter.close()
            self._interpreter = None

    def _answer(self, program: str | None, notice: str, num_before: int) -> Reply:
        self._pending = ""
        ran = None if program is None else self._run(program)
        output = "" if ran is None else ran.output.rstrip("\n")
        token_ids = self._block(output, notice)
        calls = []
        if program is not None and ran is not None:
            self._history.append((program, output))
            facts = {"program": program, "output": output, "status": ran.status, "failed": formats.is_failure(output)}
            calls = [facts | {"begin": num_before, "end": num_before + len(token_ids)}]
        return Reply(token_ids=token_ids, tool_calls=calls)

    def _block(self, output: str, notice: str) -> list[int]:
        """The tokens of an output block; what a program wrote is spelled plainly."""
        opening, _, ending = formats.output_block("\0" if output else "", notice).partition("\0")
        inside = plain_ids(self._tokenizer, output)
        return [*self._encode(opening), *inside, *self._encode(ending)]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _run(self, program: str) -> Ran:
        echo = self._settings.echo_last_expression
        if self._settings.state == "persistent":
            if self._interpreter is None:
                self._interpreter = self._executor.open()
                for call in self._before.calls:
                    self._interpreter.run(str(call["program"]))
            return self._interpreter.run(program, echo_last_expression=echo)
        if self._settings.state == "replay":
            program = formats.replayed_program(self._history, program)
        alone = self._executor.open()
        try:
            return alone.run(program, echo_last_expression=echo)
        finally:
            alone.close()

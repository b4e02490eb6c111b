"""The tool loop: programs inside the thinking are run, and their outputs follow as tokens of the environment.

Three states: ``persistent`` keeps one interpreter for a trajectory, so that names survive from block to block (what the
paper describes); ``fresh`` runs each program alone; ``replay`` does what the released code does: it runs the earlier
programs again, without their printing, and it answers a turn without a program by an empty output block. There an
error shows its traceback alone; the other states show what was printed before it, too. In all of them the common indent
of a program is removed, and its output is stripped.

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
from typing import Any, Literal

from tenfold.core.errors import UserError
from tenfold.core.types import Reply, Turn
from tenfold.envs.foreign_text import framed_ids, span
from tenfold.envs.python_tool import Executor, Interpreter, Ran
from tenfold.papers.cort import formats

State = Literal["persistent", "fresh", "replay"]


@dataclass(frozen=True)
class LoopSettings:
    """How programs are run and limited.

    Args:
        state: what a program finds of the earlier ones; see the module's docstring.
        max_tool_calls: programs that run in a trajectory.
        notice: below the output of the last program.
        echo_last_expression: show the value of a last line that is an expression, as notebooks do.

    Raises:
        UserError: if a number is out of range or the state unknown, or the last expression is to be shown in a replay.

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
        if self.state == "replay" and self.echo_last_expression:
            raise UserError(
                "echo_last_expression = True with state = replay: the released code shows prints alone; allowed: False"
            )


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
        self._said = formats.ProgramReader()
        self._said.read(before.pending)
        self._history = [(str(call["program"]), str(call["output"])) for call in before.calls]
        self._rounds = len(self._history)
        self._interpreter: Interpreter | None = None

    def respond(self, turn: Turn) -> Reply | None:
        """Run the program that ends the turn, if there is one."""
        if turn.stop is None:
            return None
        self._said.read(turn.text)
        if not self._said.has_program and self._settings.state != "replay":
            return Reply()  # the end of another fence: nothing is appended, and no round is used up
        self._rounds += 1
        if self._rounds > self._settings.max_tool_calls:
            return Reply()  # the policy goes on, and its program stays text
        said, self._said = self._said, formats.ProgramReader()  # a program that was answered is not found again
        if not said.has_program:
            return Reply(token_ids=self._block(""))
        return self._answer(said.program(), turn)

    def close(self) -> None:
        """End the interpreter."""
        if self._interpreter is not None:
            self._interpreter.close()
            self._interpreter = None

    def _answer(self, program: str, turn: Turn) -> Reply:
        output, status = self._run(program)
        output = output.strip()
        self._history.append((program, output))
        token_ids = self._block(output)
        facts = {"program": program, "output": output, "status": status, "failed": formats.is_failure(output)}
        num_tokens_before = self._before.num_tokens + len(turn.token_ids)
        return Reply(token_ids=token_ids, tool_calls=[facts | span(num_tokens_before, token_ids)])

    def _block(self, output: str) -> list[int]:
        """The tokens of an output block; what a program wrote is spelled plainly, the last block has the notice."""
        is_last = self._rounds == self._settings.max_tool_calls
        notice = self._settings.notice if is_last else ""
        if not output:
            return self._tokenizer.encode(formats.output_block("", notice), add_special_tokens=False)
        # The mark stands where the format puts the output: what is before and after it is the frame.
        opening, _, closing = formats.output_block("\0", notice).partition("\0")
        return framed_ids(self._tokenizer, opening, output, closing)

    def _run(self, program: str) -> tuple[str, str]:
        """What a program shows, and what became of it."""
        match self._settings.state:
            case "persistent":
                ran = self._run_on(program)
            case "fresh":
                ran = self._run_alone(program)
            case "replay":
                ran = self._run_alone(formats.as_released(formats.replayed_program(self._history, program)))
                if ran.output.startswith(formats.TRACEBACK):
                    return ran.output, "error"
        return ran.output, ran.status

    def _run_on(self, program: str) -> Ran:
        """Run a program where the earlier ones ran; in a resumed trajectory they run again first."""
        if self._interpreter is None:
            self._interpreter = self._executor.open()
            for call in self._before.calls:
                self._interpreter.run(str(call["program"]))
        return self._interpreter.run(program, echo_last_expression=self._settings.echo_last_expression)

    def _run_alone(self, program: str) -> Ran:
        interpreter = self._executor.open()
        try:
            return interpreter.run(program, echo_last_expression=self._settings.echo_last_expression)
        finally:
            interpreter.close()

"""Tools that a policy calls by tags in its text: one environment for any number of them.

    … <python>print(17 * 23)</python>
    <result>
    391
    </result>
    … <search>who wrote Middlemarch</search>
    <result>
    …

A tool's closing tag ends the policy's turn; what is between the tags is given to the tool, and the observation follows
as tokens of the environment, spelled plainly. A tool that fails is an observation as well: its exception is told to
the policy in a notice and kept in the facts of the call. Only a ``UserError`` is passed on, for it is about how the
environment was set up. A turn that ends in another way ends the trajectory.

Formats of papers (fences, tags in an order) are environments of their own, in the papers' folders.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tenfold.core.errors import UserError
from tenfold.core.types import Reply, Turn
from tenfold.envs.foreign_text import framed_ids, span


@dataclass(frozen=True)
class Observation:
    """What a tool says to a call.

    Args:
        text: for the policy.
        ok: whether the tool did what it was asked.
        facts: plain JSON about the call, kept in the trajectory's ``tool_calls``.
    """

    text: str
    ok: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


class Observed(Protocol):
    """What is read of an observation; :class:`Observation` and ``tenfold.envs.search.SearchResult`` have it."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def ok(self) -> bool: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102


class ToolSession(Protocol):
    """A tool for one trajectory: its state lives here. It is asked and closed in one thread."""

    def call(self, text: str) -> Observed:
        """The observation of a call.

        Args:
            text: what the policy said in this turn, up to and including the closing tag.
        """
        ...

    def close(self) -> None:
        """Free what the session holds; called once."""
        ...


class Tool(Protocol):
    """A tool of a run, which all trajectories share. ``tag`` names it, ``stop`` is the closing tag that calls it."""

    @property
    def tag(self) -> str: ...  # noqa: D102
    @property
    def stop(self) -> str: ...  # noqa: D102

    def open(self) -> ToolSession:
        """The tool for one trajectory."""
        ...


@dataclass(frozen=True)
class ToolNotices:
    """What the environment itself says, and how observations are framed."""

    opening: str = "\n<result>\n"
    """Before each observation."""
    closing: str = "\n</result>\n"
    """After it; notices about the budget are inside."""
    last: str = "That was the last call: go on without tools."
    """Below the observation of the last call; empty: not said."""
    none_left: str = "No call is left: go on without tools."
    """To a call beyond the budget, which is not made."""
    failed: str = "The tool failed."
    """When a tool raised an exception."""
    cut: str = "..."
    """Between the first and the last tokens of an observation that was too long."""


@dataclass(frozen=True)
class ToolEnvironment:
    """Offers tools to a policy: a :class:`tenfold.core.types.Environment`.

    Each of a trajectory's ``tool_calls`` has the tool's facts, and ``tool``, ``ok``, ``observation`` (the text, before
    it was cut) and ``error``: ``None``, ``"no call left"`` or the exception that the tool raised. Of the reply (frame,
    observation and notice) they have ``num_reply_tokens``, its place ``begin`` to ``end`` among the tokens of the
    completion, and ``inserted``, the text of its tokens. A reply that the length budget has no room for has them too;
    it is the last one, and its ``end`` lies beyond the completion.

    Args:
        tools: each with a closing tag of its own.
        tokenizer: of the policy.
        max_calls: of all tools together, in a trajectory.
        max_observation_tokens: of an observation, without its frame; 0 for no limit but the tools' own.
        notices: frame and notices.
        over_budget: what a call beyond ``max_calls`` gets: a ``"notice"`` that none is left, or the ``"end"`` of the
            trajectory, with nothing inserted.

    Raises:
        UserError: without tools, if two of them have the same closing tag, a limit is out of range, or ``over_budget``
            is unknown.

    Example:
        >>> from tenfold.envs import FakeRetriever, Passage, SearchTool
        >>> from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout
        >>> search = SearchTool(FakeRetriever({"Tiber": [Passage("1", "Rome", "Rome is on the Tiber.")]}))
        >>> policy = ScriptedPolicy(character_tokenizer(), lambda *number: "<search>Tiber</search>Rome")
        >>> environment = ToolEnvironment([search], policy.tokenizer)
        >>> (said,) = rollout(policy, [policy.encode("?")], Sampling(99), environment=environment)
        >>> print(policy.decode(said.token_ids))
        <search>Tiber</search>
        <result>
        [1] Rome: Rome is on the Tiber.
        </result>
        Rome<eos>
        >>> [(call["tool"], call["query"], call["ok"]) for call in said.tool_calls]
        [('search', 'Tiber', True)]
        >>> call = said.tool_calls[0]
        >>> policy.decode(said.token_ids[call["begin"] : call["end"]]) == call["inserted"]
        True
    """

    tools: Sequence[Tool]
    tokenizer: Any
    max_calls: int = 8
    max_observation_tokens: int = 0
    notices: ToolNotices = ToolNotices()
    over_budget: Literal["notice", "end"] = "notice"
    stop: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        stops = tuple(tool.stop for tool in self.tools)
        if not stops:
            raise UserError("tools = []: at least one is needed")
        if len(set(stops)) < len(stops):
            raise UserError(f"tools: closing tags {', '.join(stops)}; each tool needs one of its own")
        if self.max_calls < 1:
            raise UserError(f"max_calls = {self.max_calls}: must be at least 1")
        if self.max_observation_tokens < 0:
            raise UserError(f"max_observation_tokens = {self.max_observation_tokens}: must be 0 (no limit) or more")
        if self.over_budget not in ("notice", "end"):
            raise UserError(f'over_budget = {self.over_budget!r}: must be "notice" or "end"')
        object.__setattr__(self, "stop", stops)

    def open(self, prompt: int, sample: int) -> "ToolLoop":
        """The tools of one trajectory; each opens at its first call."""
        return ToolLoop(self)


class ToolLoop:
    """The tools of one trajectory: a :class:`tenfold.core.types.Session`."""

    def __init__(self, environment: ToolEnvironment) -> None:
        self._environment = environment
        self._tools = {tool.stop: tool for tool in environment.tools}
        self._open: dict[str, ToolSession] = {}
        self._num_calls = 0

    def respond(self, turn: Turn) -> Reply | None:
        """Call the tool whose closing tag ended the turn, if one did."""
        if turn.stop is None or (tool := self._tools.get(turn.stop)) is None:
            return None
        if self._num_calls == self._environment.max_calls:
            return self._beyond_budget(tool, turn)
        self._num_calls += 1
        observed, error = self._call(tool, turn.text.partition(turn.stop)[0] + turn.stop)
        is_last = self._num_calls == self._environment.max_calls
        return self._answer(tool, turn, observed, error, notice=self._environment.notices.last if is_last else "")

    def close(self) -> None:
        """Close the tools that were called."""
        with ExitStack() as stack:  # all of them, also where one cannot be closed
            for session in self._open.values():
                stack.callback(session.close)

    def _call(self, tool: Tool, text: str) -> tuple[Observed, str | None]:
        try:
            if tool.stop not in self._open:
                self._open[tool.stop] = tool.open()
            return self._open[tool.stop].call(text), None
        except UserError:
            raise
        except Exception as error:  # of any tool: told to the policy, and kept
            return Observation(self._environment.notices.failed, False), f"{type(error).__name__}: {error}"

    def _beyond_budget(self, tool: Tool, turn: Turn) -> Reply:
        refusal = Observation(self._environment.notices.none_left, ok=False)
        if self._environment.over_budget == "notice":
            return self._answer(tool, turn, refusal, "no call left")
        return Reply(end=True, tool_calls=[self._facts(tool, turn, refusal, "no call left", token_ids=[])])

    def _answer(self, tool: Tool, turn: Turn, observed: Observed, error: str | None, notice: str = "") -> Reply:
        environment, notices = self._environment, self._environment.notices
        closing = notices.closing
        if notice:
            closing = f"\n{notice}{closing}"
        token_ids = framed_ids(
            environment.tokenizer,
            notices.opening,
            observed.text,
            closing,
            limit=environment.max_observation_tokens,
            cut=notices.cut,
        )
        return Reply(token_ids=token_ids, tool_calls=[self._facts(tool, turn, observed, error, token_ids)])

    def _facts(
        self, tool: Tool, turn: Turn, observed: Observed, error: str | None, token_ids: list[int]
    ) -> dict[str, Any]:
        """About a call and the tokens that answer it; the tool's own facts may name another error."""
        about_call = {"tool": tool.tag, "error": error, **observed.facts}
        about_call |= {"ok": observed.ok, "observation": observed.text}
        inserted = self._environment.tokenizer.decode(token_ids, clean_up_tokenization_spaces=False)
        place = span(len(turn.token_ids), token_ids)
        return {**about_call, "num_reply_tokens": len(token_ids), "inserted": inserted, **place}

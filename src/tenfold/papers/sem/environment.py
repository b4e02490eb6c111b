"""The search loop: a query between the tags is answered by what a retriever finds, as tokens of the environment.

    … <search>river of Rome</search> <result>
    [1] Rome: Rome is on the Tiber.
    </result>

The rollout stops at ``</search>``; what follows is appended in this exact form, is masked out of the loss, and cannot
spell a tag, since it is encoded plainly. An empty or too long query, a retriever that fails, a search beyond the budget
are answered by a text of the same form, and the trajectory goes on; a query that was asked before is flagged
(``duplicate`` in the ``tool_calls``) and counted by ``measures.py``.

Budgets: ``max_searches`` of a trajectory, ``max_result_tokens`` of each result without its frame, and those of the
sampling (``Sampling.count_replies`` makes results use up the response's length). Of the released code of ReSearch the
stop string and the form of the insertion are taken; a search beyond the budget is ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.types import Session
from tenfold.envs import Notices, Passage, Retriever, SearchTool, ToolEnvironment, ToolNotices
from tenfold.envs.foreign_text import plain_ids
from tenfold.envs.search.tool import numbered
from tenfold.papers.sem.grammar import RESULT_CLOSING, RESULT_OPENING

FRAME = ToolNotices(
    opening=RESULT_OPENING,
    closing=RESULT_CLOSING,
    last="",
    none_left="No search is left.",
    failed="The search failed.",
)
"""Form and wording of what the environment says; a small vocabulary needs words of its own."""
NOTICES = Notices()
"""Wording of what the search itself says."""


@dataclass(frozen=True)
class SearchEnvironment:
    """Answers a policy's searches: a :class:`tenfold.core.types.Environment`.

    Each of a trajectory's ``tool_calls`` has what ``SearchTool`` and ``ToolEnvironment`` tell: ``query``, ``ids``,
    ``duplicate``, ``cut``, ``error``, ``num_reply_tokens`` …, and ``inserted``, by which ``grammar.parse_trajectory``
    tells the environment's results from a policy's.

    Args:
        retriever: where passages come from.
        tokenizer: of the policy.
        k: most passages for a query.
        max_searches: of a trajectory.
        max_query_characters: longer queries are refused in the result.
        max_result_tokens: of a result, without its frame.
        end_over_budget: a search beyond the budget ends the trajectory, where a result would say that none is left.
        show: a passage's rank, from 1, and the passage to what the policy reads.
        frame: form and wording of results.
        notices: wording of what the search itself says.

    Raises:
        UserError: if a limit is below 1.

    Example:
        >>> from tenfold.envs import FakeRetriever, Passage
        >>> from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout
        >>> text = "<think></think><answer>Po</answer><search>Tiber</search><answer>Tiber</answer>"
        >>> policy = ScriptedPolicy(character_tokenizer(), lambda *number: text)
        >>> retriever = FakeRetriever({"Tiber": [Passage("1", "Rome", "Rome is on the Tiber.")]})
        >>> environment = SearchEnvironment(retriever, policy.tokenizer)
        >>> (said,) = rollout(policy, [policy.encode("?")], Sampling(99), environment=environment)
        >>> print(policy.decode(said.token_ids).partition("</answer>")[2])
        <search>Tiber</search> <result>
        [1] Rome: Rome is on the Tiber.
        </result><answer>Tiber</answer><eos>
    """

    retriever: Retriever
    tokenizer: Any
    k: int = 5
    max_searches: int = 4
    max_query_characters: int = 512
    max_result_tokens: int = 500
    end_over_budget: bool = False
    show: Callable[[int, Passage], str] = numbered
    frame: ToolNotices = FRAME
    notices: Notices = NOTICES
    tools: ToolEnvironment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_searches < 1:
            raise UserError(f"max_searches = {self.max_searches}: must be at least 1")

        @lru_cache(maxsize=1 << 12)  # a result is counted twice, and the samples of a question find the same
        def count_tokens(text: str) -> int:
            return len(plain_ids(self.tokenizer, text))

        tool = SearchTool(
            self.retriever,
            k=self.k,
            max_query_characters=self.max_query_characters,
            max_result_tokens=self.max_result_tokens,
            count_tokens=count_tokens,
            show=self.show,
            notices=self.notices,
        )
        tools = ToolEnvironment(
            [tool],
            self.tokenizer,
            max_calls=self.max_searches,
            notices=self.frame,
            over_budget="end" if self.end_over_budget else "notice",
        )
        object.__setattr__(self, "tools", tools)

    @property
    def stop(self) -> tuple[str, ...]:
        """The closing tag of a search."""
        return self.tools.stop

    def open(self, prompt: int, sample: int) -> Session:
        """The searches of one trajectory."""
        return self.tools.open(prompt, sample)

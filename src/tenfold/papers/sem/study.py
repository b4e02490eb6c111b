"""One arm with one seed: what all parts of the recipe need of it."""

from dataclasses import dataclass

from tenfold.core.cell import Cell
from tenfold.envs import Notices, ToolNotices
from tenfold.envs.search.tool import numbered
from tenfold.papers.sem import fact_world
from tenfold.papers.sem.arms import Arm
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.data import Questions
from tenfold.papers.sem.environment import FRAME, NOTICES, SearchEnvironment
from tenfold.papers.sem.grammar import RESULT_CLOSING, RESULT_OPENING
from tenfold.policies import Policy

_SMALL_FRAME = ToolNotices(RESULT_OPENING, RESULT_CLOSING, "", fact_world.NOTICE, fact_world.NOTICE, "")
_SMALL_NOTICES = Notices(fact_world.NOTICE, fact_world.NOTICE, fact_world.NOTICE, fact_world.NOTICE, "", "")


@dataclass(frozen=True)
class Study:
    """One arm with one seed.

    Args:
        config: of the run.
        arm: what it does differently.
        cell: where it trains, with the seed.
        questions: of the seed.
    """

    config: Config
    arm: Arm
    cell: Cell
    questions: Questions

    @property
    def seed(self) -> int:
        """The seed of all random streams."""
        return self.cell.seed

    def instructions(self, words: str) -> str:
        """The words for a policy that reads words, and none for another."""
        return words if self.config.task.reads_words else ""

    def search(self, policy: Policy) -> SearchEnvironment:
        """What answers a policy's searches, in the tiny one's words where there are few."""
        search = self.config.search
        show, frame, notices = numbered, FRAME, NOTICES
        if self.config.task.kind == "facts":
            show, frame, notices = fact_world.show, _SMALL_FRAME, _SMALL_NOTICES
        return SearchEnvironment(
            self.questions.retriever,
            policy.tokenizer,
            k=search.passages,
            max_searches=search.max_searches,
            max_result_tokens=search.max_result_tokens,
            end_over_budget=search.end_over_budget,
            show=show,
            frame=frame,
            notices=notices,
        )

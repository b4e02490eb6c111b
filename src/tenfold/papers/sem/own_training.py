"""``tenfold train sem``: teach a language model when to search, on a user's own questions and index."""

from dataclasses import dataclass
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.envs import load_index
from tenfold.papers.sem import recipe, stages
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.data import Questions
from tenfold.papers.sem.prompts import prompt_of
from tenfold.papers.sem.questions import read_own
from tenfold.papers.sem.study import Study
from tenfold.policies import Policy
from tenfold.study.language import placed, prompt_ids, require_prompts

ARMS = ("sem", "answer_reward")
ACTING = (
    "task.instructions",
    "task.closed_book_samples",
    "task.known_from",
    "reward.normalisation",
    "policy",
    "search",
    "training",
    *dict.fromkeys(field for arm in ARMS for field in recipe.ARMS[arm].fields),
)
OF_ARM = {arm: recipe.ARMS[arm].fields for arm in ARMS}


@dataclass(frozen=True)
class Given:
    """What a user has given, checked.

    Args:
        policy: the model that training starts from.
        questions: of the data file, and what is searched.
        corpus_hash: of the passages in the index.
    """

    policy: Policy
    questions: Questions
    corpus_hash: str


def read(config: Config, arm: str) -> Given:
    """Model, questions and index of a training.

    Raises:
        UserError: one of the three cannot be used, or a question leaves no room for an answer.
    """
    asked = read_own(Path(config.task.data))
    if not config.search.index:
        raise UserError("search.index is empty; allowed: a folder that tenfold index build has written")
    index = load_index(Path(config.search.index))
    policy = stages.build(config, 0)
    instructions = recipe.ARMS[arm].form.instructions if config.task.reads_words else ""
    prompts = [prompt_of(question, instructions) for question in asked]
    require_prompts(policy, prompts, "task.instructions = none")
    for number, prompt in enumerate(prompts, start=1):
        size = len(prompt_ids(policy, prompt))
        if policy.context is not None and size >= policy.context:
            raise UserError(
                f"{config.task.data}, row {number}: a prompt of {size} tokens; "
                f"must be below the model's {policy.context}"
            )
    questions = Questions(train=asked, shown=[], validation=[], test=[], retriever=index)
    return Given(policy, questions, index.corpus_hash)


def train(config: Config, arm: str, given: Given, cell: Cell) -> Policy:
    """The reinforcement, from the start or from where it was interrupted.

    Raises:
        UserError: the index holds other passages than those that this training was begun with, or all questions are
            known, or all unknown, where both are asked for.
    """
    # The house compares the configuration and the data file; the folder of an index may be the same with others in it.
    claim_folder(cell.directory / "index", "passages.yaml", {"corpus_hash": given.corpus_hash}, config.search)
    study = Study(config, recipe.ARMS[arm], cell, given.questions)
    return recipe.reinforce(study, placed(given.policy, cell), cell)

"""``tenfold train rlcr``: teach a language model to answer a user's own questions and to say how sure it is."""

from pathlib import Path

from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.papers.rlcr import arms
from tenfold.papers.rlcr.config import Config
from tenfold.papers.rlcr.questions import read_file
from tenfold.papers.rlcr.recipe import build
from tenfold.policies import Policy
from tenfold.study.language import require_prompts
from tenfold.study.questions import as_dataset
from tenfold.train.grpo import grpo

ARMS = ("rlcr", "rlvr", "brier_only", "log_score")
_OF_THE_TASK = ("task.layout", "task.system_prompt", "task.verifier")
ACTING = (*_OF_THE_TASK, "policy", "reward", "training", "ablation_steps", "rates")
OF_ARM = {arm: tuple(sorted(arms.ARMS[arm].fields)) for arm in ARMS}


def read(config: Config, arm: str) -> tuple[Policy, Dataset]:
    """The model of a training, and the questions as they are put to it.

    Raises:
        UserError: the reward is not safe, the file or the model cannot be used, or
            the model cannot spell a question.
    """
    arms.rewards_of(config, arms.ARMS[arm])  # refuses what is not safe
    examiner = arms.examiner_of(config, arms.ARMS[arm])
    questions = read_file(config.task, Path(config.task.train_file))
    policy = build(config, 0)
    require_prompts(policy, map(examiner.prompt_of, questions), "task.system_prompt = none")
    return policy, as_dataset(questions, examiner.prompt_of)


def train(config: Config, arm: str, given: tuple[Policy, Dataset], cell: Cell) -> Policy:
    """The reinforcement by the arm's reward, from the start or from where it was interrupted."""
    policy, rows = given
    functions = arms.rewards_of(config, arms.ARMS[arm]).functions
    return grpo(policy, rows, functions, arms.training_of(config, arms.ARMS[arm]), cell)

"""iw-SFT against SFT on solutions in text: one experiment, top to bottom.

Stage 1 learns all solutions, once for all arms of a seed; it is the policy that models the unfiltered data, and so the
reference. Stage 2 learns what the arm says, mostly the kept ones, those with the right answer. The score is the share
of held-out problems that a sampled solution gets right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.iw_sft import pictures
from tenfold.papers.iw_sft.arms import (
    QUALITY,
    Arm,
    as_chosen,
    by_advantage,
    exponent,
    grid_of,
    mean_at_temperature_1,
    weighting,
    without_weights,
)
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.language import arithmetic
from tenfold.papers.iw_sft.language.config import Config
from tenfold.papers.iw_sft.language.data import Problems, Solutions, load_problems, load_solutions
from tenfold.papers.iw_sft.trainer import drawn_by_quality, weighting_of
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study.language import build_policy, estimate_of, evaluated_as, prompt_ids
from tenfold.study.questions import Question
from tenfold.study.stages import policy_made_once
from tenfold.study.tuning import at_rate
from tenfold.train.distributed import device_of
from tenfold.train.sft import sft
from tenfold.train.trl_run import Evaluate

ARMS: Mapping[str, Arm] = {
    "sft": Arm("SFT: plain fine-tuning on the kept solutions", "sft", without_weights),
    "bc": Arm("cloning of all solutions, for longer", "bc", without_weights, learns_from="all"),
    "iw_sft": Arm("iw-SFT: kept solutions, weighted by q / reference", "iw_sft", as_chosen),
    "iw_sft_mean": Arm(
        "iw-SFT with the mean ratio at temperature 1, which is the exponent 1 / tokens",
        "iw_sft_mean",
        mean_at_temperature_1,
    ),
    "sft_quality": Arm(
        "SFT on kept solutions, drawn by their quality", "sft_quality", without_weights, by_quality=True
    ),
    "iw_sft_quality": Arm(
        "iw-SFT on kept solutions, drawn by their quality", "iw_sft_quality", as_chosen, by_quality=True
    ),
    "awr": Arm("advantage-weighted regression on all solutions", "awr", by_advantage, learns_from="all"),
}
GRID = grid_of(ARMS)

_BUDGET = "equal steps and batches in both stages; rates not tuned on this task"
CLAIMS = (
    Claim(
        id="importance",
        text="iw-SFT solves more of the held-out problems than SFT.",
        kind="superiority",
        metric="test/score",
        split="test",
        arm="iw_sft",
        baseline="sft",
        direction="higher",
        margin=0.0,
        budget=_BUDGET,
        source="no difference",
        headline=True,
    ),
    Claim(
        id="exponent",
        text="A warning: with the mean ratio at temperature 1, iw-SFT gains less than 0.03 over SFT.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="sft",
        baseline="iw_sft_mean",
        direction="higher",
        margin=0.03,
        budget=_BUDGET,
        source="the specification's check 6, for the two-route task",
    ),
    Claim(
        id="quality",
        text="Drawing kept solutions by quality costs iw-SFT at most 0.02 of the problems.",
        kind="non_inferiority",
        metric="test/score",
        split="test",
        arm="iw_sft_quality",
        baseline="iw_sft",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
        source="ours: two in a hundred problems",
    ),
)
CHOSEN_ON = (0, 1, 2, 1000, 1001, 1002, 1003)
"""Settings on 0 to 2; the others are those of the two-route study."""
PLAN = Plan(
    laptop=(20, 21, 22, 23, 24), why="five, the fewest: in a pilot on the seeds 0 to 2 the effect had the other sign"
)
MEASURED_ROWS = 200
"""Solutions from which the mean length is taken."""


@dataclass(frozen=True, eq=False)
class LanguageStudy:
    """One arm's surroundings: the settings, the seed's solutions and problems, and where to train.

    Args:
        config: of the study.
        solutions: to learn from.
        problems: to test on.
        cell: of the arm.
    """

    config: Config
    solutions: Solutions
    problems: Problems
    cell: Cell

    def rows(self, arm: Arm) -> Dataset:
        """What the second training of an arm learns from."""
        return rows_of(arm, self.solutions)

    def measure(self, policy: Policy) -> dict[str, float]:
        """The share of validation problems that the policy solves."""
        right, _ = solve(self, policy, self.problems.validation, "validation")
        return {"validation/score": float(right.mean())}


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test it."""
    chosen = ARMS[arm]
    study = begin(config, cell)
    weights = weights_of(config, chosen)
    weighting_of(weights, study.rows(chosen))  # refuses columns that are missing before anything is trained
    cloned = clone(study)
    trained = fine_tune(study, chosen, cloned)
    test, kept = study.problems.test, study.solutions.kept
    right, answers = solve(study, trained, test, "test")
    return Scores(
        metrics={
            "test/score": float(right.mean()),
            "test/share_with_working": float(np.mean(["=" in answer for answer in answers])),
            "data/kept_trajectories": float(len(kept)),
            "weights/effective_exponent": exponent(weights, mean_tokens(trained, kept)),
            "cost/parameters": float(trained.num_parameters),
        },
        items={"test/score": right.astype(float).tolist()},
        curves=cell.curves(),
        samples={"answers": drawn_from(test, answers)},
    )


def begin(config: Config, cell: Cell) -> LanguageStudy:
    """Data of the cell's seed."""
    seed = cell.seed
    return LanguageStudy(config, load_solutions(config.task, seed), load_problems(config.task, seed), cell)


def clone(study: LanguageStudy) -> Policy:
    """Stage 1 on all solutions, by whichever arm of the seed comes first; without steps the policy as it is."""
    config = study.config
    place = device_of(study.cell)
    start = partial(build_policy, config.policy, arithmetic.ALPHABET, seed=study.cell.seed, device=place)
    if not config.has_stage_1:
        return start()

    def make(stage: Cell) -> Policy:
        policy = start()
        rows = study.solutions.everything.select_columns(["prompt", "completion"])
        evaluate = evaluated_as(policy.tokenizer, study.measure)
        return sft(policy, rows, at_rate(config.cloning, config.rates.cloning), stage, evaluate=evaluate).merged()

    return policy_made_once(study.cell, "cloning", make)


def fine_tune(study: LanguageStudy, arm: Arm, cloned: Policy) -> Policy:
    """Stage 2 on what the arm learns from, in a part of the cell."""
    rows = study.rows(arm)
    part = study.cell.parts({"fine-tuning": study.config.fine_tuning.total_steps(len(rows))})["fine-tuning"]
    return second_training(study.config, arm, cloned, rows, part, evaluated_as(cloned.tokenizer, study.measure))


def second_training(
    config: Config, arm: Arm, policy: Policy, rows: Dataset, cell: Cell, evaluate: Evaluate | None = None
) -> Policy:
    """Weighted fine-tuning of a policy as the arm says.

    Args:
        config: settings, weights and rates.
        arm: which of them.
        policy: where training starts; the reference of the weights, unless they take a column.
        rows: with prompt and completion.
        cell: of this training alone.
        evaluate: called in the course of it.
    """
    weights = weights_of(config, arm)
    return sft(
        policy,
        rows,
        at_rate(config.fine_tuning, getattr(config.rates, arm.rate)),
        cell,
        weighting=partial(weighting_of, weights),
        sampling_column=weights.quality_column if drawn_by_quality(weights) else None,
        evaluate=evaluate,
    )


def weights_of(config: Config, arm: Arm) -> IWSFTConfig:
    """The weights of an arm; those that exponentiate a score take the quality of a solution for it."""
    weights = weighting(arm, config.weighting, config.baselines)
    if weights.weight_fn in ("rwr", "awr"):
        return replace(weights, quality_column=QUALITY, quality="sample")
    return weights


def rows_of(arm: Arm, solutions: Solutions) -> Dataset:
    """The solutions that an arm's second training learns from."""
    return solutions.everything if arm.learns_from == "all" else solutions.kept


def solve(
    study: LanguageStudy, policy: Policy, problems: Sequence[Question], split: str
) -> tuple[np.ndarray, list[str]]:
    """Sample one solution for each problem; whether its last number is an answer [n], and the texts."""
    sampling = Sampling(max_new_tokens=study.config.task.max_new_tokens)
    prompts = [prompt_ids(policy, problem.prompt) for problem in problems]
    keys = [(split, row) for row in range(len(problems))]
    trajectories = rollout(policy, prompts, sampling, seed=study.cell.seed, keys=keys)
    texts = [str(policy.tokenizer.decode(one.token_ids, skip_special_tokens=True)) for one in trajectories]
    right = [is_right(text, problem) for text, problem in zip(texts, problems, strict=True)]
    return np.array(right), texts


def is_right(text: str, problem: Question) -> bool:
    """Whether the last number of a solution is that of an answer.

    Example:
        >>> is_right("7+5=12;3+8+1=12;ans 122", Question("37+85=", ("122",), "1"))
        True
    """
    return arithmetic.final_number(text) in [arithmetic.final_number(answer) for answer in problem.answers]


def mean_tokens(policy: Policy, solutions: Dataset) -> float:
    """Tokens of a solution and its end, on average over the first rows."""
    completions = solutions["completion"][:MEASURED_ROWS]
    return float(np.mean([len(policy.encode(completion)) + 1 for completion in completions]))


def drawn_from(problems: Sequence[Question], answers: Sequence[str], most: int = 8) -> list[str]:
    """A few problems with what was answered, for the report."""
    shown = []
    for problem, answer in list(zip(problems, answers, strict=True))[:most]:
        asked = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[-1]["content"]
        shown.append(asked + answer)
    return shown


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The share of validation problems that are solved, of the arm whose rate is at ``field``; for choosing rates."""
    study = begin(config, cell)
    arm = ARMS[field.removeprefix("rates.")]
    return study.measure(fine_tune(study, arm, clone(study)))


def figures(report: Report) -> Sequence[Picture]:
    """Score of every arm, learning curves, and effective sample size."""
    return pictures.draw(report, list(ARMS))


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; unknown for models on disk."""
    if config.policy.model:
        return estimate_of(config.policy, config.fine_tuning, 64, config.task.max_new_tokens, examples=S1K_ROWS)
    weights = build_policy(config.policy, arithmetic.ALPHABET, seed=0).num_parameters
    stages = ((config.cloning, 1), (config.fine_tuning, len(ARMS)))
    tokens = sum(times * stage.steps * stage.batch_size * stage.max_length for stage, times in stages)
    return {
        "parameters": float(weights),
        "memory_bytes": 16.0 * weights + 1e9,
        "seconds": tokens * _SECONDS_PER_TOKEN + len(ARMS) * 3.0,
    }


S1K_ROWS = 1000  # of the published task, whose training is in epochs
_SECONDS_PER_TOKEN = 3.5e-5  # one core, the tiny policy of the laptop preset

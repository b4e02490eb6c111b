"""RLCR against binary rewards: one experiment, top to bottom.

Every arm starts from the same over-confident policy: supervised, on right answers with confidences that say nothing
about the difficulty. It is then trained by GRPO with the arm's own reward. The two ablations are shorter: what they
show comes early. All arms have one learning rate; ``tenfold tune rlcr`` tries others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import number
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.eval.calibration import auroc, brier, expected_calibration_error
from tenfold.papers.rlcr import answering, baselines, pictures
from tenfold.papers.rlcr.answering import Answers, Examiner
from tenfold.papers.rlcr.arms import ARMS, Arm, examiner_of, instructions_for, rewards_of, training_of
from tenfold.papers.rlcr.bandit import SUCCESS, ascend
from tenfold.papers.rlcr.config import Config
from tenfold.papers.rlcr.masked_addition import ALPHABET, CONFIDENCES, TAGS, overconfident, problems
from tenfold.papers.rlcr.method import rlcr_reward
from tenfold.papers.rlcr.prompts import render
from tenfold.papers.rlcr.questions import Questions, load_questions
from tenfold.policies import Policy
from tenfold.rewards import brier_rule, is_safe, log_rule
from tenfold.study.language import build_policy, estimate_of, evaluated_as
from tenfold.study.questions import Question, as_dataset
from tenfold.study.stages import json_made_once, policy_made_once
from tenfold.train.distributed import device_of
from tenfold.train.grpo import grpo
from tenfold.train.sft import sft

_BUDGET = "the same warm start, steps, prompts, samples and learning rate"
_SHORTER = "the same warm start, prompts, samples and learning rate; brier_only has fewer steps"


def _compared(id: str, text: str, kind: Any, metric: str, arm: str, baseline: str | None, **rest: Any) -> Claim:
    return Claim(id=id, text=text, kind=kind, metric=metric, split="test", arm=arm, baseline=baseline, **rest)


CLAIMS = (
    _compared(
        "accuracy",
        "RLCR costs no accuracy: its accuracy is at most 0.02 below that of the binary reward.",
        "non_inferiority",
        "test/accuracy",
        "rlcr",
        "rlvr",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
        source="the specification's check 6",
    ),
    _compared(
        "brier",
        "The Brier score of RLCR's confidences is at least 0.08 lower than that of the binary reward's.",
        "superiority",
        "test/brier",
        "rlcr",
        "rlvr",
        direction="lower",
        margin=0.08,
        budget=_BUDGET,
        source="the specification's check 6",
        headline=True,
    ),
    _compared(
        "calibration",
        "RLCR's expected calibration error is at most 0.06.",
        "threshold",
        "test/ece",
        "rlcr",
        None,
        direction="lower",
        margin=0.06,
        budget="one trained policy",
        source="the specification's check 6",
    ),
    _compared(
        "discrimination",
        "RLCR's confidences tell right from wrong answers: AUROC is at least 0.78 (0.82 is the best possible).",
        "threshold",
        "test/auroc",
        "rlcr",
        None,
        direction="higher",
        margin=0.78,
        budget="one trained policy",
        source="the specification's check 6",
    ),
    _compared(
        "brier-alone",
        "A reward for the Brier score alone, without correctness, costs at least 0.05 of accuracy.",
        "superiority",
        "test/accuracy",
        "rlvr",
        "brier_only",
        direction="higher",
        margin=0.05,
        budget=_SHORTER,
        source="the specification's check 7",
    ),
    _compared(
        "log-score",
        "The log score is flagged as unsafe and leads to the bandit's arm that never wins; Brier's does neither.",
        "exact",
        "bandit/log_score_is_unsafe",
        "rlcr",
        None,
        direction="higher",
        margin=1.0,
        budget="a bandit of six arms with exact gradients",
        source="the log score fails: the specification, section 1",
    ),
    _compared(
        "voting",
        "A vote weighted by RLCR's confidences is right more often than the majority of the same samples.",
        "threshold",
        "vote/gain",
        "rlcr",
        None,
        direction="higher",
        margin=0.0,
        budget="the same samples of one trained policy",
        source="no difference",
    ),
)
CHOSEN_ON = (0, 1, 2, 10, 11, 12, 20, 21, 22, 23, 24, 25, 1000)
"""Settings on 0 to 2 and 10 to 12, rates on 1000; 20 to 25 are the run that the plan is sized by."""
PLAN = Plan(
    laptop=(30, 31, 32, 33, 34, 35),
    why="six: the headline has a power of 0.83 at six by the seeds 20 to 25, 0.70 at five",
)


GRID = {arm.rate: (7.5e-4, 1.5e-3, 3e-3) for arm in ARMS.values()}
"""The rates that ``tenfold tune rlcr`` tries."""
CLASSIFIER_RATE, TINY_CLASSIFIER_RATE = 1e-5, 1e-3


@dataclass(frozen=True)
class Study:
    """One arm with one seed: what its policy is asked, by whom, and where it is trained."""

    config: Config
    arm: Arm
    cell: Cell
    examiner: Examiner
    questions: Questions


def extras(config: Config) -> tuple[str, ...]:
    """The optional parts that a configuration needs."""
    return ("math",) if config.task.verifier.startswith("math") else ()


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test what it says and how sure it is."""
    study = study_of(config, ARMS[arm], cell)
    policy = warm_start(config, cell)
    start = start_of(study, policy)
    policy = reinforced(study, policy)
    if cell.is_main:
        policy.save(cell.directory / "model")
    questions = study.questions.test
    answers = ask(study, policy, questions)
    settings = training_of(config, study.arm)
    metrics = answering.report(answers, questions, study.examiner, "test")
    metrics |= {name: number(value) for name, value in start["metrics"].items()}
    metrics |= uses(study, policy, answers)
    if study.arm.is_estimated:
        metrics |= estimators(study, policy, answers)
    if study.arm.shows_bandit:
        metrics |= bandit_metrics()
    metrics["cost/parameters"] = float(policy.num_parameters)
    metrics["cost/completions"] = float(settings.steps * settings.prompts_per_step * settings.num_generations)
    return Scores(
        metrics=metrics,
        items={
            "test/accuracy": study.examiner.chances(questions, answers),
            "test/brier": ((answers.confidences - answers.right) ** 2).tolist(),
        },
        curves=cell.curves(),
        samples=pictures.drawn_from(answers, questions) | {"by_hidden_at_start": start["by_hidden"]},
    )


def study_of(config: Config, arm: Arm, cell: Cell) -> Study:
    """The questions of a seed, as many as the arm's training asks for, and who puts them."""
    settings = training_of(config, arm)
    questions = load_questions(config.task, settings.steps * settings.prompts_per_step, cell.seed)
    return Study(config, arm, cell, examiner_of(config, arm), questions)


def warm_start(config: Config, cell: Cell) -> Policy:
    """The over-confident policy that all arms of a seed start from; the bare one where there is no warm start."""
    if not config.warm_start.steps:
        return build(config, cell.seed, device_of(cell))
    return policy_made_once(cell, "warm-start", lambda stage: _warmed_up(config, stage))


def _warmed_up(config: Config, stage: Cell) -> Policy:
    w = config.warm_start
    questions = problems(w.num_examples, stage.seed, "warm start")
    said: list[Any] = overconfident(questions, (w.even_law, w.odd_law), stage.seed, "warm start")
    instructions = instructions_for(config.reward.blocks, config)
    rows = as_dataset(questions, lambda question: render(question.prompt, instructions))
    if not isinstance(rows[0]["prompt"], str):
        said = [[{"role": "assistant", "content": text}] for text in said]
    rows = rows.select_columns("prompt").add_column("completion", said)
    return sft(build(config, stage.seed, device_of(stage)), rows, w.training, stage).merged()


def build(config: Config, seed: int, device: str | torch.device = "cpu") -> Policy:
    """The policy before any training; equal seeds give equal weights in every arm."""
    weights = key_to_seed(seed, "policy")
    return build_policy(config.policy, ALPHABET, (*TAGS, *CONFIDENCES), seed=weights, device=device)


def start_of(study: Study, policy: Policy) -> dict[str, Any]:
    """What the policy says before the reinforcement: metrics, and confidence by difficulty.

    Arms that are asked in one form are given equal answers, which are therefore sampled once.
    """

    def measured(stage: Cell) -> dict[str, Any]:
        answers = ask(study, policy, study.questions.test)
        metrics = answering.report(answers, study.questions.test, study.examiner, "start")
        return {"metrics": metrics, "by_hidden": pictures.plain_by_hidden(answers, study.questions.test)}

    made: dict[str, Any] = json_made_once(study.cell, f"start-{study.examiner.blocks}", measured)
    return made


def reinforced(study: Study, policy: Policy) -> Policy:
    """The policy after the arm's own training, with curves on validation problems where there are any."""
    evaluate = None
    if study.questions.validation:
        evaluate = evaluated_as(policy.tokenizer, validation(study))
    rows = as_dataset(study.questions.train, study.examiner.prompt_of)
    functions = rewards_of(study.config, study.arm).functions
    return grpo(policy, rows, functions, training_of(study.config, study.arm), study.cell, evaluate=evaluate)


def ask(study: Study, policy: Policy, questions: Sequence[Question]) -> Answers:
    """Greedy answers; a form without confidences is followed by the question for one."""
    settings = study.config.evaluation
    answers = answering.answer(policy, questions, study.examiner, settings)
    if study.examiner.reads_confidence:
        return answers
    stated = baselines.verbalised_confidence(policy, answers.trajectories, batch_size=settings.batch_size)
    parsed = [replace(said, confidence=float(q)) for said, q in zip(answers.parsed, stated, strict=True)]
    return replace(answers, parsed=parsed)


def validation(study: Study) -> Callable[[Policy], Mapping[str, float]]:
    """Metrics of greedy answers to the validation problems; accuracy first."""
    questions = study.questions.validation

    def measure(policy: Policy) -> Mapping[str, float]:
        answers = ask(study, policy, questions)
        metrics = answering.report(answers, questions, study.examiner, "validation")
        names = ("accuracy", "brier", "ece", "auroc", "mean_confidence")
        shown = {f"validation/{name}": metrics[f"validation/{name}"] for name in names}
        for num_hidden, (confidence, _) in answering.by_hidden(answers, questions).items():
            shown[f"validation/confidence_{num_hidden}_hidden"] = confidence
        return shown

    return measure


def uses(study: Study, policy: Policy, answers: Answers) -> dict[str, float]:
    """What confidences are good for at test time: votes, and the mean of several; nothing where none are stated."""
    settings, seed = study.config.evaluation, study.cell.seed
    metrics: dict[str, float] = {}
    if study.examiner.reads_confidence and settings.num_ballots:
        put_to_vote = study.questions.test[: settings.num_ballots]
        metrics |= answering.vote(policy, put_to_vote, study.examiner, settings, seed)
    if study.examiner.reads_confidence and settings.resampled:
        metrics |= answering.ensembled(policy, answers, study.examiner, settings, seed)
    return metrics


def estimators(study: Study, policy: Policy, answers: Answers) -> dict[str, float]:
    """Confidences for a policy that was trained without: answer probability, probe and classifier (both losses).

    A policy that reads words is also asked for one (where :func:`ask` has done so, that is the stated confidence).
    Probe and classifier learn from greedy answers to training problems, half as many as there are test problems.
    """
    settings, reads_words = study.config.evaluation, bool(study.config.policy.model)
    seen = study.questions.train[: max(1, len(study.questions.test) // 2)]
    learned = answering.answer(policy, seen, study.examiner, settings)
    estimates = {"answer_probability": baselines.answer_probability(policy, answers.trajectories)}
    if reads_words and study.examiner.reads_confidence:
        given = baselines.verbalised_confidence(policy, answers.trajectories, batch_size=settings.batch_size)
        estimates["verbalised"] = given
    rate = CLASSIFIER_RATE if reads_words else TINY_CLASSIFIER_RATE
    estimates |= baselines.probed(policy, learned, answers)
    estimates |= baselines.classified(policy, learned, answers, settings.classifier_steps, rate, study.cell.seed)
    metrics = {}
    for name, confidences in estimates.items():
        stated = np.clip(confidences, 0.0, 1.0)
        metrics[f"{name}/brier"] = brier(stated, answers.right)
        metrics[f"{name}/ece"] = expected_calibration_error(stated, answers.right)
        metrics[f"{name}/auroc"] = auroc(stated, answers.right)
    return metrics


def bandit_metrics() -> dict[str, float]:
    """Where exact gradients lead on the six arms, and what the safety check says of both rules."""
    by_brier = ascend(rlcr_reward)
    by_log = ascend(lambda q, c: rlcr_reward(q, c, log_rule))
    log_score_fails = not is_safe(log_rule) and by_log.arm == len(SUCCESS) - 1 and by_log.accuracy < 1e-3
    brier_holds = bool(is_safe(brier_rule)) and by_brier.arm == 0
    return {
        "bandit/accuracy_brier": by_brier.accuracy,
        "bandit/confidence_brier": by_brier.confidence,
        "bandit/accuracy_log_score": by_log.accuracy,
        "bandit/log_score_is_unsafe": float(log_score_fails and brier_holds),
    }


def validation_score(config: Config, field: str, cell: Cell) -> dict[str, float]:
    """What one arm earns at the end of training at the rate in ``field``, and its metrics on validation problems."""
    if not config.task.num_validation:
        raise UserError("num_validation = 0: rates are compared on validation problems; allowed: at least 1")
    (arm,) = (arm for arm in ARMS.values() if arm.rate == field)
    study = study_of(config, arm, cell)
    policy = reinforced(study, warm_start(config, cell))
    earned = [value for _, value in cell.curves()["train/reward"][-3:]]
    return {"train/reward": float(np.mean(earned)), **validation(study)(policy)}


def figures(report: Report) -> Sequence[Picture]:
    """Reliability diagrams, confidence against difficulty, learning curves."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; the time of a model on disk is unknown."""
    if config.policy.model:
        return estimate_of(
            config.policy, config.training, config.evaluation.batch_size, config.evaluation.max_new_tokens
        )
    t, w = config.training, config.warm_start
    num_parameters = build(config, 0).num_parameters
    completions = 2 * (t.steps + config.ablation_steps) * t.prompts_per_step * t.num_generations
    examples = w.steps * w.training.batch_size
    return {
        "parameters": float(num_parameters),
        "memory_bytes": 16.0 * num_parameters + 2e4 * t.prompts_per_step * t.num_generations + 1e9,
        "seconds": completions * _SECONDS_PER_COMPLETION + examples * _SECONDS_PER_EXAMPLE + len(ARMS) * 10.0,
    }


_SECONDS_PER_COMPLETION, _SECONDS_PER_EXAMPLE = 5e-4, 4e-4  # one core, the tiny policy of the laptop preset

"""RLCR against binary rewards: one experiment, top to bottom.

Every arm starts from the same over-confident policy: supervised, on right answers with confidences that say nothing
about the difficulty; equal seeds give equal weights. It is then trained by GRPO with the arm's own reward. The two
ablations are shorter: what they show comes early. All arms have one learning rate; ``tenfold tune rlcr`` tries others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.eval.calibration import auroc, brier, expected_calibration_error
from tenfold.papers.rlcr import answering, baselines, pictures
from tenfold.papers.rlcr.answering import Answers, Judge
from tenfold.papers.rlcr.bandit import SUCCESS, ascend
from tenfold.papers.rlcr.config import Config, training_of
from tenfold.papers.rlcr.masked_addition import ALPHABET, CONFIDENCES, TAGS, Problem, overconfident
from tenfold.papers.rlcr.method import WeightedRewards, rlcr_reward, rlcr_rewards, rlvr_rewards
from tenfold.papers.rlcr.questions import VERIFIERS, Question, Questions, load_questions, sums
from tenfold.policies import Policy, load_policy, tiny_policy
from tenfold.rewards import RULES, brier_rule, is_safe, log_rule
from tenfold.train.grpo import grpo
from tenfold.train.sft import sft

ARMS = {
    "rlvr": "binary reward: form and correctness; the stated confidence earns nothing",
    "rlcr": "form, correctness and the Brier score of the stated confidence",
    "brier_only": "form and the Brier score alone, fewer steps",
    "log_score": "form, correctness and the logarithmic score, which is not safe; fewer steps",
}

_BUDGET = "equal warm start, steps, prompts, samples and learning rate"
_SHORTER = "equal warm start, prompts, samples and learning rate; brier_only has fewer steps"


def _compared(id: str, text: str, kind: Any, metric: str, arm: str, baseline: str | None, **rest: Any) -> Claim:
    return Claim(id=id, text=text, kind=kind, metric=metric, split="test", arm=arm, baseline=baseline, **rest)


CLAIMS = (
    _compared(
        "accuracy",
        "RLCR costs no accuracy: it is not worse than the binary reward by more than 0.02.",
        "non_inferiority",
        "test/accuracy",
        "rlcr",
        "rlvr",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
    ),
    _compared(
        "brier",
        "RLCR's confidences have a Brier score lower by at least 0.08 than those of the binary reward.",
        "superiority",
        "test/brier",
        "rlcr",
        "rlvr",
        direction="lower",
        margin=0.08,
        budget=_BUDGET,
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
    ),
    _compared(
        "discrimination",
        "RLCR's confidences tell right from wrong answers: AUROC of at least 0.78 (0.82 is the best possible).",
        "threshold",
        "test/auroc",
        "rlcr",
        None,
        direction="higher",
        margin=0.78,
        budget="one trained policy",
    ),
    _compared(
        "brier-alone",
        "The Brier score alone, without correctness, loses at least 0.05 of accuracy.",
        "superiority",
        "test/accuracy",
        "rlvr",
        "brier_only",
        direction="higher",
        margin=0.05,
        budget=_SHORTER,
    ),
    _compared(
        "log-score",
        "The logarithmic score is flagged as unsafe and leads to the arm that never wins; Brier's does neither.",
        "exact",
        "bandit/log_score_is_unsafe",
        "rlcr",
        None,
        direction="higher",
        margin=1.0,
        budget="exact gradients on six arms",
    ),
    _compared(
        "voting",
        "Votes weighted by RLCR's confidences beat the majority of the same samples.",
        "threshold",
        "vote/gain",
        "rlcr",
        None,
        direction="higher",
        margin=0.0,
        budget="the same samples of one trained policy",
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test what it says and how sure it is."""
    rewards, settings = rewards_of(config, arm), training_of(config, arm, tuple(rewards_of(config, arm).weights))
    judge = judge_of(config, arm)
    questions = load_questions(config.task, settings.steps * settings.prompts_per_step, seed, prompt_of(config, arm))
    before = config.warm_start.training.steps
    parts = {
        name: cell.part(name, steps_before=done, total_steps=before + settings.steps)
        for name, done in (("warm-start", 0), ("reinforcement", before))
    }
    policy = warm_start(config, seed, parts["warm-start"])
    start = ask(policy, questions.test, judge, config)
    policy = grpo(
        policy,
        as_dataset(questions.train),
        rewards.functions,
        settings,
        parts["reinforcement"],
        evaluate=validation(config, questions, judge, policy.tokenizer) if questions.validation else None,
    )
    if cell.is_main:
        policy.save(cell.directory / "model")
    answers = ask(policy, questions.test, judge, config)
    metrics = {
        **answering.report(answers, questions.test, judge, "test"),
        **answering.report(start, questions.test, judge, "start"),
        **uses(policy, answers, questions, judge, config, seed),
        **(estimators(policy, answers, questions, judge, config, seed) if arm == "rlvr" else {}),
        **(bandit_metrics() if arm == "rlcr" else {}),
        "cost/parameters": float(policy.num_parameters),
        "cost/completions": float(settings.steps * settings.prompts_per_step * settings.num_generations),
    }
    return Scores(
        metrics=metrics,
        items={
            "test/accuracy": [judge.chance(q, p.answer) for q, p in zip(questions.test, answers.parsed, strict=True)],
            "test/brier": ((answers.confidences - answers.right) ** 2).tolist(),
        },
        curves=cell.curves(),
        samples=pictures.material(answers, start, questions.test),
    )


def rewards_of(config: Config, arm: str) -> WeightedRewards:
    """The scientific difference between the arms; all three parts are logged in every arm."""
    r = config.reward
    weights = {
        "rlvr": (r.format_weight, r.correctness_weight, 0.0),
        "rlcr": (r.format_weight, r.correctness_weight, r.calibration_weight),
        "brier_only": (r.format_weight, 0.0, r.calibration_weight),
        "log_score": (r.format_weight, r.correctness_weight, r.calibration_weight),
    }[arm]
    rule = log_rule if arm == "log_score" else RULES[r.rule]
    judge = judge_of(config, arm)
    if not judge.reads_confidence:
        return WeightedRewards(rlvr_rewards(judge.blocks, verifier=judge.verifier).functions, list(weights[:2]))
    is_ablation = arm in ("brier_only", "log_score")
    return rlcr_rewards(judge.blocks, verifier=judge.verifier, rule=rule, weights=weights, allow_unsafe=is_ablation)


def judge_of(config: Config, arm: str) -> Judge:
    """How an arm's completions are read and judged."""
    blocks = "ta" if arm == "rlvr" and config.reward.rlvr_blocks == "ta" else config.reward.blocks
    return Judge(
        blocks, VERIFIERS[config.task.verifier], config.training.stop, knows_law=config.task.kind == "masked_addition"
    )


def prompt_of(config: Config, arm: str) -> str:
    """The instructions of an arm: those of its blocks where it has blocks of its own."""
    asks_otherwise = config.task.system_prompt != "none" and judge_of(config, arm).blocks != config.reward.blocks
    return "ta" if asks_otherwise else config.task.system_prompt


def ask(policy: Policy, questions: Sequence[Question], judge: Judge, config: Config) -> Answers:
    """Greedy answers; a form without confidences is followed by the question for one."""
    answers = answering.answer(policy, questions, judge, config.evaluation)
    if judge.reads_confidence:
        return answers
    stated = baselines.verbalised_confidence(policy, answers.trajectories, batch_size=config.evaluation.batch_size)
    parsed = [replace(said, confidence=float(q)) for said, q in zip(answers.parsed, stated, strict=True)]
    return replace(answers, parsed=parsed)


def build(config: Config, seed: int) -> Policy:
    """The policy that training starts from; equal seeds give equal weights in every arm."""
    p = config.policy
    if p.model:
        return load_policy(p.model)
    return tiny_policy(
        ALPHABET,
        special=(*TAGS, *CONFIDENCES),
        width=p.width,
        layers=p.layers,
        heads=p.heads,
        context=64,
        seed=key_to_seed(seed, "policy"),
    )


def warm_start(config: Config, seed: int, cell: Cell) -> Policy:
    """The over-confident policy; the bare one where there is no warm start."""
    policy, w = build(config, seed), config.warm_start
    if not w.training.steps:
        return policy
    questions = sums(config.task.system_prompt, w.num_examples, seed, "warm start")
    found = [Problem(question.text, str(question.answer), question.num_hidden) for question in questions]
    rows = as_dataset(questions).remove_columns("answer")
    said: list[Any] = overconfident(found, (w.even_law, w.odd_law), seed, "warm start")
    if not isinstance(questions[0].prompt, str):
        said = [[{"role": "assistant", "content": text}] for text in said]
    return sft(policy, rows.add_column("completion", said), w.training, cell)


def as_dataset(questions: Sequence[Question]) -> Dataset:
    """Rows with prompt and answer, as trl takes them; a column has one type, so all answers are lists if one is."""
    answers: list[Any] = [q.answer for q in questions]
    if any(isinstance(answer, list) for answer in answers):
        answers = [[answer] if isinstance(answer, str) else answer for answer in answers]
    return Dataset.from_dict({"prompt": [q.prompt for q in questions], "answer": answers})


def validation(config: Config, questions: Questions, judge: Judge, tokenizer: Any) -> Any:
    """Metrics of greedy answers to the validation problems; accuracy first."""

    def evaluate(model: torch.nn.Module, step: int) -> Mapping[str, float]:
        policy = Policy(model, tokenizer)  # type: ignore[arg-type]
        answers = ask(policy, questions.validation, judge, config)
        metrics = answering.report(answers, questions.validation, judge, "validation")
        shown = ("accuracy", "brier", "ece", "auroc", "mean_confidence")
        hidden = answering.by_hidden(answers, questions.validation)
        return {f"validation/{name}": metrics[f"validation/{name}"] for name in shown} | {
            f"validation/confidence_{k}_hidden": confidence for k, (confidence, _) in hidden.items()
        }

    return evaluate


def uses(
    policy: Policy, answers: Answers, questions: Questions, judge: Judge, config: Config, seed: int
) -> dict[str, float]:
    """What confidences are good for at test time: votes, and the mean of several; nothing where none are stated."""
    if not judge.reads_confidence:
        return {}
    e, metrics = config.evaluation, dict[str, float]()
    if e.num_ballots:
        metrics |= answering.vote(policy, questions.test[: e.num_ballots], judge, e, seed)
    if e.resampled:
        metrics |= answering.ensembled(policy, answers, judge, e, e.resampled, seed)
    return metrics


def estimators(
    policy: Policy, answers: Answers, questions: Questions, judge: Judge, config: Config, seed: int
) -> dict[str, float]:
    """Confidences for a policy that was trained without: answer probability, probe and classifier (both losses).

    A policy that reads words is also asked for one (where :func:`ask` has done so, that is the stated confidence).
    Probe and classifier learn from greedy answers to training problems, half as many as there are test problems.
    """
    seen = questions.train[: max(1, len(questions.test) // 2)]
    learned = answering.answer(policy, seen, judge, config.evaluation)
    states, test_states = (baselines.last_states(policy, part.trajectories) for part in (learned, answers))
    given = {"answer_probability": baselines.answer_probability(policy, answers.trajectories)}
    if config.policy.model and judge.reads_confidence:
        given["verbalised"] = baselines.verbalised_confidence(
            policy, answers.trajectories, batch_size=config.evaluation.batch_size
        )
    for loss in ("bce", "brier"):
        given[f"probe_{loss}"] = baselines.Probe(loss).fit(states, learned.right).predict(test_states)
    rate, steps = 1e-3 if not config.policy.model else 1e-5, config.evaluation.classifier_steps
    for loss in ("bce", "brier") if steps else ():
        classifier = baselines.Classifier(policy, loss, steps, learning_rate=rate, seed=seed)
        classifier.fit(learned.trajectories, learned.right)
        given[f"classifier_{loss}"] = classifier.predict(answers.trajectories)
    metrics = {}
    for name, confidences in given.items():
        stated = np.clip(confidences, 0.0, 1.0)
        metrics[f"{name}/brier"] = brier(stated, answers.right)
        metrics[f"{name}/ece"] = expected_calibration_error(stated, answers.right)
        metrics[f"{name}/auroc"] = auroc(stated, answers.right)
    return metrics


def bandit_metrics() -> dict[str, float]:
    """Where exact gradients lead on the six arms, and what the safety check says of both rules."""
    by_brier = ascend(rlcr_reward)
    by_log = ascend(lambda q, c: rlcr_reward(q, c, log_rule))
    fails = not is_safe(log_rule) and by_log.arm == len(SUCCESS) - 1 and by_log.accuracy < 1e-3
    holds = is_safe(brier_rule) and by_brier.arm == 0
    return {
        "bandit/accuracy_brier": by_brier.accuracy,
        "bandit/confidence_brier": by_brier.confidence,
        "bandit/accuracy_log_score": by_log.accuracy,
        "bandit/log_score_is_unsafe": float(fails and holds),
    }


def validation_score(config: Config, arm: str, rate: float, seed: int, cell: Cell, policy: Policy) -> dict[str, float]:
    """Metrics of one arm at one rate on validation problems, and the reward it was trained for; for choosing rates."""
    config = replace(config, rates=replace(config.rates, **{arm: rate}))
    rewards = rewards_of(config, arm)
    settings = training_of(config, arm, tuple(rewards.weights))
    judge = judge_of(config, arm)
    questions = load_questions(config.task, settings.steps * settings.prompts_per_step, seed, prompt_of(config, arm))
    trained = grpo(policy, as_dataset(questions.train), rewards.functions, settings, cell)
    answers = ask(trained, questions.validation, judge, config)
    metrics = answering.report(answers, questions.validation, judge, "validation")
    earned = cell.curves()["train/reward"][-3:]
    return metrics | {"train/reward": float(np.mean([value for _, value in earned]))}


def figures(report: Report) -> Sequence[Picture]:
    """Reliability diagrams, confidence against difficulty, learning curves."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; unknown for a model on disk or on the hub."""
    if config.policy.model:
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    t, w = config.training, config.warm_start.training
    num_parameters = build(config, 0).num_parameters
    completions = 2 * (t.steps + config.ablation_steps) * t.prompts_per_step * t.num_generations
    examples = len(ARMS) * w.steps * w.batch_size
    return {
        "parameters": float(num_parameters),
        "memory_bytes": 16.0 * num_parameters + 2e4 * t.prompts_per_step * t.num_generations + 1e9,
        "seconds": completions * _SECONDS_PER_COMPLETION + examples * _SECONDS_PER_EXAMPLE + len(ARMS) * 10.0,
    }


_SECONDS_PER_COMPLETION, _SECONDS_PER_EXAMPLE = 5e-4, 4e-4  # one core, the tiny policy of the laptop preset

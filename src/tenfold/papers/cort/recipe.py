"""CoRT on multiplication: what hints at the right places save, and what reinforcement with the tool adds.

All arms of a seed share one long-thinking base, which computes by hand, verifies by program and distrusts the result.
Four arms are fine-tuned on as many traces of its own: begun with the general hint; hinted where the habits begin, and
resumed; with the same hints anywhere; and cut to the length of the hinted ones. ``rft`` tunes the base on filtered
samples of the hint-engineered policy, and ``rl`` goes on from there by GRPO through the tool loop. ``no_tool`` has no
interpreter: it is tuned on flawless working by hand, which no other arm gets, then by GRPO. What masking the outputs
changes is shown from the base, where there is much to learn: ``rl_from_base`` with and without the mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log, nan
from typing import Any

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.types import Claim, Picture, Report, Scores
from tenfold.envs import MODULES, Limits, Sandbox
from tenfold.papers.cort import pictures, stages
from tenfold.papers.cort.config import Config, HabitsConfig, LoopConfig
from tenfold.papers.cort.measures import Measured, summary
from tenfold.papers.cort.method import cort_rewards
from tenfold.papers.cort.questions import Question, answers_of, load_questions
from tenfold.papers.cort.stages import Study
from tenfold.policies import Policy
from tenfold.train.grpo import grpo
from tenfold.train.sft import sft

ARMS = {
    "no_tool": "no interpreter: tuned on flawless working by hand, then GRPO on right answers",
    "prompt_hint": "tuned on its own right traces that begin with the general hint",
    "hint_engineering": "tuned on its own traces, hinted where the habits begin and resumed",
    "random_hints": "control: the same hints at random places",
    "truncated": "control: unhinted traces, cut to the length of the hinted ones",
    "rft": "the base tuned on filtered samples of the hint-engineered policy",
    "rl": "rft, then GRPO with accuracy and the code reward",
    "rl_from_base": "ablation: the same from the base, without hints or fine-tuning",
    "rl_from_base_unmasked": "ablation: the same with the interpreter's tokens in the loss",
}
REINFORCED = ("rl", "rl_from_base", "rl_from_base_unmasked")

_TUNED = "equal base, number of examples, steps and grid of rates"
_TOKENS = "test/log_model_tokens"


def _compared(id: str, text: str, kind: Any, metric: str, arm: str, baseline: str, **rest: Any) -> Claim:
    return Claim(id=id, text=text, kind=kind, metric=metric, split="test", arm=arm, baseline=baseline, **rest)


CLAIMS = (
    _compared(
        "accuracy",
        "Hint engineering costs no accuracy: it is not worse than the prompt hint by more than 0.02.",
        "non_inferiority",
        "test/accuracy",
        "hint_engineering",
        "prompt_hint",
        direction="higher",
        margin=0.02,
        budget=_TUNED,
    ),
    _compared(
        "tokens",
        "Hint engineering needs at least 20 % fewer model tokens than the prompt hint (difference of logarithms).",
        "superiority",
        _TOKENS,
        "hint_engineering",
        "prompt_hint",
        direction="lower",
        margin=-log(0.8),
        budget=_TUNED,
    ),
    _compared(
        "place",
        "Hints where the habits begin save more model tokens than the same hints at random places.",
        "superiority",
        _TOKENS,
        "hint_engineering",
        "random_hints",
        direction="lower",
        margin=0.0,
        budget=_TUNED,
    ),
    _compared(
        "length",
        "Hinted traces save more model tokens than unhinted ones cut to the same length.",
        "superiority",
        _TOKENS,
        "hint_engineering",
        "truncated",
        direction="lower",
        margin=0.0,
        budget=_TUNED,
    ),
    _compared(
        "tool",
        "GRPO with the tool is right more often than GRPO without by at least 0.1.",
        "superiority",
        "test/accuracy",
        "rl",
        "no_tool",
        direction="higher",
        margin=0.1,
        budget="equal base, and equal steps, prompts and samples of GRPO; fine-tuned before on as many examples",
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test what it answers, how long it takes, and how it uses code."""
    with open_sandbox(config.loop) as sandbox:
        study = Study(config, cell, sandbox, sum(_steps(config, arm)))
        policy = trained(study, arm)
        if cell.is_main:
            policy.save(cell.directory / "model")
        questions = load_questions(config.task, 1, seed).test
        traces = stages.sample(study, policy, questions, with_tool=arm != "no_tool")
        samples = stages.measured(study, policy, traces, questions)
        gathered = stages.gather(study, stages.base(study))
    return Scores(
        metrics=metrics_of(config, samples) | dict(gathered.base) | {"cost/parameters": float(policy.num_parameters)},
        items={"test/accuracy": _by_problem(samples, config.evaluation.samples)},
        curves=cell.curves(),
        samples=pictures.material(traces, questions, samples, policy.tokenizer),
    )


def open_sandbox(loop: LoopConfig) -> Sandbox:
    """The isolated interpreters of a run."""
    limits = Limits(seconds=loop.seconds, output_characters=loop.output_characters)
    return Sandbox(limits=limits, modules=MODULES, max_sessions=loop.max_sessions, allow_unsafe=loop.allow_unsafe)


def trained(study: Study, arm: str) -> Policy:
    """The scientific difference between the arms."""
    rates = study.config.rates
    before = sum(_steps(study.config, arm)[:-1])
    if arm == "no_tool":
        return _without_tool(study, before - study.config.sft.steps)
    if arm == "hint_engineering":
        return stages.hint_engineering(study, before)
    if arm == "rft":
        return stages.rft(study, before - study.config.sft.steps)
    if arm in REINFORCED:
        start = stages.rft(study, before - 2 * study.config.sft.steps) if arm == "rl" else stages.base(study)
        return reinforced(study, start, getattr(rates, arm), before, mask_outputs=arm != "rl_from_base_unmasked")
    start = stages.base(study)
    examples = stages.gather(study, start).sets[arm]
    return stages.tune(study, start, examples, getattr(rates, arm), study.part("tuning", before))


def _steps(config: Config, arm: str) -> list[int]:
    """Steps of the trainings that lie behind an arm, the last one its own."""
    tuning, reinforcement = config.sft.steps, config.grpo.steps
    own = {
        "no_tool": [tuning, reinforcement],
        "rft": [tuning, tuning],
        "rl": [tuning, tuning, reinforcement],
        "rl_from_base": [reinforcement],
        "rl_from_base_unmasked": [reinforcement],
    }
    return [config.base.programs.steps + config.base.thinking.steps, *own.get(arm, [tuning])]


def _without_tool(study: Study, before: int) -> Policy:
    """Tuned on flawless traces by hand where there are any, then reinforced without an interpreter."""
    steps = before + study.config.sft.steps
    return reinforced(study, _flawless(study, before), study.config.rates.no_tool_rl, steps, with_tool=False)


def _flawless(study: Study, before: int) -> Policy:
    """The base tuned on as many flawless traces by hand as other arms have examples; the base for other tasks."""
    policy = stages.base(study)
    if study.config.task.kind != "multiplication":
        return policy
    num = len(stages.gather(study, policy).sets["prompt_hint"])
    flawless = HabitsConfig(general=0.0, direct=0.0, verify=0.0, slip=0.0)
    rows = stages.base_rows(policy, num, flawless, study.seed, "flawless")
    optimizer = replace(study.config.sft.optimizer, learning_rate=study.config.rates.no_tool)
    return sft(policy, rows, replace(study.config.sft, optimizer=optimizer), study.part("tuning", before))


def reinforced(
    study: Study, policy: Policy, rate: float, before: int, *, with_tool: bool = True, mask_outputs: bool = True
) -> Policy:
    """GRPO on training problems; with the tool on R_acc + w R_code, without it on R_acc."""
    settings = study.config.grpo
    questions = load_questions(study.config.task, settings.steps * settings.prompts_per_step, study.seed)
    evaluate = validation(study, questions.validation, policy.tokenizer, with_tool) if questions.validation else None
    cell = study.part("reinforcement", before)
    return reinforced_on(
        study, policy, questions.train, rate, cell, with_tool=with_tool, mask_outputs=mask_outputs, evaluate=evaluate
    )


def reinforced_on(
    study: Study,
    policy: Policy,
    questions: Sequence[Question],
    rate: float,
    cell: Cell,
    *,
    with_tool: bool = True,
    mask_outputs: bool = True,
    evaluate: Any = None,
) -> Policy:
    """GRPO on given problems."""
    config = study.config
    rewards, weights = cort_rewards(
        stages.grade_of(config),
        code_weight=config.reward.code_weight,
        penalize_no_code=config.reward.penalize_no_code,
        tokenizer=policy.tokenizer,
    )
    if not with_tool:
        rewards, weights = rewards[:1], weights[:1]
    optimizer = replace(config.grpo.optimizer, learning_rate=rate)
    return grpo(
        policy,
        as_dataset(questions),
        rewards,
        replace(config.grpo, reward_weights=tuple(weights), optimizer=optimizer),
        cell,
        environment=(lambda rows: study.environment(policy.tokenizer)) if with_tool else None,
        deterministic=config.loop.deterministic,
        count_replies=config.loop.count_outputs,
        mask_replies=mask_outputs,
        evaluate=evaluate,
    )


def as_dataset(questions: Sequence[Question]) -> Dataset:
    """Rows with prompt, answer and source, as trl takes them."""
    return Dataset.from_dict(
        {
            "prompt": [q.prompt for q in questions],
            "answer": answers_of(questions),
            "data_source": [q.data_source for q in questions],
        }
    )


def validation(study: Study, questions: Sequence[Question], tokenizer: Any, with_tool: bool = True) -> Any:
    """Metrics of answers to the validation problems; accuracy first."""

    def evaluate(model: torch.nn.Module, step: int) -> Mapping[str, float]:
        policy = Policy(model, tokenizer)  # type: ignore[arg-type]
        traces = stages.sample(study, policy, questions, with_tool=with_tool, purpose="validation")
        found = summary(stages.measured(study, policy, traces, questions))
        return {f"validation/{name}": found[name] for name in ("accuracy", "model_tokens", "code_use")}

    return evaluate


def metrics_of(config: Config, samples: Sequence[Measured]) -> dict[str, float]:
    """All numbers of an arm's test."""
    e = config.evaluation
    found = summary(samples, e.samples, e.budgets)
    return {f"test/{name}": value for name, value in found.items()} | {_TOKENS: log(found["model_tokens"])}


def validation_score(config: Config, name: str, rate: float, cell: Cell) -> dict[str, float]:
    """Metrics on validation problems of what one rate, by its name in the configuration, trains; for choosing rates."""
    config = replace(config, rates=replace(config.rates, **{name: rate}))
    with open_sandbox(config.loop) as sandbox:
        study = Study(config, cell, sandbox, config.grpo.steps)
        policy = _tuned_alone(study, name, rate)
        questions = load_questions(config.task, 1, cell.seed).validation
        with_tool = not name.startswith("no_tool")
        traces = stages.sample(study, policy, questions, with_tool=with_tool, purpose="validation")
        return summary(stages.measured(study, policy, traces, questions))


def _tuned_alone(study: Study, name: str, rate: float) -> Policy:
    """What one rate trains, from what the other rates of the configuration have made once for all of them."""
    if name == "no_tool":
        return _flawless(study, 0)
    if name == "no_tool_rl":
        return reinforced(study, _flawless(study, 0), rate, 0, with_tool=False)
    if name in REINFORCED:
        start = stages.rft(study, 0) if name == "rl" else stages.base(study)
        return reinforced(study, start, rate, 0, mask_outputs=name != "rl_from_base_unmasked")
    examples = stages.rft_examples(study) if name == "rft" else stages.gather(study, stages.base(study)).sets[name]
    return stages.tune(study, stages.base(study), examples, rate, study.part("tuning", 0))


def _by_problem(samples: Sequence[Measured], num_samples: int) -> list[float]:
    right = [float(sample.right) for sample in samples]
    return [sum(right[i : i + num_samples]) / num_samples for i in range(0, len(right), num_samples)]


def figures(report: Report) -> Sequence[Picture]:
    """Example trajectories, tokens and accuracy of the arms, learning curves."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; unknown for a model on disk or on the hub."""
    if config.policy.model:
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    num_parameters = stages.build(config, 0).num_parameters
    tuned = 6 * config.sft.steps * config.sft.batch_size
    learned = config.base.programs.steps * config.base.programs.batch_size / 2
    learned += config.base.thinking.steps * config.base.thinking.batch_size + tuned
    reinforced_ = 4 * config.grpo.steps * config.grpo.prompts_per_step * config.grpo.num_generations
    sampled = 5 * config.traces.num_problems + len(ARMS) * config.task.num_test * config.evaluation.samples
    seconds = learned * _SECONDS_PER_EXAMPLE + reinforced_ * _SECONDS_PER_COMPLETION + sampled * 0.01
    return {
        "parameters": float(num_parameters),
        "memory_bytes": 16.0 * num_parameters + 1.5e9,
        "seconds": seconds + 10.0 * len(ARMS),
    }


_SECONDS_PER_EXAMPLE, _SECONDS_PER_COMPLETION = 4e-3, 1.5e-2  # one core, the tiny policy of the laptop preset

"""RLCR's own verbs: ``calibrate`` predictions, ``train`` on questions of one's own, ``tune`` the rates, ``ablate``.

``train`` and ``tune`` go on with what is in their ``--out``, which says what it is about and is refused for anything
else.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.tuning import chosen_arms, try_rates
from tenfold.papers.rlcr import config as presets
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    model: str
    """The model that training starts from."""
    data: str
    """The data file."""
    seed: int
    """Seed of order and samples."""
    system_prompt: str
    """The instructions."""
    verifier: str
    """How answers are compared."""
    reward: presets.RewardConfig
    """The reward."""
    settings: GRPOSettings
    """The training."""


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of problems, samples and weights."""
    config: presets.Config
    """The resolved configuration, its rates at their defaults."""


def calibrate(
    file: Annotated[Path, tyro.conf.Positional],
    bins: int = 10,
    confidence: str = "confidence",
    correct: str = "correct",
) -> None:
    """Print how well stated confidences match what was right, for predictions that you already have.

    Args:
        file: JSON lines, one prediction a line: a confidence in [0, 1], and whether it was right (true, false, 1, 0).
        bins: of the reliability table and of the expected calibration error.
        confidence: the name of the column with confidences.
        correct: the name of the column with outcomes.
    """
    from rich.console import Console
    from rich.table import Table

    from tenfold.eval.calibration import calibration_report, reliability_table

    stated, right = read_predictions(file, confidence, correct)
    table = Table("confidence", "predictions", "mean confidence", "right", "difference", box=None, header_style="bold")
    for row in reliability_table(stated, right, bins):
        if row.size:
            numbers = (row.mean_confidence, row.accuracy, row.accuracy - row.mean_confidence)
            table.add_row(f"{row.low:.2f} to {row.high:.2f}", str(row.size), *(f"{number:.3f}" for number in numbers))
    print(f"{file}: {len(stated)} predictions")
    for name, value in calibration_report(stated, right, bins).items():
        print(f"{name.replace('_', ' '):22}{value:.{0 if name.startswith('distinct') else 4}f}")
    Console(highlight=False).print(table)
    if len(set(right)) == 1:
        print("auroc needs right and wrong predictions; all of these are alike.")


def read_predictions(file: Path, confidence: str = "confidence", correct: str = "correct") -> tuple[list, list]:
    """Confidences and outcomes of a file.

    Raises:
        UserError: the file is missing or empty, or a row cannot be used; with the row, counted from 1.
    """
    from tenfold.data.json_lines import read_json_lines

    stated, right = [], []
    for number, row in enumerate(read_json_lines(file, (confidence, correct)), start=1):
        q, c = row[confidence], row[correct]
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            raise UserError(f"{file}, row {number}: {confidence} is {q!r}; allowed: a number from 0 to 1")
        if not isinstance(c, bool | int | float) or c not in (0, 1):
            raise UserError(f"{file}, row {number}: {correct} is {c!r}; allowed: true, false, 1, 0")
        stated.append(float(q))
        right.append(int(c))
    return stated, right


def train(
    model: str,
    data: Path,
    out: Path,
    blocks: Literal["tabc", "tac", "tbac", "ac"] = "tabc",
    system_prompt: Literal["blocks", "none", "tabc_long"] = "blocks",
    verifier: Literal["exact", "math"] = "exact",
    rule: Literal["brier", "spherical"] = "brier",
    calibration_weight: float = 0.5,
    steps: int = 100,
    prompts_per_step: int = 8,
    num_generations: int = 8,
    gradient_accumulation: int = 1,
    max_completion_length: int = 1024,
    temperature: float = 0.7,
    entropy_coefficient: float = 0.0,
    learning_rate: float = 1e-6,
    lora_rank: int = 0,
    mixed_precision: Literal["no", "bf16"] = "no",
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Train a causal language model to answer your questions and to state how sure it is; the same again goes on.

    Args:
        model: a name or folder that from_pretrained loads.
        data: JSON lines with prompt and answer (a text, a number, or a list of accepted texts).
        out: a folder for checkpoints and, in ``model``, the trained model.
        blocks: what a completion consists of: think, answer, analysis, confidence, by their letters.
        system_prompt: instructions in a chat, for the blocks (tabc_long: with guidelines for the analysis of tabc);
            none gives the model the plain prompt.
        verifier: exact match after normalisation, or equality as mathematics.
        rule: the scoring rule.
        calibration_weight: of the calibration reward; form and correctness weigh 0.5 each. 0 is the binary reward.
        steps: optimizer steps.
        prompts_per_step: questions of a step.
        num_generations: completions of a question.
        gradient_accumulation: pieces of a step.
        max_completion_length: new tokens of a completion.
        temperature: of sampling.
        entropy_coefficient: bonus on entropy; raise it when all confidences become one number.
        learning_rate: AdamW's; constant after 5 % warm-up.
        lora_rank: of LoRA adapters on all linear layers; 0 trains all weights.
        mixed_precision: autocast.
        seed: of order and samples.
        device: where to compute.
    """
    from tenfold.papers.rlcr.method import rlcr_rewards
    from tenfold.papers.rlcr.prompts import require_same_blocks
    from tenfold.papers.rlcr.questions import VERIFIERS, own_questions
    from tenfold.papers.rlcr.recipe import as_dataset
    from tenfold.policies import load_policy
    from tenfold.rewards import RULES
    from tenfold.train.grpo import grpo
    from tenfold.train.trained_model import save_trained

    reward = presets.RewardConfig(blocks=blocks, rule=rule, calibration_weight=calibration_weight)
    functions, weights = rlcr_rewards(
        blocks,
        verifier=VERIFIERS[verifier],
        rule=RULES[rule],
        weights=(reward.format_weight, reward.correctness_weight, calibration_weight),
    )
    settings = GRPOSettings(
        steps=steps,
        prompts_per_step=prompts_per_step,
        num_generations=num_generations,
        gradient_accumulation=gradient_accumulation,
        max_completion_length=max_completion_length,
        temperature=temperature,
        entropy_coefficient=entropy_coefficient,
        reward_weights=tuple(weights),
        mixed_precision=mixed_precision,
        optimizer=OptimizerSettings(learning_rate=learning_rate, warmup_fraction=0.05),
        lora=LoraSettings(rank=lora_rank, alpha=2.0 * lora_rank) if lora_rank else LoraSettings(),
        log_every=1,
        checkpoint_every=max(1, steps // 4),
    )
    prompt = blocks if system_prompt == "blocks" else system_prompt
    require_same_blocks(prompt, blocks)
    rows = as_dataset(own_questions(data, prompt, VERIFIERS[verifier]))
    claim_folder(
        out, OwnTraining(model, str(data.resolve()), seed, prompt, verifier, reward, settings), "training.yaml"
    )
    cell = Cell(arm="rlcr", seed=seed, directory=out, device=device)
    trained = grpo(load_policy(model), rows, functions, settings, cell)
    save_trained(trained, cell)


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    rates: tuple[float, ...] = (7.5e-4, 1.5e-3, 3e-3),
    arms: tuple[str, ...] = (),
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every arm the same grid of learning rates, from one warm start; the best is the one that earns most.

    The seed is none of those that a run uses, so its problems are others too. Run it again to go on, or to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        rates: the grid.
        arms: by default all.
        seed: of problems, samples and weights.
        device: where to compute.
    """
    from copy import deepcopy

    from tenfold.papers.rlcr import recipe
    from tenfold.policies import Policy

    config = getattr(presets, preset)()
    chosen = chosen_arms(arms, recipe.ARMS)
    claim_folder(out, Tuning(preset, seed, replace(config, rates=presets.RatesConfig())), "tuning.yaml")
    start = recipe.warm_start(config, seed, Cell(arm="warm-start", seed=seed, directory=out / "start", device=device))

    def score(arm: str, rate: float) -> dict[str, float]:
        cell = Cell(arm=arm, seed=seed, directory=out / f"{arm}-{rate:g}", device=device)
        return recipe.validation_score(config, arm, rate, seed, cell, Policy(deepcopy(start.model), start.tokenizer))

    try_rates([(arm, rate) for arm in chosen for rate in rates], score, _SHOWN, out)


_SHOWN = ("train/reward", "validation/accuracy", "validation/brier", "validation/ece", "validation/auroc")


def ablate(seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Compare rewards, the entropy bonus and scaled advantages on masked addition, with two small networks.

    About half a minute a seed. The number of a variant is the mean over seeds, then the lowest and the highest.

    Args:
        seeds: of weights, problems and samples.
    """
    from rich.console import Console
    from rich.table import Table

    from tenfold.papers.rlcr.small_policy import VARIANTS, compare

    if not seeds:
        raise UserError("seeds: none given; at least 1 is needed")
    reports = [compare(seed, VARIANTS) for seed in seeds]
    shown = ("accuracy", "brier", "ece", "auroc")
    table = Table("variant", *shown, box=None, header_style="bold")
    for variant in reports[0]:
        columns = [[report[variant][name] for report in reports] for name in shown]
        table.add_row(variant, *(f"{sum(c) / len(c):.3f} ({min(c):.3f}-{max(c):.3f})" for c in columns))
    Console(highlight=False, width=110).print(table)

"""CoRT's own verbs: ``hints`` to review places for hints, ``train`` on problems of one's own, ``tune`` the rates.

``train`` and ``tune`` go on with what is in their ``--out``, which says what it is about and is refused for anything
else.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.tuning import chosen_arms, try_rates
from tenfold.papers.cort import config as presets
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings

Stage = Literal["drafts", "prompt_hint", "hint_engineering", "rl"]


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of problems, samples and weights."""
    config: presets.Config
    """The resolved configuration, its rates at their defaults."""


def hints(
    traces: Annotated[Path, tyro.conf.Positional],
    out: Path,
    num_steps: int = 2,
    accept: bool = False,
    context: int = 160,
) -> None:
    """Review the places that the heuristic proposes for hints, one by one, and keep those that you agree with.

    Automatic placement is imprecise, says the paper, and its traces were hinted by hand. Each place is shown with its
    surroundings: y keeps it and goes on to the next trace, since a hint cuts what comes behind it; n drops it; +12 or
    -12 moves it by so many characters; q, the end of the input and Ctrl-C end the review. What was said of a trace is
    stored at once.

    Args:
        traces: JSON lines with key and text: the drafts.jsonl of ``train``, or its hinted.jsonl for a further hint.
        out: the file of places; traces that it has already are not asked again.
        num_steps: arithmetic steps that make a computation.
        accept: keep the first proposal of each trace without asking.
        context: characters that are shown on either side.
    """
    from tenfold.papers.cort.review import review

    review(traces, out, num_steps, accept, context)


def train(
    model: str,
    data: Path,
    out: Path,
    stage: Stage = "rl",
    drafts: Path | None = None,
    places: Path | None = None,
    grade: Literal["plain", "math"] = "math",
    state: Literal["persistent", "fresh", "replay"] = "persistent",
    max_tool_calls: int = 14,
    seconds: float = 5.0,
    code_weight: float = 0.1,
    penalize_no_code: bool = True,
    num_examples: int = 800,
    samples: int = 1,
    steps: int = 100,
    batch_size: int = 8,
    num_generations: int = 8,
    gradient_accumulation: int = 1,
    max_completion_length: int = 2048,
    temperature: float = 0.6,
    learning_rate: float | None = None,
    mixed_precision: Literal["no", "bf16"] = "no",
    allow_unsafe: bool = False,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Teach a causal language model to use Python within its thinking, on your problems; the same again goes on.

    ``prompt_hint`` and ``hint_engineering`` sample the model's own traces, begun with the general hint, keep the right
    ones and fine-tune on them; hint_engineering first puts hints where the habits begin and lets the model go on.
    ``rl`` is GRPO through the tool loop on accuracy and the code reward. ``drafts`` samples the traces alone, for
    ``tenfold hints cort`` to review. Traces are stored in ``out``.

    Args:
        model: a name or folder that from_pretrained loads.
        data: JSON lines with prompt and answer (a text, a number, or a list of accepted texts).
        out: a folder for traces, checkpoints and, in ``model``, the trained model.
        stage: what is trained.
        drafts: fine-tuning: traces to take in place of sampling them, such as the drafts.jsonl of stage drafts, or the
            hinted.jsonl of an earlier hint_engineering for a further hint.
        places: hint_engineering: a file by ``tenfold hints cort`` for those drafts; the heuristic without.
        grade: equality as mathematics (extra ``math``), or of the plain texts.
        state: what a program finds of the earlier ones; replay is the released code's way.
        max_tool_calls: programs of a completion.
        seconds: wall time of a program.
        code_weight: of -1 for a completion whose programs all fail.
        penalize_no_code: a completion without a program counts as such.
        num_examples: most examples for fine-tuning.
        samples: traces of each problem for fine-tuning.
        steps: optimizer steps.
        batch_size: examples of a step, or, for rl, problems.
        num_generations: rl: completions of a problem.
        gradient_accumulation: pieces of a step.
        max_completion_length: tokens of a completion, outputs included.
        temperature: of sampling.
        learning_rate: AdamW's; constant after 5 % warm-up. By default the paper's: 1e-5 for fine-tuning, 1e-6 for rl.
        mixed_precision: autocast.
        allow_unsafe: run programs without isolation where the machine offers none.
        seed: of order and samples.
        device: where to compute.
    """
    from tenfold.papers.cort import own_training

    own_training.check_options(stage, num_examples, samples, code_weight, drafts, places)
    rate = own_training.LEARNING_RATES[stage] if learning_rate is None else learning_rate
    optimizer = OptimizerSettings(learning_rate=rate, warmup_fraction=0.05)
    shared: dict[str, Any] = {
        "steps": steps,
        "gradient_accumulation": gradient_accumulation,
        "mixed_precision": mixed_precision,
        "optimizer": optimizer,
        "log_every": 1,
        "checkpoint_every": max(1, steps // 4),
    }
    no_base = presets.BaseConfig(programs=SFTSettings(steps=0), thinking=SFTSettings(steps=0))
    config = presets.Config(
        task=presets.TaskConfig(kind="questions", train_file=str(data.resolve()), grade=grade),
        policy=presets.PolicyConfig(model=model),
        base=no_base,
        loop=presets.LoopConfig(
            state=state,
            max_tool_calls=max_tool_calls,
            seconds=seconds,
            count_outputs=True,
            deterministic=False,
            allow_unsafe=allow_unsafe,
        ),
        traces=presets.TracesConfig(
            num_examples=num_examples,
            num_hinted=0,
            rft_samples=samples,
            max_new_tokens=max_completion_length,
            temperature=temperature,
        ),
        sft=SFTSettings(batch_size=batch_size, max_length=0, **shared),
        grpo=GRPOSettings(
            prompts_per_step=batch_size,
            num_generations=num_generations,
            max_completion_length=max_completion_length,
            temperature=temperature,
            top_p=0.95,
            scale_rewards="group",
            **shared,
        ),
        reward=presets.RewardConfig(code_weight=code_weight, penalize_no_code=penalize_no_code),
        rates=presets.RatesConfig(rl=rate, prompt_hint=rate, hint_engineering=rate),
        evaluation=presets.EvaluationConfig(batch_size=64),
    )
    drafts_file, places_file = ("" if file is None else str(file.resolve()) for file in (drafts, places))
    about = own_training.OwnTraining(stage, drafts_file, places_file, seed, config)
    own_training.train_in(about, Cell(arm=stage, seed=seed, directory=out, device=device))


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    tuning_rates: tuple[float, ...] = (6.25e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3),
    reinforcement_rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4, 1e-3),
    arms: tuple[str, ...] = (),
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every arm the same grid of learning rates, one for fine-tuning and one for GRPO, on validation problems.

    The seed is none of those that a run uses. Arms that go on from another one use its rate of the preset. Run it again
    to go on, or to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        tuning_rates: the grid of fine-tuning.
        reinforcement_rates: the grid of GRPO.
        arms: rates by their names in the configuration; by default all.
        seed: of problems, samples and weights.
        device: where to compute.
    """
    from tenfold.papers.cort import recipe

    config = getattr(presets, preset)()
    chosen = chosen_arms(arms, config.rates.__dataclass_fields__)
    claim_folder(out, Tuning(preset, seed, replace(config, rates=presets.RatesConfig())), "tuning.yaml")

    def score(name: str, rate: float) -> dict[str, float]:
        directory = out / "cells" / f"{name}-{rate:g}" / f"seed-{seed}"
        cell = Cell(arm=name, seed=seed, directory=directory, device=device)
        return recipe.validation_score(config, name, rate, cell)

    reinforced = ("no_tool_rl", *recipe.REINFORCED)
    grid = [(name, r) for name in chosen for r in (reinforcement_rates if name in reinforced else tuning_rates)]
    try_rates(grid, score, ("accuracy", "model_tokens", "code_use"), out)

"""CoRT's own verbs: ``hints`` to review places for hints, ``train`` on problems of one's own, ``tune`` the rates.

``train`` and ``tune`` go on with what is in their ``--out``, which says what it is about and is refused for anything
else.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tenfold.core.cell import Cell, is_main_process
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.papers.cort import config as presets
from tenfold.train.settings import GRPOSettings, OptimizerSettings, SFTSettings

if TYPE_CHECKING:
    from tenfold.papers.cort.proposers import Proposal, Proposer

TuningStage = Literal["prompt_hint", "hint_engineering"]
Stage = Literal["prompt_hint", "hint_engineering", "rl"]


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    stage: str
    """The stage."""
    places: str
    """The file of places; empty for the heuristic."""
    seed: int
    """Seed of order and samples."""
    config: presets.Config
    """The resolved configuration."""


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
    surroundings: y keeps it, n drops it, +12 or -12 moves it by so many characters, q ends the review.

    Args:
        traces: JSON lines with key and text, such as the drafts.jsonl of ``train``.
        out: the file of places; those that are there already are not asked again.
        num_steps: arithmetic steps that make a computation.
        accept: keep every proposal without asking.
        context: characters that are shown on either side.
    """
    from tenfold.data.json_lines import read_json_lines
    from tenfold.papers.cort.proposers import Heuristic, Manual

    reviewed = dict(Manual.read(out).by_key) if out.is_file() else {}
    num_before = sum(map(len, reviewed.values()))
    for row in read_json_lines(traces, ("key", "text")):
        key, text = str(row["key"]), str(row["text"])
        if key in reviewed:
            continue
        proposals = Heuristic(num_steps).propose(text)
        kept = proposals if accept else _asked(key, text, proposals, context)
        if kept is None:
            break
        reviewed[key] = kept
    Manual({key: places for key, places in reviewed.items() if places}).write(out)
    num = sum(map(len, reviewed.values()))
    print(f"{out}: {num} places, {num - num_before} of them new")


def _asked(key: str, text: str, proposals: "list[Proposal]", context: int) -> "list[Proposal] | None":
    """The proposals that the reader keeps; ``None`` if the review is to end."""
    kept = []
    for proposal in proposals:
        while True:
            before, after = text[max(0, proposal.at - context) : proposal.at], text[proposal.at :][:context]
            print(f"\n{key}, {proposal.kind} at {proposal.at}\n...{before}  >>> HERE <<<  {after}...")
            said = input("keep it? [y/n/+N/-N/q] ").strip()
            if said == "q":
                return None
            if said in ("y", "n"):
                break
            if said[:1] in ("+", "-") and said[1:].isdigit():
                moved = min(max(proposal.at + int(said), 0), len(text))
                proposal = replace(proposal, at=moved)
        if said == "y":
            kept.append(replace(proposal, decided_by="manual: reviewed"))
    return kept


def train(
    model: str,
    data: Path,
    out: Path,
    stage: Stage = "rl",
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
    learning_rate: float = 1e-6,
    mixed_precision: Literal["no", "bf16"] = "no",
    allow_unsafe: bool = False,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Teach a causal language model to use Python within its thinking, on your problems; the same again goes on.

    ``prompt_hint`` and ``hint_engineering`` sample the model's own traces, begun with the general hint, keep the right
    ones and fine-tune on them; hint_engineering first puts hints where the habits begin and lets the model go on.
    ``rl`` is GRPO through the tool loop on accuracy and the code reward. Traces are stored in ``out``.

    Args:
        model: a name or folder that from_pretrained loads.
        data: JSON lines with prompt and answer (a text, a number, or a list of accepted texts).
        out: a folder for traces, checkpoints and, in ``model``, the trained model.
        stage: what is trained.
        places: hint_engineering: a file by ``tenfold hints cort`` for the drafts of ``out``; the heuristic without.
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
        learning_rate: AdamW's; constant after 5 % warm-up.
        mixed_precision: autocast.
        allow_unsafe: run programs without isolation where the machine offers none.
        seed: of order and samples.
        device: where to compute.
    """
    optimizer = OptimizerSettings(learning_rate=learning_rate, warmup_fraction=0.05)
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
        rates=presets.RatesConfig(rl=learning_rate, prompt_hint=learning_rate, hint_engineering=learning_rate),
        evaluation=presets.EvaluationConfig(batch_size=64),
    )
    about = OwnTraining(stage, "" if places is None else str(places.resolve()), seed, config)
    claim_folder(out, about, "training.yaml")
    cell = Cell(arm=stage, seed=seed, directory=out, device=device)
    _train(config, stage, places, cell)


def _train(config: presets.Config, stage: Stage, places: Path | None, cell: Cell) -> None:
    from tenfold.papers.cort import recipe, stages
    from tenfold.papers.cort.questions import own_questions
    from tenfold.policies import load_policy

    questions = own_questions(Path(config.task.train_file))
    policy = load_policy(config.policy.model)
    steps = config.grpo.steps if stage == "rl" else config.sft.steps
    with recipe.open_sandbox(config.loop) as sandbox:
        study = stages.Study(config, cell, sandbox, steps)
        if stage == "rl":
            policy = recipe.reinforced_on(study, policy, questions, config.rates.rl, cell)
        else:
            examples = _own_examples(study, policy, questions, stage, _proposer(config, places))
            policy = stages.tune(study, policy, examples, getattr(config.rates, stage), cell)
    if is_main_process():
        policy.save(cell.directory / "model")
        for name, points in cell.curves().items():
            if name == "train/loss" or (name.startswith("rewards/") and name.endswith("/mean")):
                print(f"{name:30} first step {points[0][1]:.3f}   last step {points[-1][1]:.3f}")
        print(f"model: {cell.directory / 'model'}; metrics: {cell.directory / 'metrics.jsonl'}")


def _proposer(config: presets.Config, places: Path | None) -> "Proposer":
    from tenfold.papers.cort.proposers import Heuristic, Manual

    return Heuristic(config.traces.num_steps) if places is None else Manual.read(places)


def _own_examples(study: Any, policy: Any, questions: Any, stage: TuningStage, proposer: "Proposer") -> list[Any]:
    """The right traces of a stage; sampled once, and read from ``out`` after that."""
    from tenfold.papers.cort import stages
    from tenfold.papers.cort.method import is_right
    from tenfold.papers.cort.proposers import hint_all
    from tenfold.papers.cort.questions import answers_of
    from tenfold.papers.cort.traces import read_traces, write_traces

    out, tokenizer = study.cell.directory, policy.tokenizer
    injector = study.injector(policy, "own")
    drafts_file, hinted_file = out / "drafts.jsonl", out / "hinted.jsonl"
    if not drafts_file.is_file():
        repeated = [(q, i) for q in questions for i in range(study.config.traces.rft_samples)]
        prompts = [stages.prompt_ids(policy, q) for q, _ in repeated]
        drafts = injector.start(prompts, [f"{q.key}.{i}" for q, i in repeated])
        write_traces(drafts_file, drafts, tokenizer)
    traces = read_traces(drafts_file)
    if stage == "hint_engineering":
        if not hinted_file.is_file():
            write_traces(hinted_file, hint_all(injector, traces, proposer), tokenizer)
        traces = read_traces(hinted_file)
    references = dict(zip([q.key for q in questions], answers_of(questions), strict=True))
    grade = stages.grade_of(study.config)
    right = [t for t in traces if is_right(t.said_text(tokenizer), references[t.key.rpartition(".")[0]], grade)]
    if not right:
        raise UserError(f"{study.config.task.train_file}: no trace is right; give easier problems or more samples")
    return right[: study.config.traces.num_examples]


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    tuning_rates: tuple[float, ...] = (2.5e-4, 5e-4, 1e-3, 2e-3),
    reinforcement_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3),
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
    names = tuple(config.rates.__dataclass_fields__)
    if unknown := [arm for arm in arms if arm not in names]:
        raise UserError(f"arms: {unknown[0]!r}; allowed: {', '.join(names)}")
    claim_folder(out, Tuning(preset, seed, replace(config, rates=presets.RatesConfig())), "tuning.yaml")
    rows: list[dict[str, Any]] = []
    for name in arms or names:
        grid = reinforcement_rates if name in ("no_tool_rl", *recipe.REINFORCED) else tuning_rates
        for rate in grid:
            directory = out / "cells" / f"{name}-{rate:g}" / f"seed-{seed}"
            cell = Cell(arm=name, seed=seed, directory=directory, device=device)
            metrics = recipe.validation_score(config, name, rate, cell)
            rows.append({"arm": name, "learning_rate": rate, **metrics})
            shown = "  ".join(f"{metric} {metrics[metric]:.3f}" for metric in ("accuracy", "model_tokens", "code_use"))
            print(f"{name:17} rate {rate:<8g} {shown}", flush=True)
            write_atomically(out / "tuning.json", to_json(rows, indent=2) + "\n")

"""Training on problems of one's own: what can be refused is read first, then the folder is claimed, then it begins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.papers.cort import recipe, stages
from tenfold.papers.cort.config import Config
from tenfold.papers.cort.environment import LoopSettings
from tenfold.papers.cort.formats import require_stop_token
from tenfold.papers.cort.method import is_right
from tenfold.papers.cort.proposers import Heuristic, Manual, Proposer, hint_all
from tenfold.papers.cort.questions import Question, answers_of, own_questions
from tenfold.papers.cort.traces import Trace, read_traces, write_traces
from tenfold.policies import Policy, load_policy
from tenfold.train.distributed import wait_for_everyone
from tenfold.train.trained_model import save_trained

Stage = Literal["drafts", "prompt_hint", "hint_engineering", "rl"]
LEARNING_RATES = {"drafts": 0.0, "prompt_hint": 1e-5, "hint_engineering": 1e-5, "rl": 1e-6}
"""The paper's; that of its smaller model's fine-tuning is 7e-6. ``drafts`` trains nothing."""


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    stage: str
    """The stage."""
    drafts: str
    """The file of traces; empty where they are sampled."""
    places: str
    """The file of places; empty for the heuristic."""
    seed: int
    """Seed of order and samples."""
    config: Config
    """The resolved configuration."""


@dataclass(frozen=True)
class Material:
    """What a training is made of.

    Args:
        questions: the problems.
        policy: who is trained.
        drafts: traces to begin with; ``None`` where they are to be sampled.
        proposer: of places for hints.
    """

    questions: list[Question]
    policy: Policy
    drafts: list[Trace] | None
    proposer: Proposer


def check_options(
    stage: Stage, num_examples: int, samples: int, code_weight: float, drafts: Path | None, places: Path | None
) -> None:
    """Refuse options that the settings know by other names, and files that the stage would not read.

    Raises:
        UserError: naming the option.
    """
    for name, value in (("num_examples", num_examples), ("samples", samples)):
        if value < 1:
            raise UserError(f"{name} = {value}: must be at least 1")
    if not math.isfinite(code_weight):
        raise UserError(f"code_weight = {code_weight}: must be a finite number")
    if drafts is not None and stage not in ("prompt_hint", "hint_engineering"):
        raise UserError(f"drafts = {drafts}: stage {stage} reads none; allowed with prompt_hint, hint_engineering")
    if places is not None and stage != "hint_engineering":
        raise UserError(f"places = {places}: stage {stage} places no hints; allowed with hint_engineering")
    if places is not None and drafts is None:
        raise UserError(f"places = {places}: they refer to drafts; give the reviewed file, too (--drafts)")


def train_in(about: OwnTraining, cell: Cell) -> None:
    """The training that a folder is about, or what is left of it.

    Raises:
        UserError: something in the options or files cannot be used, before the folder is claimed; or it is about
            something else; or no trace is right.
    """
    material = read_material(about)
    with recipe.open_sandbox(about.config.loop) as sandbox:
        claim_folder(cell.directory, about, "training.yaml")
        config, policy, rates = about.config, material.policy, about.config.rates
        study = stages.Study(config, cell, sandbox, config.grpo.steps if about.stage == "rl" else config.sft.steps)
        if about.stage == "drafts":
            print(f"{len(_drafts(study, material))} drafts: {_drafts_file(study)}")
            return
        if about.stage == "rl":
            policy = recipe.reinforced_on(study, policy, material.questions, rates.rl, cell)
        else:
            examples = own_examples(study, material, about.stage)
            policy = stages.tune(study, policy, examples, getattr(rates, about.stage), cell)
    save_trained(policy, cell, show_loss=True)


def read_material(about: OwnTraining) -> Material:
    """Problems, model, drafts and places, each checked.

    Raises:
        UserError: one of them cannot be used.
    """
    config, loop = about.config, about.config.loop
    LoopSettings(loop.state, loop.max_tool_calls)
    stages.grade_of(config)
    questions = own_questions(Path(config.task.train_file))
    proposer: Proposer = Heuristic(config.traces.num_steps)
    if about.places:
        proposer = Manual.read(Path(about.places))
    policy = load_policy(config.policy.model)
    if loop.state == "replay":
        require_stop_token(policy.tokenizer)
    drafts = None
    if about.drafts:
        drafts = read_traces(Path(about.drafts))
        _require_questions(drafts, questions, policy, about.drafts)
        if isinstance(proposer, Manual):
            proposer.require_fit(drafts, policy.tokenizer)
    return Material(questions, policy, drafts, proposer)


def _require_questions(drafts: Sequence[Trace], questions: Sequence[Question], policy: Policy, file: str) -> None:
    """Refuse drafts that answer other problems, or another model's."""
    prompts = {question.key: tuple(stages.prompt_ids(policy, question)) for question in questions}
    for number, draft in enumerate(drafts, start=1):
        if prompts.get(_question_of(draft)) != tuple(draft.trajectory.prompt_ids):
            raise UserError(f"{file}, row {number}: key {draft.key!r} has another prompt; allowed: drafts of this data")


def own_examples(study: stages.Study, material: Material, stage: str) -> list[Trace]:
    """The right traces of a stage; sampled and hinted once, and read from the folder after that.

    Raises:
        UserError: none is right.
    """
    tokenizer, traces = material.policy.tokenizer, _drafts(study, material)
    if stage == "hint_engineering":
        file = study.cell.directory / "hinted.jsonl"
        if not stages.is_there(file, study.cell):
            hinted = hint_all(study.injector(material.policy, "own"), traces, material.proposer)
            _store(study.cell, file, hinted, tokenizer)
        traces = read_traces(file)
    questions, grade = material.questions, stages.grade_of(study.config)
    references = dict(zip([q.key for q in questions], answers_of(questions), strict=True))
    right = [t for t in traces if is_right(t.said_text(tokenizer), references[_question_of(t)], grade)]
    if not right:
        raise UserError(f"{study.config.task.train_file}: no trace is right; give easier problems or more samples")
    return right[: study.config.traces.num_examples]


def _drafts(study: stages.Study, material: Material) -> list[Trace]:
    """The given drafts, or those of the folder: sampled once, begun with the general hint."""
    if material.drafts is not None:
        return material.drafts
    file = _drafts_file(study)
    if not stages.is_there(file, study.cell):
        injector, num = study.injector(material.policy, "own"), study.config.traces.rft_samples
        repeated = [(question, i) for question in material.questions for i in range(num)]
        prompts = [stages.prompt_ids(material.policy, question) for question, _ in repeated]
        drafts = injector.start(prompts, [f"{question.key}.{i}" for question, i in repeated])
        _store(study.cell, file, drafts, material.policy.tokenizer)
    return read_traces(file)


def _drafts_file(study: stages.Study) -> Path:
    return study.cell.directory / "drafts.jsonl"


def _question_of(draft: Trace) -> str:
    """The key of a draft's problem: what stands before the number of the sample."""
    return draft.key.rpartition(".")[0]


def _store(cell: Cell, file: Path, traces: Sequence[Trace], tokenizer: Any) -> None:
    if cell.is_main:
        write_traces(file, traces, tokenizer)
    wait_for_everyone(cell.device)

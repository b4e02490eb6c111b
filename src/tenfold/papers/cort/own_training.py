"""Training on problems of one's own: GRPO with the tool, fine-tuning on the model's own traces, or traces alone.

``rl`` is GRPO through the tool loop on accuracy and the code reward. ``prompt_hint`` samples the model's own traces,
begun with the general hint, keeps the right ones and fine-tunes on them; ``hint_engineering`` first puts hints where
the habits begin and lets the model go on. ``drafts`` samples the traces and trains nothing, for ``tenfold hints cort``.
Each goes on from the model as it is given. Traces are stored in the folder of the training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.papers.cort import recipe, stages
from tenfold.papers.cort.answering import Study, right_ones
from tenfold.papers.cort.config import Config
from tenfold.papers.cort.environment import LoopSettings
from tenfold.papers.cort.formats import require_stop_token
from tenfold.papers.cort.proposers import Heuristic, Manual, Proposer, hint_all
from tenfold.papers.cort.questions import grade_of, own_questions
from tenfold.papers.cort.traces import Trace, read_traces, write_traces
from tenfold.policies import Policy
from tenfold.study.language import placed, prompt_ids, require_prompts
from tenfold.study.own_training import sha256_of
from tenfold.study.questions import Question, reference_of
from tenfold.study.stages import agreed
from tenfold.train.distributed import wait_for_everyone


@dataclass(frozen=True)
class Given:
    """What a training begins with.

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


@dataclass(frozen=True)
class OwnArm:
    """One of the arms: what it does, and which fields of the configuration act in it alone."""

    train: Callable[[Study, Given], Policy | None]
    acting: tuple[str, ...]


def _reinforced(study: Study, given: Given) -> Policy:
    arm = recipe.ARMS[study.cell.arm]
    return recipe.reinforced_on(study, given.policy, given.questions, arm, study.cell)


def _tuned_on_drafts(study: Study, given: Given) -> Policy:
    return _tuned(study, given, _drafts(study, given))


def _tuned_on_hinted(study: Study, given: Given) -> Policy:
    drafts = _drafts(study, given)

    def hint() -> list[Trace]:
        return hint_all(study.injector(given.policy, "own"), drafts, given.proposer)

    return _tuned(study, given, _stored(study, "hinted.jsonl", given.policy, hint))


def _drafts_alone(study: Study, given: Given) -> None:
    print(f"{len(_drafts(study, given))} drafts: {study.cell.directory / 'drafts.jsonl'}")


_SAMPLING = (
    "traces.rft_samples",
    "traces.max_new_tokens",
    "traces.temperature",
    "traces.top_p",
    "evaluation.batch_size",
)
_TUNING = (*_SAMPLING, "traces.num_examples", "traces.only_right", "traces.drafts", "sft")
_HINTING = ("traces.num_steps", "traces.places")
_OWN_ARMS: Mapping[str, OwnArm] = {
    "rl": OwnArm(_reinforced, ("grpo", "reward", "rates.rl")),
    "prompt_hint": OwnArm(_tuned_on_drafts, (*_TUNING, "rates.prompt_hint")),
    "hint_engineering": OwnArm(_tuned_on_hinted, (*_TUNING, *_HINTING, "rates.hint_engineering")),
    "drafts": OwnArm(_drafts_alone, _SAMPLING),
}
_IN_EVERY_ARM = ("task.grade", "policy", "loop")
ARMS = tuple(_OWN_ARMS)
OF_ARM = {name: arm.acting for name, arm in _OWN_ARMS.items()}
ACTING = (*_IN_EVERY_ARM, *dict.fromkeys(field for arm in _OWN_ARMS.values() for field in arm.acting))


def read(config: Config, arm: str) -> Given:
    """Problems, model, drafts and places, each checked.

    Raises:
        UserError: one of them, or of the settings, cannot be used.
    """
    loop, traces = config.loop, config.traces
    LoopSettings(loop.state, loop.max_tool_calls)
    grade_of(config.task)
    recipe.open_sandbox(loop).close()
    if traces.places and not traces.drafts:
        raise UserError(
            f"traces.places = {traces.places}: places belong to reviewed drafts; give their file as traces.drafts, too"
        )
    questions = own_questions(Path(config.task.train_file), grade_of(config.task))
    proposer: Proposer = Heuristic(traces.num_steps)
    if traces.places:
        proposer = Manual.read(Path(traces.places))
    policy = stages.build(config, seed=0)
    if loop.state == "replay":
        require_stop_token(policy.tokenizer)
    require_prompts(policy, [question.prompt for question in questions])
    drafts = None
    if traces.drafts:
        drafts = read_traces(Path(traces.drafts))
        _require_questions(drafts, questions, policy, traces.drafts)
        if isinstance(proposer, Manual):
            proposer.require_fit(drafts, policy.tokenizer)
    return Given(questions, policy, drafts, proposer)


def train(config: Config, arm: str, given: Given, cell: Cell) -> Policy | None:
    """The training of an arm, or what is left of it; no policy where traces are all that is wanted.

    Raises:
        UserError: no trace is right; or the file of drafts or of places holds others than those that this training was
            begun with.
    """
    _claim_traces(config, cell)
    placed(given.policy, cell)
    with recipe.open_sandbox(config.loop) as sandbox:
        return _OWN_ARMS[arm].train(Study(config, cell, sandbox), given)


def _claim_traces(config: Config, cell: Cell) -> None:
    """Refuse to go on with other drafts or places: what was hinted before is in the folder, and would be taken."""
    files = {"drafts": config.traces.drafts, "places": config.traces.places}
    hashes = {f"{name}_sha256": sha256_of(Path(file)) for name, file in files.items() if file}
    if hashes:
        # The house compares the configuration and the data file; a file of the same name may hold other traces.
        claim_folder(cell.directory / "given", "traces.yaml", hashes, config.traces, ignored=tuple(files))


def _require_questions(drafts: Sequence[Trace], questions: Sequence[Question], policy: Policy, file: str) -> None:
    """Refuse drafts that answer other problems, or another model's."""
    prompts = {question.key: tuple(prompt_ids(policy, question.prompt)) for question in questions}
    for number, draft in enumerate(drafts, start=1):
        if prompts.get(_question_of(draft)) != tuple(draft.trajectory.prompt_ids):
            raise UserError(f"{file}, row {number}: key {draft.key!r} has another prompt; allowed: drafts of this data")


def _tuned(study: Study, given: Given, traces: Sequence[Trace]) -> Policy:
    """The policy fine-tuned on the right ones of these traces.

    Raises:
        UserError: none is right.
    """
    config = study.config
    answers = {question.key: reference_of(question) for question in given.questions}
    of_traces = {trace.key: answers[_question_of(trace)] for trace in traces}
    right = right_ones(study, given.policy, traces, of_traces)
    if not right:
        raise UserError(f"{config.task.train_file}: no trace is right; give easier problems or more samples")
    rows = stages.rows_of(right[: config.traces.num_examples])
    rate = getattr(config.rates, recipe.ARMS[study.cell.arm].rate)
    return stages.fine_tune(study, given.policy, rows, rate, study.cell)


def _drafts(study: Study, given: Given) -> list[Trace]:
    """The given drafts, or those of the folder: sampled once, begun with the general hint."""
    if given.drafts is not None:
        return given.drafts

    def begin() -> list[Trace]:
        prompts: list[list[int]] = []
        keys: list[str] = []
        for question in given.questions:
            for number in range(study.config.traces.rft_samples):
                prompts.append(prompt_ids(given.policy, question.prompt))
                keys.append(f"{question.key}.{number}")
        return study.injector(given.policy, "own").start(prompts, keys)

    return _stored(study, "drafts.jsonl", given.policy, begin)


def _question_of(draft: Trace) -> str:
    """The key of a draft's problem: what stands before the number of the sample."""
    return draft.key.rpartition(".")[0]


def _stored(study: Study, name: str, policy: Policy, make: Callable[[], list[Trace]]) -> list[Trace]:
    """The traces of a file in the folder of the training, which is written if it is not there."""
    cell, file = study.cell, study.cell.directory / name
    if not agreed(file.is_file(), cell):
        traces = make()
        if cell.is_main:
            write_traces(file, traces, policy.tokenizer)
        wait_for_everyone(cell.device)
    return read_traces(file)

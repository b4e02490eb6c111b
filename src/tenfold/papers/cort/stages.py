"""The stages of one seed: base, traces, teacher, rejection sampling; and what arms are tuned on.

    programs -> thinking -> traces -> hint_engineering -> rejection_sampling -> rft

What several arms need is a stage: made once for each seed by whichever arm comes first, of configuration and seed
alone. ``thinking`` is the base (a loaded model needs no stage), ``traces`` holds its sampled and hinted traces,
``hint_engineering`` is the policy whose samples ``rejection_sampling`` filters, and ``rft`` is the one that
reinforcement goes on from. An arm that is compared trains itself, so that ``cost/seconds`` holds its training; but arm
``rl`` only goes on from ``rft``, whose fine-tuning is in no arm's ``cost/seconds``, while ``no_tool`` pays for its own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.seeding import key_to_seed
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.answering import Study, answers_by_key, asked, measured, right_ones
from tenfold.papers.cort.config import Config, HabitsConfig
from tenfold.papers.cort.hints import HintInjector
from tenfold.papers.cort.measures import summary
from tenfold.papers.cort.method import dropped_because
from tenfold.papers.cort.proposers import Heuristic, Random, hint_all
from tenfold.papers.cort.questions import load_questions
from tenfold.papers.cort.traces import Trace, read_traces, unbegun, write_traces
from tenfold.policies import Policy
from tenfold.study.language import build_policy
from tenfold.study.questions import Question
from tenfold.study.stages import made_once, policy_made_once
from tenfold.study.tuning import at_rate
from tenfold.train.distributed import device_of
from tenfold.train.sft import sft

SETS = "sets"
"""The folder of a stage's traces."""
SHOWN_OF_BASE = ("accuracy", "code_use", "model_tokens", "delayed", "distrust")
FLAWLESS = HabitsConfig(general=0.0, direct=0.0, verify=0.0, slip=0.0)
"""Working by hand without a slip and without a program."""


@dataclass(frozen=True)
class TraceSets:
    """What a stage has sampled.

    Args:
        sets: name to traces.
        numbers: what was counted or measured on the way.
    """

    sets: Mapping[str, list[Trace]]
    numbers: Mapping[str, float]


# The base


def build(config: Config, seed: int, device: str | torch.device = "cpu") -> Policy:
    """The policy before any training; equal seeds give equal weights."""
    weights = key_to_seed(seed, "policy")
    return build_policy(config.policy, multiplication.ALPHABET, multiplication.SPECIAL, seed=weights, device=device)


def untrained(study: Study) -> Policy:
    """The same where the cell computes, for a policy may sample before it is ever trained."""
    return build(study.config, study.seed, device_of(study.cell))


def base(study: Study) -> Policy:
    """The long-thinking policy: a model as it is loaded, or one that learns to think long about products."""
    if not study.config.base.thinking.steps:
        return untrained(study)
    return policy_made_once(study.cell, "thinking", lambda stage: _taught_to_think(study.within(stage)))


def _taught_to_think(study: Study) -> Policy:
    learning = study.config.base
    policy = programs(study)
    rows = base_rows(policy, learning.num_problems, learning.habits, study.seed, "thinking")
    return sft(policy, rows, learning.thinking, study.cell)


def programs(study: Study) -> Policy:
    """What learns to think: a policy that writes programs; a loaded model needs no training for that."""
    if not study.config.base.programs.steps:
        return untrained(study)
    return policy_made_once(study.cell, "programs", lambda stage: _taught_programs(study.within(stage)))


def _taught_programs(study: Study) -> Policy:
    learning = study.config.base
    policy = untrained(study)
    rows = base_rows(policy, learning.num_problems, multiplication.PROGRAMS, study.seed, "programs")
    return sft(policy, rows, learning.programs, study.cell)


def base_rows(policy: Policy, num_problems: int, habits: HabitsConfig, seed: int, name: str) -> Dataset:
    """Traces by our own code as rows with ``input_ids`` and ``completion_mask``."""
    found = multiplication.problems(num_problems, "train", seed, name)
    rows = []
    for problem, pieces in zip(found, multiplication.base_traces(found, habits, seed, name), strict=True):
        token_ids = policy.encode(problem.prompt, start=True)
        mask = [0] * len(token_ids)
        for text, said in pieces:
            encoded = policy.encode(text)
            token_ids += encoded
            mask += [int(said)] * len(encoded)
        rows.append({"input_ids": [*token_ids, policy.tokenizer.eos_token_id], "completion_mask": [*mask, 1]})
    return Dataset.from_list(rows)


# Traces of the base, hinted and not


def gathered(study: Study) -> TraceSets:
    """Traces of the base that are right, equally many of each kind, and what the base was seen to do.

    The sets are ``begun`` with the general hint, ``hinted`` where the habits begin, ``misplaced``: with the same hints
    at random places, and ``truncated``: as begun, but cut to the length of the hinted ones.
    """
    return _traces_made_once(study, "traces", _gather)


def begun(study: Study, start: Policy) -> Dataset:
    """Rows of the base's traces that begin with the general hint."""
    return rows_of(gathered(study).sets["begun"])


def hinted(study: Study, start: Policy) -> Dataset:
    """Rows of traces that are hinted where the habits begin."""
    return rows_of(gathered(study).sets["hinted"])


def misplaced(study: Study, start: Policy) -> Dataset:
    """Rows of traces with the same hints at random places."""
    return rows_of(gathered(study).sets["misplaced"])


def truncated(study: Study, start: Policy) -> Dataset:
    """Rows of unhinted traces, cut to the length of the hinted ones."""
    return rows_of(gathered(study).sets["truncated"])


def flawless(study: Study, start: Policy) -> Dataset | None:
    """As many rows of flawless working by hand; none for problems that nobody has worked out by hand."""
    if study.config.task.kind != "multiplication":
        return None
    num = len(gathered(study).sets["begun"])
    return base_rows(start, num, FLAWLESS, study.seed, "flawless")


def rows_of(traces: Sequence[Trace]) -> Dataset:
    """Rows of fine-tuning; the loss is on what the policy said or was made to say."""
    return Dataset.from_list([trace.training_row() for trace in traces])


def _gather(study: Study) -> tuple[TraceSets, Policy]:
    policy, settings = base(study), study.config.traces
    questions = sampled_questions(study)
    keys, prompts = asked(policy, questions)
    injector = study.injector(policy, "base")
    # Without any hint the base is measured alone; all examples come from the drafts, which begin with the general one.
    plain = _unhinted(injector, prompts, keys, "plain")
    drafts = injector.start(prompts, keys)
    at_habits = hint_all(injector, drafts, Heuristic(settings.num_steps))
    # The control gets the hints that the heuristic has placed in a trace, but the general one, somewhere else in it.
    kinds: dict[str, list[Any]] = {}
    for trace in at_habits:
        kinds[trace.key] = [hint.kind for hint in trace.hints[1:]]
    elsewhere = hint_all(injector, drafts, Random(kinds, policy.tokenizer, study.seed))
    sampled = {"begun": drafts, "hinted": at_habits, "misplaced": elsewhere}
    sets = _equally_many_right(study, policy, sampled, questions)
    sets["truncated"] = _cut_to_length(drafts, sets["hinted"])
    numbers: dict[str, float] = {}
    for name, traces in (("base", plain), ("base_hinted", drafts)):
        found = summary(measured(study, policy, traces, questions))
        for measure in SHOWN_OF_BASE:
            numbers[f"{name}/{measure}"] = found[measure]
    return TraceSets(sets, numbers), policy


def _unhinted(
    injector: HintInjector, prompts: Sequence[Sequence[int]], keys: Sequence[str], name: str, *sample: int
) -> list[Trace]:
    """What the policy says by itself; the noise of each trace is named by ``name``, its key and the sample's number."""
    return injector.resume(unbegun(prompts, keys), [(name, key, *sample) for key in keys])


def _equally_many_right(
    study: Study, policy: Policy, sampled: Mapping[str, Sequence[Trace]], questions: Sequence[Question]
) -> dict[str, list[Trace]]:
    """The right traces of each set, as many as the smallest set has: arms differ in their examples' kind alone."""
    settings, answers = study.config.traces, answers_by_key(questions)
    right: dict[str, list[Trace]] = {}
    for name, traces in sampled.items():
        right[name] = right_ones(study, policy, traces, answers)
    num = min(settings.num_examples, *map(len, right.values()))
    if num == 0:
        counts = _spelled({name: len(traces) for name, traces in right.items()})
        raise UserError(f"traces.num_problems = {settings.num_problems}: too few right traces ({counts}); sample more")
    return {name: traces[:num] for name, traces in right.items()}


def _cut_to_length(drafts: Sequence[Trace], at_habits: Sequence[Trace]) -> list[Trace]:
    """The draft of each hinted trace, up to as many tokens as that one has."""
    by_key = {draft.key: draft for draft in drafts}
    cut = []
    for trace in at_habits:
        length = len(trace.trajectory.token_ids)
        cut.append(by_key[trace.key].up_to(length))
    return cut


def _spelled(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {num}" for name, num in counts.items())


def sampled_questions(study: Study) -> list[Question]:
    """The training problems that traces are sampled for."""
    num = study.config.traces.num_problems
    return load_questions(study.config.task, num, study.seed).train[:num]


# Fine-tuning, and rejection fine-tuning


def fine_tune(study: Study, policy: Policy, rows: Dataset, rate: float, cell: Cell) -> Policy:
    """Train on rows as every fine-tuned arm is trained."""
    return sft(policy, rows, at_rate(study.config.sft, rate), cell)


def hint_engineering(study: Study) -> Policy:
    """The base tuned on hinted traces: the teacher of rejection fine-tuning."""
    return _tuned_once(study, "hint_engineering", hinted, study.config.rates.hint_engineering)


def rft(study: Study) -> Policy:
    """The base tuned on filtered traces of the teacher: where reinforcement goes on."""
    return _tuned_once(study, "rft", filtered, study.config.rates.rft)


def _tuned_once(study: Study, name: str, examples: Callable[[Study, Policy], Dataset], rate: float) -> Policy:
    def make(stage: Cell) -> Policy:
        inner = study.within(stage)
        start = base(inner)
        return fine_tune(inner, start, examples(inner, start), rate, stage)

    return policy_made_once(study.cell, name, make)


def filtered(study: Study, start: Policy) -> Dataset:
    """Rows of what rejection sampling leaves."""
    return rows_of(rejection_sampled(study).sets["examples"])


def rejection_sampled(study: Study) -> TraceSets:
    """As many examples as other arms have: a few hinted ones, then what the filter keeps of the teacher's samples."""
    return _traces_made_once(study, "rejection_sampling", _sample_and_filter)


def _sample_and_filter(study: Study) -> tuple[TraceSets, Policy]:
    teacher = hint_engineering(study)
    by_hand = gathered(study).sets["hinted"]
    first = by_hand[: study.config.traces.num_hinted]
    kept, counts = filter_samples(study, teacher)
    examples = [*first, *kept[: len(by_hand) - len(first)]]
    if not examples:
        raise UserError(f"traces.num_hinted = 0: the filter leaves no sample ({_spelled(counts)}); give some")
    return TraceSets({"examples": examples}, counts), teacher


def filter_samples(study: Study, policy: Policy) -> tuple[list[Trace], dict[str, int]]:
    """Samples that the filter keeps, one of each problem before the second ones, and why others were dropped."""
    settings, questions = study.config.traces, sampled_questions(study)
    keys, prompts = asked(policy, questions)
    answers, injector = answers_by_key(questions), study.injector(policy, "rft")
    kept: list[Trace] = []
    counts = {"wrong": 0, "delayed": 0, "distrust": 0}
    for number in range(settings.rft_samples):
        traces = _unhinted(injector, prompts, keys, "rft", number)
        right = {trace.key for trace in right_ones(study, policy, traces, answers)}
        for trace in traces:
            reason = dropped_because(trace.fenced_text(policy.tokenizer), trace.key in right, settings.num_steps)
            if reason is None:
                kept.append(trace)
            else:
                counts[reason] += 1
    return kept, counts | {"kept": len(kept)}


def _traces_made_once(study: Study, name: str, make: Callable[[Study], tuple[TraceSets, Policy]]) -> TraceSets:
    """Traces that several arms need; ``make`` gives the policy that said them, too."""

    def make_and_spell(stage: Cell) -> TraceSets:
        made, policy = make(study.within(stage))
        if stage.is_main:  # here and not where it is saved: spelling the traces for readers needs the tokenizer
            for set_name, traces in made.sets.items():
                write_traces(stage.directory / SETS / f"{set_name}.jsonl", traces, policy.tokenizer)
        return made

    return made_once(study.cell, name, make_and_spell, save=_save_numbers, load=_read_sets)


def _save_numbers(made: TraceSets, folder: Path) -> None:
    write_atomically(folder / "numbers.json", to_json(dict(made.numbers)) + "\n")


def _read_sets(folder: Path) -> TraceSets:
    numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    return TraceSets({file.stem: read_traces(file) for file in sorted((folder / SETS).glob("*.jsonl"))}, numbers)

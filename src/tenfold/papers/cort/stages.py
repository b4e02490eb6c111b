"""The stages of one seed: base, traces, fine-tuning on hinted traces, rejection fine-tuning.

What several arms need is made once for each seed, by whichever arm comes first, in ``shared/`` of the run directory:
the base policy, the traces that were sampled from it and hinted, the policy that was tuned on hinted traces, and the
one of rejection fine-tuning. A stage is finished when its ``done.json`` is there, which is written last. Of several
processes the main one looks for that file and writes it, and the others wait: all of them make a stage, or none does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Message
from tenfold.papers.cort import multiplication
from tenfold.papers.cort.config import Config, HabitsConfig
from tenfold.papers.cort.environment import CodeEnvironment, Executor, LoopSettings
from tenfold.papers.cort.hints import HintInjector
from tenfold.papers.cort.measures import Measured, measure, summary
from tenfold.papers.cort.method import Grade, dropped_because, is_right, same_answer
from tenfold.papers.cort.proposers import Heuristic, Random, hint_all
from tenfold.papers.cort.questions import Question, answers_of, load_questions
from tenfold.papers.cort.traces import Trace, read_traces, unbegun, write_traces
from tenfold.policies import Policy, Sampling, load_policy, rollout, tiny_policy
from tenfold.train.distributed import broadcast, num_launched, wait_for_everyone
from tenfold.train.settings import SFTSettings
from tenfold.train.sft import sft
from tenfold.train.trl_run import quiet

_SHOWN = ("accuracy", "code_use", "model_tokens", "delayed", "distrust")
SETS = ("prompt_hint", "hint_engineering", "random_hints", "truncated")


@dataclass(frozen=True)
class Study:
    """One cell's surroundings.

    Args:
        config: of the run.
        cell: the arm and seed.
        executor: runs programs.
        total_steps: of all trainings of the arm, for its progress bar.
    """

    config: Config
    cell: Cell
    executor: Executor
    total_steps: int

    @property
    def seed(self) -> int:
        """Of every random stream."""
        return self.cell.seed

    def part(self, name: str, steps_before: int, *, shared: bool = False) -> Cell:
        """A training of this cell; a shared one keeps its files where all arms of the seed find them."""
        part = self.cell.part(name, steps_before=steps_before, total_steps=self.total_steps)
        if shared:
            part.directory = self.shared / name
        return part

    @property
    def shared(self) -> Path:
        """The folder of what all arms of the seed share."""
        return self.cell.directory.parents[2] / "shared" / f"seed-{self.seed}"

    def environment(self, tokenizer: Any) -> CodeEnvironment:
        """The tool loop."""
        loop = self.config.loop
        settings = LoopSettings(loop.state, loop.max_tool_calls, echo_last_expression=loop.echo_last_expression)
        return CodeEnvironment(self.executor, tokenizer, settings)

    def injector(self, policy: Policy, purpose: str) -> HintInjector:
        """Injects hints into the policy's traces."""
        t, loop = self.config.traces, self.config.loop
        return HintInjector(
            policy,
            self.environment(policy.tokenizer),
            Sampling(t.max_new_tokens, t.temperature, t.top_p, count_replies=loop.count_outputs),
            seed=key_to_seed(self.seed, "traces", purpose),
            batch_size=self.config.evaluation.batch_size,
            deterministic=loop.deterministic,
        )


def grade_of(config: Config) -> Grade:
    """How answers are judged."""
    if config.task.grade == "math":
        from tenfold.eval.math_match import math_match

        return math_match
    return same_answer


def prompt_ids(policy: Policy, question: Question) -> list[int]:
    """The tokens of a prompt, as training encodes it."""
    if isinstance(question.prompt, str):
        return policy.encode(question.prompt, start=True)
    return policy.chat([Message(m["role"], m["content"]) for m in question.prompt])


def build(config: Config, seed: int) -> Policy:
    """The policy before any training; equal seeds give equal weights."""
    p = config.policy
    if p.model:
        return load_policy(p.model)
    return tiny_policy(
        multiplication.ALPHABET,
        multiplication.SPECIAL,
        width=p.width,
        layers=p.layers,
        heads=p.heads,
        context=p.context,
        seed=key_to_seed(seed, "policy"),
    )


def base(study: Study, steps_before: int = 0) -> Policy:
    """The long-thinking policy: a loaded model, or one that learns programs, and then to think long about them."""
    config, b = study.config, study.config.base
    if not b.thinking.steps:
        return build(config, study.seed)
    cells = [study.part("programs", steps_before, shared=True)]
    cells.append(study.part("thinking", steps_before + b.programs.steps, shared=True))
    policy = build(config, study.seed)
    return once(cells[1], lambda: _train_base(study, policy, cells))


def _train_base(study: Study, policy: Policy, cells: Sequence[Cell]) -> Policy:
    b = study.config.base
    plan: Sequence[tuple[str, SFTSettings, HabitsConfig]] = (
        ("programs", b.programs, multiplication.PROGRAMS),
        ("thinking", b.thinking, b.habits),
    )
    for (name, settings, habits), cell in zip(plan, cells, strict=True):
        if not settings.steps:
            continue  # a loaded model needs no programs first
        policy = sft(policy, base_rows(policy, b.num_problems, habits, study.seed, name), settings, cell)
    return policy


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


def once(cell: Cell, make: Callable[[], Policy]) -> Policy:
    """The policy of a stage: loaded if the stage is finished, else made and stored."""
    folder, done = cell.directory / "model", cell.directory / "done.json"
    if is_there(done, cell):
        with quiet():
            return load_policy(folder)
    policy = make()
    if cell.is_main:
        with quiet():
            policy.save(folder)
        write_atomically(done, to_json({"parameters": policy.num_parameters}))
    wait_for_everyone(cell.device)
    return policy


def is_there(file: Path, cell: Cell) -> bool:
    """Whether the main process sees a file: one answer for all processes, that what follows is done by all of them."""
    return file.is_file() if num_launched() == 1 else broadcast(file.is_file(), cell.device)


@dataclass(frozen=True)
class Gathered:
    """Examples for fine-tuning, the same number in each set, and what the base was seen to do.

    Args:
        sets: name to traces.
        base: metrics of the base with and without the general hint.
    """

    sets: Mapping[str, list[Trace]]
    base: Mapping[str, float]


def gather(study: Study, policy: Policy) -> Gathered:
    """The examples of a seed: sampled from the base, hinted, resumed, kept if right."""
    folder = study.shared / "traces"
    if not is_there(folder / "done.json", study.cell):
        sets, metrics = _gather(study, policy)
        if study.cell.is_main:
            for name, traces in sets.items():
                write_traces(folder / f"{name}.jsonl", traces, policy.tokenizer)
            write_atomically(folder / "done.json", to_json(metrics))
        wait_for_everyone(study.cell.device)
    return gathered(study)


def gathered(study: Study) -> Gathered:
    """The examples that :func:`gather` has stored for the seed."""
    folder = study.shared / "traces"
    metrics = json.loads((folder / "done.json").read_text())
    return Gathered({name: read_traces(folder / f"{name}.jsonl") for name in SETS}, metrics)


def _gather(study: Study, policy: Policy) -> tuple[dict[str, list[Trace]], dict[str, float]]:
    config, t = study.config, study.config.traces
    questions = load_questions(config.task, t.num_problems, study.seed).train[: t.num_problems]
    references = dict(zip([q.key for q in questions], answers_of(questions), strict=True))
    injector = study.injector(policy, "base")
    prompts, keys = [prompt_ids(policy, q) for q in questions], [q.key for q in questions]
    plain = injector.resume(unbegun(prompts, keys), [("plain", key) for key in keys])
    drafts = injector.start(prompts, keys)
    hinted = hint_all(injector, drafts, Heuristic(t.num_steps))
    kinds: dict[str, list[Any]] = {trace.key: [hint.kind for hint in trace.hints[1:]] for trace in hinted}
    shuffled = hint_all(injector, drafts, Random(kinds, policy.tokenizer, study.seed))

    def kept(traces: Sequence[Trace]) -> list[Trace]:
        grade = grade_of(config)
        return [
            trace
            for trace in traces
            if not t.only_right or is_right(trace.said_text(policy.tokenizer), references[trace.key], grade)
        ]

    sets = {"prompt_hint": kept(drafts), "hint_engineering": kept(hinted), "random_hints": kept(shuffled)}
    num = min(t.num_examples, *map(len, sets.values()))
    if num == 0:
        counts = ", ".join(f"{name} {len(traces)}" for name, traces in sets.items())
        raise UserError(f"traces.num_problems = {t.num_problems}: too few right traces ({counts}); sample more")
    sets = {name: traces[:num] for name, traces in sets.items()}
    unhinted = {trace.key: trace for trace in drafts}
    sets["truncated"] = [
        unhinted[trace.key].up_to(len(trace.trajectory.token_ids)) for trace in sets["hint_engineering"]
    ]
    metrics: dict[str, float] = {}
    for name, traces in (("base", plain), ("base_hinted", drafts)):
        found = summary(measured(study, policy, traces, questions))
        metrics |= {f"{name}/{key}": found[key] for key in _SHOWN}
    return sets, metrics


def tune(study: Study, policy: Policy, traces: Sequence[Trace], rate: float, cell: Cell) -> Policy:
    """Fine-tune on traces; the loss is on what the policy said or was made to say."""
    rows = Dataset.from_list([trace.training_row() for trace in traces])
    optimizer = replace(study.config.sft.optimizer, learning_rate=rate)
    return sft(policy, rows, replace(study.config.sft, optimizer=optimizer), cell)


def hint_engineering(study: Study, steps_before: int) -> Policy:
    """The base tuned on hinted traces."""
    cell = study.part("hint_engineering", steps_before, shared=True)

    def make() -> Policy:
        start = base(study)
        examples = gather(study, start).sets["hint_engineering"]
        return tune(study, start, examples, study.config.rates.hint_engineering, cell)

    return once(cell, make)


def rft(study: Study, steps_before: int) -> Policy:
    """The base tuned on traces of the hint-engineered policy, without wrong, delaying or distrusting ones."""
    cell = study.part("rft", steps_before + study.config.sft.steps, shared=True)

    def make() -> Policy:
        return tune(study, base(study), rft_examples(study, steps_before), study.config.rates.rft, cell)

    return once(cell, make)


def rft_examples(study: Study, steps_before: int = 0) -> list[Trace]:
    """As many traces as the other arms have: a few hinted ones, and filtered samples of the policy tuned on them."""
    teacher = hint_engineering(study, steps_before)
    hinted = gathered(study).sets["hint_engineering"]
    filtered, counts = rejection_sampled(study, teacher)
    first = hinted[: study.config.traces.num_hinted]
    examples = [*first, *filtered[: len(hinted) - len(first)]]
    if study.cell.is_main:
        write_traces(study.shared / "rft" / "examples.jsonl", examples, teacher.tokenizer)
        write_atomically(study.shared / "rft" / "filter.json", to_json(counts))
    return examples


def rejection_sampled(study: Study, policy: Policy) -> tuple[list[Trace], dict[str, int]]:
    """Samples that the filter keeps, one of each problem before the second ones, and why others were dropped."""
    config, t = study.config, study.config.traces
    questions = load_questions(config.task, t.num_problems, study.seed).train[: t.num_problems]
    injector, grade = study.injector(policy, "rft"), grade_of(config)
    prompts = [prompt_ids(policy, question) for question in questions]
    kept: list[Trace] = []
    dropped = {"wrong": 0, "delayed": 0, "distrust": 0}
    for sample in range(t.rft_samples):
        keys = [question.key for question in questions]
        traces = injector.resume(unbegun(prompts, keys), [("rft", key, sample) for key in keys])
        for trace, references in zip(traces, answers_of(questions), strict=True):
            right = not t.only_right or is_right(trace.said_text(policy.tokenizer), references, grade)
            reason = dropped_because(trace.fenced_text(policy.tokenizer), right, t.num_steps)
            if reason is None:
                kept.append(trace)
            else:
                dropped[reason] += 1
    return kept, dropped | {"kept": len(kept)}


def sample(
    study: Study, policy: Policy, questions: Sequence[Question], *, with_tool: bool = True, purpose: str = "test"
) -> list[Trace]:
    """Answers as the evaluation settings say, ``samples`` for each problem one after the other."""
    e, loop = study.config.evaluation, study.config.loop
    trajectories = rollout(
        policy,
        [prompt_ids(policy, question) for question in questions],
        Sampling(e.max_new_tokens, e.temperature, e.top_p, count_replies=loop.count_outputs),
        num_samples=e.samples,
        seed=key_to_seed(study.seed, purpose),
        keys=[question.key for question in questions],
        environment=study.environment(policy.tokenizer) if with_tool else None,
        batch_size=e.batch_size,
        deterministic=loop.deterministic,
    )
    keys = [question.key for question in questions for _ in range(e.samples)]
    return [Trace(trajectory, (), key) for trajectory, key in zip(trajectories, keys, strict=True)]


def measured(study: Study, policy: Policy, traces: Sequence[Trace], questions: Sequence[Question]) -> list[Measured]:
    """The samples of :func:`sample`, read and judged."""
    references = answers_of(questions)
    repeats = len(traces) // len(questions)
    return measure(
        traces,
        [reference for reference in references for _ in range(repeats)],
        policy.tokenizer,
        grade=grade_of(study.config),
        num_steps=study.config.traces.num_steps,
    )

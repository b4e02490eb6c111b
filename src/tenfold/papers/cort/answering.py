"""A cell's surroundings, and what a policy answers in them: samples through the tool loop, read and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed
from tenfold.papers.cort.config import Config
from tenfold.papers.cort.environment import CodeEnvironment, Executor, LoopSettings
from tenfold.papers.cort.hints import HintInjector
from tenfold.papers.cort.measures import Measured, measure
from tenfold.papers.cort.method import is_right
from tenfold.papers.cort.questions import grade_of
from tenfold.papers.cort.traces import Trace
from tenfold.policies import Policy, Sampling, rollout
from tenfold.study.language import prompt_ids
from tenfold.study.questions import Question, answers_of, reference_of

Answers = Mapping[str, Any]
"""Key of a trace to what counts as right for it."""


@dataclass(frozen=True)
class Study:
    """One cell's surroundings.

    Args:
        config: of the run.
        cell: of the arm, or of the stage that is being made.
        executor: runs programs.
    """

    config: Config
    cell: Cell
    executor: Executor

    @property
    def seed(self) -> int:
        """Of every random stream."""
        return self.cell.seed

    def within(self, stage: Cell) -> "Study":
        """The same within a stage, which may ask for stages of its own."""
        return replace(self, cell=stage)

    def environment(self, tokenizer: Any) -> CodeEnvironment:
        """The tool loop."""
        loop = self.config.loop
        settings = LoopSettings(loop.state, loop.max_tool_calls, echo_last_expression=loop.echo_last_expression)
        return CodeEnvironment(self.executor, tokenizer, settings)

    def injector(self, policy: Policy, purpose: str) -> HintInjector:
        """Injects hints into the policy's traces."""
        traces, loop = self.config.traces, self.config.loop
        return HintInjector(
            policy,
            self.environment(policy.tokenizer),
            Sampling(traces.max_new_tokens, traces.temperature, traces.top_p, count_replies=loop.count_outputs),
            seed=key_to_seed(self.seed, "traces", purpose),
            batch_size=self.config.evaluation.batch_size,
            deterministic=loop.deterministic,
        )


def asked(policy: Policy, questions: Sequence[Question]) -> tuple[list[str], list[list[int]]]:
    """The keys of problems, and their prompts as tokens."""
    keys, prompts = [], []
    for question in questions:
        keys.append(question.key)
        prompts.append(prompt_ids(policy, question.prompt))
    return keys, prompts


def answers_by_key(questions: Sequence[Question]) -> Answers:
    """What counts as right for each problem, where traces have the problem's key."""
    return {question.key: reference_of(question) for question in questions}


def sample(
    study: Study, policy: Policy, questions: Sequence[Question], *, with_tool: bool = True, purpose: str = "test"
) -> list[Trace]:
    """Answers as the evaluation settings say, ``samples`` for each problem one after the other."""
    evaluation, loop = study.config.evaluation, study.config.loop
    keys, prompts = asked(policy, questions)
    trajectories = rollout(
        policy,
        prompts,
        Sampling(evaluation.max_new_tokens, evaluation.temperature, evaluation.top_p, count_replies=loop.count_outputs),
        num_samples=evaluation.samples,
        seed=key_to_seed(study.seed, purpose),
        keys=keys,
        environment=study.environment(policy.tokenizer) if with_tool else None,
        batch_size=evaluation.batch_size,
        deterministic=loop.deterministic,
    )
    return [Trace(trajectory, (), keys[i // evaluation.samples]) for i, trajectory in enumerate(trajectories)]


def measured(study: Study, policy: Policy, traces: Sequence[Trace], questions: Sequence[Question]) -> list[Measured]:
    """The traces of these questions, equally many of each one after the other, read and judged."""
    answers = answers_of(questions)
    repeats = len(traces) // len(questions)
    return measure(
        traces,
        [answers[i // repeats] for i in range(len(traces))],
        policy.tokenizer,
        grade=grade_of(study.config.task),
        num_steps=study.config.traces.num_steps,
    )


def right_ones(study: Study, policy: Policy, traces: Sequence[Trace], answers: Answers) -> list[Trace]:
    """The traces that are right, or all of them where the configuration does not ask."""
    if not study.config.traces.only_right:
        return list(traces)
    grade = grade_of(study.config.task)
    return [trace for trace in traces if is_right(trace.said_text(policy.tokenizer), answers[trace.key], grade)]

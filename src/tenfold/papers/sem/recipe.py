"""SEM against answer rewards: one experiment, top to bottom.

Every arm of a seed starts from the same policy, which was taught half of the facts and the grammar, and searches
whether it knows or not. Two arms leave it so, without search and with a search for everything. The others train it by
GRPO, for equally many steps on the same questions, with a reward of their own: the answer's alone, SEM's, SEM's with a
discount on second answers, and, as a composition, RLCR's for a stated confidence that then decides. The composition has
a warm start of its own, of equal length and on the same facts, which teaches it to state one. Test questions are in no
reinforcement: known facts of the warm start, and unknown ones that were never asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Claim, Environment, Picture, Report, Scores
from tenfold.papers.sem import answering, pictures, stages
from tenfold.papers.sem.answering import Answers
from tenfold.papers.sem.config import Config, training_of
from tenfold.papers.sem.decided import ANSWERED, STATED, DecidedSearch, always, read_decided, when_unsure
from tenfold.papers.sem.grammar import read_response
from tenfold.papers.sem.method import SearchReward, right_option_or_alias, search_r1, sem_rewards
from tenfold.papers.sem.prompts import prompt_for
from tenfold.papers.sem.stages import Material
from tenfold.policies import Policy
from tenfold.rewards import CalibrationReward, CorrectnessReward, FormatReward
from tenfold.train.grpo import grpo

ARMS = {
    "answer_reward": "GRPO on the exact match of the final answer, as Search-R1",
    "never_search": "the warm start, closed book",
    "always_search": "the warm start, with a search for every question",
    "sem": "GRPO on SEM's reward",
    "sem_discount": "the same, second answers paid less",
    "sem_confidence": "GRPO on RLCR's reward of the first answer; a low stated confidence opens a search",
}
UNTRAINED = ("never_search", "always_search")
FORMS: Mapping[str, stages.Form] = {"never_search": "closed book", "sem_confidence": "confidence"}
"""How arms are asked that are not offered a search of their own."""

_BUDGET = (
    "equal warm start, questions, steps and samples; rates from one grid on the validation questions of other seeds"
)


def _compared(id: str, text: str, kind: Any, metric: str, baseline: str | None, **rest: Any) -> Claim:
    return Claim(id=id, text=text, kind=kind, metric=metric, split="test", arm="sem", baseline=baseline, **rest)


CLAIMS = (
    _compared(
        "known",
        "SEM searches for less than 0.2 of the known facts that its reinforcement never asked for.",
        "threshold",
        "test/search_known",
        None,
        direction="lower",
        margin=0.2,
        budget="one trained policy",
    ),
    _compared(
        "unknown",
        "SEM searches for more than 0.8 of the unknown facts that it was never asked for.",
        "threshold",
        "test/search_unknown",
        None,
        direction="higher",
        margin=0.8,
        budget="one trained policy",
    ),
    _compared(
        "f1",
        "SEM's answers are not worse than those of the answer reward, by more than 0.02 of F1.",
        "non_inferiority",
        "test/f1",
        "answer_reward",
        direction="higher",
        margin=0.02,
        budget=_BUDGET,
    ),
    _compared(
        "over-search",
        "SEM searches less than the answer reward for what is answered rightly without search.",
        "superiority",
        "test/over_search",
        "answer_reward",
        direction="lower",
        margin=0.0,
        budget=_BUDGET,
    ),
)


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Train one arm with one seed and test what it searches for and answers."""
    material = stages.load_material(config, seed)
    start = stages.warm_start(config, material, seed, part_of(config, arm, cell, "warm-start"))
    if arm in UNTRAINED:
        pause(config, arm, cell)
    knowledge = stages.knowledge(config, start, material.test, seed)
    if arm == "sem_confidence":
        part = part_of(config, arm, cell, "confidence")
        start = stages.warm_start(config, material, seed, part, confidences=True)
    closed_book = [accuracy for accuracy in knowledge for _ in range(config.evaluation.samples)]
    before = ask(config, arm, start, material, material.test, seed)
    policy = train(config, arm, seed, cell, start, material)
    if cell.is_main:
        policy.save(cell.directory / "model")
    answers = ask(config, arm, policy, material, material.test, seed)
    metrics = {
        **answering.report(answers, closed_book, config.evaluation, "test"),
        **answering.report(before, closed_book, config.evaluation, "start"),
        "start/closed_book": sum(closed_book) / len(closed_book),
        "cost/parameters": float(policy.num_parameters),
        "cost/completions": 0.0 if arm in UNTRAINED else float(_completions(config)),
    }
    return Scores(
        metrics=metrics,
        items=answering.items(answers, closed_book, config.evaluation),
        curves=cell.curves(),
        samples=answering.material(answers, closed_book, policy),
    )


def part_of(config: Config, arm: str, cell: Cell, name: str) -> Cell:
    """One training of a cell; the warm start keeps its files where all arms of the seed find them."""
    part = cell.part(name, steps_before=_steps_before(config, name, arm), total_steps=_total_steps(config, arm))
    if name == "warm-start":
        part.directory = cell.directory.parents[2] / "shared" / f"seed-{cell.seed}" / name
    return part


def _steps_before(config: Config, name: str, arm: str) -> int:
    taught = config.warm_start.training.steps
    stated = taught if arm == "sem_confidence" else 0
    return {"warm-start": 0, "confidence": taught, "reinforcement": taught + stated}[name]


def _total_steps(config: Config, arm: str) -> int:
    if arm in UNTRAINED:
        return config.warm_start.training.steps + 1  # the test
    return _steps_before(config, "reinforcement", arm) + config.training.steps


def _completions(config: Config) -> int:
    return config.training.steps * config.training.prompts_per_step * config.training.num_generations


def pause(config: Config, arm: str, cell: Cell) -> None:
    """Where an arm that trains nothing can be stopped: before its test."""
    done = config.warm_start.training.steps
    cell.progress(done, _total_steps(config, arm), {}, (0.0, "sequences/s"))
    if cell.stop_requested():
        raise Interrupted(done, cell.directory.parents[2])


def train(config: Config, arm: str, seed: int, cell: Cell, policy: Policy, material: Material) -> Policy:
    """The arm's reinforcement; none for two arms."""
    if arm in UNTRAINED:
        return policy
    return reinforce(config, arm, seed, part_of(config, arm, cell, "reinforcement"), policy, material)


def reinforce(config: Config, arm: str, seed: int, cell: Cell, policy: Policy, material: Material) -> Policy:
    """GRPO with the arm's reward; adapters are folded in."""
    functions, weights = rewards_of(config, arm)
    settings = replace(training_of(config, arm), reward_weights=tuple(weights))
    environment: Any = None
    rows = material.train
    if arm == "sem_confidence":  # the first answer and its confidence are all that is trained
        settings, rows = replace(settings, stop=(STATED,)), confidence_rows(config, rows)
    else:
        found = stages.environment_of(config, policy, material.retriever)
        environment = lambda asked: found  # noqa: E731
    curves = validation(config, arm, material, policy.tokenizer, seed) if material.validation else None
    trained = grpo(
        policy,
        rows,
        functions,
        settings,
        cell,
        environment=environment,
        evaluate=curves,
        deterministic=config.search.deterministic,
        count_replies=config.search.count_results,
    )
    return trained.merged()


def confidence_rows(config: Config, rows: Dataset) -> Dataset:
    """The same questions in the form that ends in a confidence, with what its rewards grade by in ``answer``."""
    instructions = stages.instructions_of(config, "confidence")

    def changed(row: dict[str, Any]) -> dict[str, Any]:
        reference = {name: row[name] for name in ("answers", "choices", "kind")}
        return {"prompt": prompt_for(row["question"], row["choices"], instructions), "answer": reference}

    return Dataset.from_list([row | changed(row) for row in rows])


def rewards_of(config: Config, arm: str) -> tuple[list[Any], list[float]]:
    """The scientific difference between the arms; SEM's components are logged in each that has its grammar."""
    r = config.reward
    if arm == "sem_confidence":
        graded = (
            CorrectnessReward("tac", right_option_or_alias),
            CalibrationReward("tac", verifier=right_option_or_alias),
        )
        return [FormatReward("tac"), *graded], [0.5, 0.5, 0.5]
    functions, weights = sem_rewards(
        tau=r.tau,
        searched_but_known_reward=r.searched_but_known_reward,
        a2_discount=r.low_a2_discount if arm == "sem_discount" else r.a2_discount,
        search_cost=r.search_cost,
    )
    if arm == "answer_reward":
        return [SearchReward(search_r1, "search_r1"), *functions[1:]], weights
    return list(functions), weights


def asked_through(config: Config, arm: str, policy: Policy, material: Material) -> Environment | None:
    """What an arm's policy acts on in a test."""
    search = stages.environment_of(config, policy, material.retriever)
    if arm == "never_search":
        return None
    if arm == "always_search":
        return DecidedSearch(search, ANSWERED, always)
    if arm == "sem_confidence":
        return DecidedSearch(search, STATED, when_unsure(config.reward.search_below))
    return search


def ask(config: Config, arm: str, policy: Policy, material: Material, questions: Sequence[Any], seed: int) -> Answers:
    """An arm's responses."""
    return answering.answer(
        policy,
        questions,
        config.evaluation,
        asked_through(config, arm, policy, material),
        instructions=stages.instructions_of(config, FORMS.get(arm, "search")),
        read=read_decided if arm == "sem_confidence" else read_response,
        count_results=config.search.count_results,
        deterministic=config.search.deterministic,
        seed=key_to_seed(seed, "test"),
    )


def validation(config: Config, arm: str, material: Material, tokenizer: Any, seed: int) -> Any:
    """Searching and first answers on validation questions, and first answers to what the training asks for."""
    config = replace(config, evaluation=replace(config.evaluation, samples=1))  # a curve has many points

    def evaluate(model: torch.nn.Module, step: int) -> Mapping[str, float]:
        policy = Policy(model, tokenizer)  # type: ignore[arg-type]
        answers = ask(config, arm, policy, material, material.validation, seed)
        metrics = {"f1": sum(one.f1 for one in answers.measured) / len(answers.measured)} | answering.halves(answers)
        if material.shown:
            metrics["first_shown"] = answering.halves(ask(config, arm, policy, material, material.shown, seed))[
                "first_known"
            ]
        return {f"validation/{name}": value for name, value in metrics.items()}

    return evaluate


def validation_score(
    config: Config, arm: str, rate: float, seed: int, cell: Cell, policy: Policy, material: Material
) -> dict[str, float]:
    """Metrics of one arm at one rate on validation questions, from the warm start; for choosing rates."""
    config = replace(config, rates=replace(config.rates, **{arm: rate}))
    trained = train(config, arm, seed, cell, policy, material)
    answers = ask(config, arm, trained, material, material.validation, seed)
    f1 = sum(one.f1 for one in answers.measured) / len(answers.measured)
    return {f"validation/{name}": value for name, value in ({"f1": f1} | answering.halves(answers)).items()}


def figures(report: Report) -> Sequence[Picture]:
    """Example responses, searching over training, first answers over training, searching over knowledge."""
    return pictures.draw(report)


def estimate(config: Config) -> dict[str, float]:
    """Size and time of one seed of all arms, for ``--dry-run``; unknown for a model on disk or on the hub."""
    if config.policy.model:
        return {"parameters": nan, "memory_bytes": nan, "seconds": nan}
    t, w = config.training, config.warm_start
    num_parameters = stages.build(config, 0).num_parameters
    examples = 2 * w.training.steps * w.training.batch_size  # with and without a confidence
    trained = len(ARMS) - len(UNTRAINED)
    return {
        "parameters": float(num_parameters),
        "memory_bytes": 16.0 * num_parameters + 4e4 * t.prompts_per_step * t.num_generations + 1e9,
        "seconds": trained * _completions(config) * _SECONDS_PER_COMPLETION + examples * _SECONDS_PER_EXAMPLE + 30.0,
    }


_SECONDS_PER_COMPLETION, _SECONDS_PER_EXAMPLE = 3.5e-3, 1.9e-3  # one core, the tiny policy of the laptop preset

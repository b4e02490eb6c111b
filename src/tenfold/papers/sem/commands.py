"""SEM's own verbs: ``train`` on questions and with a search index of one's own, ``tune`` the rates.

They go on with what is in their ``--out``, which says what it is about and is refused for anything else: files that
have changed in between are something else.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.tuning import chosen_arms, try_rates
from tenfold.papers.sem import config as presets
from tenfold.papers.sem.config import require_at_least, require_share
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings

if TYPE_CHECKING:
    import datasets

    from tenfold.data.question_answering import Question
    from tenfold.envs import Retriever
    from tenfold.policies import Policy

KNOWN_FROM = 0.5
Rule = Literal["sem", "search_r1", "research", "otc_like", "boundary_contrast_like"]


@dataclass(frozen=True)
class OwnReward:
    """What is paid for."""

    rule: Rule = "sem"
    """SEM's reward, or a rival's."""
    tau: float = 0.5
    """F1 from which a first answer is good."""
    searched_but_known_reward: float = 0.0
    """Of a search after a good first answer."""
    a2_discount: float = 1.0
    """Factor of the final answer's F1."""
    search_cost: float = 0.0
    """Taken off for each search."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and options that the rule does not have."""
        require_share("tau", self.tau, above_zero=True)
        for name in ("searched_but_known_reward", "a2_discount"):
            require_share(name, getattr(self, name))
        require_at_least(0, "search_cost", self.search_cost)
        for name in ("tau", "searched_but_known_reward", "a2_discount", "search_cost"):
            if self.rule != "sem" and getattr(self, name) != getattr(OwnReward, name):
                raise UserError(f"{name} = {getattr(self, name)}: an option of rule sem, not of {self.rule}")


@dataclass(frozen=True)
class OwnSearch:
    """How searching goes."""

    index: str
    """Folder of the index."""
    corpus_hash: str
    """Of the passages in it."""
    num_passages: int = 5
    """Most passages of a result."""
    max_searches: int = 4
    """Of a completion."""
    max_result_tokens: int = 500
    """Of a result."""

    def __post_init__(self) -> None:
        """Refuse limits below 1."""
        for name in ("num_passages", "max_searches", "max_result_tokens"):
            require_at_least(1, name, getattr(self, name))


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    model: str
    """The model that training starts from."""
    data: str
    """The data file."""
    data_hash: str
    """SHA-256 of it."""
    seed: int
    """Seed of order and samples."""
    instructions: str
    """sem or none."""
    closed_book_samples: int
    """Of each question; 0 for the order of the file."""
    known_from: float
    """Share of right closed-book samples of a known question."""
    reward: OwnReward
    """The reward."""
    search: OwnSearch
    """The search."""
    settings: GRPOSettings
    """The training."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and a threshold of nothing."""
        require_at_least(0, "closed_book_samples", self.closed_book_samples)
        require_share("known_from", self.known_from, above_zero=True)
        if not self.closed_book_samples and self.known_from != KNOWN_FROM:
            raise UserError(f"known_from = {self.known_from}: must be {KNOWN_FROM} where closed_book_samples = 0")


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of questions, samples and weights."""
    config: presets.Config
    """The resolved configuration, its rates at their defaults."""


def train(
    model: str,
    data: Path,
    index: Path,
    out: Path,
    rule: Rule = "sem",
    tau: float = 0.5,
    searched_but_known_reward: float = 0.0,
    a2_discount: float = 1.0,
    search_cost: float = 0.0,
    num_passages: int = 5,
    max_searches: int = 4,
    max_result_tokens: int = 500,
    instructions: Literal["sem", "none"] = "sem",
    closed_book_samples: int = 0,
    known_from: float = KNOWN_FROM,
    steps: int = 100,
    prompts_per_step: int = 8,
    num_generations: int = 8,
    gradient_accumulation: int = 1,
    max_completion_length: int = 1024,
    temperature: float = 1.0,
    beta: float = 0.001,
    learning_rate: float = 1e-6,
    lora_rank: int = 0,
    mixed_precision: Literal["no", "bf16"] = "no",
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Teach a causal language model to search only for what it doesn't know, on your questions; the same again goes on.

    Args:
        model: a name or folder that from_pretrained loads.
        data: JSON lines with question and answers (a text, a number, or a list of accepted texts), and perhaps choices.
        index: a folder by ``tenfold index build``.
        out: a folder for checkpoints and, in ``model``, the trained model.
        rule: SEM's reward, or a rival's.
        tau: F1 from which a first answer is good.
        searched_but_known_reward: of a search after a good first answer; SEM pays nothing.
        a2_discount: factor of the final answer's F1; below 1 it does not pay to spoil the first answer.
        search_cost: taken off for each search.
        num_passages: most passages of a result.
        max_searches: of a completion.
        max_result_tokens: of a result.
        instructions: the form explained in a chat; none gives the model the plain question.
        closed_book_samples: ask the model this often without search, and train on known and unknown questions in equal
            parts; 0 takes the questions as they are.
        known_from: share of right closed-book samples that makes a question known.
        steps: optimizer steps.
        prompts_per_step: questions of a step.
        num_generations: completions of a question.
        gradient_accumulation: pieces of a step.
        max_completion_length: tokens of a completion, results included.
        temperature: of sampling.
        beta: weight of the divergence from the initial model.
        learning_rate: AdamW's; constant after 5 % warm-up.
        lora_rank: of LoRA adapters on all linear layers; 0 trains all weights.
        mixed_precision: autocast.
        seed: of order and samples.
        device: where to compute.
    """
    from tenfold.envs import load_index
    from tenfold.papers.sem.questions import own_questions

    settings = GRPOSettings(
        steps=steps,
        prompts_per_step=prompts_per_step,
        num_generations=num_generations,
        gradient_accumulation=gradient_accumulation,
        max_completion_length=max_completion_length,
        temperature=temperature,
        beta=beta,
        scale_rewards="group",
        mixed_precision=mixed_precision,
        optimizer=OptimizerSettings(learning_rate=learning_rate, warmup_fraction=0.05),
        lora=LoraSettings(rank=lora_rank, alpha=2.0 * lora_rank) if lora_rank else LoraSettings(),
        log_every=1,
        checkpoint_every=max(1, steps // 4),
    )
    # What cannot be used is refused before the folder is claimed, so that a mended attempt may have the same one.
    reward = OwnReward(rule, tau, searched_but_known_reward, a2_discount, search_cost)
    questions, retriever = own_questions(data), load_index(index)
    about = OwnTraining(
        model=str(Path(model).resolve()) if Path(model).is_dir() else model,
        data=str(data.resolve()),
        data_hash=hashlib.sha256(data.read_bytes()).hexdigest(),
        seed=seed,
        instructions=instructions,
        closed_book_samples=closed_book_samples,
        known_from=known_from,
        reward=reward,
        search=OwnSearch(str(index.resolve()), retriever.corpus_hash, num_passages, max_searches, max_result_tokens),
        settings=settings,
    )
    _train(about, questions, retriever, Cell(arm=rule, seed=seed, directory=out, device=device))


def _train(about: OwnTraining, questions: "list[Question]", retriever: "Retriever", cell: Cell) -> None:
    from tenfold.papers.sem.environment import SearchEnvironment
    from tenfold.policies import load_policy
    from tenfold.train.grpo import grpo
    from tenfold.train.trained_model import save_trained

    functions, weights = _rewards(about.reward)
    policy = load_policy(about.model)
    environment = SearchEnvironment(
        retriever,
        policy.tokenizer,
        k=about.search.num_passages,
        max_searches=about.search.max_searches,
        max_result_tokens=about.search.max_result_tokens,
    )
    _check_prompts(about, policy, questions)
    claim_folder(cell.directory, about, "training.yaml")
    trained = grpo(
        policy,
        _rows(about, policy, questions, cell),
        functions,
        replace(about.settings, reward_weights=tuple(weights)),
        cell,
        environment=lambda rows: environment,
        count_replies=True,
    )
    save_trained(trained, cell)


def _check_prompts(about: OwnTraining, policy: "Policy", questions: "list[Question]") -> None:
    """Refuse a question that leaves no room for an answer in the model's context."""
    from tenfold.papers.sem.prompts import SEM
    from tenfold.papers.sem.questions import encoded

    instructions = SEM if about.instructions == "sem" else ""
    for number, question in enumerate(questions, start=1):
        size = len(encoded(policy, question, instructions))
        if policy.context is not None and size >= policy.context:
            raise UserError(
                f"{about.data}, row {number}: a prompt of {size} tokens; must be below the model's {policy.context}"
            )


def _rewards(reward: OwnReward) -> tuple[list[Any], list[float]]:
    """The chosen rule, and SEM's parts to be logged."""
    from tenfold.papers.sem.method import RULES, SearchReward, sem_rewards

    functions, weights = sem_rewards(
        tau=reward.tau,
        searched_but_known_reward=reward.searched_but_known_reward,
        a2_discount=reward.a2_discount,
        search_cost=reward.search_cost,
    )
    if reward.rule == "sem":
        return functions, weights
    return [SearchReward(RULES[reward.rule]), *functions[1:]], weights


def _rows(about: OwnTraining, policy: "Policy", questions: "list[Question]", cell: Cell) -> "datasets.Dataset":
    """The questions as they are, or as many known as unknown ones, by closed-book samples that are kept in ``out``."""
    from tenfold.data.question_answering import DataMix
    from tenfold.papers.sem.prompts import CLOSED_BOOK, SEM, prompt_for
    from tenfold.papers.sem.questions import as_dataset, closed_book_accuracy, labelled
    from tenfold.policies import Sampling

    instructions, closed = (SEM, CLOSED_BOOK) if about.instructions == "sem" else ("", "")
    if not about.closed_book_samples:
        return as_dataset(questions, instructions)
    kept = cell.directory / "closed_book.json"
    if not kept.is_file():
        accuracies = closed_book_accuracy(
            policy,
            questions,
            Sampling(about.settings.max_completion_length, about.settings.temperature, stop=("</answer>",)),
            num_samples=about.closed_book_samples,
            seed=about.seed,
            instructions=closed,
        )
        write_atomically(kept, to_json(accuracies) + "\n")
    parts = labelled(questions, json.loads(kept.read_text(encoding="utf-8")), known_from=about.known_from)
    if not all(parts.values()):
        raise UserError(
            f"{about.data}: {len(parts['direct'])} known and {len(parts['search'])} unknown questions; "
            "allowed: at least one of each, or closed_book_samples = 0"
        )
    rows = DataMix({"direct": 0.5, "search": 0.5}, about.seed).rows(
        {"direct": parts["direct"], "search": parts["search"]}
    )
    prompts = [prompt_for(row["question"], row["choices"], instructions) for row in rows]
    return rows.add_column("prompt", prompts)


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    rates: tuple[float, ...] = (3e-3, 6e-3, 1e-2, 2e-2),
    arms: tuple[str, ...] = (),
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every trained arm the same grid of learning rates, from its warm start, and ask it validation questions.

    The seed is none of those that a run uses, so its facts are others too. Run it again to go on, or to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        rates: the grid.
        arms: by default all that are trained.
        seed: of questions, samples and weights.
        device: where to compute.
    """
    from copy import deepcopy

    from tenfold.papers.sem import recipe, stages

    config = getattr(presets, preset)()
    chosen = chosen_arms(arms, presets.RatesConfig.__dataclass_fields__)
    claim_folder(out, Tuning(preset, seed, replace(config, rates=presets.RatesConfig())), "tuning.yaml")
    material = stages.load_material(config, seed)

    @cache
    def start(stated: bool) -> "Policy":
        folder = out / ("start-confidence" if stated else "start")
        part = Cell(arm="warm-start", seed=seed, directory=folder, device=device)
        return stages.warm_start(config, material, seed, part, confidences=stated)

    def score(arm: str, rate: float) -> dict[str, float]:
        cell = Cell(arm=arm, seed=seed, directory=out / f"{arm}-{rate:g}", device=device)
        taught = start(arm == "sem_confidence")
        policy = replace(taught, model=deepcopy(taught.model))
        return recipe.validation_score(config, arm, rate, seed, cell, policy, material)

    try_rates([(arm, rate) for arm in chosen for rate in rates], score, _SHOWN, out)


_SHOWN = tuple(f"validation/{name}" for name in ("f1", "search_known", "search_unknown", "first_known"))

"""The language study: the same arms on solutions in text, by a tiny transformer or any causal model.

Stage 1 learns all solutions; it is the policy that models the unfiltered data, and so the reference. Stage 2 learns the
kept ones, those with the right answer. The score is the share of held-out problems that a sampled solution gets right.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import nn

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Scores
from tenfold.papers.iw_sft import arithmetic
from tenfold.papers.iw_sft.config import Config, IWSFTConfig
from tenfold.papers.iw_sft.language import drawn_by_quality, weighting_of
from tenfold.papers.iw_sft.method import effective_exponent
from tenfold.papers.iw_sft.own_data import read_questions, read_supervised
from tenfold.policies import Policy, Sampling, load_policy, rollout, tiny_policy
from tenfold.train.settings import SFTSettings
from tenfold.train.sft import sft

Questions = list[tuple[str, str]]
"""``(prompt, right answer)``."""


def run_language(config: Config, arm: str, iw: IWSFTConfig, seed: int, cell: Cell) -> Scores:
    """Both stages of one arm with one seed, and the test."""
    _require_study(config, arm)
    everything, kept, questions = load_texts(config, seed)
    policy = load_model(config, seed)
    trained = train_texts(config, arm, iw, policy, everything, kept, questions, cell)
    right, answers = solve(trained, questions[: config.language.num_test], config, seed, "test")
    tokens = np.mean([len(trained.encode(row["completion"])) + 1 for row in kept.select(range(min(200, len(kept))))])
    is_weighted = iw.weight_fn == "iw"
    return Scores(
        metrics={
            "test/score": float(right.mean()),
            "test/share_with_working": float(np.mean(["=" in answer for answer in answers])),
            "data/kept_trajectories": float(len(kept)),
            "weights/effective_exponent": (
                effective_exponent(iw.log_ratio, iw.temperature, float(tokens)) if is_weighted else 0.0
            ),
            "cost/parameters": float(trained.num_parameters),
        },
        items={"test/score": right.astype(float).tolist()},
        curves=cell.curves(),
        samples={"answers": [prompt + answer for (prompt, _), answer in zip(questions, answers[:8], strict=False)]},
    )


def load_texts(config: Config, seed: int) -> tuple[Dataset, Dataset, Questions]:
    """All solutions, the kept ones, and the test's questions."""
    c = config.language
    if c.test_file:
        questions = read_questions(Path(c.test_file))
    else:
        pairs = arithmetic.problems(2 * c.num_test, c.digits, seed, held_out=True)
        questions = [(f"{a}+{b}=", str(a + b)) for a, b in pairs]
    if c.train_file:
        data = read_supervised(Path(c.train_file))
        kept = data.filter(lambda row: row["quality"] > 0) if "quality" in data.column_names else data
        return data, kept, questions
    generated = arithmetic.traces(c.num_traces, c.digits, c.sloppy_share, seed)
    data = Dataset.from_list(
        [{"prompt": one.prompt, "completion": one.completion, "quality": one.quality} for one in generated]
    )
    return data, data.select([row for row, one in enumerate(generated) if one.quality > 0]), questions


def load_model(config: Config, seed: int) -> Policy:
    """The model that stage 1 starts from."""
    c = config.language
    if c.model == "tiny":
        return tiny_policy(
            arithmetic.ALPHABET,
            width=c.width,
            layers=c.layers,
            heads=4,
            context=c.fine_tuning.max_length + 64,
            seed=seed,
        )
    return load_policy(c.model)


def train_texts(
    config: Config,
    arm: str,
    iw: IWSFTConfig,
    policy: Policy,
    everything: Dataset,
    kept: Dataset,
    questions: Questions,
    cell: Cell,
) -> Policy:
    """Stage 1 on everything (if it has steps), stage 2 on what the arm learns from."""
    c, seed = config.language, cell.seed
    data = everything if arm in ("bc", "awr") else kept
    if arm == "awr":
        iw = replace(iw, quality_column="quality")
    first, second = c.cloning.total_steps(len(everything)), c.fine_tuning.total_steps(len(data))
    held_out = questions[c.num_test :] or questions

    def evaluate(model: nn.Module, step: int) -> dict[str, float]:
        shown = replace(policy, model=model)
        return {"validation/score": float(solve(shown, held_out, config, seed, "validation")[0].mean())}

    if first:
        part = cell.part("cloning", steps_before=0, total_steps=first + second)
        settings = _with_rate(c.cloning, config.rates.cloning)
        policy = sft(policy, everything.select_columns(["prompt", "completion"]), settings, part, evaluate=evaluate)
        policy = policy.merged()
    part = cell.part("fine-tuning", steps_before=first, total_steps=first + second)
    return sft(
        policy,
        data,
        _with_rate(c.fine_tuning, getattr(config.rates, arm)),
        part,
        weighting=partial(weighting_of, iw),
        sampling_column=iw.quality_column if drawn_by_quality(iw) else None,
        evaluate=evaluate,
    )


def solve(policy: Policy, questions: Questions, config: Config, seed: int, split: str) -> tuple[np.ndarray, list[str]]:
    """Sample one solution for each question; whether its last number is the answer [n], and the texts."""
    sampling = Sampling(max_new_tokens=config.language.max_new_tokens)
    prompts = [policy.encode(prompt, start=True) for prompt, _ in questions]
    keys = [(split, row) for row in range(len(questions))]
    with torch.no_grad():
        trajectories = rollout(policy, prompts, sampling, seed=seed, keys=keys)
    texts = [policy.tokenizer.decode(one.token_ids, skip_special_tokens=True) for one in trajectories]
    right = [
        arithmetic.final_number(text) == arithmetic.final_number(answer)
        for text, (_, answer) in zip(texts, questions, strict=True)
    ]
    return np.array(right), texts


def _require_study(config: Config, arm: str) -> None:
    if arm == "iql":
        raise UserError(
            "arm iql: needs rewards step by step, which solutions in text do not have; name others in --arms"
        )
    c = config.language
    if c.model == "tiny" and not (c.cloning.steps or c.cloning.epochs):
        raise UserError(
            "language.cloning.steps = 0 with language.model = tiny: a model from scratch knows nothing to refer to; "
            "allowed: more steps, or a trained model"
        )


def _with_rate(settings: SFTSettings, rate: float) -> SFTSettings:
    return replace(settings, optimizer=replace(settings.optimizer, learning_rate=rate))

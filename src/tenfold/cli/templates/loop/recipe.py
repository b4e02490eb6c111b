"""One run of paper_name, top to bottom: data, training, evaluation. The arms differ in the weight decay alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.seeding import torch_generator
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.paper_name.config import Config
from tenfold.papers.paper_name.method import draw_data, regularised_loss
from tenfold.study import pictures
from tenfold.train.loop import LoopConfig, train


@dataclass(frozen=True)
class Arm:
    """What an arm is, and all that it does differently."""

    text: str
    decays: bool
    rate: str


ARMS: Mapping[str, Arm] = {
    "plain": Arm("the squared error alone", decays=False, rate="plain"),
    "decayed": Arm("the squared error and weight decay", decays=True, rate="decayed"),
}
CLAIMS = (
    Claim(
        id="decay",
        text="Weight decay lowers the error on held-out data.",
        kind="superiority",
        metric="test/error",
        split="test",
        arm="decayed",
        baseline="plain",
        direction="lower",
        margin=0.0,
        budget="equal steps and batches; rates from one grid on validation rows of another seed",
        source="no difference",
        headline=True,
    ),
)
CHOSEN_ON = (0, 1, 2, 1000)
"""Sizes and steps on 0 to 2, rates on 1000: seeds that a verdict must not be taken from."""
PLAN = Plan(laptop=(10, 11, 12, 13, 14), why="five, the fewest: no pilot was run")
_RATES = (0.02, 0.05, 0.1)
GRID = {"rates.plain": _RATES, "rates.decayed": _RATES}


@dataclass(frozen=True)
class Rows:
    """Inputs and targets of three parts, by their names; both arms of a seed see the same."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Fit one arm with one seed and score it on held-out data."""
    rows = draw_rows(config, seed)
    model = fit(config, ARMS[arm], rows, cell)
    errors = squared_errors(model, rows.test)
    return Scores(
        metrics={
            "test/error": float(errors.mean()),
            "train/error": float(squared_errors(model, rows.train).mean()),
        },
        items={"test/error": errors.tolist()},
        curves=cell.curves(),
    )


def draw_rows(config: Config, seed: int) -> Rows:
    """The data of a seed."""
    d, generator = config.data, torch_generator(seed, "data")
    truth_D = torch.randn(d.num_features, generator=generator) / d.num_features**0.5
    sizes = {"train": d.num_train, "validation": d.num_test, "test": d.num_test}
    return Rows(**{part: draw_data(truth_D, size, d.noise, generator) for part, size in sizes.items()})


def fit(config: Config, arm: Arm, rows: Rows, cell: Cell) -> nn.Module:
    """Train a linear model from the newest checkpoint on."""
    t = config.training
    inputs_ND, targets_N = rows.train
    torch.manual_seed(cell.seed)
    model = nn.Linear(config.data.num_features, 1, bias=False)

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        chosen_N = torch.randint(len(inputs_ND), (t.batch_size,), generator=torch_generator(cell.seed, "batch", step))
        mine_N = chosen_N[slots.start : slots.stop]
        predicted_N = wrapped(inputs_ND[mine_N]).squeeze(-1)
        decay = t.weight_decay if arm.decays else 0.0
        weights_D = next(wrapped.parameters()).flatten()
        return regularised_loss(predicted_N, targets_N[mine_N], weights_D, decay), carry, {}

    trained = train(
        model,
        lambda fresh: [torch.optim.SGD(fresh.parameters(), lr=getattr(config.rates, arm.rate))],
        step_function,
        LoopConfig(t.steps, t.batch_size, log_every=t.log_every, checkpoint_every=t.checkpoint_every),
        cell,
    )
    return trained.model.cpu()


@torch.no_grad()
def squared_errors(model: nn.Module, rows: tuple[Tensor, Tensor]) -> Tensor:
    """The squared error of each row, [N]."""
    inputs_ND, targets_N = rows
    return (model(inputs_ND).squeeze(-1) - targets_N).square()


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The error on validation rows of the arm whose rate stands at ``field``; for choosing rates."""
    rows = draw_rows(config, cell.seed)
    arm = next(arm for arm in ARMS.values() if field == f"rates.{arm.rate}")
    return {"validation/error": float(squared_errors(fit(config, arm, rows, cell), rows.validation).mean())}


def figures(report: Report) -> list[Picture]:
    """Error of each arm, and learning curves."""
    cells, colour_of = pictures.finished(report), pictures.colours(list(ARMS))
    if not cells:
        return []
    figure, ((left, right),) = pictures.panels(2)
    pictures.draw_bars(left, cells, "test/error", colour_of)
    left.set(xlabel="held-out error")
    pictures.draw_curves(right, cells, pictures.named("train/loss"), colour_of)
    right.set(xlabel="steps", ylabel="training loss")
    pictures.finish(left)
    pictures.finish(right, legend=True)
    caption = "Left: mean over seeds, and single seeds. Right: thin lines are seeds, thick ones their mean."
    return [Picture("errors", "Error and training", caption, figure)]


def estimate(config: Config) -> dict[str, float]:
    """Rough size of a seed of both arms, for ``--dry-run``."""
    d = config.data
    return {
        "parameters": float(d.num_features),
        "memory_bytes": 4.0 * (d.num_train + 2 * d.num_test) * d.num_features,
        "seconds": 2e-3 * config.training.steps * len(ARMS),
    }

"""One run of paper_name, top to bottom: demonstrations, cloning, test. The arms differ in the demonstrations alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.cell import Cell
from tenfold.core.seeding import torch_generator
from tenfold.core.types import Claim, Picture, Plan, Report, Scores
from tenfold.papers.paper_name.config import Config
from tenfold.papers.paper_name.method import cloning_loss, expert, played
from tenfold.study import pictures
from tenfold.train.loop import LoopConfig, train

NEAR = 0.2


@dataclass(frozen=True)
class Arm:
    """What an arm is, and all that it does differently."""

    text: str
    is_disturbed: bool
    rate: str


ARMS: Mapping[str, Arm] = {
    "clean": Arm("cloned from the expert alone", is_disturbed=False, rate="clean"),
    "disturbed": Arm("cloned from the expert when it is pushed about", is_disturbed=True, rate="disturbed"),
}
CLAIMS = (
    Claim(
        id="recovery",
        text="A policy cloned from disturbed demonstrations ends nearer to the goal.",
        kind="superiority",
        metric="test/distance",
        split="test",
        arm="disturbed",
        baseline="clean",
        direction="lower",
        margin=0.0,
        budget="equal demonstrations, steps and batches; rates from one grid on episodes of another seed",
        source="no difference",
        headline=True,
    ),
)
CHOSEN_ON = (0, 1, 2, 1000)
"""Sizes and steps on 0 to 2, rates on 1000: seeds that a verdict must not be taken from."""
PLAN = Plan(laptop=(10, 11, 12, 13, 14), why="five, the fewest: no pilot was run")
_RATES = (1e-3, 3e-3, 1e-2)
GRID = {"rates.clean": _RATES, "rates.disturbed": _RATES}


def run(config: Config, arm: str, seed: int, cell: Cell) -> Scores:
    """Clone one arm with one seed and let it act."""
    policy = clone(config, ARMS[arm], cell)
    distances = final_distances(policy, config, seed, "test")
    return Scores(
        metrics={"test/distance": float(distances.mean()), "test/reached": float((distances < NEAR).float().mean())},
        items={"test/distance": distances.tolist()},
        curves=cell.curves(),
    )


def demonstrations(config: Config, arm: Arm, seed: int) -> Tensor:
    """The positions that the expert was in, [N, 2]; what it did there it says itself."""
    w = config.world
    wind = w.disturbance if arm.is_disturbed else 0.0
    visited, _ = played(expert, w.num_demonstrations, w.horizon, wind, torch_generator(seed, "demonstrations"))
    return visited.flatten(0, 1)


def clone(config: Config, arm: Arm, cell: Cell) -> nn.Module:
    """Train a policy from the newest checkpoint on."""
    t = config.training
    shown_N2 = demonstrations(config, arm, cell.seed)
    torch.manual_seed(cell.seed)
    policy = nn.Sequential(nn.Linear(2, t.hidden_size), nn.Tanh(), nn.Linear(t.hidden_size, 2))

    def step_function(wrapped: nn.Module, carry: None, step: int, slots: range) -> tuple[Tensor, None, dict[str, Any]]:
        chosen_N = torch.randint(len(shown_N2), (t.batch_size,), generator=torch_generator(cell.seed, "batch", step))
        states_N2 = shown_N2[chosen_N[slots.start : slots.stop]]
        return cloning_loss(wrapped(states_N2), expert(states_N2)), carry, {}

    trained = train(
        policy,
        lambda fresh: [torch.optim.Adam(fresh.parameters(), lr=getattr(config.rates, arm.rate))],
        step_function,
        LoopConfig(t.steps, t.batch_size, log_every=t.log_every, checkpoint_every=t.checkpoint_every),
        cell,
    )
    return trained.model.cpu()


@torch.no_grad()
def final_distances(policy: nn.Module, config: Config, seed: int, split: str) -> Tensor:
    """How far from the goal each episode ends, [N]; every arm meets the same starts and winds."""
    w = config.world
    _, last_N2 = played(policy, w.num_test, w.horizon, w.wind, torch_generator(seed, split))
    return last_N2.norm(dim=-1)


def validation_score(config: Config, field: str, cell: Cell) -> Mapping[str, float]:
    """The distance in validation episodes of the arm whose rate stands at ``field``; for choosing rates."""
    arm = next(arm for arm in ARMS.values() if field == f"rates.{arm.rate}")
    distances = final_distances(clone(config, arm, cell), config, cell.seed, "validation")
    return {"validation/distance": float(distances.mean())}


def figures(report: Report) -> list[Picture]:
    """Distance of each arm, and learning curves."""
    cells, colour_of = pictures.finished(report), pictures.colours(list(ARMS))
    if not cells:
        return []
    figure, ((left, right),) = pictures.panels(2)
    pictures.draw_bars(left, cells, "test/distance", colour_of)
    left.set(xlabel="distance at the end")
    pictures.draw_curves(right, cells, pictures.named("train/loss"), colour_of)
    right.set(xlabel="steps", ylabel="cloning loss")
    pictures.finish(left)
    pictures.finish(right, legend=True)
    caption = "Left: mean over seeds, and single seeds. Right: thin lines are seeds, thick ones their mean."
    return [Picture("distances", "Distance and training", caption, figure)]


def estimate(config: Config) -> dict[str, float]:
    """Rough size of a seed of both arms, for ``--dry-run``."""
    w, t = config.world, config.training
    return {
        "parameters": 5.0 * t.hidden_size + 2.0,
        "memory_bytes": 8.0 * (w.num_demonstrations + w.num_test) * w.horizon,
        "seconds": (2e-3 * t.steps + 1.0) * len(ARMS),
    }

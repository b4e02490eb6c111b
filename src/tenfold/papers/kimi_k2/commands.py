"""Kimi K2's own verbs: ``tune`` the arms' learning rates, and ``scaling``, which prints what a compute budget asks for.

``tune`` goes on with what is in its ``--out``, which therefore says what it is about and is refused for anything else.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.papers.kimi_k2 import config as presets


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of windows and weights."""
    config: presets.Config
    """The resolved configuration, the arms' rates at their defaults."""


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    adamw_rates: tuple[float, ...] = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3),
    muon_rates: tuple[float, ...] = (5e-3, 1e-2, 2e-2, 4e-2, 8e-2),
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every arm a grid of as many learning rates on both models, measured on the validation windows.

    The seed is none of those that a run uses, and a run's results come from other windows. Run it again to go on, or
    to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        adamw_rates: the grid of arm adamw.
        muon_rates: the grid of arms muon and muonclip, of the same length.
        seed: of windows and weights.
        device: where to compute.
    """
    from tenfold.papers.kimi_k2 import recipe
    from tenfold.papers.kimi_k2.data import load_text
    from tenfold.papers.kimi_k2.pretraining import measure, pretrain, trainings

    if len(adamw_rates) != len(muon_rates):
        raise UserError(f"adamw_rates has {len(adamw_rates)} rates, muon_rates {len(muon_rates)}: must be equally many")
    config = getattr(presets, preset)()
    claim_folder(out, Tuning(preset, seed, _without_rates(config)), "tuning.yaml")
    text = load_text(config.data)
    rows = []
    for arm in recipe.ARMS:
        for rate in adamw_rates if arm == "adamw" else muon_rates:
            for training in trainings(config, arm)[:2]:  # dense and experts; the others' rates are part of the question
                cell = Cell(arm=arm, seed=seed, directory=out / f"{arm}-{training.name}-{rate:g}", device=device)
                outcome = pretrain(replace(training, learning_rate=rate), config, text, seed, cell)
                loss = float(measure(outcome.model, text.validation_NT)[0].mean())
                rows.append({"arm": arm, "part": training.name, "learning_rate": rate, "validation_loss": loss})
                print(f"{arm:9} {training.name:8} rate {rate:<8g} validation loss {loss:.4f}", flush=True)
                if cell.is_main:
                    write_atomically(out / "tuning.json", to_json(rows, indent=2) + "\n")


def scaling(flops: tuple[float, ...] = (1e18, 1e19, 1e20, 1e21)) -> None:
    """Print size, tokens, rate and batch that Moonlight's fits advise for a compute budget, and the loss to expect.

    Args:
        flops: floating-point operations of whole trainings.
    """
    from tenfold.papers.kimi_k2.method import ADAMW_FIT, MUON_FIT, compute_optimal

    print(f"{'FLOPs':>8} {'parameters':>11} {'tokens':>9} {'rate':>8} {'batch':>9} {'loss Muon':>10} {'AdamW':>6}")
    for budget in flops:
        advice = compute_optimal(budget)
        days = budget / PETAFLOP_DAY
        print(
            f"{budget:8.1e} {advice.parameters / 1e9:9.3f} B {advice.tokens / 1e9:7.2f} B {advice.learning_rate:8.1e} "
            f"{advice.batch_tokens / 1e6:7.2f} M {MUON_FIT.loss(days):10.3f} {ADAMW_FIT.loss(days):6.3f}"
        )


PETAFLOP_DAY = 1e15 * 86_400


def _without_rates(config: presets.Config) -> presets.Config:
    """The configuration with the rates that are looked for at their defaults."""
    unset = presets.PartConfig()
    dense, experts = (
        replace(part, adamw_rate=unset.adamw_rate, muon_rate=unset.muon_rate, muonclip_rate=unset.muonclip_rate)
        for part in (config.dense, config.experts)
    )
    return replace(config, dense=dense, experts=experts)

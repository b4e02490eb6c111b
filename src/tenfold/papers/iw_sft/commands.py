"""iw-SFT's own verbs: ``train`` a language model on supervised data of one's own, ``tune`` the arms' rates.

Both go on with what is in their ``--out``, which says what it is about and is refused for anything else.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tenfold.core.cell import Cell
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.core.tuning import chosen_arms
from tenfold.papers.iw_sft import config as presets
from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.method import effective_exponent
from tenfold.train.settings import LoraSettings, OptimizerSettings, SFTSettings

if TYPE_CHECKING:
    from datasets import Dataset

WEAK_EXPONENT = 0.05


@dataclass(frozen=True)
class OwnTraining:
    """What the folder of a ``train`` is about."""

    model: str
    """The model that training starts from."""
    data: str
    """The data file."""
    seed: int
    """Seed of the order."""
    iw: IWSFTConfig
    """The weights."""
    settings: SFTSettings
    """The training."""


@dataclass(frozen=True)
class Tuning:
    """What the folder of a ``tune`` is about; rates may be added to it."""

    preset: str
    """The setting that is tuned."""
    seed: int
    """Seed of data, order and weights."""
    config: presets.Config
    """The resolved configuration."""


def train(
    model: str,
    data: Path,
    out: Path,
    weight: Literal["iw", "dft", "rwr", "none"] = "iw",
    log_ratio: Literal["mean", "sum"] = "mean",
    temperature: float = 1.0,
    reference: Literal["initial", "column"] = "initial",
    use_quality: Literal["no", "sample", "weight"] = "no",
    steps: int = 100,
    batch_size: int = 8,
    gradient_accumulation: int = 1,
    learning_rate: float = 1e-5,
    lora_rank: int = 0,
    max_length: int = 1024,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Fine-tune a causal language model on JSON lines of your own with iw-SFT's weights; the same again goes on.

    Args:
        model: a name or folder that from_pretrained loads.
        data: rows with prompt and completion, perhaps quality and ref_log_probs.
        out: a folder for checkpoints and, in ``model``, the trained model.
        weight: iw-SFT, DFT, reward-weighted regression on quality, or plain SFT.
        log_ratio: mean of the completion's log-ratios, or their sum.
        temperature: factor on it; the effective exponent, temperature / tokens for a mean, is printed. rwr: divides.
        reference: the model as it is now, or the column ref_log_probs.
        use_quality: draw rows by the column quality, or multiply their loss by it.
        steps: optimizer steps.
        batch_size: completions of a step.
        gradient_accumulation: pieces of a batch.
        learning_rate: AdamW's; cosine after 5 % warm-up.
        lora_rank: of LoRA adapters on all linear layers; 0 trains all weights.
        max_length: tokens of prompt and completion; longer ones lose their end.
        seed: of the order.
        device: where to compute.
    """
    from tenfold.papers.iw_sft.own_data import read_supervised

    iw = own_weights(weight, log_ratio, temperature, reference, use_quality)
    if steps < 1:
        raise UserError(f"steps = {steps}: allowed: at least 1")
    settings = SFTSettings(
        steps=steps,
        batch_size=batch_size,
        gradient_accumulation=gradient_accumulation,
        max_length=max_length,
        optimizer=OptimizerSettings(learning_rate=learning_rate, schedule="cosine", warmup_fraction=0.05, beta2=0.95),
        lora=LoraSettings(rank=lora_rank, alpha=2.0 * lora_rank) if lora_rank else LoraSettings(),
        log_every=1,
        checkpoint_every=max(1, steps // 4),
    )
    rows = read_supervised(data)
    about = OwnTraining(model, str(data.resolve()), seed, iw, settings)
    _train(about, rows, Cell(arm=weight, seed=seed, directory=out, device=device))


def own_weights(
    weight: Literal["iw", "dft", "rwr", "none"],
    log_ratio: Literal["mean", "sum"],
    temperature: float,
    reference: Literal["initial", "column"],
    use_quality: Literal["no", "sample", "weight"],
) -> IWSFTConfig:
    """The weights that the options of ``train`` mean.

    Raises:
        UserError: an option would have no effect.

    Example:
        >>> own_weights("dft", "mean", 1.0, "initial", "no").normalize
        'none'
    """
    idle = {
        "log-ratio": log_ratio != "mean" and weight != "iw",
        "reference": reference != "initial" and weight != "iw",
        "temperature": temperature != 1.0 and weight in ("dft", "none"),
        "use-quality": use_quality != "no" and weight == "rwr",
    }
    for name in (name for name, is_idle in idle.items() if is_idle):
        raise UserError(f"--{name} has no effect with --weight {weight}; leave it out")
    return IWSFTConfig(
        weight_fn=weight,
        log_ratio=log_ratio,
        temperature=temperature,
        normalize="none" if weight == "dft" else "batch_mean",
        ref=reference,
        quality_column="quality" if use_quality != "no" or weight == "rwr" else None,
        quality="weight" if use_quality == "weight" else "sample",
    )


def _train(about: OwnTraining, rows: "Dataset", cell: Cell) -> None:
    """Refuse what cannot be trained on before the folder is claimed; train, save, and say where."""
    from tenfold.papers.iw_sft.language import drawn_by_quality, weighting_of
    from tenfold.policies import load_policy
    from tenfold.train.sft import sft
    from tenfold.train.trained_model import save_trained

    iw = about.iw
    weighting_of(iw, rows)
    policy = load_policy(about.model)
    claim_folder(cell.directory, about, "training.yaml")
    if iw.weight_fn == "iw":
        tokens = sum(len(policy.encode(text)) + 1 for text in rows["completion"]) / len(rows)
        print(exponent_note(iw, tokens))
    trained = sft(
        policy,
        rows,
        about.settings,
        cell,
        weighting=partial(weighting_of, iw),
        sampling_column="quality" if drawn_by_quality(iw) else None,
    )
    save_trained(trained, cell)


def exponent_note(iw: IWSFTConfig, tokens: float) -> str:
    """The effective exponent in words, with advice where it is close to 0 and the weights close to 1.

    Example:
        >>> print(exponent_note(IWSFTConfig(), 500.0))
        effective exponent on q / reference: 0.002 (completions of 500 tokens on average); weights this close to 1 are
        plain SFT: a temperature of 500 is the theory's exponent 1
    """
    exponent = effective_exponent(iw.log_ratio, iw.temperature, tokens)
    note = f"effective exponent on q / reference: {exponent:.3g} (completions of {tokens:.0f} tokens on average)"
    if exponent >= WEAK_EXPONENT:
        return note
    return f"{note}; weights this close to 1 are\nplain SFT: a temperature of {tokens:.0f} is the theory's exponent 1"


def tune(
    out: Path,
    preset: Literal["smoke", "laptop"] = "laptop",
    rates: tuple[float, ...] = (2.5e-4, 5e-4, 1e-3, 2e-3),
    arms: tuple[str, ...] = (),
    seed: int = 1000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Give every arm's second training the same grid of learning rates, scored on validation episodes.

    The seed is none of those that a run uses, so its data are others too. Run it again to go on, or to add rates.

    Args:
        out: a folder for checkpoints and ``tuning.json``.
        preset: the setting to tune.
        rates: the grid.
        arms: by default all.
        seed: of data, order and weights.
        device: where to compute.
    """
    from tenfold.papers.iw_sft import recipe

    config = getattr(presets, preset)()
    chosen = chosen_arms(arms, recipe.ARMS)
    claim_folder(out, Tuning(preset, seed, replace(config, rates=presets.RatesConfig())), "tuning.yaml")
    rows = []
    cell = Cell(arm="tune", seed=seed, directory=out, device=device)
    for arm, rate, score in recipe.validation_scores(config, chosen, rates, seed, cell):
        rows.append({"arm": arm, "learning_rate": rate, "score": score})
        print(f"{arm:15} rate {rate:<8g} score {score:.3f}", flush=True)
        write_atomically(out / "tuning.json", to_json(rows, indent=2) + "\n")

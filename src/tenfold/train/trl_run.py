"""What supervised and reinforcement training on trl share: one training in one cell, exact to continue.

trl's own loop does the steps. Around it, here: its configuration from our settings alone, log and progress of a cell,
requests to stop, complete checkpoints, and the return of the model as it was but for its weights.

Different from trl: the order of the data is drawn by key before training, so there is no sampler to restore; a
checkpoint becomes one (``step-00000100``) only by a marker that is written last, and trl's own half-written directories
are swept away (trl itself would resume from one without an optimizer file, and say nothing); the window of an average
that is being taken is part of a checkpoint, so that a resumed run logs what an unbroken one does.
"""

import difflib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.files import number, to_json
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.optim import MuonClip
from tenfold.policies import Policy
from tenfold.policies.forward import autocast_of
from tenfold.train import checkpoint
from tenfold.train.distributed import computes_on_cpu, num_launched, require_device
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings
from tenfold.train.sharding import Skeleton, sharding_of

WINDOW = "window.json"
AUTOCAST = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Clocks, counts that start anew in a resumed run, and a fraction that is not that of groups when scaled by the batch.
NOT_LOGGED = ("epoch", "step_time", "num_tokens", "frac_reward_zero_std")
LEFT_BEHIND = ("forward", "_original_forward", "_is_accelerate_prepared")  # on a model, by trl and accelerate
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
# What ``extra`` may change and no setting decides, said by name: a default of trl may be another in its next release.
OPEN = {
    "label_smoothing_factor": 0.0,
    "neftune_noise_alpha": None,
    "lr_scheduler_kwargs": None,
    "router_aux_loss_coef": None,  # that of the model's configuration
}

Evaluate = Callable[[nn.Module, int], Mapping[str, float]]


def shared_arguments(settings: SFTSettings | GRPOSettings, cell: Cell, steps: int, sequences: int) -> dict[str, Any]:
    """Arguments of trl's configuration that both kinds of training set.

    Args:
        settings: whose optimizer, precision and accumulation are used.
        cell: its device, seed and folder.
        steps: optimizer steps.
        sequences: of one step, over all processes and pieces.

    Raises:
        UserError: if the batch cannot be divided, or the device is absent.
    """
    require_device(cell.device)
    on_cpu, seed = computes_on_cpu(cell.device), key_to_seed(cell.seed, "trl") % 2**32
    return {
        "output_dir": str(cell.directory / "checkpoints"),
        "per_device_train_batch_size": _rows_of_a_piece(sequences, settings.gradient_accumulation),
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "max_steps": steps,
        "bf16": settings.mixed_precision == "bf16",
        "fp16": settings.mixed_precision == "fp16",
        "activation_checkpointing": settings.gradient_checkpointing,
        **_optimizer_arguments(settings.optimizer, steps),
        "use_cpu": on_cpu,
        "ddp_backend": "gloo" if on_cpu and num_launched() > 1 else None,
        "dataloader_pin_memory": not on_cpu and torch.accelerator.is_available(),
        "seed": seed,
        "data_seed": seed,
        "shuffle_dataset": False,  # the rows come in the order in which they are to be used
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
        "logging_strategy": "steps",
        "logging_steps": 1,  # the watcher takes the means over ``log_every``
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # the watcher decides
        # Each of these would break an exact continuation, and trl would not say so.
        "save_only_model": False,
        "ignore_data_skip": False,
        "auto_find_batch_size": False,
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _optimizer_arguments(optimizer: OptimizerSettings, steps: int) -> dict[str, Any]:
    fraction = optimizer.warmup_fraction
    return {
        "optim": "adamw_torch_fused",
        "learning_rate": optimizer.learning_rate,
        "lr_scheduler_type": SCHEDULES[optimizer.schedule],
        "warmup_steps": math.ceil(fraction * steps) if fraction else optimizer.warmup_steps,
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.beta1,
        "adam_beta2": optimizer.beta2,
        "adam_epsilon": optimizer.epsilon,
        "max_grad_norm": optimizer.max_grad_norm,
    }


def _rows_of_a_piece(sequences: int, gradient_accumulation: int) -> int:
    pieces = num_launched() * gradient_accumulation
    if sequences % pieces:
        raise UserError(
            f"{sequences} sequences of a step: must be a multiple of {num_launched()} process(es) times "
            f"gradient_accumulation = {gradient_accumulation}"
        )
    return sequences // pieces


def with_extra(
    config_class: Any, ours: Mapping[str, Any], extra: Mapping[str, Any], open_values: Mapping[str, Any] = OPEN
) -> Any:
    """trl's configuration from our arguments and what the user passes on untouched.

    Args:
        config_class: trl's.
        ours: what our settings decide.
        extra: what the user passes on.
        open_values: of fields that no setting decides, where ``extra`` does not name them.

    Raises:
        UserError: if ``extra`` names what one of our settings decides, or what trl does not know; or if trl refuses
            the whole.
    """
    known = [field.name for field in fields(config_class)]
    for name, value in extra.items():
        if name in ours:
            raise UserError(f"extra: {name} = {value!r} is decided by the settings; change it there")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"extra: {name} = {value!r} is no field of {config_class.__name__}{hint}")
    try:
        return config_class(**{**open_values, **ours, **extra})
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"extra = {dict(extra)}: {config_class.__name__} refuses the settings with it ({reason})"
        ) from error


def make_optimizer(model: PreTrainedModel, optimizer: OptimizerSettings, lora: LoraSettings) -> MuonClip | None:
    """The optimizer to hand to trl; ``None`` for AdamW, which it makes itself.

    Raises:
        UserError: for MuonClip with LoRA: its clip scales query and key weights, which adapters freeze.
    """
    if optimizer.name == "adamw":
        return None
    if lora.rank:
        raise UserError(
            f"optimizer.name = muon_clip with lora.rank = {lora.rank}: QK-Clip needs all weights; set lora.rank to 0"
        )
    return MuonClip(
        model,
        lr=optimizer.learning_rate,
        weight_decay=optimizer.weight_decay,
        tau=optimizer.tau,
        muon_options={
            "momentum": optimizer.momentum,
            "betas": (optimizer.beta1, optimizer.beta2),
            "eps": optimizer.epsilon,
        },
    )


def make_lora(lora: LoraSettings, model: Any) -> Any:
    """peft's configuration of the adapters; ``None`` when all weights are trained.

    Args:
        lora: the settings.
        model: that gets the adapters.

    Raises:
        UserError: the model has adapters already, which new ones would put out of action.
    """
    if not lora.rank:
        return None
    if hasattr(model, "peft_config"):
        raise UserError(
            f"lora.rank = {lora.rank}: the model has adapters already; fold them in with policy.merged(), or go on "
            "with them by lora.rank = 0"
        )
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) or "all-linear",
        task_type="CAUSAL_LM",
    )


def draw_rows(num_rows: int, num_draws: int, seed: int, weights: np.ndarray | None = None) -> list[int]:
    """Which row each draw takes: a new permutation for each pass, or, given weights, independent draws.

    Args:
        num_rows: rows of the dataset.
        num_draws: sequences of the whole training.
        seed: of the cell.
        weights: not negative, not all 0; row i is drawn with probability proportional to ``weights[i]``.

    Example:
        >>> sorted(draw_rows(3, 6, seed=0))
        [0, 0, 1, 1, 2, 2]
    """
    if weights is not None:
        shares = np.asarray(weights, dtype=np.float64)
        return numpy_generator(seed, "rows").choice(num_rows, num_draws, p=shares / shares.sum()).tolist()
    passes = range(math.ceil(num_draws / num_rows))
    return [int(row) for i in passes for row in numpy_generator(seed, "rows", i).permutation(num_rows)][:num_draws]


def bare(model: Any) -> Any:
    """The transformers model within adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def weights_alone_change(model: PreTrainedModel) -> Iterator[None]:
    """Leave the model as it was but for its weights, in evaluation mode.

    trl replaces the model's forward by one that is bound to it: a copy of the model would go on calling the original's.
    accelerate marks it as prepared, and would not give it the precision of a second training.
    """
    before = {
        part: {name: vars(part)[name] for name in LEFT_BEHIND if name in vars(part)} for part in (model, bare(model))
    }
    try:
        yield
    finally:
        for part, attributes in before.items():
            for name in LEFT_BEHIND:
                vars(part).pop(name, None)
            vars(part).update(attributes)
        model.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars beside the run's display, and no warnings that only trl could heed."""
    had_bars = not are_progress_bars_disabled(), is_progress_bar_enabled()
    disable_progress_bars()
    disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # trl 1.16 itself still uses the names that transformers has given up.
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
            # peft looks for the vocabulary of a base that may rest on adapters itself.
            warnings.filterwarnings("ignore", "Could not find a config file", UserWarning)
            yield
    finally:
        if had_bars[0]:
            enable_progress_bars()
        if had_bars[1]:
            enable_progress_bar()


def load_by_model_names(model: nn.Module, folder: Path) -> bool:
    """Load the weights of a checkpoint whose names are not the model's; nothing is done where they are.

    transformers saves some models (vision-language ones, mixtures of experts) under the names and in the form of the
    hub, and its Trainer reads a checkpoint by the names of the model: it would go on from others, with a warning.

    Args:
        model: of transformers, without adapters, not sharded.
        folder: of the checkpoint.

    Returns:
        Whether it was done.
    """
    file = folder / SAFE_WEIGHTS_NAME
    if not isinstance(model, PreTrainedModel) or not file.is_file():
        return False
    own = model.state_dict()
    with safe_open(file, framework="pt") as saved:
        if set(saved.keys()) <= set(own):
            return False
    loaded = type(model).from_pretrained(folder, dtype=model.dtype, attn_implementation="eager")
    model.load_state_dict(loaded.state_dict())
    return True


class Watcher(TrainerCallback):
    """Connects trl's loop with a cell: log, progress, evaluation, requests to stop, complete checkpoints.

    Args:
        cell: of the training.
        settings: whose intervals are used.
        steps: optimizer steps in all.
        sequences: of one step, for the rate that is shown.
        cycle: steps from one round of generation to the next; checkpoints fall only there.
        evaluate: ``(model, step) -> metrics``; the first one is shown in the progress display.
    """

    def __init__(
        self,
        cell: Cell,
        settings: SFTSettings | GRPOSettings,
        steps: int,
        sequences: int,
        cycle: int = 1,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.cell, self.settings, self.steps, self.sequences = cell, settings, steps, sequences
        self.cycle, self.evaluate = cycle, evaluate
        self.autocast = AUTOCAST[settings.mixed_precision]
        self.folder = cell.directory / "checkpoints"
        self.trainer: Trainer | None = None
        self.skeleton: Skeleton | None = None  # of a model that is sharded in training
        self.window: list[dict[str, float]] = []
        self.headline: dict[str, float] = {}
        self.saved: Path | None = None
        self.started, self.first = time.perf_counter(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what was logged beyond the checkpoint."""
        self.cell.rewind(state.global_step)
        self.started, self.first = time.perf_counter(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate, and ask for a checkpoint, when due; stop when asked to."""
        step, last = state.global_step, state.global_step == self.steps
        if self.evaluate is not None and (last or _due(step, self.settings.evaluate_every)):
            self._evaluate(step)
        stop = self._any_process(self.cell.stop_requested()) and step % self.cycle == 0
        control.should_save = last or stop or _due(step, self.settings.checkpoint_every)
        control.should_training_stop = control.should_training_stop or stop

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Take a step's metrics into the window; log the window's means when due."""
        logs: Mapping[str, float | None] = given["logs"]
        state.log_history.clear()  # the cell's log is the log, and trl would write its own into every checkpoint
        if "loss" not in logs:
            return  # trl's summary at the end
        names = {name: name if "/" in name else f"train/{name}" for name in logs if name not in NOT_LOGGED}
        self.window.append({names[name]: number(logs[name]) for name in names})
        step = state.global_step
        if step == self.steps or _due(step, self.settings.log_every):
            means, self.window = _means(self.window), []
            self.cell.log(step, means | self._meters())
        rate = (step - self.first) * self.sequences / (time.perf_counter() - self.started)
        self.cell.progress(
            step, self.steps, {"train/loss": number(logs["loss"])} | self.headline, (rate, "sequences/s")
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make a complete checkpoint of what trl has written."""
        assert self.trainer is not None
        written = self.folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if self.cell.is_main:
            (written / WINDOW).write_text(to_json(self.window))
        keep = self.settings.keep_checkpoints
        self.saved = checkpoint.seal(self.trainer.accelerator, written, self.folder, state.global_step, keep)

    def train(self, trainer: Trainer) -> None:
        """Train from the newest complete checkpoint, or from the start, to the last step.

        Raises:
            UserError: if the checkpoint fits another number of processes.
            Interrupted: after a checkpoint, when the cell was asked to stop.
        """
        self.trainer = trainer
        assert trainer.model is not None
        self.skeleton = Skeleton(trainer.model, without=LEFT_BEHIND) if sharding_of(trainer.accelerator) else None
        trainer.remove_callback(PrinterCallback)
        newest = checkpoint.newest_whole(self.folder)
        self._sweep()
        try:
            if newest is None:
                trainer.train()
            else:
                self._resume(newest)
        finally:
            if (muon_clip := self._muon_clip()) is not None:
                muon_clip.qk_clip.detach()
        if self.saved is not None and checkpoint.step_of(self.saved) < self.steps:
            raise Interrupted(checkpoint.step_of(self.saved), self.saved)

    def trained(self, policy: Policy) -> Policy:
        """The policy with the model that was trained, in evaluation mode; asked in the precision that it learned in.

        Args:
            policy: whose model was given to the trainer.
        """
        return replace(policy, model=self.whole_model().eval(), autocast=self.autocast)

    def whole_model(self) -> Any:
        """The trained model; where it is sharded a copy that is not, which all processes must ask for."""
        assert self.trainer is not None
        trained = self.trainer.accelerator.unwrap_model(self.trainer.model)
        return trained if self.skeleton is None else self.skeleton.filled_from(trained)

    def _resume(self, newest: Path) -> None:
        assert self.trainer is not None
        checkpoint.require_same_processes(self.trainer.accelerator, newest)
        rows = json.loads((newest / WINDOW).read_text())
        self.window = [{name: number(value) for name, value in row.items()} for row in rows]
        if checkpoint.step_of(newest) < self.steps:
            self.trainer.train(resume_from_checkpoint=str(newest))
        else:
            self.trainer._load_from_checkpoint(str(newest))
            self.cell.rewind(self.steps)

    def _sweep(self) -> None:
        """Remove what trl left half-written."""
        assert self.trainer is not None
        if self.cell.is_main:
            for path in self.folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
                shutil.rmtree(path)
        self.trainer.accelerator.wait_for_everyone()

    def _evaluate(self, step: int) -> None:
        assert self.evaluate is not None and self.trainer is not None
        trained: nn.Module = self.trainer.accelerator.unwrap_model(self.trainer.model)
        model = self.whole_model().eval()
        with autocast_of(self.autocast, self.trainer.accelerator.device):
            metrics = self.evaluate(model, step)
        trained.train()
        self.cell.log(step, metrics)
        self.headline = dict(list(metrics.items())[:1])

    def _meters(self) -> dict[str, float]:
        """What the optimizer measured at the last step."""
        muon_clip = self._muon_clip()
        return {} if muon_clip is None else dict(muon_clip.metrics)

    def _muon_clip(self) -> MuonClip | None:
        """The optimizer, out of accelerate's wrapper, if it is one."""
        wrapped: Any = self.trainer.optimizer if self.trainer is not None else None
        optimizer = getattr(wrapped, "optimizer", wrapped)
        return optimizer if isinstance(optimizer, MuonClip) else None

    def _any_process(self, flag: bool) -> bool:
        assert self.trainer is not None
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return flag
        return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)).item())


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over the window's steps, leaving out those that are not numbers."""
    means = {}
    for name in dict.fromkeys(name for entry in window for name in entry):
        values = [entry[name] for entry in window if not math.isnan(entry.get(name, math.nan))]
        means[name] = math.fsum(values) / len(values) if values else math.nan
    return means

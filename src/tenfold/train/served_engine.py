"""A served engine in GRPO: weights pushed before a round of generation, and what sampling elsewhere costs in accuracy.

trl's trainer has a place for an engine of its own (``vllm_generation``) and, where that is set, corrects its loss by
the ratio of trained to sampled probabilities and logs their differences. :class:`ServedEngine` takes that place: trl
calls :meth:`~ServedEngine.sync_weights`, and rollouts come from :class:`~tenfold.policies.ServedPolicy`.

    ratio  = exp(log p of the trainer - log p of the server), at most ``importance_cap``       (token by token)
    loss   = ratio * loss of the token

Different from trl's servers: the server is a plain vLLM, weights come by a folder, and a round is refused where the
server's version is not the trainer's, or the log-probabilities differ by more than rounding explains.
"""

from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.policies import Policy, ServedPolicy, ServerError, served_policy
from tenfold.train.settings import EngineSettings
from tenfold.train.weight_sync import FolderSync, adapter_weights, merged_weights

DIFFERENCE = "sampling/sampling_logp_difference/mean"


class ServedEngine:
    """Servers that sample for a trainer; made before it, and attached by it.

    Args:
        sync: pushes the weights to the servers.
        push_every: rounds of generation from one push to the next.
        adapters: push adapters alone; else all weights.
        importance_cap: of the weights in the loss; 0 for no such weights.
        largest_difference: mean absolute difference of log-probabilities that is accepted.
    """

    def __init__(
        self,
        sync: FolderSync,
        *,
        push_every: int = 1,
        adapters: bool = False,
        importance_cap: float = 2.0,
        largest_difference: float = 0.2,
    ) -> None:
        self.sync, self.push_every, self.adapters = sync, push_every, adapters
        self.importance_cap, self.largest_difference = importance_cap, largest_difference
        self._trainer: Any = None
        self._rounds = 0  # since the trainer began

    @property
    def policy(self) -> ServedPolicy:
        """Who speaks in rollouts."""
        return self.sync.policy

    def attach(self, trainer: Any) -> None:
        """Take the place of trl's engine in a trainer."""
        self._trainer = trainer
        trainer.use_vllm, trainer.vllm_generation = True, self
        trainer._last_loaded_step = -1
        trainer.vllm_importance_sampling_correction = True
        trainer.vllm_importance_sampling_mode = "token_truncate"
        # Without a cap every weight is 1; trl then still computes the differences.
        trainer.vllm_importance_sampling_clip_max = self.importance_cap or 1.0
        trainer.vllm_importance_sampling_clip_min = None if self.importance_cap else 1.0

    def sync_weights(self) -> None:
        """Push when it is time, and make sure that the servers hold what was pushed; all processes call this.

        Raises:
            ServerError: on all processes, if a server is not there, refuses, or holds something else.
        """
        if self._rounds % self.push_every == 0:
            self._version = self._trainer.state.global_step
            self._on_main(self._write)
            self._on_main(self._activate)
        else:
            self._on_main(lambda: self.sync.require(self._version))
        self._rounds += 1

    def require_alike(self, metrics: dict[str, list[float]]) -> None:
        """Refuse a round whose tokens were sampled by another policy.

        Raises:
            UserError: the mean difference of log-probabilities exceeds what is accepted.
        """
        difference = metrics[DIFFERENCE][-1]
        if not difference <= self.largest_difference:
            raise UserError(
                f"engine: the servers' log-probabilities differ from the trainer's by {difference:.3g} nats on "
                f"average, more than engine.largest_difference = {self.largest_difference:g}; they sample from other "
                "weights, or round more coarsely"
            )

    def _write(self) -> None:
        """All processes give their part of the weights; the main one writes."""
        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        weights = adapter_weights(model) if self.adapters else merged_weights(model)
        if not self._trainer.accelerator.is_main_process:
            for _ in weights:
                pass
        elif self.adapters:
            self.sync.write_adapter(weights, model.peft_config["default"], self._version)
        else:
            self.sync.write(weights, self._version)

    def _activate(self) -> None:
        if not self._trainer.accelerator.is_main_process:
            return
        if self.adapters:
            self.sync.activate_adapter(self._version)
        else:
            self.sync.activate(self._version)

    def _on_main(self, action: Any) -> None:
        """Do something that only the main process can fail at, and tell the others."""
        told: list[Any] = [None]
        try:
            action()
        except (ServerError, OSError) as error:
            told = [str(error)]
        told += [self.policy.version, self.policy.model]
        broadcast_object_list(told)
        failure, self.policy.version, self.policy.model = told
        if failure is not None:
            raise ServerError(failure)


def served_engine(settings: EngineSettings, policy: Policy, cell: Cell, *, has_adapters: bool) -> ServedEngine | None:
    """The engine that the settings describe; ``None`` for sampling in process.

    Args:
        settings: of the training.
        policy: that is trained; its tokenizer must be the servers'.
        cell: of the training; its directory has the versions of the weights, unless the settings name another folder.
        has_adapters: whether LoRA adapters are trained.

    Raises:
        ServerError: a server is not there, or serves something else.
    """
    if settings.name == "in_process":
        return None
    served = served_policy(
        settings.urls, policy.tokenizer, settings.model, end_ids=policy.end_ids, seconds=settings.seconds
    )
    folder = Path(settings.folder) if settings.folder else cell.directory / "weights"
    return ServedEngine(
        FolderSync(served, folder),
        push_every=settings.push_every,
        adapters=has_adapters and settings.adapters == "alone",
        importance_cap=settings.importance_cap,
        largest_difference=settings.largest_difference,
    )

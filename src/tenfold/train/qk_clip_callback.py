"""QK-Clip's values in the logs of transformers' Trainer and of trl's trainers."""

from typing import Any

from transformers import Trainer, TrainerCallback

from tenfold.core.errors import UserError
from tenfold.optim import MuonClip, QKClip


class QKClipCallback(TrainerCallback):
    """Adds what QK-Clip measured and did at the last step to each training log: ``qk_clip/max_logit`` and the others.

    As one of a trainer's ``callbacks`` it reaches its history and what it prints. Trackers (wandb, tensorboard, …) are
    told before the callbacks of a user; ``QKClipCallback().put_first(trainer)`` reaches them too.

    Args:
        clip: whose values; by default that of the trainer's optimizer, which is then a ``MuonClip``.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM, TrainerControl, TrainerState, TrainingArguments
        >>> config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        ...                      num_attention_heads=4)
        >>> clip = QKClip(LlamaForCausalLM(config))
        >>> logs, state = {"loss": 3.5}, TrainerState(log_history=[{"loss": 3.5, "step": 1}])
        >>> metrics = clip.step()
        >>> QKClipCallback(clip).on_log(TrainingArguments("out"), state, TrainerControl(), logs=logs)
        >>> logs["qk_clip/heads_clipped"], state.log_history[-1]["qk_clip/heads_clipped"]
        (0.0, 0.0)
    """

    def __init__(self, clip: QKClip | None = None) -> None:
        self.clip = clip

    def put_first(self, trainer: Trainer) -> "QKClipCallback":
        """Make this the callback that a trainer calls first, so that its trackers see the values; returns itself."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Add the values to a training log, before and after it is handed on.

        Raises:
            UserError: if no clip was given and the trainer's optimizer has none.
        """
        logs = given["logs"]
        if "loss" not in logs:
            return  # an evaluation, or the summary at the end
        values = self._clip_of(given.get("optimizer")).metrics
        logs.update(values)
        if state.log_history:  # the trainer has put a copy of the log there by now
            state.log_history[-1].update(values)

    def _clip_of(self, optimizer: Any) -> QKClip:
        if self.clip is not None:
            return self.clip
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        if not isinstance(inner, MuonClip):
            raise UserError(
                f"clip = None with a {type(inner).__name__}: it has no QK-Clip; give the one that is attached to it, "
                "QKClipCallback(clip)"
            )
        return inner.qk_clip

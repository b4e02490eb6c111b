"""MuonClip (Kimi K2, algorithm 1) as one optimizer: Muon for matrices, AdamW for the rest, QK-Clip after each step.

    optimizer = MuonClip(model, lr=2e-4, tau=100.0)
    Trainer(model, …, optimizers=(optimizer, None))       # or trl's SFTTrainer, or a loop of one's own

It regulates the largest attention logits to about τ, see :mod:`tenfold.optim.qk_clip`.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn

from tenfold.core.errors import UserError
from tenfold.optim.muon import Muon
from tenfold.optim.muon_groups import Rules, muon_param_groups
from tenfold.optim.qk_clip import QKClip


class MuonClip(Muon):
    """Muon with QK-Clip on a transformers model.

    Args:
        model: a transformers model (not its parameters) without wrappers, after sharding if there is any.
        lr: learning rate of all parameters.
        weight_decay: decoupled, of all parameters.
        tau: threshold on the largest attention logit of each head.
        exclude: patterns of names of matrices for AdamW, see :func:`muon_param_groups`.
        rules: what else is decided by name, see :func:`muon_param_groups`.
        block_specs: see :func:`muon_param_groups`.
        per_head: see :func:`muon_param_groups`.
        clip_options: further settings of :class:`QKClip`, such as ``{"mode": "bound", "margin": 0.7}``.
        muon_options: further settings of :class:`Muon`, such as ``{"momentum": 0.9}``.

    Raises:
        UserError: if a setting is out of range, or the model has attention that cannot be clipped.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        ...                      num_attention_heads=4, num_key_value_heads=2)
        >>> model = LlamaForCausalLM(config)
        >>> optimizer = MuonClip(model, lr=0.01, tau=100.0)
        >>> tokens = torch.arange(16)[None]
        >>> model(input_ids=tokens, labels=tokens).loss.backward()
        >>> optimizer.step()
        >>> optimizer.metrics["qk_clip/heads_clipped"]
        0.0
    """

    def __init__(
        self,
        model: Any,
        lr: float = 2e-4,
        weight_decay: float = 0.1,
        tau: float = 100.0,
        *,
        exclude: Iterable[str] = (),
        rules: Rules | None = None,
        block_specs: str = "auto",
        per_head: bool = False,
        clip_options: dict[str, Any] | None = None,
        muon_options: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UserError(
                f"model = {type(model).__name__}: MuonClip takes the model itself, MuonClip(model, lr=…), for it "
                "measures and scales its attention; Muon takes parameters"
            )
        groups = muon_param_groups(
            model, lr, weight_decay, exclude=exclude, rules=rules, block_specs=block_specs, per_head=per_head
        )
        super().__init__(groups, lr, weight_decay, **(muon_options or {}))
        self.qk_clip = QKClip(model, tau=tau, **(clip_options or {})).attach(self)

    @property
    def metrics(self) -> dict[str, float]:
        """What QK-Clip measured and did at the last measured step."""
        return self.qk_clip.metrics

    def __getstate__(self) -> dict[str, Any]:
        raise UserError("a MuonClip cannot be copied: build one on the copied model and load this one's state_dict()")

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, with the clip's settings, counters and history under ``qk_clip``."""
        return {**super().state_dict(), "qk_clip": self.qk_clip.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any], momentum_convention: str = "sum") -> None:
        """Restore what :meth:`state_dict` gave; the state of a :class:`Muon` leaves the clip as it is."""
        super().load_state_dict(state_dict, momentum_convention)
        if "qk_clip" in state_dict:
            self.qk_clip.load_state_dict(state_dict["qk_clip"])

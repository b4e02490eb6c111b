"""A numerical proof that each layout of a model is right: every logit of head h is multiplied by exactly γ_h.

Each attention module is copied in float32 and run twice on the input that it gets in a pass of the whole model, before
and after random factors were applied to the copy. The model itself is left as it is.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.optim.observed_attention import attention_modules, observe, release, require_measurable
from tenfold.optim.qk_layouts import GQA_MODES, head_factors, layout_of, scale_heads


def verify_layouts(
    model: Any,
    inputs: Mapping[str, Any] | None = None,
    *,
    alpha: float = 0.5,
    gqa: str = "compensated",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> dict[str, float]:
    """Prove for each attention module that clipping scales its heads' logits exactly, and its values not at all.

    Args:
        model: a transformers model on one device, not sharded.
        inputs: keyword arguments of its forward pass; random tokens by default.
        alpha: as of :class:`tenfold.optim.QKClip`.
        gqa: as of :class:`tenfold.optim.QKClip`.
        tolerance: largest error of a logit, relative to the largest logit of its head.
        seed: of tokens and factors.

    Returns:
        The error of each attention module, by name.

    Raises:
        UserError: naming the module whose layout is unknown or wrong.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        ...                      num_attention_heads=4, num_key_value_heads=2)
        >>> errors = verify_layouts(LlamaForCausalLM(config))
        >>> max(errors.values()) < 1e-5
        True
    """
    generator = torch.Generator().manual_seed(seed)
    if inputs is None:
        vocabulary = model.config.get_text_config().vocab_size
        tokens = torch.randint(vocabulary, (2, 12), generator=generator)
        inputs = {"input_ids": tokens.to(model.device), "use_cache": False}
    modules = attention_modules(model)
    for name, module in modules.items():
        layout_of(module)
        require_measurable(name, module)
    calls = _calls(model, inputs)
    errors = {}
    for name, module in modules.items():
        twin = copy.deepcopy(module).float().eval()
        errors[name] = _error(twin, *calls[name], generator, alpha, gqa)
    for name, error in errors.items():
        if not error <= tolerance:
            raise UserError(
                f"{name} ({type(modules[name]).__name__}): its layout is wrong, logits are off by "
                f"{error:.1e} of the largest"
            )
    return errors


@torch.no_grad()
def _calls(model: Any, inputs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The arguments of each attention module in one pass in evaluation mode, in float32."""
    calls: dict[str, tuple[Any, Any]] = {}

    def keep(name: str) -> Any:
        return lambda module, args, options: calls.__setitem__(name, (_float(args), _float(options)))

    modules = attention_modules(model)
    handles = [module.register_forward_pre_hook(keep(name), with_kwargs=True) for name, module in modules.items()]
    was_training = model.training
    try:
        model.eval()(**inputs)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    if missing := modules.keys() - calls.keys():
        raise UserError(f"{min(missing)} took no part in the pass; give inputs that reach it")
    return calls


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _float(entry) for name, entry in value.items()}
    return tuple(_float(entry) for entry in value) if isinstance(value, tuple) else value


@torch.no_grad()
def _error(twin: nn.Module, args: Any, options: Any, generator: torch.Generator, alpha: float, gqa: str) -> float:
    """Largest deviation of a logit from γ_h times what it was, relative to the head's largest; infinity for values."""
    assert gqa in GQA_MODES
    layout = layout_of(twin)
    wanted = torch.rand(layout.heads, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    wanted[::3] = 1.0  # some heads stay, beside others that share their key
    if layout.one_factor:
        wanted.clamp_(max=0.9)
    factors = head_factors(wanted, layout, alpha, gqa)
    before, values_before = _logits(twin, args, options)
    scale_heads(layout, factors, lambda parameter: None)
    after, values_after = _logits(twin, args, options)
    if not torch.equal(values_before, values_after):
        return float("inf")
    expected = before * factors.logits.to(before)[:, None, None]
    largest = expected.abs().amax(dim=(0, 2, 3), keepdim=True).clamp(min=1e-12)
    return ((after - expected).abs() / largest).max().item()


def _logits(module: nn.Module, args: Any, options: Any) -> tuple[Tensor, Tensor]:
    """All logits ``[B, H, T, S]`` of a module, and its values."""
    seen: list[tuple[Tensor, Tensor]] = []

    def observer(_: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, __: bool) -> None:
        keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        seen.append((scaling * (query @ keys.mT), value))

    observe(module, observer)
    module(*args, **options)
    release(module, observer)
    return seen[0]

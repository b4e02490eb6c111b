"""Attention of transformers models that tells an observer its queries and keys before it computes.

A module of transformers looks up its attention under the name that its configuration gives, at each call. An observed
module gets a view of its configuration that names the observing attention instead, which then calls the one that the
configuration names. The configuration itself, which other modules, copies of the model and other models may share,
stays as it is: so does everything that reads it, and ``set_attn_implementation`` works at any time.
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError

BASES = ("sdpa", "eager", "flex_attention")
PREFIX = "qk_clip_"

# Called with (module, query, key, value, attention mask, scaling, causal) before the attention of an observed module.
Observer = Callable[[nn.Module, Tensor, Tensor, Tensor, Any, float, bool], None]
_OBSERVERS: WeakKeyDictionary[nn.Module, Observer] = WeakKeyDictionary()


def attention_modules(model: Any) -> dict[str, Any]:
    """The modules of a transformers model that call attention through the library's interface, by name.

    Raises:
        UserError: if the model is none of transformers' or has no such module.
    """
    if not hasattr(model, "set_attn_implementation"):
        raise UserError(
            f"model = {type(model).__name__}: QK-Clip needs the transformers model itself, without wrappers"
        )
    found = {name: module for name, module in model.named_modules() if _calls_interface(module)}
    if not found:
        raise UserError(f"model = {type(model).__name__}: no attention module of it calls transformers' interface")
    return found


def require_measurable(name: str, module: Any) -> None:
    """Refuse attention whose logits are not those of the queries and keys that an observer is shown.

    Raises:
        UserError: if it is none of ``sdpa``, ``eager`` and ``flex_attention``, naming the module.
    """
    base = _configuration(module)._attn_implementation
    if base not in BASES:
        raise UserError(f"attn_implementation = {base!r} in {name}: QK-Clip measures one of {', '.join(BASES)}")
    if getattr(module.config, "reorder_and_upcast_attn", False) and base == "eager":
        raise UserError(f"reorder_and_upcast_attn = True in {name}: not measured with eager attention; use sdpa")


def observe(module: Any, observer: Observer) -> None:
    """Call ``observer`` before each attention of the module, in place of the one that was called so far, if any."""
    from transformers import AttentionInterface

    for base in BASES:
        AttentionInterface.register(PREFIX + base, _observed(base))
    module.config = _View(_configuration(module))
    _OBSERVERS[module] = observer


def is_observed(module: Any, observer: Observer) -> bool:
    """Whether ``observer`` is the one that is called before each attention of the module."""
    return isinstance(module.config, _View) and _OBSERVERS.get(module) is observer


def release(module: Any, observer: Observer) -> None:
    """Give the module its configuration back, unless it has another observer by now."""
    if is_observed(module, observer):
        del _OBSERVERS[module]
        module.config = _configuration(module)


class _View:
    """A configuration that names the observing attention; all else is read from the configuration, and written to it.

    A copy of the view, as in a copy of the model, is a copy of the configuration: nobody observes it.
    """

    def __init__(self, config: Any) -> None:
        object.__setattr__(self, "_config", config)

    @property
    def _attn_implementation(self) -> str:
        base: str = self._config._attn_implementation
        return PREFIX + base if base in BASES else base

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._config, name, value)

    def __reduce__(self) -> Any:
        return _itself, (self._config,)


def _itself(config: Any) -> Any:
    return config


def _configuration(module: Any) -> Any:
    """What the module was built with, observed or not."""
    return module.config._config if isinstance(module.config, _View) else module.config


@cache  # one function for each, or compiled models would see it change
def _observed(base: str) -> Callable[..., Any]:
    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, *rest: Any, **options: Any
    ) -> Any:
        scaling, causal = options.get("scaling"), options.get("is_causal")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        causal = base == "sdpa" and bool(getattr(module, "is_causal", True) if causal is None else causal)
        _notify(module, query, key, value, attention_mask, scaling, causal)
        return _original(module, base)(module, query, key, value, attention_mask, *rest, **options)

    return attention


@torch.compiler.disable  # breaks the graph, so that compiled models are measured as others are
def _notify(module: nn.Module, *call: Any) -> None:
    observer = _OBSERVERS.get(module)
    if observer is not None:
        observer(module, *call)


def _original(module: nn.Module, base: str) -> Callable[..., Any]:
    """The model's own function for an implementation; eager attention is a function of the model's file."""
    source = _source(module)
    return source.ALL_ATTENTION_FUNCTIONS.get_interface(base, getattr(source, "eager_attention_forward", None))


def _source(module: nn.Module) -> Any:
    """The file of the module's class, found through classes that a wrapper derived from it."""
    files = (sys.modules[kind.__module__] for kind in type(module).__mro__)
    return next(file for file in files if hasattr(file, "ALL_ATTENTION_FUNCTIONS"))


def _calls_interface(module: nn.Module) -> bool:
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    return code is not None and "ALL_ATTENTION_FUNCTIONS" in code.co_names

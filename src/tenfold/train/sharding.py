"""Models that are sharded over processes while they are trained, and whole again for those who ask them.

accelerate shards (FSDP2, DeepSpeed ZeRO-3, from its own configuration). Two things are left to do here: to prepare a
reference model as trl does, and to give evaluation and callers a model that is not sharded. That copy is whole on every
process, so a model must fit on one device without gradients and moments.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from trl.models import prepare_deepspeed, prepare_fsdp

from tenfold.core.errors import UserError
from tenfold.train.weight_sync import CHECKPOINTED, whole


def sharding_of(accelerator: Any) -> str:
    """How parameters are divided among processes, in a word; empty where each process holds all of them.

    Raises:
        UserError: for FSDP1, whose flat parameters no push and no optimizer of ours can read.
    """
    if (plugin := getattr(accelerator.state, "fsdp_plugin", None)) is not None and accelerator.num_processes > 1:
        if plugin.fsdp_version == 1:
            raise UserError("fsdp_version = 1: flattens parameters; allowed: 2")
        return "FSDP2"
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    return "DeepSpeed ZeRO-3" if plugin is not None and plugin.zero_stage == 3 else ""


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters lie on several processes.

    Example:
        >>> is_sharded(nn.Linear(2, 2))
        False
    """
    return any(isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters())


def prepared_reference(model: Any, accelerator: Any) -> Any:
    """A model that is only asked, divided among processes as the trained one is."""
    if accelerator.state.distributed_type == "FSDP":
        return prepare_fsdp(model, accelerator)
    if accelerator.state.distributed_type == "DEEPSPEED":
        return prepare_deepspeed(model, accelerator)
    return accelerator.prepare_model(model, evaluation_mode=True)


class Skeleton:
    """A model without its numbers, taken before it is sharded, from which whole copies are made.

    Args:
        model: any; nothing of it is kept but its structure and buffers.
        without: attributes of modules that a copy must not have, such as a method that is bound to the original.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> bool((Skeleton(model).filled_from(model).weight == model.weight).all())
        True
    """

    def __init__(self, model: nn.Module, without: tuple[str, ...] = ()) -> None:
        empty = {
            id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
            for parameter in model.parameters()
        }
        self._model: nn.Module = copy.deepcopy(model, empty)
        for module in self._model.modules():
            for name in without:
                vars(module).pop(name, None)

    def filled_from(self, model: nn.Module) -> nn.Module:
        """A whole copy with the weights of ``model``; all processes must call this where it is sharded."""
        values = {
            name.replace(CHECKPOINTED, ""): whole(tensor) for name, tensor in model.state_dict(keep_vars=True).items()
        }
        filled = {
            id(parameter): nn.Parameter(values[name].clone(), parameter.requires_grad)
            for name, parameter in self._model.named_parameters()
        }
        return copy.deepcopy(self._model, filled)

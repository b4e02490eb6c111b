"""What Muon refuses: settings out of range, parameters without matrices, the state of another optimizer."""

from typing import Any

import torch
from torch import Tensor

from tenfold.core.errors import UserError
from tenfold.optim.matrix_blocks import BlockSpec, matrix_views
from tenfold.optim.shards import require_whole

NS_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
RMS_MODES = ("match_adamw", "update_norm", "spectral", "none")
STATE = {"muon": ("momentum_buffer",), "adamw": ("step", "exp_avg", "exp_avg_sq")}  # of a parameter, by algorithm
ALGORITHMS = tuple(STATE)
METHODS = ("newton_schulz", "svd")


def check_group(group: dict[str, Any]) -> None:
    """Refuse settings out of range and parameters without matrices.

    Raises:
        UserError: naming the setting, or the shape of the parameter.
    """
    _check_numbers(group)
    choices = {"rms_mode": RMS_MODES, "algorithm": ALGORITHMS, "ns_dtype": ("auto", *NS_DTYPES), "method": METHODS}
    for name, allowed in choices.items():
        if group[name] not in allowed:
            raise UserError(f"{name} = {group[name]!r}: must be one of {', '.join(allowed)}")
    for p in group["params"]:
        require_whole(p)
    if group["algorithm"] == "muon":
        for p in group["params"]:
            if p.numel() == 0:
                raise UserError(f"a parameter of shape {tuple(p.shape)} has no entries: leave it out")
            if p.is_complex():
                raise UserError(f"a complex parameter of shape {tuple(p.shape)}: Muon needs real ones")
            # A tensor without memory is cut for trial: this raises where the shape has no such matrices.
            matrix_views(torch.empty(p.shape, device="meta"), BlockSpec(*group["blocks"]))


def _check_numbers(group: dict[str, Any]) -> None:
    for name in ("lr", "weight_decay", "momentum", "eps", "rms_target"):
        if not float(group[name]) >= 0:
            raise UserError(f"{name} = {group[name]}: must not be negative")
    if not group["momentum"] < 1:
        raise UserError(f"momentum = {group['momentum']}: must be below 1")
    for beta in group["betas"]:
        if not 0 <= beta < 1:
            raise UserError(f"betas = {group['betas']}: each must lie in [0, 1)")
    if group.get("maximize"):
        raise UserError("maximize = True: not supported; negate the loss instead")
    if group["ns_steps"] < 1:
        raise UserError(f"ns_steps = {group['ns_steps']}: must be at least 1")
    if not group["coefficients"] or set(map(len, group["coefficients"])) != {3}:
        raise UserError(f"coefficients = {group['coefficients']}: must be triples (a, b, c), at least one")


def require_dense(p: Tensor) -> None:
    """Refuse a parameter with a sparse gradient.

    Raises:
        UserError: naming its shape.
    """
    if p.grad is not None and p.grad.layout != torch.strided:
        raise UserError(
            f"a sparse gradient of shape {tuple(p.grad.shape)}: Muon needs dense ones; make the embedding with "
            "sparse=False"
        )


def check_state(groups: list[dict[str, Any]], state_dict: dict[str, Any]) -> None:
    """Refuse a state that belongs to other parameters, or to another algorithm than its group's.

    Args:
        groups: of the optimizer.
        state_dict: what is to be loaded.

    Raises:
        UserError: naming what is there and what is needed.
    """
    saved_groups = state_dict["param_groups"]
    saved, own = ([len(group["params"]) for group in some] for some in (saved_groups, groups))
    if saved != own:
        raise UserError(
            f"the state's groups have {saved} parameters: the optimizer's have {own}; it is of another model"
        )
    for group, saved_group in zip(groups, saved_groups, strict=True):
        algorithm = saved_group.get("algorithm", group["algorithm"])
        for p, number in zip(group["params"], saved_group["params"], strict=True):
            entry = state_dict["state"].get(number, {})
            if entry and not set(STATE[algorithm]) <= entry.keys():
                raise UserError(
                    f"the state of a parameter of shape {tuple(p.shape)} has {', '.join(sorted(entry))}: "
                    f"{algorithm} needs {', '.join(STATE[algorithm])}; it is the state of another optimizer"
                )
            for name in STATE[algorithm]:
                shape = getattr(entry.get(name), "shape", None)
                if shape is not None and name != "step" and shape != p.shape:
                    raise UserError(
                        f"{name} of shape {tuple(shape)} in the state: its parameter has shape {tuple(p.shape)}"
                    )

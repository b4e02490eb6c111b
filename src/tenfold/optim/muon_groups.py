"""Sorts a model's parameters into matrices for Muon and the rest for AdamW ("Muon is Scalable for LLM Training", 2.2).

AdamW takes embeddings, heads (once, where they are tied to embeddings), tables of positions or tokens, depthwise
convolutions, and all that acts entry by entry: biases, gains of norms, scales, decays, whatever axes they have.
Everything else is made of matrices: projections, stacks of experts, routers, and kernels as ``[out, rest]``.
:mod:`tenfold.optim.parameter_roles` tells them apart. Weight decay is for all of them, the gains of norms included,
which the paper found important for stability.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from tenfold.core.errors import UserError
from tenfold.optim.matrix_blocks import BlockSpec
from tenfold.optim.parameter_blocks import parameter_blocks
from tenfold.optim.parameter_roles import holder_of, parameter_roles
from tenfold.optim.shards import require_whole

Rules = Mapping[str, str | BlockSpec]


class Decision(NamedTuple):
    """Where a parameter goes, and why.

    Args:
        name: of the parameter.
        parameter: itself.
        algorithm: ``"muon"`` or ``"adamw"``.
        blocks: how Muon cuts it.
        reason: in a few words.
        doubt: whether its name, shape and code leave doubt.

    Example:
        >>> muon_decisions(nn.Linear(4, 3, bias=False))[0]
        Decision(weight [3, 4] to muon: of a Linear)
    """

    name: str
    parameter: nn.Parameter
    algorithm: str
    blocks: BlockSpec
    reason: str
    doubt: bool

    def __repr__(self) -> str:
        """One line without the numbers of the parameter."""
        shape = list(self.parameter.shape)
        cut = f" as {self.blocks}" if self.blocks != BlockSpec() else ""
        doubt = ", in doubt" if self.doubt else ""
        return f"Decision({self.name} {shape} to {self.algorithm}{cut}: {self.reason}{doubt})"


def muon_param_groups(
    model: nn.Module,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    *,
    exclude: Iterable[str] = (),
    rules: Rules | None = None,
    block_specs: str = "auto",
    per_head: bool = False,
) -> list[dict[str, Any]]:
    """Parameter groups for :class:`tenfold.optim.Muon`.

    A warning lists the parameters whose names, shapes and code leave doubt, with what was decided; ``rules`` for them
    silence it. :func:`muon_decisions` lists all of them.

    Args:
        model: any module, wrapped or not; fused projections are recognised by the names that transformers gives them.
        lr: learning rate of all groups.
        weight_decay: of all groups.
        exclude: patterns (``*`` and ``?``) of names of matrices that AdamW shall take, such as ``"*.gate.weight"``
            for the routers.
        rules: by pattern of names, of which the first that matches counts: ``"adamw"``, ``"muon"``, or the
            :class:`BlockSpec` with which Muon shall cut the parameter.
        block_specs: ``"auto"`` treats each part of a fused projection (gate and up; queries, keys and values) as a
            matrix of its own, where the class of its module is known or is none of transformers'; ``"none"`` takes
            each weight as one matrix.
        per_head: treat each head's rows of ``q_proj``, ``k_proj`` and ``v_proj`` as a matrix of their own.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay``, ``algorithm`` and, for Muon, ``blocks``; each parameter
        that needs a gradient is in exactly one, but for those without entries (no rows, or no columns).

    Raises:
        UserError: for something else than a module, an unknown ``block_specs`` or rule, a pattern that no parameter
            matches, and parameters that FSDP1 flattened or ZeRO-3 emptied.

    Example:
        >>> groups = muon_param_groups(nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 3)))
        >>> [(group["algorithm"], [tuple(p.shape) for p in group["params"]]) for group in groups]
        [('adamw', [(8, 4), (3,)]), ('muon', [(3, 4)])]
    """
    decisions = muon_decisions(model, exclude=exclude, rules=rules, block_specs=block_specs, per_head=per_head)
    _warn_of_doubt(decisions)
    for_adamw: list[nn.Parameter] = []
    for_muon: dict[BlockSpec, list[nn.Parameter]] = defaultdict(list)
    for decision in decisions:
        if decision.algorithm == "adamw":
            for_adamw.append(decision.parameter)
        else:
            # A group has one way of cutting its parameters, so each way makes a group.
            for_muon[decision.blocks].append(decision.parameter)
    shared = {"lr": lr, "weight_decay": weight_decay}
    groups: list[dict[str, Any]] = []
    if for_adamw:
        groups.append({"params": for_adamw, "algorithm": "adamw", **shared})
    for blocks, params in for_muon.items():
        groups.append({"params": params, "algorithm": "muon", "blocks": blocks, **shared})
    return groups


def muon_decisions(
    model: nn.Module,
    *,
    exclude: Iterable[str] = (),
    rules: Rules | None = None,
    block_specs: str = "auto",
    per_head: bool = False,
) -> list[Decision]:
    """What :func:`muon_param_groups` decides for each parameter that needs a gradient; arguments and errors are its.

    Example:
        >>> for decision in muon_decisions(nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 3, bias=False))):
        ...     print(decision.name, decision.algorithm, decision.reason)
        0.weight adamw rows of a table
        1.weight muon of a Linear
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"model = {type(model).__name__}: must be the module itself, not its parameters")
    if block_specs not in ("auto", "none"):
        raise UserError(f'block_specs = {block_specs!r}: must be "auto" or "none"')
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    excluded = _matches("exclude", dict.fromkeys(exclude, "adamw"), names)
    ruled = _matches("rules", dict(rules or {}), names)
    roles = parameter_roles(model)
    decisions = []
    for name in names:
        parameter = model.get_parameter(name)
        if parameter.numel() == 0 and (parameter.ndim > 1 or name.endswith("bias")):
            continue  # a layer without rows: nothing of it can move
        require_whole(parameter, name)
        if name in excluded:
            decisions.append(Decision(name, parameter, "adamw", BlockSpec(), "excluded", doubt=False))
            continue
        rule = ruled.get(name)
        if isinstance(rule, BlockSpec):
            decisions.append(Decision(name, parameter, "muon", rule, "by a rule", doubt=False))
            continue
        role = roles[name]
        blocks, unknown = parameter_blocks(model, holder_of(model, name), parameter, block_specs, per_head)
        if rule is not None:
            decisions.append(Decision(name, parameter, rule, blocks, "by a rule", doubt=False))
        elif role.is_matrix:
            doubt = role.doubt or bool(unknown)
            decisions.append(Decision(name, parameter, "muon", blocks, unknown or role.reason, doubt))
        else:
            decisions.append(Decision(name, parameter, "adamw", BlockSpec(), role.reason, role.doubt))
    return decisions


def _matches(argument: str, patterns: Mapping[str, str | BlockSpec], names: list[str]) -> dict[str, str | BlockSpec]:
    """What each name's first pattern says; every pattern must match a name."""
    for pattern, rule in patterns.items():
        if not isinstance(rule, BlockSpec) and rule not in ("muon", "adamw"):
            raise UserError(f'rules[{pattern!r}] = {rule!r}: must be "muon", "adamw" or a BlockSpec')
    unused = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if unused:
        raise UserError(f"{argument} = {unused}: no parameter has such a name")
    found: dict[str, str | BlockSpec] = {}
    for name in names:
        for pattern, rule in patterns.items():
            if fnmatchcase(name, pattern):
                found.setdefault(name, rule)
    return found


def _warn_of_doubt(decisions: list[Decision]) -> None:
    lines = [
        f"{decision.name} {tuple(decision.parameter.shape)} goes to {decision.algorithm} ({decision.reason})"
        for decision in decisions
        if decision.doubt
    ]
    if lines:
        warnings.warn(
            f"{len(lines)} of {len(decisions)} parameters leave doubt: {'; '.join(lines)}; "
            f'rules={{"{next(d.name for d in decisions if d.doubt)}": "muon" or "adamw"}} decides',
            stacklevel=3,
        )

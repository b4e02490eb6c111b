"""Muon for every shape of weight, with AdamW for the rest (Jordan et al.; "Muon is Scalable for LLM Training", ML;
Kimi K2, algorithm 1).

    M <- μ M + G                                                     [momentum as a sum]
    B  = G + μ M  (nesterov),  else M
    O  = NewtonSchulz(B) · 0.2 √max(n, m)                            [ML eq. 4: the update's RMS is AdamW's]
    W <- (1 - η λ) W - η O                                           [decay uses η itself]

Matrices of one shape are orthogonalised as one batch, where that is the faster way: always in bfloat16, in float32 only
up to 64 rows. Sharded parameters (DTensor) keep their momentum sharded; the update is gathered in the iteration's
precision, orthogonalised on each process, and each keeps its slice. Stacks that are sharded along the stack need no
communication. ``maximize`` and sparse or complex gradients are not supported.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor
from torch.optim.adamw import adamw

from tenfold.core.errors import UserError
from tenfold.optim.closure import loss_of
from tenfold.optim.matrix_blocks import BlockSpec, matrix_views
from tenfold.optim.newton_schulz import QUINTIC, Coefficients, automatic_dtype, orthogonalize

NS_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
RMS_MODES = ("match_adamw", "update_norm", "spectral", "none")
ALGORITHMS = ("muon", "adamw")
METHODS = ("newton_schulz", "svd")
LARGEST_BATCHED_FLOAT32 = 64  # smaller side up to which a batch beats a loop in float32


class _Entry(NamedTuple):
    """A parameter, and what of it, its gradient and its momentum lies on this process."""

    parameter: Tensor
    weight: Tensor
    gradient: Tensor
    momentum: Tensor


class _Matrices(NamedTuple):
    """One block of a parameter: views ``[stack, repeats, rows, columns]``."""

    gradient: Tensor
    momentum: Tensor | None  # None: the gradient already holds B
    target: Tensor  # what -η O is added to


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton–Schulz iterations, with decoupled weight decay.

    A group may carry ``algorithm="adamw"`` (with ``betas`` and ``eps``) for embeddings, heads and vectors, and
    ``blocks`` (a :class:`BlockSpec`) for fused or stacked weights; :func:`muon_param_groups` sorts a model's
    parameters into such groups.

    Args:
        params: parameters or parameter groups; 2-D weights, 3-D stacks of them, or kernels of convolutions.
        lr: learning rate, a number or a tensor with one element.
        weight_decay: decoupled, multiplied by the learning rate.
        momentum: decay of the sum of gradients.
        nesterov: look ahead by one step of momentum.
        ns_steps: Newton–Schulz iterations.
        coefficients: triples of the iteration's polynomials, see :func:`orthogonalize`.
        method: ``"newton_schulz"`` or ``"svd"`` (exact and slow).
        rms_mode: ``"match_adamw"`` scales by ``rms_target`` · √max(n, m); ``"update_norm"`` gives each update exactly
            that RMS; ``"spectral"`` scales by √max(1, n / m); ``"none"`` not at all.
        rms_target: wanted RMS of the update, for a learning rate of 1.
        ns_dtype: ``"auto"`` (bfloat16 where the device multiplies it natively), ``"bfloat16"``, ``"float32"`` or
            ``"float64"``.
        betas: of groups with AdamW.
        eps: of groups with AdamW.
        batch: orthogonalise matrices of one shape together: ``"auto"``, ``"always"`` or ``"never"``.
        batch_bytes: memory of one batch, by default 1 MiB on a CPU (what its cache holds) and 64 MiB elsewhere; a
            larger single matrix is a batch of its own.
        skip_nonfinite: leave a parameter whose gradient has a NaN or an infinity as it is for this step, and count
            it in ``nonfinite_skipped``. Otherwise it spreads to the parameter, as in torch's optimizers.

    Raises:
        UserError: if a setting is out of range or a parameter has no matrices.

    Example:
        >>> weight = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = Muon([weight], lr=0.1, weight_decay=0.0, method="svd", rms_target=1.0, rms_mode="update_norm")
        >>> weight.grad = torch.tensor([[7.0, 0.0], [0.0, -0.1]])
        >>> optimizer.step()
        >>> [round(value, 4) for value in weight.diagonal().tolist()]  # 0.1 · √2 down, 0.1 · √2 up
        [0.8586, 1.1414]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        coefficients: Coefficients = QUINTIC,
        method: str = "newton_schulz",
        rms_mode: str = "match_adamw",
        rms_target: float = 0.2,
        ns_dtype: str = "auto",
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        *,
        batch: str = "auto",
        batch_bytes: int | None = None,
        skip_nonfinite: bool = False,
    ) -> None:
        if batch not in ("auto", "always", "never"):
            raise UserError(f'batch = {batch!r}: must be "auto", "always" or "never"')
        if batch_bytes is not None and batch_bytes < 1:
            raise UserError(f"batch_bytes = {batch_bytes}: must be at least 1")
        self.batch, self.batch_bytes, self.skip_nonfinite = batch, batch_bytes, skip_nonfinite
        self.nonfinite_skipped = 0
        super().__init__(
            params,
            dict(
                lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps,
                coefficients=tuple(tuple(triple) for triple in coefficients), method=method, rms_mode=rms_mode,
                rms_target=rms_target, ns_dtype=ns_dtype, betas=betas, eps=eps, algorithm="muon", blocks=BlockSpec(),
            ),
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: torch's part, and the settings that are no group's."""
        own = ("batch", "batch_bytes", "skip_nonfinite", "nonfinite_skipped")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group after checking its settings and shapes.

        Raises:
            UserError: if a setting is out of range or a parameter has no matrices.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["blocks"] = tuple(group["blocks"])
        try:
            _check_group(group)
        except UserError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any], momentum_convention: str = "sum") -> None:
        """Restore state and settings.

        Args:
            state_dict: of this class, or of another Muon that calls its buffer ``momentum_buffer``.
            momentum_convention: ``"sum"`` (M <- μ M + G), or ``"ema"`` (M <- μ M + (1 - μ) G, as ``torch.optim.Muon``
                keeps it), whose buffers are divided by 1 - μ.

        Raises:
            UserError: for an unknown convention.
        """
        if momentum_convention not in ("sum", "ema"):
            raise UserError(f'momentum_convention = {momentum_convention!r}: must be "sum" or "ema"')
        settings = [dict(group) for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, own in zip(self.param_groups, settings, strict=True):
            for name, value in own.items():
                group.setdefault(name, value)
            for p in group["params"]:
                if momentum_convention == "ema" and "momentum_buffer" in self.state[p]:
                    self.state[p]["momentum_buffer"].div_(1 - group["momentum"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = loss_of(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if self.skip_nonfinite and params:
                params = self._finite(params)
            if params:
                (self._update_muon if group["algorithm"] == "muon" else self._update_adamw)(group, params)
        return loss

    def _finite(self, params: list[Tensor]) -> list[Tensor]:
        flags = [_is_finite(p.grad) for p in params if p.grad is not None]
        finite = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
        self.nonfinite_skipped += len(params) - sum(finite)
        return [p for p, is_finite in zip(params, finite, strict=True) if is_finite]

    def _update_adamw(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            if not self.state[p]:
                step = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        states = [self.state[p] for p in params]
        beta1, beta2 = group["betas"]
        adamw(
            params,
            [p.grad for p in params],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=all(p.device.type in ("cpu", "cuda") for p in params),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _update_muon(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            if p.grad is not None and p.grad.is_sparse:
                raise UserError(f"a sparse gradient of shape {tuple(p.grad.shape)}: Muon needs dense ones")
            if not self.state[p]:
                self.state[p] = {"momentum_buffer": torch.zeros_like(p)}
        weights = [_local(p) for p in params]
        gradients = [_local(p.grad) for p in params]  # type: ignore[arg-type]
        momenta = [_local(self.state[p]["momentum_buffer"]) for p in params]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - float(group["lr"]) * group["weight_decay"])
        spec = BlockSpec(*group["blocks"])
        entries = [_Entry(*entry) for entry in zip(params, weights, gradients, momenta, strict=True)]
        direct = [entry for entry in entries if _is_whole_here(entry.parameter, spec)]
        self._move(group, [_views(spec, *_ahead(group, entry), entry.weight) for entry in direct])
        others = [entry for entry in entries if not _is_whole_here(entry.parameter, spec)]
        for some in _limited(others, lambda entry: entry.parameter.numel() * 4, self.batch_bytes or 64 << 20):
            self._move_gathered(group, spec, some)

    def _move_gathered(self, group: dict[str, Any], spec: BlockSpec, entries: list["_Entry"]) -> None:
        """Gather B of some parameters, orthogonalise it, and add each process's slice of the result."""
        moves = []
        for entry in entries:
            p = entry.parameter
            gradient, momentum = _ahead(group, entry)
            update = gradient if momentum is None else gradient.add(momentum, alpha=group["momentum"])
            whole = _gather(update.to(_ns_dtype(group, p)), p)
            moves.append((whole, torch.zeros(p.shape, dtype=p.dtype, device=whole.device)))
        self._move(group, [_views(spec, update, None, move) for update, move in moves])
        for entry, (_, move) in zip(entries, moves, strict=True):
            entry.weight.add_(_own_slice(move, entry.parameter))

    def _move(self, group: dict[str, Any], parameters: list[list[_Matrices]]) -> None:
        """Add -η O to the targets, all matrices of one shape together."""
        same_shape = defaultdict(list)
        for matrices in (block for blocks in parameters for block in blocks):
            target = matrices.target
            key = (target.shape[1] * target.shape[2], target.shape[3], target.dtype, target.device)
            same_shape[key].append(matrices)
        for (rows, columns, *_), blocks in same_shape.items():
            dtype = _ns_dtype(group, blocks[0].target)
            at_once = self._matrices_at_once(rows, columns, dtype, blocks[0].target.device)
            pieces = [piece for block in blocks for piece in _cut(block, at_once)]
            for some in _limited(pieces, lambda piece: len(piece.target), at_once):
                _move_together(group, some, rows, columns, dtype)

    def _matrices_at_once(self, rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> int:
        pays = dtype == torch.bfloat16 or min(rows, columns) <= LARGEST_BATCHED_FLOAT32
        if self.batch == "never" or (self.batch == "auto" and not pays):
            return 1
        limit = self.batch_bytes or (1 << 20 if device.type == "cpu" else 64 << 20)
        return max(1, limit // (rows * columns * dtype.itemsize))


def _move_together(group: dict[str, Any], pieces: list[_Matrices], rows: int, columns: int, dtype: torch.dtype) -> None:
    """Stack B of all pieces in new memory, orthogonalise, and add -η O to each target."""
    sizes = [len(piece.target) for piece in pieces]
    stacked = torch.empty(sum(sizes), rows, columns, dtype=dtype, device=pieces[0].target.device)
    for piece, place in zip(pieces, stacked.split(sizes), strict=True):
        slot = place.view(piece.target.shape)
        if piece.momentum is None:
            slot.copy_(piece.gradient)
        else:
            torch.add(piece.gradient, piece.momentum, alpha=group["momentum"], out=slot)
    update = orthogonalize(stacked, group["ns_steps"], coefficients=group["coefficients"], method=group["method"])
    step_size = float(group["lr"]) * _scale(group, rows, columns)
    if group["rms_mode"] == "update_norm":
        rms = torch.linalg.matrix_norm(update.float(), keepdim=True) / (rows * columns) ** 0.5
        update = update.to(torch.promote_types(dtype, torch.float32)) / rms.clamp(min=1e-12)
    for piece, result in zip(pieces, update.split(sizes), strict=True):
        piece.target.add_(result.reshape(piece.target.shape), alpha=-step_size)


def _scale(group: dict[str, Any], rows: int, columns: int) -> float:
    """Factor between the orthogonalised matrix and O, for each ``rms_mode``."""
    match group["rms_mode"]:
        case "match_adamw":
            return group["rms_target"] * max(rows, columns) ** 0.5
        case "update_norm":
            return group["rms_target"]
        case "spectral":
            return max(1, rows / columns) ** 0.5
        case _:
            return 1.0


def _ahead(group: dict[str, Any], entry: _Entry) -> tuple[Tensor, Tensor | None]:
    """The two terms of B = G + μ M, or M alone without Nesterov's look ahead."""
    return (entry.gradient, entry.momentum) if group["nesterov"] else (entry.momentum, None)


def _views(spec: BlockSpec, gradient: Tensor, momentum: Tensor | None, target: Tensor) -> list[_Matrices]:
    gradients, targets = matrix_views(gradient, spec), matrix_views(target, spec)
    momenta = [None] * len(targets) if momentum is None else matrix_views(momentum, spec)
    return [_Matrices(*block) for block in zip(gradients, momenta, targets, strict=True)]


def _cut(block: _Matrices, size: int) -> Iterator[_Matrices]:
    """The stack in pieces of at most ``size`` matrices."""
    momenta = [None] * len(block.target) if block.momentum is None else block.momentum.split(size)
    for gradient, momentum, target in zip(block.gradient.split(size), momenta, block.target.split(size), strict=False):
        yield _Matrices(gradient, momentum, target)


def _limited(items: list[Any], size: Callable[[Any], int], limit: int) -> Iterator[list[Any]]:
    """The items in order, in lists whose sizes add up to at most ``limit`` (a larger item comes alone)."""
    some: list[Any] = []
    total = 0
    for item in items:
        if some and total + size(item) > limit:
            yield some
            some, total = [], 0
        some.append(item)
        total += size(item)
    if some:
        yield some


def _ns_dtype(group: dict[str, Any], parameter: Tensor) -> torch.dtype:
    if group["method"] == "svd":
        return torch.promote_types(parameter.dtype, torch.float32)
    return automatic_dtype(parameter) if group["ns_dtype"] == "auto" else NS_DTYPES[group["ns_dtype"]]


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _is_finite(gradient: Tensor) -> Tensor:
    """Whether a gradient is without NaN and infinity, in the shards of all processes (some may be empty)."""
    bad = (~_local(gradient).isfinite()).sum()
    if isinstance(gradient, DTensor):
        mesh = gradient.device_mesh
        bad = DTensor.from_local(bad, mesh, [Partial()] * mesh.ndim).full_tensor()
    return bad == 0


def _is_whole_here(parameter: Tensor, spec: BlockSpec) -> bool:
    """Whether this process holds whole matrices, as views of the parameter's own memory."""
    if isinstance(parameter, DTensor):
        stack = parameter.ndim == 3 and not spec.flatten
        return stack and all(placement == Shard(0) for placement in parameter.placements)
    return parameter.is_contiguous() or not (spec.flatten or parameter.ndim > 3)


def _gather(shard: Tensor, parameter: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor):
        return shard
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(shard, mesh, placements, shape=parameter.shape, stride=parameter.stride()).full_tensor()


def _own_slice(whole: Tensor, parameter: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor):
        return whole
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None).to_local()


def _check_group(group: dict[str, Any]) -> None:
    for name in ("lr", "weight_decay", "momentum", "eps", "rms_target"):
        if not float(group[name]) >= 0:
            raise UserError(f"{name} = {group[name]}: must not be negative")
    if not group["momentum"] < 1:
        raise UserError(f"momentum = {group['momentum']}: must be below 1")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise UserError(f"betas = {group['betas']}: each must lie in [0, 1)")
    if group.get("maximize"):
        raise UserError("maximize = True: not supported; negate the loss instead")
    if group["ns_steps"] < 1:
        raise UserError(f"ns_steps = {group['ns_steps']}: must be at least 1")
    if not group["coefficients"] or any(len(triple) != 3 for triple in group["coefficients"]):
        raise UserError(f"coefficients = {group['coefficients']}: must be triples (a, b, c), at least one")
    choices = {"rms_mode": RMS_MODES, "algorithm": ALGORITHMS, "ns_dtype": ("auto", *NS_DTYPES), "method": METHODS}
    for name, allowed in choices.items():
        if group[name] not in allowed:
            raise UserError(f"{name} = {group[name]!r}: must be one of {', '.join(allowed)}")
    if group["algorithm"] == "muon":
        for p in group["params"]:
            if p.is_complex():
                raise UserError(f"a complex parameter of shape {tuple(p.shape)}: Muon needs real ones")
            matrix_views(torch.empty(p.shape, device="meta"), BlockSpec(*group["blocks"]))

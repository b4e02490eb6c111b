"""Muon for every shape of weight, with AdamW for the rest (Jordan et al.; "Muon is Scalable for LLM Training", ML;
Kimi K2, algorithm 1).

:class:`Muon` says in six lines what is computed. What makes it fast stands apart: :mod:`tenfold.optim.newton_schulz`
iterates, :mod:`tenfold.optim.matrix_batches` gathers matrices of one shape, so that they are orthogonalised together
where that is the faster way (always in bfloat16, in float32 only up to 64 rows), and :mod:`tenfold.optim.shards` knows
what of a parameter lies on this process. Sharded parameters (DTensor) keep their momentum sharded; what shall be
orthogonalised is gathered in the iteration's precision, each process computes all of it, and each keeps its slice.
Stacks that are sharded along the stack need no communication. ``maximize`` and sparse or complex gradients are not
supported.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from tenfold.core.errors import UserError
from tenfold.optim.closure import loss_of
from tenfold.optim.first_step import asks_for_state
from tenfold.optim.matrix_batches import Matrices, batches, limited, matrices_of, of_one_shape, stacked
from tenfold.optim.matrix_blocks import BlockSpec
from tenfold.optim.muon_checks import NS_DTYPES, check_group, check_state, require_dense
from tenfold.optim.newton_schulz import QUINTIC, Coefficients, automatic_dtype, orthogonalize
from tenfold.optim.shards import gather, holds_whole_matrices, is_finite, local_part, own_slice

LARGEST_BATCHED_FLOAT32 = 64  # smaller side up to which a batch beats a loop in float32
BATCH_BYTES_CPU, BATCH_BYTES_ELSEWHERE = 1 << 20, 64 << 20


class _Part(NamedTuple):
    """A parameter, and what of it, its gradient and its momentum lies on this process."""

    parameter: Tensor
    weight: Tensor
    gradient: Tensor
    momentum: Tensor


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton–Schulz iterations, with decoupled weight decay.

    For each matrix W of A rows and B columns with the gradient G, learning rate η, momentum μ and decay λ (ML, section
    2; with ``nesterov=False`` N is M, as in K2's algorithm 1)::

        M = μ * M + G                         # momentum, as a sum of gradients
        N = G + μ * M                         # Nesterov: one step of momentum ahead
        O = newton_schulz(N)                  # U Vᵀ of N = U S Vᵀ, nearly: all directions weigh the same
        O = 0.2 * sqrt(max(A, B)) * O         # the RMS that AdamW's updates have, whatever the shape
        W = (1 - η * λ) * W                   # decoupled weight decay
        W = W - η * O                         # update

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
        rms_mode: ``"match_adamw"`` scales by ``rms_target`` · √max(A, B); ``"update_norm"`` gives each update exactly
            that RMS; ``"spectral"`` scales by √max(1, A / B); ``"none"`` not at all.
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
                coefficients=tuple(map(tuple, coefficients)), method=method, rms_mode=rms_mode,
                rms_target=rms_target, ns_dtype=ns_dtype, betas=betas, eps=eps, algorithm="muon", blocks=BlockSpec(),
            ),
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: torch's part, and the settings that are no group's."""
        state = super().__getstate__()
        for name in ("batch", "batch_bytes", "skip_nonfinite", "nonfinite_skipped"):
            state[name] = getattr(self, name)
        return state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group after checking its settings and shapes.

        Raises:
            UserError: if a setting is out of range or a parameter has no matrices.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["blocks"] = tuple(group["blocks"])
        try:
            check_group(group)
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
            UserError: for an unknown convention, and for a state that is not of these parameters and algorithms.
        """
        if momentum_convention not in ("sum", "ema"):
            raise UserError(f'momentum_convention = {momentum_convention!r}: must be "sum" or "ema"')
        settings = [dict(group) for group in self.param_groups]
        check_state(self.param_groups, state_dict)
        super().load_state_dict(state_dict)
        for group, own in zip(self.param_groups, settings, strict=True):
            for name, value in own.items():
                group.setdefault(name, value)  # another Muon's state does not name all of ours
            for p in group["params"]:
                state = self.state.get(p, {})
                if momentum_convention == "ema" and "momentum_buffer" in state:
                    state["momentum_buffer"] = state["momentum_buffer"] / (1 - group["momentum"])
                if "step" in state:
                    # torch leaves it where and as it was saved; the fused kernel reads it on the parameter's device.
                    state["step"] = torch.as_tensor(state["step"]).to(p.device, torch.float32)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = loss_of(closure)
        for group in self.param_groups:
            for p in group["params"]:
                require_dense(p)
        only_makes_state = asks_for_state(self)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if self.skip_nonfinite and params:
                params = self._finite(params)
            if params and group["algorithm"] == "muon":
                self._update_muon(group, params)
            elif params:
                self._update_adamw(group, params)
        if only_makes_state:
            for state in self.state.values():
                if "step" in state:
                    state["step"].zero_()
        return loss

    def _finite(self, params: list[Tensor]) -> list[Tensor]:
        """The parameters whose gradients are finite; the others are counted."""
        flags = [is_finite(p.grad) for p in params if p.grad is not None]
        # One question to the device for all parameters: each answer makes the host wait.
        answers = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
        self.nonfinite_skipped += answers.count(False)
        return [p for p, finite in zip(params, answers, strict=True) if finite]

    def _update_adamw(self, group: dict[str, Any], params: list[Tensor]) -> None:
        gradients, steps, averages, averages_of_squares = [], [], [], []
        for p in params:
            if not self.state[p]:
                step = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            gradients.append(p.grad)
            steps.append(self.state[p]["step"])
            averages.append(self.state[p]["exp_avg"])
            averages_of_squares.append(self.state[p]["exp_avg_sq"])
        beta1, beta2 = group["betas"]
        adamw(
            params,
            gradients,  # type: ignore[arg-type]
            averages,
            averages_of_squares,
            [],
            steps,
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
        """The six lines, for all parameters of a group together."""
        parts = [self._part(p) for p in params]
        weights = [part.weight for part in parts]
        momenta = [part.momentum for part in parts]
        # M = μ M + G and W = (1 - η λ) W do not ask for shapes: a call each serves all parameters.
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, [part.gradient for part in parts])
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - float(group["lr"]) * group["weight_decay"])
        # The other lines need whole matrices: these are here, or must be gathered.
        spec = BlockSpec(*group["blocks"])
        matrices: list[Matrices] = []
        to_gather: list[_Part] = []
        for part in parts:
            if holds_whole_matrices(part.parameter, spec):
                matrices += matrices_of(spec, _terms(group, part), part.weight)
            else:
                to_gather.append(part)
        self._move(group, matrices)
        # Some at a time, since a gathered parameter takes the memory of the whole of it.
        limit = self.batch_bytes or BATCH_BYTES_ELSEWHERE
        for some in limited(to_gather, lambda part: part.parameter.numel() * 4, limit):
            self._move_gathered(group, spec, some)

    def _part(self, p: Tensor) -> _Part:
        assert p.grad is not None
        if not self.state[p]:
            self.state[p] = {"momentum_buffer": torch.zeros_like(p)}
        return _Part(p, local_part(p), local_part(p.grad), local_part(self.state[p]["momentum_buffer"]))

    def _move_gathered(self, group: dict[str, Any], spec: BlockSpec, parts: list[_Part]) -> None:
        """Gather N of some parameters, compute -η O, and add this process's slice of it to the weights."""
        matrices: list[Matrices] = []
        moves = []
        for part in parts:
            p = part.parameter
            N, *momentum = _terms(group, part)
            if momentum:
                N = N.add(momentum[0], alpha=group["momentum"])
            whole = gather(N.to(_ns_dtype(group, p)), p)
            move = torch.zeros(p.shape, dtype=p.dtype, device=whole.device)
            matrices += matrices_of(spec, (whole,), move)
            moves.append(move)
        self._move(group, matrices)
        for part, move in zip(parts, moves, strict=True):
            part.weight.add_(own_slice(move, part.parameter))

    def _move(self, group: dict[str, Any], matrices: list[Matrices]) -> None:
        """Add -η O to the targets, many matrices of one shape together."""
        for alike in of_one_shape(matrices):
            dtype = _ns_dtype(group, alike[0].target)
            for batch in batches(alike, self._batch_size(alike[0], dtype)):
                _move_together(group, batch, dtype)

    def _batch_size(self, matrices: Matrices, dtype: torch.dtype) -> int:
        """How many matrices of this shape are stacked."""
        rows, columns = matrices.shape
        is_faster = dtype == torch.bfloat16 or min(rows, columns) <= LARGEST_BATCHED_FLOAT32
        if self.batch == "never" or (self.batch == "auto" and not is_faster):
            return 1
        limit = self.batch_bytes
        if limit is None:
            limit = BATCH_BYTES_CPU if matrices.target.device.type == "cpu" else BATCH_BYTES_ELSEWHERE
        return max(1, limit // (rows * columns * dtype.itemsize))


def _terms(group: dict[str, Any], part: _Part) -> tuple[Tensor, ...]:
    """N as the sum G + μ M; without Nesterov's look ahead it is M."""
    if group["nesterov"]:
        return part.gradient, part.momentum
    return (part.momentum,)


def _move_together(group: dict[str, Any], batch: list[Matrices], dtype: torch.dtype) -> None:
    """N, O and W = W - η O of the reference form, on a stack of matrices of one shape."""
    N, counts = stacked(batch, group["momentum"], dtype)
    O = orthogonalize(N, group["ns_steps"], coefficients=group["coefficients"], method=group["method"])
    rows, columns = batch[0].shape
    if group["rms_mode"] == "update_norm":
        rms = torch.linalg.matrix_norm(O.float(), keepdim=True) / (rows * columns) ** 0.5
        O = O.to(torch.promote_types(dtype, torch.float32)) / rms.clamp(min=1e-12)
    # The scale of O is a number, so it goes into the step and not over the matrices once more.
    step_size = float(group["lr"]) * _scale(group, rows, columns)
    for matrices, own in zip(batch, O.split(counts), strict=True):
        matrices.target.add_(own.reshape(matrices.target.shape), alpha=-step_size)


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


def _ns_dtype(group: dict[str, Any], parameter: Tensor) -> torch.dtype:
    if group["method"] == "svd":
        return torch.promote_types(parameter.dtype, torch.float32)
    if group["ns_dtype"] == "auto":
        return automatic_dtype(parameter)
    return NS_DTYPES[group["ns_dtype"]]

"""The hot path: an LSTM that reads its own output, one token at a time, without recomputation or allocations.

Exact up to the rounding of sums. The shares of the token and of the condition in the first layer are looked up in
tables of V rows instead of multiplied; [W_ih; W_hh] of an upper layer is one matrix for [h below; h]; the two biases
are one; the gates i, f, o lie together, so that one call squashes them. Random sources of high gain are chaotic: there,
another order of sums is another orbit, and two devices, or two numbers of rows, need not agree on a row.

Letters: N rows, L tokens of a row, S tokens of a seed, V symbols, H width of a state.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StepWeights:
    """The weights of a source, laid out for single steps.

    Args:
        tokens: ``[V, 4H]`` share of the token in the first layer's gates, biases included.
        conditions: ``[V, 4H]`` share of the condition.
        first: ``[H, 4H]`` share of the first layer's own state.
        upper: bias ``[4H]`` and weight ``[2H, 4H]`` of each further layer, for [h below; h].
        head: bias ``[V]`` and weight ``[H, V]`` of the logits.
    """

    tokens: Tensor
    conditions: Tensor
    first: Tensor
    upper: tuple[tuple[Tensor, Tensor], ...]
    head: tuple[Tensor, Tensor]

    @staticmethod
    def of(embedding_VH: Tensor, lstm: nn.LSTM, head: nn.Linear) -> "StepWeights":
        """From modules; the LSTM reads [embedding of the token; embedding of the condition]."""
        H = lstm.hidden_size

        def gates(name: str, layer: int) -> Tensor:
            i, f, g, o = getattr(lstm, f"{name}_l{layer}").detach().chunk(4)
            return torch.cat((i, f, o, g))

        def bias(layer: int) -> Tensor:
            return gates("bias_ih", layer) + gates("bias_hh", layer)

        first = gates("weight_ih", 0)
        return StepWeights(
            tokens=torch.addmm(bias(0), embedding_VH.detach(), first[:, :H].t()),
            conditions=embedding_VH.detach() @ first[:, H:].t(),
            first=gates("weight_hh", 0).t().contiguous(),
            upper=tuple(
                (bias(k), torch.cat((gates("weight_ih", k), gates("weight_hh", k)), dim=1).t().contiguous())
                for k in range(1, lstm.num_layers)
            ),
            head=(head.bias.detach(), head.weight.detach().t().contiguous()),
        )


class Stepper:
    """The states of N rows under one source, starting from zero.

    Attributes:
        logits: ``[N, V]``, valid after :meth:`read_out`.
    """

    def __init__(self, weights: StepWeights, num_rows: int) -> None:
        self.weights = weights
        H, zeros = len(weights.first), weights.first.new_zeros
        self.H = H
        self.inputs = [zeros(num_rows, H), *(zeros(num_rows, 2 * H) for _ in weights.upper)]  # [h below; h]
        self.hidden = [self.inputs[0], *(pair[:, H:] for pair in self.inputs[1:])]
        self.below = [pair[:, :H] for pair in self.inputs[1:]]
        self.cells = [zeros(num_rows, H) for _ in self.inputs]
        self.gates, self.squashed = zeros(num_rows, 4 * H), zeros(num_rows, H)
        self.sigmoids, self.g = self.gates[:, : 3 * H], self.gates[:, 3 * H :]
        self.i, self.f, self.o = self.sigmoids.split(H, dim=1)
        self.logits = zeros(num_rows, len(weights.head[0]))

    def advance(self, token_N: Tensor, cond_N: Tensor) -> None:
        """Read one token and one symbol of the condition."""
        weights = self.weights
        torch.index_select(weights.tokens, 0, token_N, out=self.gates)
        self.gates += weights.conditions.index_select(0, cond_N)
        self.gates.addmm_(self.inputs[0], weights.first)
        self._update(0)
        for k, (bias, weight) in enumerate(weights.upper, start=1):
            self.below[k - 1].copy_(self.hidden[k - 1])
            torch.addmm(bias, self.inputs[k], weight, out=self.gates)
            self._update(k)

    def _update(self, layer: int) -> None:
        """c = f c + i g;  h = o tanh(c)."""
        cell = self.cells[layer]
        self.sigmoids.sigmoid_()
        self.g.tanh_()
        cell.mul_(self.f).addcmul_(self.i, self.g)
        torch.tanh(cell, out=self.squashed)
        torch.mul(self.o, self.squashed, out=self.hidden[layer])

    def read_out(self) -> Tensor:
        """Logits ``[N, V]`` of the next token; overwritten by the next call."""
        bias, weight = self.weights.head
        return torch.addmm(bias, self.hidden[-1], weight, out=self.logits)


def continue_rows(
    weights: StepWeights,
    seed_NS: Tensor,
    cond_NL: Tensor,
    length: int,
    uniform_LN: Tensor | None,
    temperature: float,
) -> Tensor:
    """Continue seeds to ``[N, length]`` int64.

    Args:
        weights: of the source.
        seed_NS: int64, the first S >= 1 tokens of each row.
        cond_NL: int64, read beside the tokens of the same positions.
        length: tokens of a row, at most those of the condition.
        uniform_LN: numbers in [0, 1) that choose the symbols, or ``None`` for the most probable ones.
        temperature: divides the logits before symbols are drawn.
    """
    with torch.inference_mode():
        stepper = Stepper(weights, len(seed_NS))
        cond_LN = cond_NL.t().contiguous()
        rows_LN = seed_NS.new_empty(length, len(seed_NS))
        rows_LN[: seed_NS.shape[1]] = seed_NS.t()
        if uniform_LN is not None:
            uniform_LN = uniform_LN.to(rows_LN.device)
        for t in range(length - 1):
            stepper.advance(rows_LN[t], cond_LN[t])
            if t + 1 < seed_NS.shape[1]:
                continue
            if uniform_LN is None:
                torch.argmax(stepper.read_out(), dim=1, out=rows_LN[t + 1])
            else:
                rows_LN[t + 1] = choose(stepper.read_out() / temperature, uniform_LN[t + 1])
    return rows_LN.t().clone(memory_format=torch.contiguous_format)  # not an inference tensor: autograd may keep it


def choose(logits_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Symbols ``[N]`` int64 distributed by the softmax, each chosen by one uniform number: the inverse of the sum.

    Example:
        >>> choose(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0.49, 0.51])).tolist()
        [0, 1]
    """
    total_NV = logits_NV.softmax(dim=1).cumsum(dim=1)
    threshold_N1 = uniform_N[:, None] * total_NV[:, -1:]
    return torch.searchsorted(total_NV, threshold_N1, right=True)[:, 0].clamp_(max=total_NV.shape[1] - 1)

"""The hot path: an LSTM that reads its own output, one token at a time, without recomputing anything.

The same function as ``torch.nn.LSTM``, up to the rounding of sums:

- the shares of the token and of the condition in the first layer are looked up in tables of V rows;
- [W_ih; W_hh] of an upper layer is one matrix for [h below; h], and the two biases are one;
- tanh(x) = 2 sigmoid(2x) - 1: the weights of gate g are doubled, cells are kept doubled, and one call squashes all
  gates (on a CPU, torch's sigmoid is several times faster than its tanh);
- on a CPU, oneDNN multiplies by weights that it has packed once for each source.

Where the two best symbols are closer than float32 can tell (about one token in half a million), rounding decides.
Random sources of high gain are chaotic: there, another order of sums is another orbit, and neither two devices nor two
numbers of rows need agree on a row.

Letters: N rows, L tokens of a row, S tokens of a seed, V symbols, H width of a state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

States = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Hidden states and doubled cells of all layers, ``[N, H]`` each."""


@dataclass(frozen=True)
class StepWeights:
    """The weights of a source, laid out for single steps; gates in the order i, f, o, g, with g doubled.

    Args:
        tokens: ``[V, 4H]`` share of the token in the first layer's gates, biases included.
        conditions: ``[V, 4H]`` share of the condition.
        first: ``[4H, H]`` share of the first layer's own state.
        upper: weight ``[4H, 2H]`` of each further layer, for [h below; h], and bias ``[4H]``.
        head: weight ``[V, H]`` of the logits, and bias ``[V]``.
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
            i, f, g, o = getattr(lstm, f"{name}_l{layer}").chunk(4)
            return torch.cat((i, f, o, 2 * g))

        def bias(layer: int) -> Tensor:
            return gates("bias_ih", layer) + gates("bias_hh", layer)

        with torch.no_grad():
            first = gates("weight_ih", 0)
            return StepWeights(
                tokens=torch.addmm(bias(0), embedding_VH, first[:, :H].t()),
                conditions=embedding_VH @ first[:, H:].t(),
                first=gates("weight_hh", 0),
                upper=tuple(
                    (torch.cat((gates("weight_ih", k), gates("weight_hh", k)), dim=1), bias(k))
                    for k in range(1, lstm.num_layers)
                ),
                head=(head.weight.detach(), head.bias.detach()),
            )


class Stepper:
    """The states of N rows under one source, starting from zero.

    Args:
        weights: of the source.
        num_rows: N.
    """

    def __init__(self, weights: StepWeights, num_rows: int) -> None:
        H, zeros = weights.first.shape[1], weights.first.new_zeros
        self.weights, self.H = weights, H
        self.inputs = [zeros(num_rows, H), *(zeros(num_rows, 2 * H) for _ in weights.upper)]  # [h below; h]
        self.hidden = [self.inputs[0], *(pair[:, H:] for pair in self.inputs[1:])]
        self.below = [pair[:, :H] for pair in self.inputs[1:]]
        self.doubled_cells = [zeros(num_rows, H) for _ in self.inputs]
        self.squashed = zeros(num_rows, H)
        self.minus_one, self.minus_two = zeros(()) - 1, zeros(()) - 2
        self.first = _product_and_sum(weights.first, num_rows)
        self.upper = [_affine(weight, bias, num_rows) for weight, bias in weights.upper]
        self.head = _affine(*weights.head, num_rows)

    def advance(self, token_N: Tensor, cond_N: Tensor) -> None:
        """Read one token and one symbol of the condition."""
        looked_up = self.weights.tokens.index_select(0, token_N)
        looked_up += self.weights.conditions.index_select(0, cond_N)
        self._update(0, self.first(self.inputs[0], looked_up))
        for k, affine in enumerate(self.upper, start=1):
            self.below[k - 1].copy_(self.hidden[k - 1])
            self._update(k, affine(self.inputs[k]))

    def _update(self, layer: int, gates_N4H: Tensor) -> None:
        """c = f c + i g;  h = o tanh(c), with 2c in place of c."""
        cell, squashed = self.doubled_cells[layer], self.squashed
        i, f, o, g = gates_N4H.sigmoid_().split(self.H, dim=1)
        torch.add(self.minus_two, g, alpha=4, out=g)
        cell.mul_(f).addcmul_(i, g)
        torch.sigmoid(cell, out=squashed)
        torch.add(self.minus_one, squashed, alpha=2, out=squashed)
        torch.mul(o, squashed, out=self.hidden[layer])

    def read_out(self) -> Tensor:
        """Logits ``[N, V]`` of the next token."""
        return self.head(self.hidden[-1])


def continue_rows(
    weights: StepWeights,
    seed_NS: Tensor,
    cond_NL: Tensor,
    length: int,
    uniform_LN: Tensor | None,
    temperature: float,
    compiled: bool = False,
) -> Tensor:
    """Continue seeds to ``[N, length]`` int64.

    Args:
        weights: of the source.
        seed_NS: int64, the first S >= 1 tokens of each row.
        cond_NL: int64, read beside the tokens of the same positions.
        length: tokens of a row, at most those of the condition.
        uniform_LN: numbers in [0, 1) that choose the symbols, or ``None`` for the most probable ones.
        temperature: divides the logits before symbols are drawn.
        compiled: run steps through ``torch.compile``, which fuses what lies between two products.
    """
    S = seed_NS.shape[1]
    with torch.no_grad() if compiled else torch.inference_mode():  # compiled code refuses inference tensors as inputs
        stepper = Stepper(weights, len(seed_NS))
        cond_LN = cond_NL[:, :length].t().contiguous()
        rows_LN = seed_NS.new_empty(length, len(seed_NS))
        rows_LN[:S] = seed_NS.t()
        for t in range(S - 1):
            stepper.advance(rows_LN[t], cond_LN[t])
        if uniform_LN is not None:
            uniform_LN = uniform_LN.to(rows_LN.device)
        if compiled:
            _fill_compiled(stepper, rows_LN, cond_LN, S, uniform_LN, temperature)
        else:
            _fill(stepper, rows_LN, cond_LN, S, uniform_LN, temperature)
    return rows_LN.t().clone(memory_format=torch.contiguous_format)  # not an inference tensor: autograd may keep it


def _fill(
    stepper: Stepper, rows_LN: Tensor, cond_LN: Tensor, first: int, uniform_LN: Tensor | None, temperature: float
) -> None:
    for t in range(first, len(rows_LN)):
        stepper.advance(rows_LN[t - 1], cond_LN[t - 1])
        if uniform_LN is None:
            torch.argmax(stepper.read_out(), dim=1, out=rows_LN[t])
        else:
            rows_LN[t] = choose(stepper.read_out() / temperature, uniform_LN[t])


def _fill_compiled(
    stepper: Stepper, rows_LN: Tensor, cond_LN: Tensor, first: int, uniform_LN: Tensor | None, temperature: float
) -> None:
    step, token_N = _compiled_step(), rows_LN[first - 1].clone()
    states = tuple(h_NH.clone() for h_NH in stepper.hidden), tuple(stepper.doubled_cells)
    for t in range(first, len(rows_LN)):
        uniform_N = None if uniform_LN is None else uniform_LN[t].clone()
        token_N, states = step(stepper.weights, states, token_N, cond_LN[t - 1].clone(), uniform_N, temperature)
        rows_LN[t] = token_N


def one_step(
    weights: StepWeights,
    states: States,
    token_N: Tensor,
    cond_N: Tensor,
    uniform_N: Tensor | None,
    temperature: float,
) -> tuple[Tensor, States]:
    """The next token of each row and the states after it, as a pure function, to be compiled."""
    hidden, cells = list(states[0]), list(states[1])
    gates_N4H = weights.tokens[token_N] + weights.conditions[cond_N] + hidden[0] @ weights.first.t()
    for k in range(len(hidden)):
        if k:
            weight, bias = weights.upper[k - 1]
            gates_N4H = torch.addmm(bias, torch.cat((hidden[k - 1], hidden[k]), dim=1), weight.t())
        i, f, o, g = gates_N4H.sigmoid().chunk(4, dim=1)
        cells[k] = cells[k] * f + i * (4 * g - 2)
        hidden[k] = o * (2 * cells[k].sigmoid() - 1)
    weight, bias = weights.head
    logits_NV = torch.addmm(bias, hidden[-1], weight.t())
    token_N = logits_NV.argmax(dim=1) if uniform_N is None else choose(logits_NV / temperature, uniform_N)
    return token_N, (tuple(hidden), tuple(cells))


@cache
def _compiled_step() -> Callable[..., tuple[Tensor, States]]:
    return torch.compile(one_step, dynamic=False)


def choose(logits_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Symbols ``[N]`` int64 distributed by the softmax, each chosen by one uniform number: the inverse of the sum.

    Example:
        >>> choose(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0.49, 0.51])).tolist()
        [0, 1]
    """
    total_NV = logits_NV.softmax(dim=1).cumsum(dim=1)
    threshold_N1 = uniform_N[:, None] * total_NV[:, -1:]  # at most (1 - 2 ** -24) of the sum: rounds to less than it
    return torch.searchsorted(total_NV, threshold_N1, right=True)[:, 0]


def _packs(weight: Tensor) -> bool:
    is_single = weight.device.type == "cpu" and weight.dtype == torch.float32
    return is_single and bool(torch.backends.mkldnn.enabled) and torch.backends.mkldnn.is_available()


def _affine(weight_OI: Tensor, bias_O: Tensor, num_rows: int) -> Callable[[Tensor], Tensor]:
    """``x -> x W^T + b``, by oneDNN with packed weights where it is there."""
    if not _packs(weight_OI):
        weight_IO = weight_OI.t().contiguous()
        return lambda x_NI: torch.addmm(bias_O, x_NI, weight_IO)
    packed, affine = _packed(weight_OI, num_rows), torch.ops.mkldnn._linear_pointwise.default
    return lambda x_NI: affine(x_NI, packed, bias_O, "none", [], "")


def _product_and_sum(weight_OI: Tensor, num_rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """``(x, y) -> x W^T + y``, by oneDNN with packed weights where it is there."""
    if not _packs(weight_OI):
        weight_IO = weight_OI.t().contiguous()
        return lambda x_NI, y_NO: torch.addmm(y_NO, x_NI, weight_IO)
    packed, product_and_sum = _packed(weight_OI, num_rows), torch.ops.mkldnn._linear_pointwise.binary
    return lambda x_NI, y_NO: product_and_sum(x_NI, y_NO, packed, None, "add")


def _packed(weight_OI: Tensor, num_rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight_OI.contiguous(), num_rows)

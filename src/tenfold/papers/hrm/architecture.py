"""What a recursive reasoner is made of, as data: HRM, TRM, URM and the feed-forward net are values of these fields.

Names that the authors' code uses (``H_cycles``, ``L_cycles``, ``halt_max_steps``) are kept. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tenfold.core.errors import UserError

Kind = Literal["hrm", "trm", "urm", "plain"]

LARGEST = 2**31 - 1
LEAST = {
    **dict.fromkeys(("vocab_size", "sequence_length", "hidden_size", "num_heads", "num_puzzles"), 1),
    **dict.fromkeys(("width_multiple", "mixer_multiple"), 1),
    **dict.fromkeys(("convolution", "prefix_tokens", "puzzle_embedding_size"), 0),
}
"""The least value of each size."""


@dataclass(frozen=True)
class ReasonerConfig:
    """One recursive reasoner: HRM, TRM, URM and the feed-forward baseline are values of these fields."""

    kind: Kind = "hrm"
    """hrm: two networks, two states; trm: one network, two states; urm: one network, one state; plain: one pass."""
    vocab_size: int = 11
    """Number of token ids."""
    sequence_length: int = 81
    """Number of grid tokens L."""
    hidden_size: int = 512
    """Width d of the states."""
    num_heads: int = 8
    """Attention heads."""
    expansion: float = 4.0
    """SwiGLU expansion; the inner width is 2/3 of it, rounded up."""
    width_multiple: int = 256
    """Rounding of the SwiGLU inner width."""
    mixer: Literal["attention", "mlp"] = "attention"
    """How positions talk to each other."""
    mixer_multiple: int = 256
    """Rounding of the mlp mixer's inner width."""
    positions: Literal["rope", "learned", "none"] = "rope"
    """Position encoding."""
    layers: int = 4
    """Blocks in each network (hrm and plain have two networks)."""
    convolution: int = 0
    """Taps of the depth-wise convolution after the SwiGLU gate (URM: 2); 0 for none."""
    H_cycles: int = 2
    """Cycles N in a segment, each ending with an update of z_H."""
    L_cycles: int = 2
    """Updates T of z_L in a cycle."""
    gradient: Literal["one_step", "last_cycle", "all"] = "one_step"
    """Which updates of a segment carry gradient."""
    prefix_tokens: int = 1
    """Positions P in front of the grid that hold the puzzle embedding, zero-padded."""
    puzzle_embedding_size: int = 512
    """Length of a puzzle embedding, at most P * d."""
    num_puzzles: int = 1
    """Rows of the puzzle table, 1 where puzzles have no identity; a run counts them in its data."""
    halt_max_steps: int = 16
    """Segments M after which a slot always halts."""
    halt_exploration: float = 0.1
    """Probability of drawing a least number of segments, per slot and step."""
    q_continue: bool = True
    """Learn the value of continuing with a second forward pass (HRM); otherwise halt when q_halt > 0 (TRM)."""

    def __post_init__(self) -> None:
        """Refuse sizes and combinations that no model can have."""
        for name, least in LEAST.items():
            if not least <= getattr(self, name) <= LARGEST:
                raise UserError(f"{name} = {getattr(self, name)}: must lie in [{least}, {LARGEST}]")
        if not 0 < self.expansion <= LARGEST:
            raise UserError(f"expansion = {self.expansion}: must lie in (0, {LARGEST}]")
        if self.halt_max_steps < 1 or self.H_cycles < 1 or self.L_cycles < 1 or self.layers < 1:
            raise UserError(
                f"halt_max_steps = {self.halt_max_steps}, H_cycles = {self.H_cycles}, L_cycles = {self.L_cycles}, "
                f"layers = {self.layers}: each must be at least 1"
            )
        if not 0 <= self.halt_exploration <= 1:
            raise UserError(f"halt_exploration = {self.halt_exploration}: must lie in [0, 1]")
        if self.puzzle_embedding_size > self.prefix_tokens * self.hidden_size:
            raise UserError(
                f"puzzle_embedding_size = {self.puzzle_embedding_size}: does not fit into prefix_tokens * hidden_size "
                f"= {self.prefix_tokens * self.hidden_size}"
            )
        if self.mixer == "attention" and self.hidden_size % self.num_heads:
            raise UserError(f"num_heads = {self.num_heads}: must divide hidden_size = {self.hidden_size}")


def feed_forward(like: ReasonerConfig) -> ReasonerConfig:
    """The feed-forward network with the parameters of ``like``: both stacks once, no segments, no halting."""
    return replace(like, kind="plain", gradient="all", halt_max_steps=1, halt_exploration=0.0, q_continue=False)


def published_trm(
    like: ReasonerConfig, mixer: Literal["attention", "mlp"] = "mlp", L_cycles: int = 6
) -> ReasonerConfig:
    """The tiny recursive model of its paper, as wide as ``like`` and on its grid.

    Args:
        like: what it is compared with.
        mixer: MLP mixing is its best on Sudoku, attention on larger grids.
        L_cycles: updates of z_L in a cycle: 6 on Sudoku, 4 on larger grids.
    """
    return replace(
        like,
        kind="trm",
        mixer=mixer,
        positions="none" if mixer == "mlp" else "rope",
        layers=2,
        H_cycles=3,
        L_cycles=L_cycles,
        gradient="last_cycle",
        prefix_tokens=16,
        q_continue=False,
    )


def idle_fields(model: ReasonerConfig) -> Mapping[str, str]:
    """Fields that change nothing in such a model, each with the field by which they would.

    Example:
        >>> idle_fields(ReasonerConfig(halt_max_steps=1))
        {'mixer_multiple': 'mixer', 'halt_exploration': 'halt_max_steps', 'q_continue': 'halt_max_steps'}
    """
    idle = {"num_heads" if model.mixer == "mlp" else "mixer_multiple": "mixer"}
    if model.kind == "plain":  # a single update, which carries the gradient however it is called
        idle |= dict.fromkeys(("H_cycles", "L_cycles", "gradient"), "kind")
    if model.halt_max_steps == 1:
        idle |= dict.fromkeys(("halt_exploration", "q_continue"), "halt_max_steps")
    return idle

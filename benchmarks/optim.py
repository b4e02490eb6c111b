"""How fast Muon and QK-Clip are, beside what one would use instead.

    python benchmarks/optim.py                     the table, on the CPU
    python benchmarks/optim.py --device cuda --json
    python benchmarks/optim.py --quick             a few seconds, numbers without meaning

Parts: ``dense`` optimizer steps per second on the matrices of a transformer with 10.6 M parameters; ``experts`` on the
many small matrices of a mixture of experts, stacks for ours and lists of matrices for torch; each beside
``torch.optim.Muon`` and, as the floor, fused AdamW. ``clip`` training steps per second (forward, backward, Muon) with
QK-Clip, beside the same without, at a context of 256; the ratio is what remains of the speed. Needs nothing but
tenfold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import tyro
from side_by_side import Comparison, Side, rates, show
from torch import nn

from tenfold.optim import BlockSpec, Muon, QKClip, muon_param_groups

Part = Literal["dense", "experts", "clip"]
CLIPS: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact, every head clipped": {"tau": 1e-4},
    "bound": {"mode": "bound"},
    "exact, every_n=10": {"every_n": 10},
}


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    parts: tuple[Part, ...] = ("dense", "experts", "clip")
    """Which comparisons."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the parameters are."""
    ns_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of our orthogonalisation; torch's is bfloat16."""
    context: int = 256
    """Tokens of a sequence, for ``clip``."""
    repeats: int = 7
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Tiny sizes and two turns: only shows that everything runs."""

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def weights(shapes: Sequence[tuple[int, ...]], device: str) -> list[nn.Parameter]:
    """Parameters with gradients, the same for each call."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes:
        params.append(nn.Parameter(0.02 * torch.randn(shape, generator=generator).to(device)))
        params[-1].grad = torch.randn(shape, generator=generator).to(device)
    return params


def compare_steps(
    name: str, ours: Callable[[], torch.optim.Optimizer], shapes: Sequence[tuple[int, ...]], options: Options
) -> list[Comparison]:
    """Our step beside torch's Muon and fused AdamW on matrices of the given shapes."""
    torchs = torch.optim.Muon(weights(shapes, options.device), adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(weights(shapes, options.device), fused=True)
    return rates(
        name,
        "steps/s",
        Side("tenfold", ours().step),
        [Side("torch.optim.Muon", torchs.step), Side("AdamW(fused=True), the floor", adamw.step)],
        repeats=options.repeats,
        synchronize=options.synchronize,
    )


def compare_dense(options: Options) -> list[Comparison]:
    width, layers = (32, 1) if options.quick else (384, 6)
    shapes = [(width, width)] * 4 * layers + [(4 * width, width)] * layers + [(width, 4 * width)] * layers
    return compare_steps(
        f"step on {len(shapes)} matrices of width {width}",
        lambda: Muon(weights(shapes, options.device), ns_dtype=options.ns_dtype),
        shapes,
        options,
    )


def compare_experts(options: Options) -> list[Comparison]:
    layers, experts, hidden, inner = (1, 4, 16, 8) if options.quick else (4, 64, 64, 32)
    matrices = [(inner, hidden), (inner, hidden), (hidden, inner)] * experts * layers

    def ours() -> Muon:
        fused = weights([(experts, 2 * inner, hidden)] * layers, options.device)
        down = weights([(experts, hidden, inner)] * layers, options.device)
        groups = [{"params": fused, "blocks": BlockSpec(rows=(inner, inner))}, {"params": down}]
        return Muon(groups, ns_dtype=options.ns_dtype)

    return compare_steps(f"step on {len(matrices)} expert matrices of {inner} x {hidden}", ours, matrices, options)


def compare_clip(options: Options) -> list[Comparison]:
    """Training with each way of measuring, beside training without; a turn is one period of ``every_n``."""
    lines: list[Comparison] = []
    for name, settings in CLIPS.items():
        steps = settings.get("every_n", 1)
        lines += rates(
            f"training with QK-Clip, {name}",
            "steps/s",
            Side("tenfold", training(options, settings, steps), steps),
            [Side("the same without QK-Clip", training(options, None, steps), steps)],
            repeats=options.repeats if steps > 1 or options.quick else 3 * options.repeats,
            synchronize=options.synchronize,
        )
    return lines


def training(options: Options, clip: dict[str, Any] | None, steps: int) -> Callable[[], None]:
    """Some steps of a small Llama on random tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    width, layers, batch = (32, 1, 1) if options.quick else (256, 4, 4)
    config = LlamaConfig(
        vocab_size=128,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=options.context,
    )
    model = LlamaForCausalLM(config).to(options.device).train()
    optimizer = Muon(muon_param_groups(model, lr=1e-4), ns_dtype=options.ns_dtype)
    if clip is not None:
        QKClip(model, **clip).attach(optimizer)
    tokens = torch.randint(128, (batch, options.context), device=options.device)

    def run() -> None:
        for _ in range(steps):
            model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


PARTS: dict[Part, Callable[[Options], list[Comparison]]] = {
    "dense": compare_dense,
    "experts": compare_experts,
    "clip": compare_clip,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2, context=16)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    title = f"optim, {where}, {options.ns_dtype}, torch {torch.__version__}; ratio above 1: ours is better"
    show((PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()

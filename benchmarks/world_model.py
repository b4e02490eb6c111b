"""How fast DINO-world's parts are, each beside what one would use instead.

    python benchmarks/world_model.py                     the table, on the CPU
    python benchmarks/world_model.py --device cuda --json
    python benchmarks/world_model.py --quick             a few seconds, numbers without meaning

Parts: ``step`` tokens a second of a training step in one masked pass, beside one call for each prefix, which must give
the same gradients; ``planning`` candidates a second beside DINO-WM's predictor of equal size, and beside
stable-worldmodel's own PreJEPA where it is installed (with einops); ``cache`` frames a second from the cache of
features, beside encoding anew.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from rivals.pre_jepa import PreJEPAPlanner, installed
from side_by_side import Comparison, Side, rates, show
from torch import Tensor, nn

from tenfold.models.feature_cache import FeatureCache
from tenfold.models.frame_encoder import FrameEncoder, small_vision_transformer
from tenfold.papers.dino_world.dino_wm import DinoWMPredictor
from tenfold.papers.dino_world.method import Predictor, num_parameters
from tenfold.papers.dino_world.settings import DinoWMConfig, PredictorConfig
from tenfold.papers.dino_world.training import forecasting_loss

SPACING, DIM, ACTION_DIM, SIDE = 0.2, 48, 2, 4
OURS = PredictorConfig(blocks=3, width=96, heads=2, layer_scale=0.0, init_std=0.08)
THEIRS = DinoWMConfig(depth=5, heads=4, head_dim=24, mlp_width=428, dropout=0.0)
"""Of as many parameters."""
Part = Literal["step", "planning", "cache"]


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    parts: tuple[Part, ...] = ("step", "planning", "cache")
    """Which comparisons."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where both sides compute."""
    starts: int = 8
    """Episodes that are planned for at once."""
    candidates: int = 64
    """Plans of each."""
    horizon: int = 5
    """Actions of a plan."""
    history: int = 2
    """Frames that a plan starts from."""
    clips: int = 16
    """Clips of a training step."""
    frames: int = 6
    """Frames of a clip."""
    repeats: int = 9
    """Turns of each side; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Tiny sizes and two turns: only shows that everything runs."""

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def times_from(start: int, count: int, clips: int, device: str) -> Tensor:
    return (SPACING * torch.arange(start, start + count, dtype=torch.float64, device=device)).expand(clips, -1)


# ----------------------------------------------------------------------------------------------- a training step


def compare_steps(options: Options) -> list[Comparison]:
    torch.manual_seed(0)
    model = Predictor(OURS, DIM).to(options.device)
    x = torch.randn(options.clips, options.frames, SIDE, SIDE, DIM, device=options.device)
    tau = times_from(0, options.frames, options.clips, options.device)

    def together() -> Tensor:
        return forecasting_loss(model(x, tau), x[:, 1:], 0.1)

    def by_prefix() -> Tensor:
        calls = [
            model.predict(x[:, :seen], tau[:, :seen], tau[:, seen : seen + 1]) for seen in range(1, options.frames)
        ]
        return forecasting_loss(torch.cat(calls, dim=1), x[:, 1:], 0.1)

    refuse_other_mathematics(model, together, by_prefix)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(loss_of: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()

        return run

    tokens = options.clips * (options.frames - 1) * SIDE * SIDE
    return rates(
        f"training step, {options.clips} clips of {options.frames} frames",
        "predicted tokens/s",
        Side("one masked pass", step(together), tokens),
        [Side("one call for each prefix", step(by_prefix), tokens)],
        repeats=options.repeats,
        synchronize=options.synchronize,
    )


def refuse_other_mathematics(model: nn.Module, one: Callable[[], Tensor], other: Callable[[], Tensor]) -> None:
    gradients = []
    for loss_of in (one, other):
        model.zero_grad()
        loss_of().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    difference = float((gradients[0] - gradients[1]).norm() / gradients[1].norm())
    if difference > 1e-4:
        raise AssertionError(f"gradients differ by {difference:.1e}: not the same mathematics")


# ------------------------------------------------------------------------------------------------------ planning


def compare_planning(options: Options) -> list[Comparison]:
    """The costs of one round of a search: all candidates of all starts, what was read of the past at hand."""
    torch.manual_seed(0)
    o, device = options, options.device
    encoder = FrameEncoder(
        small_vision_transformer(width=DIM, blocks=3, heads=4, patch=8, registers=0, size=8 * SIDE, seed=0)
    ).to(device)
    frames, goals = (torch.rand(o.starts, count, 3, 8 * SIDE, 8 * SIDE, device=device) for count in (o.history, 1))
    x, goal = encoder(frames), encoder(goals)
    actions = torch.rand(o.starts, o.candidates, o.history - 1 + o.horizon, ACTION_DIM, device=device) * 2 - 1
    past, future = actions[:, 0, : o.history - 1], actions[:, :, o.history - 1 :].flatten(0, 1)
    seen, ahead = times_from(0, o.history, o.starts, device), times_from(o.history, o.horizon, len(future), device)

    def costs(model: Predictor | DinoWMPredictor) -> Callable[[], object]:
        with torch.no_grad():
            memory = model.read(x, seen, past)

        @torch.no_grad()
        def run() -> Tensor:
            last = model.imagine(memory.repeated(o.candidates), ahead, future)[:, -1]
            return (last.unflatten(0, (o.starts, o.candidates)) - goal).square().mean((2, 3, 4))

        return run

    ours = Predictor(OURS, DIM, ACTION_DIM).to(device).eval()
    theirs = DinoWMPredictor(THEIRS, DIM, SIDE * SIDE, ACTION_DIM).to(device).eval()
    share = num_parameters(theirs) / num_parameters(ours)
    if not 0.9 < share < 1.1:
        raise AssertionError(f"DINO-WM's predictor has {share:.2f} of our parameters: not of equal size")
    amount = o.starts * o.candidates
    rivals = [Side(f"DINO-WM's predictor, {share:.2f} of our parameters", costs(theirs), amount)]
    if device == "cpu" and installed():
        vision_model = encoder.vision_model
        stable = PreJEPAPlanner(vision_model, DIM, SIDE * SIDE, THEIRS.depth, THEIRS.mlp_width, ACTION_DIM)
        share = num_parameters(stable.predictor) / num_parameters(ours)
        rivals.append(
            Side(
                f"stable-worldmodel's PreJEPA, {share:.2f} of our parameters",
                lambda: stable.cost(frames, goals[:, 0], actions),
                amount,
            )
        )
    else:
        print("planning: PreJEPA is left out; it needs stable-worldmodel and einops, and the CPU", file=sys.stderr)
    return rates(
        f"planning, {o.starts} starts, {o.candidates} candidates, horizon {o.horizon}",
        "candidates/s",
        Side("DINO-world's predictor", costs(ours), amount),
        rivals,
        repeats=o.repeats,
        synchronize=o.synchronize,
    )


# --------------------------------------------------------------------------------------------------------- cache


def compare_caches(options: Options) -> list[Comparison]:
    """A DINOv2 of the size S with fresh weights, at 224 pixels: what it costs to see a frame again."""
    blocks, count = (1, 2) if options.quick else (12, 8)
    encoder = FrameEncoder(
        small_vision_transformer(width=384, blocks=blocks, heads=6, patch=14, registers=4, size=224, seed=0)
    ).to(options.device)
    frames = torch.randint(256, (count, 3, 224, 224), dtype=torch.uint8, device=options.device)

    def decode(numbers: Sequence[int]) -> Tensor:
        return frames[list(numbers)]

    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder))

        def read() -> Tensor:
            return cache.features(encoder, "video", range(count), (224, 224), decode)

        read()
        return rates(
            f"features of {count} frames at 224 pixels, ViT-S/14",
            "frames/s",
            Side("from the cache", read, count),
            [Side("encoded anew", lambda: encoder(frames[None]), count)],
            repeats=min(options.repeats, 5),
            synchronize=options.synchronize,
        )


PARTS: dict[Part, Callable[[Options], list[Comparison]]] = {
    "step": compare_steps,
    "planning": compare_planning,
    "cache": compare_caches,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2, starts=2, candidates=4, horizon=2, clips=2, frames=3)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    title = f"DINO-world, {where}, torch {torch.__version__}; ratio above 1: ours is better"
    show((PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()

"""The paper's own verbs: ``forecast`` videos of one's own, ``plan`` with a trained model, and score ``surprise``.

Each verb is a function that tyro reads; a run keeps its models in ``cells/ARM/seed-K/model``, and ``forecast`` leaves
one in the folder that it writes.
"""

from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.files import write_atomically
from tenfold.papers.dino_world import config as presets
from tenfold.papers.dino_world.settings import PredictorConfig, TrainingConfig

Target = Annotated[Path, tyro.conf.Positional]


def forecast(
    video: Target,
    out: Path,
    size: int = 64,
    encoder: str = "",
    encoder_steps: int = 150,
    predictor: str = "",
    steps: int = 600,
    rate: float = 3e-3,
    shortest: float = 0.1,
    longest: float = 0.6,
    context: int = 4,
    spacing: float = 0.2,
    horizons: tuple[float, ...] = (0.2, 0.6),
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Learn from the first 70 % of a video, forecast the rest, and show it beside copy-last and the place's mean.

    Args:
        video: a video, or a folder of videos.
        out: a folder to write: the model, the table, pictures.
        size: pixels of the frames' side; the square in the middle is taken.
        encoder: a vision transformer of the hub or a folder; empty for a small one that is trained here.
        encoder_steps: of the small encoder's training.
        predictor: tiny, small, base, large or giant; empty for one that suits a minute on a CPU.
        steps: of the predictor's training.
        rate: of the predictor's training.
        shortest: least gap between frames of a training clip, in seconds.
        longest: largest gap.
        context: frames that are seen before a forecast.
        spacing: seconds between them.
        horizons: seconds ahead that are measured.
        seed: of weights and clips.
        device: auto, cpu or cuda.
    """
    from tenfold.data.video.sampling import Gaps
    from tenfold.papers.dino_world.own_pictures import draw_own
    from tenfold.papers.dino_world.own_video import OwnSettings, forecast_videos
    from tenfold.papers.dino_world.saving import save_world_model

    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device = {device}: allowed: auto, cpu, cuda")
    if not horizons or min(horizons) <= 0 or context < 1 or spacing <= 0:
        raise UserError(f"horizons = {horizons}, context = {context}, spacing = {spacing:g}: allowed: numbers above 0")
    size_of_predictor = presets.predictor_of_size(predictor) if predictor else own_predictor()
    settings = OwnSettings(
        size=size,
        encoder=encoder,
        encoder_steps=encoder_steps,
        gaps=Gaps(5, shortest, longest),
        context=context,
        spacing=spacing,
        horizons=tuple(sorted(horizons)),
        training=TrainingConfig(steps=steps, beta_first=0.1, first_share=0.0, evaluate_every=0, checkpoint_every=0),
        rate=rate,
        predictor=_residual(size_of_predictor),
    )
    console = Console(highlight=False)
    cell = Cell(arm="own", seed=seed, directory=out / "training", device=device)
    model, filmed, tested = forecast_videos(video, settings, cell, out / "features", console.print)
    save_world_model(model, out / "model")
    console.print(_losses(tested))
    for name, content in draw_own(model, filmed, tested, settings).items():
        write_atomically(out / name, content)
        console.print(f"wrote {out / name}", markup=False)
    console.print(
        "One split of what one camera saw: an illustration. Where the mean of the place wins, it is said above."
    )


def own_predictor() -> PredictorConfig:
    """What suits a minute on a CPU."""
    return presets.laptop().predictor


def _residual(config: PredictorConfig) -> PredictorConfig:
    from dataclasses import replace

    return replace(config, residual_output=True)


def _losses(tested: Any) -> Table:
    table = Table(
        title="smooth-L1 (beta 0.1) on the last 30 %: all tokens | the tenth that moves most",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("seconds ahead")
    names = list(tested[0].rows)
    for name in names:
        table.add_column(name, justify="right")
    for at in tested:
        losses = at.losses()
        best = [min(row[part] for row in losses.values()) for part in (0, 1)]
        cells = []
        for name in names:
            shown = (
                f"{value:.3f}{'*' if value == least else ' '}" for value, least in zip(losses[name], best, strict=True)
            )
            cells.append(" | ".join(shown))
        table.add_row(f"{at.horizon:g}", *cells)
    table.caption = "* the lowest"
    return table


def plan(
    run: Target, out: Path, arm: str = "finetune", seed: int = 0, episodes: int = 16, episode_seed: int = 0
) -> None:
    """Plan with a trained model in fresh episodes of its world, beside random plans, and draw what was acted.

    Args:
        run: a run directory.
        out: a picture to write, SVG.
        arm: which arm of the run; one that acts.
        seed: which seed of the run.
        episodes: starts with goals.
        episode_seed: of starts, goals and candidates.
    """
    from dataclasses import replace

    from tenfold.core.seeding import numpy_generator, torch_generator
    from tenfold.papers.dino_world import control
    from tenfold.papers.dino_world.own_pictures import plan_picture
    from tenfold.papers.dino_world.saving import load_world_model

    model = load_world_model(model_folder(run, arm, seed))
    if not model.predictor.action_dim:
        raise UserError(f"--arm is {arm!r}, a model without actions; allowed: an arm that acts, such as finetune")
    if episodes < 1:
        raise UserError(f"--episodes is {episodes}; allowed: at least 1")
    config = config_of(run)
    settings = replace(config.control, episodes=episodes)
    generator = numpy_generator(episode_seed, "plan")
    drawn = control.draw_episodes(settings, config.planner, model.size, generator)
    outcome = control.act_by_planning(
        model.predictor, model.encoder, drawn, settings, config.planner, torch_generator(episode_seed, "plan")
    )
    by_chance = control.act_randomly(drawn, config.planner.horizon)
    print(f"goals reached: {outcome.success[-1].mean():.2f} by planning, {by_chance.success[-1].mean():.2f} by chance")
    write_atomically(out, plan_picture(arm, outcome))
    print(f"wrote {out}")


def surprise(
    run: Target, clips: tuple[Path, ...], out: Path, arm: str = "dino_world", seed: int = 0, context: int = 4
) -> None:
    """Score how much each video surprises a trained model, frame by frame, beside copy-last.

    Args:
        run: a run directory, or a folder that ``forecast`` wrote.
        clips: videos, or folders of videos.
        out: a picture to write, SVG.
        arm: which arm of the run; one that knows times.
        seed: which seed of the run.
        context: most frames that are seen before each.
    """
    import torch

    from tenfold.data.video.files import read_video, video_files
    from tenfold.papers.dino_world.own_pictures import surprise_picture
    from tenfold.papers.dino_world.saving import load_world_model
    from tenfold.papers.dino_world.surprise import copy_last
    from tenfold.papers.dino_world.surprise import surprise as scores

    if not clips:
        raise UserError(
            "of run, clips and out only the first is given; usage: tenfold surprise dino_world RUN --clips …"
        )
    model = load_world_model(model_folder(run, arm, seed))
    if model.predictor.action_dim:
        raise UserError(f"--arm is {arm!r}, a model with actions; allowed: one of video alone, such as dino_world")
    table = Table(
        title=f"mean |forecast - features|, {context} frames of context", title_justify="left", box=SIMPLE_HEAD
    )
    for heading in ("video", "mean", "largest", "at second", "copy-last, mean"):
        table.add_column(heading, justify="left" if heading == "video" else "right")
    courses = {}
    for file in (file for path in clips for file in video_files(path)):
        video = read_video(file, model.size)
        features = model.features(torch.from_numpy(video.frames)[None])
        times = torch.from_numpy(video.times - video.times[0])[None]
        found, copied = (scores(expect, features, times, context)[0] for expect in (model.predictor.predict, copy_last))
        at = float(times[0, 1 + int(found.argmax())])
        table.add_row(file.name, *(f"{value:.3f}" for value in (found.mean(), found.max(), at, copied.mean())))
        courses[file.name] = (times[0, 1:].tolist(), found.tolist())
    Console(highlight=False).print(table)
    write_atomically(out, surprise_picture(courses))
    print(f"wrote {out}")


def model_folder(run: Path, arm: str, seed: int) -> Path:
    """The folder with a world model in a run directory, in what ``forecast`` wrote, or ``run`` itself.

    Raises:
        UserError: there is none.
    """
    if not run.exists():
        raise UserError(f"run is {str(run)!r}, which does not exist; allowed: a run directory or a model's folder")
    candidates = [run / "cells" / arm / f"seed-{seed}" / "model", run / "model", run]
    found = next((folder for folder in candidates if (folder / "config.json").is_file()), None)
    if found is None:
        trained = sorted(str(path.parent.relative_to(run)) for path in run.glob("cells/*/*/model"))
        raise UserError(f"no model of arm {arm!r}, seed {seed} in {run}; trained there: {', '.join(trained) or 'none'}")
    return found


def config_of(run: Path) -> presets.Config:
    """The configuration of a run; the laptop preset where the folder is no run."""
    from tenfold.core.config import from_yaml

    file = run / "config.yaml"
    return from_yaml(presets.Config, file) if file.is_file() else presets.laptop()

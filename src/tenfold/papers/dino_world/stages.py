"""One training of the study: its data, its encoder, and what the arms of a seed share.

Stages of a seed: the small encoder, the predictor of balls, the predictor of the world that is acted in. Everything
is drawn by (seed, what for, step), so that arms see the same clips and an interrupted run goes on with the same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.core.seeding import key_to_seed, numpy_generator, torch_generator
from tenfold.data.video.balls import Balls, BallWorld, ball_videos, real_times
from tenfold.data.video.sampling import Gaps
from tenfold.models.frame_encoder import FrameEncoder, untrained
from tenfold.papers.dino_world import control
from tenfold.papers.dino_world.config import Config
from tenfold.papers.dino_world.dino_wm import DinoWMPredictor
from tenfold.papers.dino_world.encoder import (
    DISCS,
    frozen,
    single_pictures,
    small_vision_model,
    train_vision_model,
)
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.probe import PositionProbe, train_probe
from tenfold.papers.dino_world.saving import (
    WorldModel,
    load_weights,
    load_world_model,
    save_weights,
    save_world_model,
)
from tenfold.papers.dino_world.settings import ClipsConfig
from tenfold.papers.dino_world.training import Clips, forecasting_loss, train_predictor
from tenfold.study.stages import agreed, made_once
from tenfold.train.distributed import compute_device

VALIDATION_CLIPS = 64


@dataclass(frozen=True, eq=False)
class Study:
    """An arm with a seed: configuration, where it is computed and logged, and data by what they are for."""

    config: Config
    cell: Cell

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.cell.seed

    @property
    def device(self) -> torch.device:
        """Where models and features are."""
        return compute_device(self.cell.device)

    @cached_property
    def balls(self) -> BallWorld:
        """The world that is forecast."""
        b = self.config.balls
        return BallWorld(b.size, b.radius, b.slowest, b.fastest)

    def in_cell(self, cell: Cell) -> "Study":
        """The same in another cell: of a stage, or of a part."""
        return Study(self.config, cell)

    def encoded(self, encoder: FrameEncoder, frames: np.ndarray) -> Tensor:
        """Features [B, T, H, W, D] of frames [B, T, 3, h, w]."""
        features: Tensor = encoder(torch.from_numpy(frames).to(self.device))
        return features

    def ball_clips(self, encoder: FrameEncoder, times_NT: np.ndarray, generator: np.random.Generator) -> "Filmed":
        """Clips of balls at given times, with what is true of them."""
        balls = ball_videos(self.balls, times_NT, generator)
        times = torch.from_numpy(np.array(times_NT)).to(self.device)
        return Filmed(Clips(self.encoded(encoder, balls.frames), times), balls)


@dataclass(frozen=True)
class Filmed:
    """Clips of features, and the videos that they are of."""

    clips: Clips
    balls: Balls


def gaps_of(clips: ClipsConfig) -> Gaps:
    """Which frames a clip takes."""
    return Gaps(clips.frames, clips.shortest, clips.longest)


def stop_here(cell: Cell) -> None:
    """Where an arm that trains nothing can be stopped: before it is measured."""
    cell.progress(1, 2, {}, (0.0, "clips/s"))
    if agreed(cell.stop_requested(), cell):
        raise Interrupted(0, cell.directory)


# ----------------------------------------------------------------------------------------------------- encoders


def trained_encoder(study: Study) -> FrameEncoder:
    """The frozen encoder, standardised on balls if the configuration says so: loaded, or trained once for the seed."""
    encoder = _encoder_of_pictures(study)
    return _standardised(study, encoder, _frames_of_balls(study))


def random_encoder(study: Study) -> FrameEncoder:
    """The same architecture with random weights."""
    encoder = untrained(_encoder_of_pictures(study), key_to_seed(study.seed, "random encoder")).to(study.device)
    return _standardised(study, encoder, _frames_of_balls(study))


def control_encoder(study: Study) -> FrameEncoder:
    """The trained encoder, standardised on the world that is acted in."""
    generator = numpy_generator(study.seed, "standardise control")
    frames = control.video_frames(study.config.control, study.config.balls.size, generator, 64)[0]
    return _standardised(study, _encoder_of_pictures(study), frames)


def _encoder_of_pictures(study: Study) -> FrameEncoder:
    config, size = study.config.encoder, study.config.balls.size
    if config.model:
        encoder = FrameEncoder.from_pretrained(config.model)
        if encoder.patch_size != config.patch:
            raise UserError(
                f"encoder.patch = {config.patch}: {config.model} has patches of {encoder.patch_size} pixels"
            )
        return encoder.to(study.device)
    vision_model = made_once(
        study.cell,
        "encoder",
        lambda stage: train_vision_model(
            config,
            size,
            study.config.rates.encoder,
            stage,
            lambda step: single_pictures(numpy_generator(study.seed, "pictures", step), config.batch_size, size),
            DISCS,
        ),
        save=lambda model, folder: save_weights(model, folder / "encoder.safetensors"),
        load=lambda folder: load_weights(small_vision_model(config, size, study.seed), folder / "encoder.safetensors"),
    )
    return frozen(vision_model, DISCS).to(study.device)


def _standardised(study: Study, encoder: FrameEncoder, frames: np.ndarray) -> FrameEncoder:
    return (
        encoder.standardise(torch.from_numpy(frames).to(study.device)) if study.config.encoder.standardise else encoder
    )


def _frames_of_balls(study: Study) -> np.ndarray:
    generator = numpy_generator(study.seed, "standardise")
    times = real_times(generator, gaps_of(study.config.clips), 64)
    return ball_videos(study.balls, times, generator).frames


# ---------------------------------------------------------------------------------------------- balls: predictors


def fresh_predictor(study: Study, dim: int) -> Predictor:
    """DINO-world's predictor with random weights; equal seeds give equal ones."""
    torch.manual_seed(key_to_seed(study.seed, "predictor"))
    return Predictor(study.config.predictor, dim)


def ball_predictor(study: Study) -> Predictor:
    """DINO-world's predictor of balls, trained once for the seed: for seconds and for frame numbers."""

    def make(stage: Cell) -> WorldModel:
        encoder = trained_encoder(study.in_cell(stage))
        return WorldModel(
            train_on_balls(study.in_cell(stage), encoder, study.config.rates.dino_world),
            encoder,
            study.config.balls.size,
        )

    model = made_once(
        study.cell,
        "balls",
        make,
        save=lambda model, folder: save_world_model(model, folder / "model"),
        load=lambda folder: load_world_model(folder / "model", study.device),
    )
    return model.predictor


def train_on_balls(study: Study, encoder: FrameEncoder, rate: float, *, early_median: bool = False) -> Predictor:
    """Train DINO-world's predictor on fresh clips of balls.

    Args:
        study: in the cell that it is logged to.
        encoder: whose features.
        rate: of AdamW.
        early_median: use the last beta from the first step on.
    """
    gaps = gaps_of(study.config.clips)

    def clips_of(step: int) -> Clips:
        generator = numpy_generator(study.seed, "balls", step)
        times = real_times(generator, gaps, study.config.training.batch_size)
        return study.ball_clips(encoder, times, generator).clips

    model: Predictor = train_predictor(
        fresh_predictor(study, encoder.dim),
        clips_of,
        study.config.training,
        rate,
        study.cell,
        first_beta=study.config.training.beta_last if early_median else study.config.training.beta_first,
        evaluate=lambda model, step: {"validation/loss": validation_loss(study, encoder, model, gaps)},
    )
    return model


def train_dino_wm(study: Study, encoder: FrameEncoder, rate: float) -> DinoWMPredictor:
    """Train DINO-WM's predictor on fresh clips at one spacing, for it does not know of times."""
    frames, spacing = study.config.clips.frames, study.config.evaluation.spacing
    gaps = Gaps(frames, spacing, spacing)

    def clips_of(step: int) -> Clips:
        generator = numpy_generator(study.seed, "balls", step)
        times = np.tile(np.arange(frames) * spacing, (study.config.training.batch_size, 1))
        return study.ball_clips(encoder, times, generator).clips

    height, width = encoder.grid(torch.empty(1, 1, 3, study.config.balls.size, study.config.balls.size))
    torch.manual_seed(key_to_seed(study.seed, "predictor"))
    model: DinoWMPredictor = train_predictor(
        DinoWMPredictor(study.config.dino_wm, encoder.dim, height * width),
        clips_of,
        study.config.training,
        rate,
        study.cell,
        evaluate=lambda model, step: {"validation/loss": validation_loss(study, encoder, model, gaps)},
    )
    return model


@torch.no_grad()
def validation_loss(study: Study, encoder: FrameEncoder, model: torch.nn.Module, gaps: Gaps) -> float:
    """The loss on held-out clips, by teacher forcing, with the last beta."""
    generator = numpy_generator(study.seed, "validation")
    times = generator_times(gaps, generator)
    clips = study.ball_clips(encoder, times, generator).clips
    predicted = model(clips.features, clips.times)
    return float(forecasting_loss(predicted, clips.features[:, 1:], study.config.training.beta_last))


def generator_times(gaps: Gaps, generator: np.random.Generator) -> np.ndarray:
    """Times of the validation clips: of common frame rates, or all at one spacing."""
    if gaps.shortest == gaps.longest:
        return np.tile(np.arange(gaps.frames) * gaps.shortest, (VALIDATION_CLIPS, 1))
    return real_times(generator, gaps, VALIDATION_CLIPS)


def probe_of(study: Study, encoder: FrameEncoder, name: str) -> PositionProbe:
    """A position probe on present features, trained once for the seed and the encoder called ``name``."""
    evaluation, size = study.config.evaluation, study.config.balls.size
    grid = encoder.grid(torch.empty(1, 1, 3, size, size))

    def make(stage: Cell) -> PositionProbe:
        generator = numpy_generator(study.seed, "probe")
        times = real_times(generator, gaps_of(study.config.clips), evaluation.probe_clips)
        filmed = study.ball_clips(encoder, times, generator)
        positions = torch.from_numpy(filmed.balls.positions).float().to(study.device)
        torch.manual_seed(key_to_seed(study.seed, "probe"))
        return train_probe(
            PositionProbe(encoder.dim, grid, size).to(study.device),
            filmed.clips.features.flatten(0, 1),
            positions.flatten(0, 1),
            evaluation.probe_updates,
            torch_generator(study.seed, "probe"),
        )

    return made_once(
        study.cell,
        f"probe-{name}",
        make,
        save=lambda probe, folder: save_weights(probe, folder / "probe.safetensors"),
        load=lambda folder: load_weights(
            PositionProbe(encoder.dim, grid, size).requires_grad_(False), folder / "probe.safetensors"
        ).to(study.device),
    )

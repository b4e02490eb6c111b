"""Forecasting videos of a user's own: learn from the first part of each, and measure on the rest.

The encoder is a small one that is trained on single frames of the first part, or a loaded one; the predictor starts as
copy-last (residual output, head at zero), because a camera that stands still makes that hard to beat. What is measured
stands beside copy-last and the mean of each place over the first part, over all tokens and over the tenth of them that
move most. One video and one split are an illustration and no claim.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.data.video.files import Video, read_video, video_files
from tenfold.data.video.sampling import Gaps, nearest, sample_frames
from tenfold.models.feature_cache import FeatureCache
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world.encoder import Pixels, frozen, train_vision_model
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.saving import WorldModel
from tenfold.papers.dino_world.settings import EncoderConfig, PredictorConfig, TrainingConfig
from tenfold.papers.dino_world.training import Clips, forecasting_loss, train_predictor
from tenfold.train.distributed import compute_device

FIRST_PART = 0.7
MOVING = 0.1
"""The share of tokens that move most."""
MOST_TESTED = 200
FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class OwnSettings:
    """How a user's videos are learned from.

    Args:
        size: pixels of the frames' side.
        encoder: a vision transformer of the hub or a folder; empty for a small one that is trained here.
        encoder_steps: of the small encoder's training.
        gaps: of training clips.
        context: frames that are seen before a forecast.
        spacing: seconds between them.
        horizons: seconds ahead that are measured.
        training: of the predictor.
        rate: of the predictor.
        predictor: its size.
    """

    size: int
    encoder: str
    encoder_steps: int
    gaps: Gaps
    context: int
    spacing: float
    horizons: tuple[float, ...]
    training: TrainingConfig
    rate: float
    predictor: PredictorConfig


@dataclass(frozen=True)
class Filmed:
    """A video with the features of all its frames.

    Args:
        video: frames and times.
        features: [N, H, W, D].
        cut: the first frame of the part that is not learned from.
    """

    video: Video
    features: Tensor
    cut: int


def read_videos(path: Path, settings: OwnSettings) -> list[Video]:
    """The videos that are learned from, each long enough for its two parts.

    Raises:
        UserError: a file cannot be read, or is too short.
    """
    videos = [read_video(file, settings.size) for file in video_files(path)]
    needed = (settings.context - 1) * settings.spacing + max(settings.horizons)
    for video in videos:
        duration = float(video.times[-1] - video.times[0])
        if (1 - FIRST_PART) * duration < needed or FIRST_PART * duration < settings.gaps.longest_clip:
            raise UserError(
                f"{video.name}: a video of {duration:.2f} s; its last {1 - FIRST_PART:.0%} must hold {needed:.2f} s, "
                f"and its first {FIRST_PART:.0%} a clip of up to {settings.gaps.longest_clip:.2f} s"
            )
    return videos


def encoder_of(videos: Sequence[Video], settings: OwnSettings, cell: Cell) -> FrameEncoder:
    """The loaded encoder, or one trained on single frames of the first parts; standardised on them."""
    frames = np.concatenate([video.frames[: cut_of(video)] for video in videos])
    if settings.encoder:
        encoder = FrameEncoder.from_pretrained(settings.encoder)
        if settings.size % encoder.patch_size:
            raise UserError(
                f"size = {settings.size}: allowed: multiples of {encoder.patch_size}, the patches of {settings.encoder}"
            )
    else:
        config = EncoderConfig(width=64, steps=settings.encoder_steps, batch_size=64)
        pixels = Pixels(float(frames.mean()) / 255, max(float(frames.std()) / 255, 1e-3))
        model = train_vision_model(
            config, settings.size, 2e-3, cell, lambda step: _drawn(frames, cell.seed, step, config.batch_size), pixels
        )
        encoder = frozen(model.cpu(), pixels)
    some = frames[:: max(1, len(frames) // 256)]
    device = compute_device(cell.device)
    return encoder.to(device).standardise(torch.from_numpy(some)[None].to(device))


def _drawn(frames: np.ndarray, seed: int, step: int, num: int) -> np.ndarray:
    return frames[numpy_generator(seed, "own pictures", step).integers(len(frames), size=num)]


def cut_of(video: Video) -> int:
    """The first frame of the part that is not learned from."""
    return int(np.searchsorted(video.times, video.times[0] + FIRST_PART * (video.times[-1] - video.times[0])))


def film(video: Video, encoder: FrameEncoder, cache: FeatureCache, size: int) -> Filmed:
    """Encode each frame once; the features of frames that were seen before come from the cache."""
    device = encoder.mean_D.device
    key = f"{video.name} {key_to_seed(video.frames[:: max(1, len(video) // 16)].tobytes().hex())}"

    def decode(numbers: Sequence[int]) -> Tensor:
        return torch.from_numpy(video.frames[list(numbers)]).to(device)

    parts = [
        cache.features(encoder, key, range(first, min(first + FRAMES_AT_ONCE, len(video))), (size, size), decode)
        for first in range(0, len(video), FRAMES_AT_ONCE)
    ]
    return Filmed(video, torch.cat(parts), cut_of(video))


def learn(filmed: Sequence[Filmed], settings: OwnSettings, dim: int, cell: Cell) -> Predictor:
    """Train on clips of the first parts; longer videos give more clips."""
    weights = np.array([film.cut for film in filmed], dtype=float)
    torch.manual_seed(key_to_seed(cell.seed, "own predictor"))

    def clips_of(step: int) -> Clips:
        generator = numpy_generator(cell.seed, "own clips", step)
        chosen = generator.choice(len(filmed), settings.training.batch_size, p=weights / weights.sum())
        features, times = [], []
        for number in chosen:
            film = filmed[number]
            (frames,) = sample_frames(film.video.times[: film.cut], settings.gaps, generator, 1)
            features.append(film.features[frames])
            times.append(torch.from_numpy(film.video.times[frames] - film.video.times[frames[0]]))
        return Clips(torch.stack(features), torch.stack(times))

    model: Predictor = train_predictor(
        Predictor(settings.predictor, dim), clips_of, settings.training, settings.rate, cell
    )
    return model


# ---------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Tested:
    """Forecasts of the last parts at one horizon, and what they are compared with, each [N, H, W, D]."""

    horizon: float
    rows: Mapping[str, Tensor]
    truth: Tensor

    def losses(self) -> dict[str, tuple[float, float]]:
        """Smooth-L1 with beta 0.1, over all tokens and over those that move most."""
        moved = (self.truth - self.rows["copy-last"]).abs().mean(-1)
        moving = moved >= moved.flatten().quantile(1 - MOVING)
        return {
            name: (
                float(forecasting_loss(predicted, self.truth, 0.1)),
                float(forecasting_loss(predicted[moving], self.truth[moving], 0.1)),
            )
            for name, predicted in self.rows.items()
        }


@torch.no_grad()
def measure(model: Predictor, filmed: Sequence[Filmed], settings: OwnSettings) -> list[Tested]:
    """Forecasts from contexts all over the last parts, at each horizon."""
    device = next(model.parameters()).device
    features, times = [], []
    for film in filmed:
        for frames in tested_frames(film, settings, max(1, MOST_TESTED // len(filmed))):
            features.append(film.features[frames])
            times.append(torch.from_numpy(film.video.times[frames] - film.video.times[frames[0]]))
    x, tau = torch.stack(features), torch.stack(times)
    mean = torch.cat([film.features[: film.cut] for film in filmed]).mean(0)
    seen = settings.context
    found = []
    for number, horizon in enumerate(settings.horizons):
        asked = tau[:, seen + number, None]
        predicted = model.predict(x[:, :seen].to(device), tau[:, :seen].to(device), asked.to(device))[:, 0].cpu()
        rows = {"forecast": predicted, "copy-last": x[:, seen - 1], "mean of the place": mean.expand_as(predicted)}
        found.append(Tested(horizon, rows, x[:, seen + number]))
    return found


def tested_frames(film: Filmed, settings: OwnSettings, most: int) -> np.ndarray:
    """Numbers of frames of context and targets, [n, context + horizons]: evenly spread over the last part."""
    times = film.video.times
    offsets = np.arange(settings.context) * settings.spacing
    offsets = np.concatenate([offsets, offsets[-1] + np.asarray(settings.horizons)])
    starts = np.linspace(times[film.cut], times[-1] - offsets[-1], most)
    return np.unique(nearest(times, starts[:, None] + offsets), axis=0)


def forecast_videos(
    path: Path, settings: OwnSettings, cell: Cell, cache: Path, report: Callable[[str], None]
) -> tuple[WorldModel, list[Filmed], list[Tested]]:
    """All of it: read, encode, learn, measure.

    Args:
        path: a video or a folder of videos.
        settings: how they are learned from.
        cell: where trainings are logged.
        cache: folder of features.
        report: told in a few words what is being done.
    """
    videos = read_videos(path, settings)
    report(f"{len(videos)} video(s), {sum(map(len, videos))} frames of {settings.size}x{settings.size}")
    trainings = cell.parts(
        {"encoder": 0 if settings.encoder else settings.encoder_steps, "predictor": settings.training.steps}
    )
    encoder = encoder_of(videos, settings, trainings["encoder"])
    filmed = [film(video, encoder, FeatureCache(cache), settings.size) for video in videos]
    report(f"features of {encoder.dim} numbers on {tuple(filmed[0].features.shape[1:3])} patches; learning")
    model = learn(filmed, settings, encoder.dim, trainings["predictor"])
    return WorldModel(model, encoder, settings.size), filmed, measure(model, filmed, settings)

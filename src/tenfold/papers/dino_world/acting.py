"""An arm that learns to act: from a video model or from nothing, on a few labelled clips, and then plans.

All arms of a seed get the same labelled clips, episodes and planner; they differ in what they start from, in what is
trained, and in their learning rate. The video model is a stage of the seed.
"""

from collections.abc import Mapping
from typing import Any

import torch

from tenfold.core.cell import Cell
from tenfold.core.seeding import key_to_seed, numpy_generator, torch_generator
from tenfold.envs.control.worlds import ACTION_DIM
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world import control
from tenfold.papers.dino_world.actions import Mode, start_of
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.saving import WorldModel, load_world_model, save_world_model
from tenfold.papers.dino_world.stages import Study, control_encoder, fresh_predictor
from tenfold.papers.dino_world.training import Clips, forecasting_loss, train_predictor
from tenfold.study.stages import json_made_once, made_once


def video_model(study: Study) -> WorldModel:
    """A predictor of the world's video without actions, trained once for the seed."""

    def make(stage: Cell) -> WorldModel:
        inner = study.in_cell(stage)
        encoder = control_encoder(inner)
        config, training, size = study.config.control, study.config.control.video_training, study.config.balls.size

        def clips_of(step: int) -> Clips:
            generator = numpy_generator(study.seed, "control video", step)
            frames, times = control.video_frames(config, size, generator, training.batch_size)
            return Clips(inner.encoded(encoder, frames), torch.from_numpy(times).to(study.device))

        held_out = clips_of(0)

        @torch.no_grad()
        def evaluate(model: Any, step: int) -> Mapping[str, float]:
            return {"validation/loss": loss_on(model, held_out, training.beta_last)}

        predictor = train_predictor(
            fresh_predictor(inner, encoder.dim), clips_of, training, study.config.rates.video, stage, evaluate=evaluate
        )
        return WorldModel(predictor, encoder, size)

    return made_once(
        study.cell,
        "video",
        make,
        save=lambda model, folder: save_world_model(model, folder / "model"),
        load=lambda folder: load_world_model(folder / "model", study.device),
    )


def train_to_act(study: Study, mode: Mode, rate: float) -> tuple[Predictor, FrameEncoder]:
    """The arm's training on labelled clips.

    Args:
        study: in the arm's cell.
        mode: what it starts from and trains.
        rate: of AdamW.
    """
    start = video_model(study)
    torch.manual_seed(key_to_seed(study.seed, "action blocks"))
    config, training = study.config.control, study.config.control.training
    clips = labelled_clips(study, start.encoder, "labelled", config.labelled)
    held_out = labelled_clips(study, start.encoder, "labelled validation", config.validation)

    def clips_of(step: int) -> Clips:
        chosen = torch.randint(
            config.labelled, (training.batch_size,), generator=torch_generator(study.seed, "labelled batch", step)
        ).to(study.device)
        assert clips.actions is not None
        return Clips(clips.features[chosen], clips.times[chosen], clips.actions[chosen])

    def evaluate(model: Any, step: int) -> Mapping[str, float]:
        return {"validation/loss": loss_on(model, held_out, training.beta_last)}

    model = train_predictor(
        start_of(mode, start.predictor, ACTION_DIM).to(study.device),
        clips_of,
        training,
        rate,
        study.cell,
        evaluate=evaluate,
    )
    return model, start.encoder


def labelled_clips(study: Study, encoder: FrameEncoder, key: str, num: int) -> Clips:
    """Clips with actions."""
    generator = numpy_generator(study.seed, key)
    recording = control.labelled(study.config.control, study.config.balls.size, generator, num)
    return Clips(
        study.encoded(encoder, recording.frames),
        torch.from_numpy(recording.times.copy()).to(study.device),
        torch.from_numpy(recording.actions).to(study.device),
    )


@torch.no_grad()
def loss_on(model: Any, clips: Clips, beta: float) -> float:
    """The loss by teacher forcing."""
    predicted = model(clips.features, clips.times, clips.actions)
    return float(forecasting_loss(predicted, clips.features[:, 1:], beta))


def acting_metrics(study: Study, model: Predictor, encoder: FrameEncoder) -> tuple[dict[str, float], control.Outcome]:
    """Loss on held-out labelled clips beside copy-last, and what planning reaches beside random plans."""
    config, planner = study.config.control, study.config.planner
    held_out = labelled_clips(study, encoder, "labelled test", config.validation)
    beta = config.training.beta_last
    outcome = control.act_by_planning(
        model, encoder, episodes_of(study), config, planner, torch_generator(study.seed, "planner")
    )
    found = outcome.metrics()
    by_chance = success_of_random_plans(study)
    metrics = {
        **found,
        "planning/success_of_random_plans": by_chance,
        "planning/above_three_times_random": found["planning/success"] - 3 * by_chance,
        "acting/loss": loss_on(model, held_out, beta),
        "acting/loss_of_copy_last": float(forecasting_loss(held_out.features[:, :-1], held_out.features[:, 1:], beta)),
    }
    return metrics, outcome


def episodes_of(study: Study) -> control.Episodes:
    """The episodes of the seed."""
    generator = numpy_generator(study.seed, "episodes")
    return control.draw_episodes(study.config.control, study.config.planner, study.config.balls.size, generator)


def success_of_random_plans(study: Study) -> float:
    """What smooth plans reach that know no goal, measured once for the seed."""

    def make(stage: Cell) -> float:
        outcome = control.act_randomly(episodes_of(study), study.config.planner.horizon)
        return outcome.metrics()["planning/success"]

    return float(json_made_once(study.cell, "random-plans", make))

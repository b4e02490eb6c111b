"""The verbs on a small run and on a video that is written here: what they leave, and what they refuse."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.core.cell import Cell
from tenfold.core.config import to_yaml
from tenfold.core.errors import UserError
from tenfold.data.video.balls import BallWorld, ball_videos
from tenfold.papers.dino_world import commands
from tenfold.papers.dino_world.actions import with_actions
from tenfold.papers.dino_world.config import smoke
from tenfold.papers.dino_world.encoder import DISCS, frozen, small_vision_model
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.own_video import FIRST_PART, cut_of
from tenfold.papers.dino_world.saving import WorldModel, load_world_model, save_world_model
from tenfold.papers.dino_world.settings import PredictorConfig

av = pytest.importorskip("av", reason="needs PyAV: pip install 'tenfold[video]'")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Six seconds of a ball at 25 frames a second, 48 x 64 pixels."""
    path = tmp_path_factory.mktemp("video") / "ball.mkv"
    balls = ball_videos(
        BallWorld(size=64, radius=7.0, fastest=40.0), np.arange(150)[None] / 25, np.random.default_rng(0)
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for frame in balls.frames[0, :, :, :48]:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.moveaxis(frame, 0, -1)), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder as a run leaves it, with fresh models."""
    folder, config = tmp_path_factory.mktemp("run"), smoke()
    (folder / "config.yaml").write_text(to_yaml(config))
    encoder = frozen(small_vision_model(config.encoder, 32, 0), DISCS)
    torch.manual_seed(0)
    model = Predictor(PredictorConfig(blocks=1, width=48, heads=1, layer_scale=0.0), encoder.dim)
    for arm, predictor in (("dino_world", model), ("finetune", with_actions(model, 2))):
        save_world_model(WorldModel(predictor.eval(), encoder, 32), folder / "cells" / arm / "seed-0" / "model")
    return folder


def printed(function, *arguments, **options):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(*arguments, **options)
    return text.getvalue()


@pytest.fixture(scope="module")
def forecast_of(video, tmp_path_factory):
    out = tmp_path_factory.mktemp("forecast")
    text = printed(commands.forecast, video, out, size=32, encoder_steps=2, steps=3, longest=0.4, device="cpu")
    return out, text


def test_forecast_shows_the_rest_beside_copy_last_and_the_place_mean(forecast_of):
    out, text = forecast_of
    assert all(name in text for name in ("forecast", "copy-last", "mean of the place", "0.2", "0.6", "an illustration"))
    with Image.open(out / "strip.gif") as moving:
        assert moving.n_frames == 6, "four frames of context and two horizons"
    assert all((out / name).read_bytes().startswith(b"<?xml") for name in ("strip.svg", "losses.svg"))


def test_forecast_starts_as_copy_last(forecast_of):
    model = load_world_model(forecast_of[0] / "model")
    assert model.predictor.config.residual_output and model.size == 32


def test_forecast_learns_from_the_first_part_alone(video, tmp_path, monkeypatch):
    from tenfold.papers.dino_world import own_video

    seen = []
    monkeypatch.setattr(own_video, "sample_frames", lambda times, *rest: seen.append(times) or np.arange(5)[None])
    settings = dict(size=32, encoder_steps=1, steps=2, longest=0.4, device="cpu")
    printed(commands.forecast, video, tmp_path, **settings)
    assert seen and all(times[-1] < FIRST_PART * 149 / 25 + 1e-6 for times in seen)


def test_the_cut_is_at_seven_tenths_of_the_time(video):
    from tenfold.data.video.files import read_video

    whole = read_video(video, 32)
    assert whole.times[cut_of(whole)] - whole.times[0] == pytest.approx(
        0.7 * (whole.times[-1] - whole.times[0]), abs=0.05
    )


def test_surprise_scores_each_video(run, video, tmp_path):
    text = printed(commands.surprise, run, (video, video), tmp_path / "surprise.svg")
    assert text.count("ball.mkv") == 2 and (tmp_path / "surprise.svg").read_bytes().startswith(b"<?xml")


def test_plan_acts_in_fresh_episodes_and_draws_them(run, tmp_path):
    text = printed(commands.plan, run, tmp_path / "plan.svg", episodes=2)
    assert "by planning" in text and "by chance" in text
    assert (tmp_path / "plan.svg").read_bytes().startswith(b"<?xml")


def test_what_verbs_cannot_use_is_refused(run, video, tmp_path):
    with pytest.raises(UserError, match=r"no model of arm 'other', seed 0 in .*; trained there: cells/dino_world"):
        commands.plan(run, tmp_path / "plan.svg", arm="other")
    with pytest.raises(UserError, match="a model without actions"):
        commands.plan(run, tmp_path / "plan.svg", arm="dino_world")
    with pytest.raises(UserError, match="a model with actions"):
        commands.surprise(run, (video,), tmp_path / "surprise.svg", arm="finetune")
    with pytest.raises(UserError, match="usage: tenfold surprise"):
        commands.surprise(run, (), tmp_path / "surprise.svg")
    with pytest.raises(UserError, match="which does not exist"):
        commands.plan(tmp_path / "nowhere", tmp_path / "plan.svg")
    with pytest.raises(UserError, match=r"ball\.mkv: a video of 5\.96 s; its last 30% must hold 3\.60 s"):
        commands.forecast(video, tmp_path / "out", size=32, horizons=(3.0,))
    with pytest.raises(UserError, match="device = tpu: allowed: auto, cpu, cuda"):
        commands.forecast(video, tmp_path / "out", device="tpu")


def test_cells_are_where_trainings_are_logged(forecast_of):
    cell = Cell(arm="own", seed=0, directory=forecast_of[0] / "training" / "predictor")
    assert cell.curves()["train/loss"]

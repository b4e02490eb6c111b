"""What a step of pre-training takes, and which share of it generating its data: what ``throughput`` prints."""

import time

import torch

from tenfold.papers.universal_pretraining.config import Config
from tenfold.papers.universal_pretraining.optimization import build_model, make_optimizer, next_token_loss
from tenfold.papers.universal_pretraining.pretrain import random_computation
from tenfold.papers.universal_pretraining.recipe import ARMS
from tenfold.train.distributed import compute_device


def time_of_a_step(config: Config, steps: int, device: str) -> dict[str, tuple[float, float, int]]:
    """Arm to (seconds of generating, seconds of training, tokens) of a step of pre-training, after two to warm up."""
    context, batch_size = config.model.context, config.pretraining.batch_size
    place = compute_device(device)
    times = {}
    for name, arm in ARMS.items():
        if arm.data is None:
            continue
        model = build_model(config.model, seed=0).to(place)
        (optimizer,) = make_optimizer(1e-3, config.pretraining, config.model.width)(model)
        data = random_computation(config.generator, context, arm.data)
        state = data.initial(0, device=place)
        generating = training = 0.0
        for step in range(2 + steps):
            started = _now(place)
            state, rows_BL = data.next(state, batch_size, 0)
            generated = _now(place)
            next_token_loss(model, rows_BL).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step >= 2:
                generating += generated - started
                training += _now(place) - generated
        times[name] = (generating / steps, training / steps, batch_size * context)
    return times


def _now(place: torch.device) -> float:
    if place.type != "cpu":
        torch.accelerator.synchronize(place)
    return time.perf_counter()

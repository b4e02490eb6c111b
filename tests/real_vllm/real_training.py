"""GRPO with a real server, here and in two processes."""

import socket
from pathlib import Path

import torch
from datasets import Dataset
from recorded_policy import recorded_policy
from served_training import shard_on_cpu

from tenfold.core.cell import Cell
from tenfold.policies import load_policy
from tenfold.train.grpo import grpo
from tenfold.train.settings import EngineSettings, GRPOSettings, OptimizerSettings

QUESTIONS = Dataset.from_dict({"prompt": ["1+2=", "7+1=", "Ten", "3.14"]})


def smollm2():
    return load_policy("smollm2-135m")


def many_vowels(prompts, completions, **columns):
    """The share of vowels and digits: something that a few steps can raise."""
    return [sum(letter in "aeiou0123456789" for letter in text) / (len(text) + 1) for text in completions]


def settings_of(url, steps):
    return GRPOSettings(
        steps=steps,
        prompts_per_step=2,
        num_generations=4,
        max_completion_length=16,
        loss_type="dapo",
        optimizer=OptimizerSettings(learning_rate=1e-4),
        engine=EngineSettings("served", urls=(url,), seconds=120.0),
        log_every=1,
        checkpoint_every=2,
    )


def cell_of(directory):
    return Cell(arm="served", seed=0, directory=Path(directory), device="cpu")


def train(policy, url, cell, steps):
    return grpo(policy, QUESTIONS, (many_vowels,), settings_of(url, steps), cell)


def train_sharded(url, directory, steps):
    """In each of two processes."""
    shard_on_cpu()
    cell = cell_of(directory)
    trained = train(recorded_policy(), url, cell, steps)
    if cell.is_main:
        torch.save(trained.model.state_dict(), directory / "weights.pt")


def launch_sharded(start, url, directory, steps, log):
    """Two processes that find each other as torchrun's do."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        start(
            train_sharded,
            url,
            directory,
            steps,
            log=log.with_name(f"log-{rank}"),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            **shared,
        )
        for rank in range(2)
    ]

"""GRPO with completions from a stand-in server, here and in two processes that shard the model with FSDP2."""

import hashlib
import os
import random
from dataclasses import replace

import torch
from language_training import ALPHABET, GRPO, cell_of, digits, likely, policy, short, sums, train_sft, weights_of
from stopping import StopAfter

from tenfold.core.errors import Interrupted, UserError
from tenfold.train.grpo import grpo
from tenfold.train.settings import EngineSettings, LoraSettings
from tenfold.train.weighting import Weighting

ON_POLICY = replace(GRPO, updates_per_generation=1, log_every=1, checkpoint_every=2)


SHORT = {"steps": 4, "largest_difference": 9.0}


def recorded(ids, request):
    """Tokens and log-probabilities that depend on the request alone, as if they had been recorded."""
    digest = hashlib.sha256(repr((ids, request["seed"])).encode()).digest()
    noise = random.Random(digest)
    length = noise.randint(1, request["max_tokens"])
    first = policy().encode(ALPHABET[0])[0]
    tokens = [first + noise.randrange(len(ALPHABET) - 1) for _ in range(length)]
    if length < request["max_tokens"]:
        tokens.append(request["stop_token_ids"][0])
    return tokens, [-2.5 + noise.random() for _ in tokens]


def settings_of(url, loss_type="dapo", lora=LoraSettings(), **options):  # noqa: B008
    engine = EngineSettings("served", urls=(url,), **options)
    return replace(ON_POLICY, loss_type=loss_type, engine=engine, lora=lora)


def train(directory, url, loss_type="dapo", steps=8, beta=0.0, stop=0, **options):
    """A training on whatever the server says; the log and the weights are in ``directory``."""
    display = StopAfter(stop) if stop else None
    cell = cell_of("served", directory, display=display)
    if display is not None:
        display.cell = cell
    settings = replace(settings_of(url, loss_type, **options), steps=steps, beta=beta)
    trained = grpo(policy(), sums(), (digits, short), settings, cell)
    if cell.is_main:
        torch.save(weights_of(trained), directory / "weights.pt")
    return trained


def shard_on_cpu(layer="LlamaDecoderLayer"):
    """Have accelerate shard with FSDP2 here: it does so for accelerators alone, so gloo's processes pass for such."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    os.environ.update(
        ACCELERATE_USE_FSDP="true",
        FSDP_VERSION="2",
        FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
        FSDP_TRANSFORMER_CLS_TO_WRAP=layer,
        FSDP_STATE_DICT_TYPE="SHARDED_STATE_DICT",
        FSDP_RESHARD_AFTER_FORWARD="true",
    )
    plain = PartialState.__init__

    def with_accelerators(state, *arguments, **options):
        plain(state, *arguments, **options)
        if state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = with_accelerators


def train_sharded(directory, url):
    """All loss types whose value does not depend on the number of processes; one stopped and resumed, one with KL."""
    shard_on_cpu()
    for loss_type in ("dapo", "dr_grpo"):
        train(directory / loss_type, url, loss_type, **SHORT)
    train(directory / "kl", url, beta=0.1, **SHORT)
    try:
        train(directory / "resumed", url, stop=1, **SHORT)
    except Interrupted as stopped:
        assert stopped.step == 2
    assert_sharded(directory / "resumed" / "checkpoints" / "step-00000002")


def assert_sharded(checkpoint):
    from accelerate.state import AcceleratorState

    assert AcceleratorState().is_fsdp2
    shards = list(checkpoint.glob("pytorch_model_fsdp_0/*.distcp"))
    assert len(shards) == 2 and all(shard.stat().st_size > 1000 for shard in shards), "each process saves its part"


def resume_sharded(directory, url):
    shard_on_cpu()
    train(directory / "resumed", url, **SHORT)


def sample_from_shards(directory):
    shard_on_cpu()
    try:
        grpo(policy(), sums(), (digits, short), ON_POLICY, cell_of("in_process", directory / "in_process"))
    except UserError as error:
        (directory / "told").write_text(str(error))


WEIGHTING = Weighting(likely, columns=("quality",), reference="initial")


def sft_sharded(directory):
    shard_on_cpu()
    cell = cell_of("sft", directory / "sft")
    trained = train_sft(cell, weighting=WEIGHTING)
    assert_sharded(directory / "sft" / "checkpoints" / "step-00000008")
    if cell.is_main:
        torch.save(weights_of(trained), directory / "sft" / "weights.pt")

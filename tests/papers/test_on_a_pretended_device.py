"""Every study on a device that is pretended (``tests/pretended.py``): no tensor is on the wrong side.

Joining is a matter of having a folder. The headline's arm of each study runs its smoke preset, cut to three steps of
each training, on the device: data, warm starts, training steps, rollouts, evaluation, checkpoints. Every training in
it, and every stage, is asked to stop after its first step, and resumed. What accelerate and trl do with a device is not
run here.
"""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from pretended import PRODUCTS, pretended_device
from torch.utils._python_dispatch import TorchDispatchMode

from tenfold.core import discovery, timing
from tenfold.core.cell import Cell
from tenfold.core.config import from_plain, leaves, to_plain
from tenfold.core.errors import Interrupted, UserError
from tenfold.train import loop

MOST = {
    "warmup_steps": math.inf,
    "ns_steps": math.inf,
    "steps": 3,
    "num_test": 16,
    "num_validation": 8,
    "num_ballots": 4,
}
"""Most of what a name ends in, the first that fits."""
ON_THE_HOST = {
    "papers/rlcr/baselines.py": "a probe is fitted to a few states in float64",
    "papers/rlcr/bandit.py": "exact gradients on six arms",
}
"""Files whose products of matrices are made on the host on purpose, and which they are."""
MOST_CROSSINGS = {
    "hrm": 6,
    "iw_sft": 8,
    "iw_sft/gymnasium": 8,
    "kimi_k2": 6,
    "msa": 40,
    "rrvf": 31,
    "universal_pretraining": 28,
}
"""Of a step of ``tenfold.train.loop``, as they are now: its rows, its draws, and whether its gradients are finite. RRVF
draws and compares on the host what its policy says, word by word."""
USUAL_CROSSINGS = 8
WITHOUT_CROSSINGS = ("optim/qk_scores.py", "optim/observed_attention.py")
"""What runs in each layer of each forward pass."""
ON_ONE_DEVICE = 80e9
FITS = 0.95  # of the device: what a step keeps is counted in float32, of which bfloat16 takes half
# Study and task to why; all other published settings fit one device.
MORE_THAN_ONE_DEVICE = {
    ("cort", "prompt-hint-sft-32b"): "a language model of 32 billion parameters",
    ("cort", "hint-engineering-sft-32b"): "a language model of 32 billion parameters",
    ("cort", "hint-engineering-rft-32b"): "a language model of 32 billion parameters",
    ("dino_world", "video"): "a batch of 1,024 clips at 224 pixels in one piece, and 1.1 billion parameters",
    ("dino_world", "wall"): "a batch of 1,024 clips at 224 pixels in one piece",
    ("dino_world", "maze"): "a batch of 1,024 clips at 224 pixels in one piece",
    ("iw_sft/language", "s1k"): "a language model of 32 billion parameters",
    ("kimi_k2", "k2"): "a trillion parameters",
    ("rlcr", "hotpotqa"): "a language model of 7 billion parameters, trained in full",
    ("rlcr", "big-math"): "a language model of 7 billion parameters, trained in full",
    ("sem", "qwen2.5-7b"): "a language model of 7 billion parameters, trained in full",
    ("sem", "qwen2.5-14b"): "a language model of 14 billion parameters, trained in full",
    ("universal_pretraining", "width-1536"): "the authors' pieces of a batch, which decide how much is generated",
}
"""Published settings that want a larger device, or several with a sharded model, and why."""
SCALING_OUT = Path(__file__).parents[2] / "docs" / "scaling-out.md"
STUDIES = discovery.studies()

each_study = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)


def cut(study, preset="smoke"):
    """A preset with at most three steps of each training, and few questions.

    trl sees a request to stop at the end of the next step, so that the second of three is the first to be resumed from.
    """
    config = discovery.preset_config(study.name, preset)
    plain = to_plain(config)
    for field, value in leaves(config).items():
        most = next((most for end, most in MOST.items() if field.endswith(end)), math.inf)
        if isinstance(value, int) and value > most:
            *groups, last = field.split(".")
            holder = plain
            for group in groups:
                holder = holder[group]
            holder[last] = most
    return from_plain(type(config), plain)


def for_gpus(study):
    """The presets for GPUs, by name."""
    module = discovery.config_module(study.name)
    large = {"gpu": module.gpu()} if "gpu" in discovery.presets_of(study.name) else {}
    if hasattr(module, "paper"):
        large |= {f"paper --task {task}": module.paper(task=task) for task in module.TASKS}
    return large


def headline_arm(study):
    return next(claim.arm for claim in discovery.recipe_module(study.name).CLAIMS if claim.headline)


def run(study, folder, device="auto", preset="smoke"):
    arm = headline_arm(study)
    cell = Cell(arm=arm, seed=0, directory=folder / "arm", shared_directory=folder / "shared", device=device)
    return discovery.recipe_module(study.name).run(cut(study, preset), arm, 0, cell)


def stop_each_training_once(patch):
    """Every training is asked to stop after its first step, the first time; returns where."""
    stopped = []
    progress = Cell.progress

    def progress_and_stop(cell, step, total, metrics, rate):
        progress(cell, step, total, metrics, rate)
        is_whole = bool(cell._parts)  # which shows the steps of a training, and trains nothing itself
        if not is_whole and cell.directory not in stopped and 0 < step < total:
            stopped.append(cell.directory)
            cell.request_stop()

    patch.setattr(Cell, "progress", progress_and_stop)
    return stopped


def shorten_what_is_on_the_host(patch):
    """A probe's fit, and exact gradients, take thousands of steps, in which there is nothing to see."""
    from tenfold.papers.rlcr import recipe

    patch.setattr(recipe, "ascend", partial(recipe.ascend, steps=2))
    begin = torch.optim.LBFGS.__init__

    def begin_with_few(optimizer, *args, **options):
        begin(optimizer, *args, **options | {"max_iter": 2})

    patch.setattr(torch.optim.LBFGS, "__init__", begin_with_few)


def counted_in_each_step(patch, on):
    """What crosses in each step of ``tenfold.train.loop``, from now on."""
    crossings = []
    step = loop._Loop.step

    def step_and_count(own, step_function):
        before = on.num_crossings
        step(own, step_function)
        crossings.append(on.num_crossings - before)

    patch.setattr(loop._Loop, "step", step_and_count)
    return crossings


@each_study
def test_an_arm_trains_stops_and_goes_on_there(study, tmp_path, monkeypatch, forget_precision):
    stopped = stop_each_training_once(monkeypatch)
    shorten_what_is_on_the_host(monkeypatch)
    scores, interruptions = None, 0
    with pretended_device() as on:
        crossings = counted_in_each_step(monkeypatch, on)
        while scores is None:
            try:
                scores = run(study, tmp_path)
            except Interrupted:
                interruptions += 1
                forget_precision()
    assert stopped and on.operations
    assert interruptions == len(stopped), "each training was interrupted once"
    assert any(math.isfinite(value) for value in scores.metrics.values())
    assert {place: times for place, times in on.products.items() if place.split(":")[0] not in ON_THE_HOST} == {}
    assert max(crossings, default=0) <= MOST_CROSSINGS.get(study.name, USUAL_CROSSINGS), on.crossings
    assert not [place for place in on.crossings if place.startswith(WITHOUT_CROSSINGS)]


@each_study
def test_an_absent_device_is_refused_before_anything_is_computed(study, tmp_path):
    products = ProductsCounted()
    with products, pytest.raises(UserError, match="device = cuda"):
        run(study, tmp_path, device="cuda")
    assert products.number == 0
    assert not list(tmp_path.rglob("made.json")) and not list(tmp_path.rglob("*.safetensors"))


class ProductsCounted(TorchDispatchMode):
    """Counts products of matrices, of which whatever runs a model makes some."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func._schema.name.partition("::")[2] in PRODUCTS
        return func(*args, **(kwargs or {}))


@each_study
def test_the_preset_for_one_gpu_fits_by_its_own_estimate(study):
    if "gpu" not in discovery.presets_of(study.name):
        pytest.skip("the study has no preset for a GPU")
    needed = discovery.recipe_module(study.name).estimate(discovery.preset_config(study.name, "gpu"))["memory_bytes"]
    assert 0 < needed < FITS * ON_ONE_DEVICE


@each_study
def test_published_settings_fit_one_gpu_or_are_known_not_to(study):
    module, recipe = discovery.config_module(study.name), discovery.recipe_module(study.name)
    if not hasattr(module, "paper"):
        pytest.skip("the study has no published setting")
    needed = {task: recipe.estimate(module.paper(task=task))["memory_bytes"] for task in module.TASKS}
    too_large = {task for task, memory in needed.items() if memory > FITS * ON_ONE_DEVICE}
    assert too_large == {task for name, task in MORE_THAN_ONE_DEVICE if name == study.name}


@each_study
def test_presets_for_gpus_do_not_sample_a_whole_round_at_once(study):
    """Keys and values of a round are most of what reinforcement takes, and the estimate may hide them behind others."""
    for name, config in for_gpus(study).items():
        values = leaves(config)
        if not values.get("policy.model"):
            continue  # the rounds of a tiny policy are small
        rounds = [field.removesuffix("rollout_batch_size") for field in values if field.endswith("rollout_batch_size")]
        for training in rounds:
            batch = values[f"{training}prompts_per_step"] * values[f"{training}num_generations"]
            sampled = values[f"{training}rollout_batch_size"]
            assert 0 < sampled < batch or not values[f"{training}steps"], f"{name}: {training}rollout_batch_size"


@pytest.mark.gpu
@each_study
@pytest.mark.parametrize("preset", ["smoke", "gpu"])
def test_the_first_steps_on_a_gpu(study, preset, tmp_path):
    """What ``make test-gpu`` runs: the headline's arm, three steps of each training. Weights and data must be there."""
    if preset not in discovery.presets_of(study.name):
        pytest.skip("the study has no preset for a GPU")
    try:
        scores = run(study, tmp_path, device="cuda", preset=preset)
    except UserError as error:
        if "device" in str(error):
            raise
        pytest.skip(f"needs what is not here: {error}")
    assert any(math.isfinite(value) for value in scores.metrics.values())


@each_study
def test_the_table_of_presets_says_what_is_so(study):
    """Every preset for GPUs is in ``docs/scaling-out.md``, with its own estimate."""
    table = SCALING_OUT.read_text()
    for name, config in for_gpus(study).items():
        memory = timing.size(discovery.recipe_module(study.name).estimate(config)["memory_bytes"])
        assert f"| `{study.name}` | `{name}` | {memory} | no | code, at the size of smoke |" in table

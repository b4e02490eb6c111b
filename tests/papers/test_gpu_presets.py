"""The presets for one GPU, run here with tiny random weights, few rows and few steps.

What is left as it is: precision, adapters, optimizer and schedule, loss, rewards, stop strings, prompts and data.
"""

from dataclasses import replace

import pytest

from tenfold.core.cell import Cell, read_stages
from tenfold.models.frame_encoder import small_vision_transformer
from tenfold.papers.cort import config as cort
from tenfold.papers.cort import recipe as cort_recipe
from tenfold.papers.dino_world import config as dino_world
from tenfold.papers.dino_world import recipe as dino_world_recipe
from tenfold.papers.iw_sft.language import config as iw_sft
from tenfold.papers.iw_sft.language import recipe as iw_sft_recipe
from tenfold.papers.rlcr import config as rlcr
from tenfold.papers.rlcr import recipe as rlcr_recipe
from tenfold.policies import tiny_policy


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder as ``load_policy`` takes it, with a chat template and room for long prompts."""
    folder = tmp_path_factory.mktemp("weights")
    tiny_policy(width=16, layers=1, heads=2, context=2048).save(folder)
    return str(folder)


def test_rlcr_on_one_gpu(tmp_path, weights):
    preset = rlcr.gpu()
    assert preset.policy.model == "smollm2-135m" and preset.training.mixed_precision == "bf16"
    warm = replace(preset.warm_start.training, steps=2, batch_size=4)
    training = replace(preset.training, steps=2, prompts_per_step=4, num_generations=4, log_every=1)
    config = replace(
        preset,
        task=replace(preset.task, num_validation=4, num_test=8),
        policy=replace(preset.policy, model=weights),
        warm_start=replace(preset.warm_start, num_examples=8, training=warm),
        training=training,
        ablation_steps=2,
        evaluation=replace(preset.evaluation, num_ballots=4),
    )
    scores = rlcr_recipe.run(config, "rlcr", 0, Cell(arm="rlcr", seed=0, directory=tmp_path, device="cpu"))
    assert 0 <= scores.metrics["test/brier"] <= 1
    entropies = [value for name, curve in scores.curves.items() if name.endswith("train/entropy") for _, value in curve]
    assert len(entropies) >= 2 and all(value > 0 for value in entropies)


@pytest.mark.parametrize("arm", ["sft", "iw_sft"])
def test_iw_sft_on_one_gpu(tmp_path, weights, arm):
    preset = iw_sft.gpu()
    assert preset.policy.model == "smollm2-135m" and preset.fine_tuning.lora.rank == 16
    short = replace(preset.fine_tuning, steps=2, batch_size=4, log_every=1)
    config = replace(
        preset,
        cloning=short,
        fine_tuning=short,
        policy=replace(preset.policy, model=weights),
        task=replace(preset.task, num_traces=24, num_test=4),
    )
    scores = iw_sft_recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path, device="cpu"))
    assert 0 <= scores.metrics["test/score"] <= 1
    assert (scores.metrics["weights/effective_exponent"] > 0) == (arm == "iw_sft")


def test_cort_on_one_gpu(tmp_path, weights):
    """Through all stages of arm rl; random weights get nothing right, so that wrong traces are kept."""
    preset = cort.gpu()
    assert preset.policy.model == "smollm2-135m" and preset.sft.mixed_precision == "bf16"
    assert preset.base.programs.steps == 0 and preset.base.thinking.steps > 0
    short = replace(preset.sft, steps=2, batch_size=4, log_every=1)
    grpo = replace(preset.grpo, steps=2, prompts_per_step=2, num_generations=2, max_completion_length=24)
    config = replace(
        preset,
        task=replace(preset.task, num_validation=2, num_test=4),
        policy=replace(preset.policy, model=weights),
        base=replace(preset.base, num_problems=8, thinking=replace(preset.base.thinking, steps=2, batch_size=4)),
        traces=replace(
            preset.traces,
            num_problems=6,
            num_examples=4,
            num_hinted=2,
            rft_samples=1,
            max_new_tokens=24,
            only_right=False,
        ),
        sft=short,
        grpo=replace(grpo, log_every=1, evaluate_every=2),
        evaluation=replace(preset.evaluation, max_new_tokens=24),
    )
    cell = Cell(arm="rl", seed=0, directory=tmp_path / "rl", shared_directory=tmp_path / "shared", device="cpu")
    scores = cort_recipe.run(config, "rl", 0, cell)
    assert scores.metrics["test/model_tokens"] > 0 and "base_hinted/accuracy" in scores.metrics
    stages = read_stages(tmp_path / "shared")
    assert len(scores.curves["reinforcement/train/reward"]) == 2 and len(stages["rft"].curves["train/loss"]) == 2
    assert "programs" not in stages and len(stages["thinking"].curves["train/loss"]) >= 1


@pytest.mark.parametrize("arm", ["random_encoder", "finetune"])
def test_dino_world_on_one_gpu(tmp_path, arm):
    """Its encoder is loaded from a folder; FlexAttention, which has no backward pass on a CPU, gives way."""
    encoder = small_vision_transformer(width=16, blocks=1, heads=2, patch=14, registers=4, size=28, seed=0)
    encoder.save_pretrained(tmp_path / "encoder")
    preset, tiny = dino_world.gpu(), dino_world.smoke()
    assert preset.predictor.attention == "flex" and preset.encoder.model and not preset.encoder.standardise
    config = replace(
        tiny,
        balls=replace(preset.balls, size=28, radius=3.0, slowest=4.0, fastest=20.0),
        encoder=replace(preset.encoder, model=str(tmp_path / "encoder")),
        predictor=replace(preset.predictor, blocks=1, width=48, heads=1, attention="sdpa"),
        training=replace(preset.training, steps=2, batch_size=2, gradient_accumulation=2, log_every=1),
    )
    scores = dino_world_recipe.run(config, arm, 0, Cell(arm=arm, seed=0, directory=tmp_path / "cell", device="cpu"))
    assert scores.curves["train/loss"]
    assert (tmp_path / "cell" / "model" / "encoder" / "model.safetensors").is_file()

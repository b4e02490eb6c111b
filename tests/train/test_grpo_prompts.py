"""A prompt of one's own reaches the rollout, with its key and features; the loss of training would not see these."""

import pytest
import torch
import transformers
from datasets import Dataset
from language_training import cell_of, policy, train_grpo
from trl import GRPOConfig

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt
from tenfold.train.grpo import RolloutGRPOTrainer
from tenfold.train.trl_run import quiet

IMAGE, SIDE = 39, 8  # the token that stands for a quarter of an image, and pixels along an edge
ROWS = Dataset.from_dict({"prompt": ["1+2="] * 4, "drawing": [0.0, 1.0, 2.0, 3.0]})


def image_model():
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    ends = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=4, projection_dim=16),
        text_config=transformers.LlamaConfig(**sizes, **ends, vocab_size=40, max_position_embeddings=64),
        image_token_id=IMAGE,
    )
    return transformers.LlavaForConditionalGeneration(config)


def pixels_of(row):
    generator = torch.Generator().manual_seed(int(row["drawing"]))
    return torch.randn(1, 3, SIDE, SIDE, generator=generator)


def drawing(actor, row):
    """The row's text after its image."""
    ids = (*[IMAGE] * 4, *actor.encode(row["prompt"]))
    return Prompt(ids, key=row["drawing"], features={"pixel_values": pixels_of(row)})


def trainer_of(directory, recorded, prompt_of=drawing, **options):
    def reward(prompts, completions, trajectory, **columns):
        recorded.append((prompts, trajectory, columns))
        return [float(len(one.token_ids)) for one in trajectory]

    arguments = GRPOConfig(
        output_dir=str(directory),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        dataloader_pin_memory=False,
        max_completion_length=4,
        per_device_train_batch_size=8,
        num_generations=2,
        max_steps=1,
        disable_tqdm=True,
    )
    with quiet():
        return RolloutGRPOTrainer(
            image_model(),
            [reward],
            arguments,
            processing_class=policy().tokenizer,
            train_dataset=ROWS,
            eval_dataset=ROWS,
            prompt_of=prompt_of,
            **options,
        )


def test_features_of_a_row_reach_the_rollout_and_its_trajectories(tmp_path):
    recorded, fed = [], []
    trainer = trainer_of(tmp_path, recorded)
    trainer.model.register_forward_pre_hook(lambda module, args, given: fed.append(given), with_kwargs=True)
    with quiet():
        trainer.evaluate()
    ((prompts, trajectories, columns),) = recorded
    assert prompts == ["1+2="] * 8, "rewards read the column"
    for number, trajectory in zip(columns["drawing"], trajectories, strict=True):
        assert trajectory.prompt_ids == (*[IMAGE] * 4, *policy().encode("1+2="))
        assert torch.equal(trajectory.features["pixel_values"], pixels_of({"drawing": number}))
    shown = fed[0]["pixel_values"]
    each_once = [pixels_of({"drawing": number}) for number in columns["drawing"][::2]]
    assert len(each_once) == 4 and torch.equal(shown, torch.cat(each_once)), "though their tokens are equal"


def test_training_on_what_the_loss_would_not_see_is_refused(tmp_path):
    with (
        quiet(),
        pytest.raises(UserError, match="prompt_of: gave features = pixel_values, which the loss would not see"),
    ):
        trainer_of(tmp_path, []).train()


def test_prompts_without_features_are_trained_on(tmp_path):
    seen = []

    def backwards(actor, row):
        return Prompt(tuple(actor.encode(row["prompt"][::-1])), key=row["answer"])

    def recorded(prompts, completions, trajectory, **columns):
        seen.extend(zip(prompts, trajectory, strict=True))
        return [float(one.token_ids[0]) for one in trajectory]

    train_grpo(cell_of("grpo", tmp_path), rewards=(recorded,), prompt_of=backwards, evaluate=None)
    assert len(seen) == 8 * 16
    assert all(policy().decode(one.prompt_ids) == text[::-1] for text, one in seen)


def test_a_limit_of_prompts_that_would_not_act_is_refused(tmp_path):
    with pytest.raises(UserError, match="max_prompt_length = 3: must be 0 with prompt_of"):
        trainer_of(tmp_path, [], max_prompt_length=3)

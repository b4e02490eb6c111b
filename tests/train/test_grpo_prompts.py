"""A prompt of one's own reaches the rollout and the loss, with its key and features."""

import pytest
import torch
import transformers
from datasets import Dataset
from language_training import cell_of, policy, train_grpo
from trl import GRPOConfig

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt
from tenfold.train.grpo import RolloutGRPOTrainer
from tenfold.train.policy_loss import GRPOLoss, PolicyLoss
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
        return [float(sum(one.token_ids) % 7) for one in trajectory]

    ours = {name: options.pop(name) for name in ("policy_loss", "max_prompt_length") if name in options}
    arguments = GRPOConfig(
        output_dir=str(directory),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        dataloader_pin_memory=False,
        max_completion_length=4,
        num_generations=2,
        max_steps=1,
        learning_rate=1e-3,
        seed=5,  # with which the untrained model never says that an image follows
        disable_tqdm=True,
        **({"per_device_train_batch_size": 8} | options),
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
            **ours,
        )


def train(trainer):
    with quiet():
        trainer.train()


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


@pytest.mark.parametrize("more", [{}, {"num_iterations": 2, "beta": 0.1}], ids=str)
def test_the_loss_computes_probabilities_with_the_features_that_they_were_sampled_with(tmp_path, more):
    given = []

    def recorded(inputs):
        given.append(inputs)
        return (inputs.log_probs_BT * inputs.advantages_B[:, None] * inputs.mask_BT).sum(), {}

    loss = PolicyLoss(recorded, needs_reference="beta" in more)
    iterations = {name: value for name, value in more.items() if name != "beta"}
    trainer = trainer_of(
        tmp_path, [], policy_loss=loss, **iterations, per_device_train_batch_size=4, gradient_accumulation_steps=2
    )
    train(trainer)
    assert len(given) == 2, "a step of two pieces, the completions of a round shuffled"
    for inputs in given:
        known = [inputs.log_probs_BT, inputs.old_log_probs_BT, inputs.reference_log_probs_BT]
        for log_probs_BT in known[: 3 if more else 1]:
            torch.testing.assert_close(
                log_probs_BT[inputs.mask_BT], inputs.sampler_log_probs_BT[inputs.mask_BT], atol=1e-5, rtol=0
            )


def test_trls_loss_sees_the_features_too(tmp_path):
    trained = []
    for own in ({}, {"policy_loss": GRPOLoss(loss_type="dapo").policy_loss}):
        trainer = trainer_of(tmp_path, [], **own)
        train(trainer)
        trained.append(trainer.model.state_dict())
    untrained = image_model().state_dict()
    learned = [name for name in untrained if "vision" in name and not torch.equal(trained[0][name], untrained[name])]
    assert len(learned) > 10, "the encoder of images too"
    for name, value in trained[0].items():
        assert torch.equal(trained[1][name], value), name


def test_features_that_cannot_be_batched_are_refused(tmp_path):
    def some(actor, row):
        prompt = drawing(actor, row)
        return prompt if row["drawing"] else Prompt(tuple(actor.encode("1")))

    with pytest.raises(UserError, match="must have the same names and sizes in all prompts of a batch"):
        train(trainer_of(tmp_path, [], prompt_of=some))


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

"""Features of a prompt reach the model with the prompt's tokens, once, and no two images share what was computed."""

import pytest
import torch
from acting import Echo, digits_policy
from torch import nn

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt, Reply
from tenfold.policies import Policy, Sampling, ScriptedPolicy, character_tokenizer, rollout
from tenfold.policies.served import ServedPolicy
from tenfold.policies.transport import Transport

WIDTH, IMAGE = 16, 8  # the token of digits_policy that stands for an image: <answer>
IDS = (9, IMAGE, IMAGE, 10, 11)


class Seeing(nn.Module):
    """A model that adds pixels to the embeddings of image tokens, says no image, and keeps what it was fed."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.dtype, self.fed = model, model.config, model.dtype, []
        self.generation_config = model.generation_config

    def forward(
        self,
        input_ids,
        position_ids=None,
        attention_mask=None,
        past_key_values=None,
        pixels=None,
        depth=None,
        **options,
    ):
        shape_of = {
            name: None if value is None else len(value) for name, value in dict(pixels=pixels, depth=depth).items()
        }
        self.fed.append((tuple(input_ids.shape), shape_of["pixels"], shape_of["depth"]))
        states_BQW = self.model.get_input_embeddings()(input_ids)
        for value_BW in (pixels, depth):
            if value_BW is not None:
                states_BQW = states_BQW + (input_ids == IMAGE)[..., None] * value_BW[:, None]
        output = self.model(
            inputs_embeds=states_BQW,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **options,
        )
        output.logits[..., IMAGE] = -torch.inf
        return output


@pytest.fixture
def policy():
    tiny = digits_policy(width=WIDTH)
    assert tiny.encode("<answer>") == [IMAGE]
    with torch.no_grad():
        for weight in tiny.model.parameters():
            if weight.ndim == 2:
                weight.mul_(8)  # so that what is seen matters
    return Policy(Seeing(tiny.model).eval(), tiny.tokenizer)


def image(seed, ids=IDS, key=None, name="pixels"):
    generator = torch.Generator().manual_seed(seed)
    return Prompt(ids, f"image {seed}" if key is None else key, {name: 5 * torch.randn(1, WIDTH, generator=generator)})


def tokens(said):
    return [each.token_ids for each in said]


def check_log_probs(model, trajectory):
    """Against one forward pass over all tokens, with the trajectory's own features."""
    ids_1T = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
    with torch.no_grad():
        log_probs_TV = model(ids_1T, **trajectory.features).logits[0, :-1].log_softmax(-1)
    expected_T = log_probs_TV.gather(1, ids_1T[0, 1:, None])[len(trajectory.prompt_ids) - 1 :, 0]
    mask_T = torch.tensor(trajectory.loss_mask)
    torch.testing.assert_close(torch.tensor(trajectory.log_probs)[mask_T], expected_T[mask_T], atol=1e-4, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_two_images_with_equal_tokens_are_told_apart(policy, batch_size):
    # The keys of the noise are equal, so that the images alone make the difference.
    settings = dict(num_samples=4, keys=["noise", "noise"])
    prompts = [image(1), image(2)]
    said = rollout(policy, prompts, Sampling(12), batch_size=batch_size, **settings)
    first, second = said[:4], said[4:]
    assert all(one != other for one, other in zip(tokens(first), tokens(second), strict=True))
    for prompt, together in zip(prompts, (first, second), strict=True):
        alone = rollout(policy, [prompt], Sampling(12), num_samples=4, keys=["noise"], batch_size=batch_size)
        assert tokens(alone) == tokens(together)
        for one, other in zip(alone, together, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
            assert other.prompt_ids == IDS and other.features == prompt.features
            check_log_probs(policy.model, other)


def test_a_key_alone_keeps_prompts_apart(policy):
    """Whoever gives two keys gets two prefills, also where nothing else differs."""
    rollout(policy, [Prompt(IDS, key="a"), Prompt(IDS, key="b"), IDS, list(IDS)], Sampling(3))
    assert policy.model.fed[0] == ((3, 4), None, None)


def test_equal_prompts_share_the_prefill(policy):
    same = [image(1), image(1), image(2, key="image 1")]
    said = rollout(policy, same, Sampling(12), num_samples=3, keys=["noise"] * 3)
    assert policy.model.fed[0] == ((1, 4), 1, None), "nine rows, one prompt, all of its tokens but the last"
    assert all(shape[1] == 1 and pixels is None for shape, pixels, _ in policy.model.fed[1:])
    assert tokens(said[:3]) == tokens(said[3:6]) == tokens(said[6:]), "what a key says is believed"


def test_features_enter_once_and_never_with_a_reply(policy):
    echo = Echo([Reply("=42"), Reply("++")], stop=("1", "2", "3"))
    prompts = [image(1), image(2), image(3, ids=(IMAGE, 9))]
    said = rollout(policy, prompts, Sampling(30), num_samples=5, environment=echo, deterministic=True)
    assert sum(not all(each.loss_mask) for each in said) > 5
    for trajectory in said:
        check_log_probs(policy.model, trajectory)
    fed_in_rollout = policy.model.fed[: -len(said)]
    assert [pixels for _, pixels, _ in fed_in_rollout if pixels] == [3]
    assert any(shape[1] > 1 for shape, pixels, _ in fed_in_rollout[1:]), "replies were fed, several tokens at once"


def test_rows_with_other_features_are_fed_apart(policy):
    wide = Prompt(IDS, "wide", {"pixels": torch.ones(1, 1)})  # concatenates with none of the others
    prompts = [image(1), IDS, image(2, name="depth"), image(3), (9, 10), wide, image(4, ids=(*[IMAGE] * 8, 9))]
    said = rollout(policy, prompts, Sampling(12))
    prefills = policy.model.fed[:4]
    assert sorted(prefills, key=str) == [((1, 4), 1, None), ((1, 4), None, 1), ((2, 4), None, None), ((3, 8), 3, None)]
    for trajectory in said:
        check_log_probs(policy.model, trajectory)


def test_a_prompt_object_without_features_is_what_its_tokens_are(policy):
    plain = digits_policy()
    expected = rollout(plain, [[9, 10, 11], [12]], Sampling(12), num_samples=3)
    assert rollout(plain, [Prompt((9, 10, 11), "a"), Prompt((12,))], Sampling(12), num_samples=3) == expected


def test_an_image_model_of_transformers_is_served():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes, image_size=8, patch_size=4, projection_dim=32),
        text_config=transformers.LlamaConfig(
            **sizes, vocab_size=40, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0
        ),
        image_token_id=39,
    )
    model = transformers.LlavaForConditionalGeneration(config).eval()
    policy = Policy(model, character_tokenizer("0123456789ab"))
    pixels = 3 * torch.randn(2, 3, 8, 8)
    ids = (9, 39, 39, 39, 39, 10)
    prompts = [Prompt(ids, number, {"pixel_values": pixels[number : number + 1]}) for number in range(2)]
    model.get_output_embeddings().weight.data[39] = 0
    said = rollout(policy, prompts, Sampling(9, temperature=0.3), num_samples=3, keys=["noise"] * 2)
    seen = [each for each in said if 39 not in each.token_ids]
    assert len(seen) > 3 and said[:3] != said[3:]
    for trajectory in seen:
        ids_1T = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
        with torch.no_grad():
            logits_TV = model(input_ids=ids_1T, **trajectory.features).logits[0, :-1]
        expected_T = (logits_TV / 0.3).log_softmax(-1).gather(1, ids_1T[0, 1:, None])[len(ids) - 1 :, 0]
        torch.testing.assert_close(torch.tensor(trajectory.log_probs), expected_T, atol=1e-4, rtol=0)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_features_without_a_key_and_keys_without_a_hash_are_refused():
    with pytest.raises(
        UserError, match=r"features = pixels, depth with key = \(\): a prompt with features needs a key"
    ):
        Prompt(IDS, features={"pixels": torch.ones(1), "depth": torch.ones(1)})
    with pytest.raises(UserError, match=r"key = \['a'\]: must be hashable"):
        Prompt(IDS, key=["a"])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (image(1, name="pixel_values"), r"prompts\[1\]\.features = pixel_values: model Seeing does not take it"),
        (Prompt(IDS, 1, {"pixels": 7}), r"prompts\[1\]\.features = pixels: must be a tensor"),
        (Prompt(IDS, 1, {"pixels": torch.tensor(7.0)}), "must be a tensor of at least one dimension"),
        (image(1, ids=(IMAGE,)), r"prompts\[1\] has 1 token: with features it must have at least 2"),
        (Prompt((), 1), r"prompts\[1\] = \[\]"),
    ],
)
def test_features_that_the_model_would_ignore_are_refused(policy, prompt, message):
    with pytest.raises(UserError, match=message):
        rollout(policy, [IDS, prompt], Sampling(3))


def test_a_model_whose_images_have_a_mask_of_their_own_is_refused(policy):
    class Both(Seeing):
        def forward(self, input_ids, position_ids=None, pixels=None, token_type_ids=None, **options):
            return super().forward(input_ids, position_ids, pixels=pixels, **options)

    other = Policy(Both(policy.model.model), policy.tokenizer)
    assert rollout(other, [IDS], Sampling(3)), "text is served"
    with pytest.raises(UserError, match="the mask and the positions of text, and Both has token_type_ids"):
        rollout(other, [image(1)], Sampling(3))


def test_decoders_of_tokens_alone_refuse_features_by_name():
    scripted = ScriptedPolicy(character_tokenizer("ab"), lambda prompt, sample: "a")
    engine = ServedPolicy(("http://127.0.0.1:9/v1",), "m", scripted.tokenizer, 64, frozenset([2]), Transport())
    for policy, name in ((scripted, "ScriptedPolicy"), (engine, "a served policy")):
        with pytest.raises(UserError, match=rf"prompts\[1\]\.features = pixels: {name} takes tokens alone"):
            rollout(policy, [IDS, image(1)], Sampling(3))
    assert len(rollout(scripted, [Prompt((9, 10), "a")], Sampling(3))) == 1, "a key alone is served"

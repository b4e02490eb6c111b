"""The cache serves the attention that models of transformers have; models that it cannot serve are refused by name."""

import pytest
import torch
import transformers
from acting import Echo, EchoSession, check_log_probs

from tenfold.core.errors import UserError
from tenfold.core.types import Reply
from tenfold.policies import Policy, Sampling, character_tokenizer, rollout

SIZES = dict(
    vocab_size=20,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
GROUPED = {**SIZES, "num_key_value_heads": 2}
PROMPTS = [[9, 10, 11], [12], [13, 14, 15, 16, 17, 18, 9, 10, 11, 12, 13]]

CONFIGS = {
    "llama": transformers.LlamaConfig(**GROUPED),
    "qwen2": transformers.Qwen2Config(**GROUPED),
    "qwen3": transformers.Qwen3Config(**GROUPED, head_dim=16),
    "mistral, sliding": transformers.MistralConfig(**GROUPED, sliding_window=4),
    "gemma2, both": transformers.Gemma2Config(**GROUPED, head_dim=8, sliding_window=4),
    "gemma3, both": transformers.Gemma3TextConfig(
        **GROUPED,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=20, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
    ),
    "gpt-neox": transformers.GPTNeoXConfig(**SIZES),
    "phi": transformers.PhiConfig(**SIZES),
    "opt": transformers.OPTConfig(
        **{k: v for k, v in SIZES.items() if k != "intermediate_size"}, ffn_dim=48, word_embed_proj_dim=32
    ),
    "deepseek-v3, keys wider than values": transformers.DeepseekV3Config(
        **SIZES,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=16,
        first_k_dense_replace=1,
    ),
}


def made(config, attention="sdpa"):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    return Policy(model, character_tokenizer("0123456789ab"))


@pytest.mark.parametrize(
    ("name", "attention"),
    [(name, kind) for name in CONFIGS for kind in ("sdpa", "eager") if (name[:6], kind) != ("gemma2", "sdpa")],
)
def test_log_probabilities_equal_a_fresh_forward_pass(name, attention):
    policy = made(CONFIGS[name], attention)
    said = rollout(policy, PROMPTS, Sampling(max_new_tokens=25), num_samples=2, batch_size=4)
    assert max(len(each.token_ids) for each in said) > 8, "longer than the windows"
    for trajectory in said:
        check_log_probs(policy.model, trajectory)


def test_a_prompt_may_fill_the_context_but_for_one_token():
    policy = made(CONFIGS["gpt2"])
    said = rollout(policy, [[9] * 63, [10] * 60, [11]], Sampling(max_new_tokens=64, temperature=0))
    assert [len(each.prompt_ids) + len(each.token_ids) <= 64 for each in said] == [True] * 3
    for trajectory in said:
        check_log_probs(policy.model, trajectory)


def test_a_short_reply_to_a_long_row_beside_a_long_reply_to_a_short_one():
    """They are fed together, and the padding of the first would lie beyond the model's last position."""

    class Unequal(Echo):
        def open(self, prompt, sample):
            return EchoSession(Echo([Reply("00" if prompt == 0 else "1" * 40)]), (prompt, sample))

        def __init__(self):
            super().__init__([], stop=tuple("0123456789ab"))

    policy = made(CONFIGS["gpt2"])
    said = rollout(policy, [[9] * 50, [10]], Sampling(max_new_tokens=6), num_samples=6, environment=Unequal())
    assert {sum(not own for own in each.loss_mask) for each in said} >= {2, 40}
    for trajectory in said:
        check_log_probs(policy.model, trajectory)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # by peft itself
def test_a_model_with_adapters_is_sampled_with_them():
    peft = pytest.importorskip("peft")
    policy = made(CONFIGS["llama"])
    adapters = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(policy.model, adapters)
    for trajectory in rollout(Policy(model, policy.tokenizer), PROMPTS, Sampling(max_new_tokens=8)):
        check_log_probs(model, trajectory)


def test_attention_that_qk_clip_measures_is_served():
    from tenfold.optim import Muon, QKClip, muon_param_groups

    policy = made(CONFIGS["llama"])
    QKClip(policy.model, tau=100.0).attach(Muon(muon_param_groups(policy.model, lr=1e-3)))
    for trajectory in rollout(policy, PROMPTS, Sampling(max_new_tokens=8)):
        check_log_probs(policy.model, trajectory)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.BloomConfig(vocab_size=20, hidden_size=32, n_layer=1, n_head=4), "ALiBi"),
        (transformers.MambaConfig(vocab_size=20, hidden_size=32, num_hidden_layers=1), "position_ids"),
        (transformers.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"]), "'conv'"),
    ],
)
def test_other_models_are_refused_by_name(config, message):
    with pytest.raises(UserError, match=message):
        rollout(made(config, "eager"), PROMPTS, Sampling(max_new_tokens=2))


def test_attention_without_a_mask_of_our_own_is_refused():
    policy = made(CONFIGS["llama"])
    policy.model.config._attn_implementation = "flex_attention"
    with pytest.raises(UserError, match="attn_implementation = 'flex_attention'"):
        rollout(policy, PROMPTS, Sampling(max_new_tokens=2))

"""Transformers models of a few thousand weights, one per way of laying out queries and keys."""

import torch
import transformers

from tenfold.optim import QKClip, Visibility, largest_logits

SIZES = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=64, pad_token_id=None, bos_token_id=None, eos_token_id=None,
)  # fmt: skip
GROUPED = SIZES | dict(num_key_value_heads=2)
LATENT = SIZES | dict(
    num_key_value_heads=4, moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1,
    n_group=1, topk_group=1, first_k_dense_replace=1, kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4,
    v_head_dim=6,
)  # fmt: skip
GPT2 = dict(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=None)
HYBRID = dict(
    linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8, num_experts=4,
    num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16,
    layer_types=["linear_attention", "full_attention"],
)  # fmt: skip

CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "llama_multi_head": lambda: transformers.LlamaConfig(**SIZES, attention_bias=True),
    "mistral": lambda: transformers.MistralConfig(**GROUPED, sliding_window=5),
    "qwen2": lambda: transformers.Qwen2Config(**GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**GROUPED, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**GROUPED, head_dim=8, sliding_window=5, attn_logit_softcapping=0.5),
    "gemma3": lambda: transformers.Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=5),
    "olmo2": lambda: transformers.Olmo2Config(**GROUPED),
    "phi3": lambda: transformers.Phi3Config(**GROUPED),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SIZES),
    "gpt2": lambda: transformers.GPT2Config(**GPT2),
    "opt": lambda: transformers.OPTConfig(
        **{name: value for name, value in SIZES.items() if name != "intermediate_size"}, ffn_dim=48,
        word_embed_proj_dim=32, dropout=0.0,
    ),
    "deepseek_v3": lambda: transformers.DeepseekV3Config(**LATENT, q_lora_rank=16),
    "deepseek_v3_without_q_lora": lambda: transformers.DeepseekV3Config(**LATENT, q_lora_rank=None),
    "qwen3_next": lambda: transformers.Qwen3NextConfig(**GROUPED, head_dim=8, **HYBRID),
}  # fmt: skip

# Further classes whose layout is listed, by the name of their configuration.
FURTHER = {
    **{
        name: GROUPED
        for name in [
            "Apertus",
            "Arcee",
            "Cohere",
            "Cohere2",
            "Ernie4_5",
            "Ernie4_5_Moe",
            "Exaone4",
            "FlexOlmo",
            "Gemma",
            "Glm",
            "Glm4",
            "Glm4Moe",
            "GptOss",
            "Granite",
            "GraniteMoe",
            "Helium",
            "MiniMaxM2",
            "Ministral",
            "Ministral3",
            "Mixtral",
            "Nemotron",
            "Olmo",
            "Olmo3",
            "Olmoe",
            "Phi",
            "Phimoe",
            "Qwen2Moe",
            "Qwen3Moe",
            "SeedOss",
            "SmolLM3",
            "StableLm",
            "Starcoder2",
        ]
    },
    **{name: LATENT | {"q_lora_rank": 16} for name in ("DeepseekV2", "Glm4MoeLite", "MiniCPM3", "Youtu")},
}
EXPERTS = dict(
    num_experts=4, num_local_experts=4, n_routed_experts=4, num_experts_per_tok=2, moe_num_experts=4,
    moe_intermediate_size=16, shared_expert_intermediate_size=16, n_group=1, topk_group=1, first_k_dense_replace=1,
)  # fmt: skip


def further(name):
    """A model of a further class, for which ``head_dim`` is set where the class knows it."""
    torch.manual_seed(0)
    kind = getattr(transformers, f"{name}Config")
    model = transformers.AutoModelForCausalLM.from_config(kind(**(EXPERTS | FURTHER[name]), **WIDTHS.get(name, {})))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.nan_to_num() + 0.1 * torch.randn_like(parameter))  # some are left empty
    return model


WIDTHS = {
    name: {"head_dim": 8}
    for name in ("Ernie4_5_Moe", "Exaone4", "Gemma", "Glm", "Glm4", "Glm4Moe", "GptOss", "Helium", "MiniMaxM2",
                 "Ministral", "Ministral3", "Qwen3Moe", "SeedOss")
}  # fmt: skip


def tiny(name, seed=0, attention=None, noise=0.1):
    """A model without dropout in training mode, every parameter moved off its initial value."""
    torch.manual_seed(seed)
    config = CONFIGS[name]()
    for field in ("attn_pdrop", "resid_pdrop", "embd_pdrop"):
        if hasattr(config, field):
            setattr(config, field, 0.0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model.train()


def tokens(batch=2, length=12, seed=0):
    return torch.randint(64, (batch, length), generator=torch.Generator().manual_seed(seed))


def measured(model, input_ids=None, **options):
    """The largest logit of each head of each attention module in one forward pass, without any clipping."""
    clip = QKClip(model, tau=float("inf"), **options.pop("clip", {}))
    model(input_ids=tokens() if input_ids is None else input_ids, use_cache=False, **options)
    clip.step()
    clip.detach()
    return clip.max_logits


def whole(query, key, scaling=1.0):
    """The largest logits where every row sees every key."""
    return largest_logits(query, key, scaling, Visibility(causal=False))

"""Kimi K2 as a configuration of transformers' DeepSeek-V3 classes, from a toy to the published size (K2, section 2.3).

    model = DeepseekV3ForCausalLM(kimi_k2_config("tiny"))

Multi-head latent attention and a sparse mixture of experts. Against DeepSeek-V3: more experts (384 for 256) of which as
many are active, half the heads, one leading dense layer for three, no groups of experts, no multi-token prediction.
``full`` takes what the report does not state (ranks, head sizes, the dense layer, YaRN) from the published model's
configuration; copies of it differ in ``rms_norm_eps``, 1e-6 here. Its parameters are 1.026 T, 32.9 B activated, where
the report says 1.04 T and 32.6 B; it does not explain the difference.
``tiny`` and ``small`` keep the structure and are ours; ``small`` keeps the sparsity of 48 as well. They read bytes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.core.errors import UserError
from tenfold.models.router_bias import gate_scale_factor

if TYPE_CHECKING:
    from transformers import DeepseekV3Config

STRUCTURE: dict[str, Any] = dict(
    num_key_value_heads=None,  # as many as heads
    n_shared_experts=1,
    n_group=1,
    topk_group=1,
    norm_topk_prob=True,
    first_k_dense_replace=1,
    num_mtp_layers=0,
    tie_word_embeddings=False,
    bos_token_id=None,
    eos_token_id=None,
)
YARN = dict(
    rope_type="yarn",
    rope_theta=50_000.0,
    factor=32.0,
    original_max_position_embeddings=4096,
    beta_fast=1.0,
    beta_slow=1.0,
    mscale=1.0,
    mscale_all_dim=1.0,
)
SCALES: dict[str, dict[str, Any]] = {
    "tiny": STRUCTURE
    | dict(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=128,
        moe_intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        n_routed_experts=8,
        num_experts_per_tok=2,
        q_lora_rank=32,
        kv_lora_rank=16,
        qk_nope_head_dim=16,
        qk_rope_head_dim=8,
        v_head_dim=16,
        max_position_embeddings=4096,
    ),
    "small": STRUCTURE
    | dict(
        vocab_size=256,
        hidden_size=512,
        intermediate_size=1280,
        moe_intermediate_size=128,
        num_hidden_layers=8,
        num_attention_heads=8,
        n_routed_experts=96,
        num_experts_per_tok=2,
        q_lora_rank=128,
        kv_lora_rank=64,
        qk_nope_head_dim=64,
        qk_rope_head_dim=32,
        v_head_dim=64,
        max_position_embeddings=4096,
    ),
    "full": STRUCTURE
    | dict(
        vocab_size=163_840,
        hidden_size=7168,
        intermediate_size=18_432,
        moe_intermediate_size=2048,
        num_hidden_layers=61,
        num_attention_heads=64,
        n_routed_experts=384,
        num_experts_per_tok=8,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        max_position_embeddings=131_072,
        rope_parameters=YARN,
    ),
}
PUBLISHED_GATE_FACTORS = {(384, 8): 2.827}  # ours rounds to 2.828


class ParameterCounts(NamedTuple):
    """Parameters of a model, and those that take part in the pass of one token (both embeddings among them)."""

    total: int
    activated: int


def kimi_k2_config(scale: str = "tiny", **changes: Any) -> "DeepseekV3Config":
    """A configuration with Kimi K2's structure for ``DeepseekV3ForCausalLM``.

    Unless it is among the changes, ``routed_scaling_factor`` follows from the numbers of experts, see
    :func:`tenfold.models.gate_scale_factor`.

    Args:
        scale: ``"tiny"`` (0.1 M parameters), ``"small"`` (140 M, 11 M activated) or ``"full"`` (1 T).
        changes: fields of ``DeepseekV3Config`` that shall differ.

    Raises:
        UserError: for another scale, or a field that ``DeepseekV3Config`` does not have.

    Example:
        >>> kimi_k2_config("tiny", vocab_size=256).routed_scaling_factor
        1.409
    """
    from transformers import DeepseekV3Config

    if scale not in SCALES:
        raise UserError(f"scale = {scale!r}: must be one of {', '.join(SCALES)}")
    known = DeepseekV3Config()
    for name in changes:
        if not hasattr(known, name):
            raise UserError(f"{name} = {changes[name]!r}: DeepseekV3Config has no such field")
    settings = SCALES[scale] | changes
    if "routed_scaling_factor" not in settings:
        experts = settings["n_routed_experts"], settings["num_experts_per_tok"]
        computed = PUBLISHED_GATE_FACTORS.get(experts) or round(gate_scale_factor(*experts), 3)
        settings["routed_scaling_factor"] = computed
    return DeepseekV3Config(**settings)


def parameter_counts(config: "DeepseekV3Config") -> ParameterCounts:
    """Count the parameters of ``DeepseekV3ForCausalLM(config)`` without building it.

    The router's biases are buffers and multi-token prediction modules are no part of that class: neither is counted.

    Example:
        >>> total, activated = parameter_counts(kimi_k2_config("full"))
        >>> f"{total / 1e12:.3f} T, {activated / 1e9:.1f} B"
        '1.026 T, 32.9 B'
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    num_dense = min(config.first_k_dense_replace or 0, layers)
    num_sparse = layers - num_dense
    expert = 3 * width * config.moe_intermediate_size
    dense = 3 * width * config.intermediate_size
    router_and_shared = config.n_routed_experts * width + config.n_shared_experts * expert
    embeddings = (1 if config.tie_word_embeddings else 2) * config.vocab_size * width
    norms = (2 * layers + 1) * width
    always = embeddings + norms + layers * _attention(config) + num_dense * dense + num_sparse * router_and_shared
    return ParameterCounts(
        total=always + num_sparse * config.n_routed_experts * expert,
        activated=always + num_sparse * (config.num_experts_per_tok or 0) * expert,
    )


def _attention(config: "DeepseekV3Config") -> int:
    """Multi-head latent attention: low-rank queries (or plain ones), low-rank keys and values, the output."""
    width, heads, rope = config.hidden_size, config.num_attention_heads, config.qk_rope_head_dim
    query_rows = heads * (config.qk_nope_head_dim + rope)
    bias = 1 if config.attention_bias else 0
    low_rank = config.q_lora_rank
    queries = width * query_rows if low_rank is None else (width + bias + 1 + query_rows) * low_rank
    values = config.v_head_dim or 0
    compressed = (width + bias) * (config.kv_lora_rank + rope)
    expanded = config.kv_lora_rank * (1 + heads * (config.qk_nope_head_dim + values))
    return queries + compressed + expanded + (heads * values + bias) * width

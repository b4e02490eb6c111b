"""Model parts (norms, rotary positions, attention, feed-forward layers, embeddings), Kimi K2, balanced experts.

transformers is imported by the functions that make its configurations alone, when they are called.
"""

from typing import TYPE_CHECKING

from tenfold.core.lazy import names_when_asked

if TYPE_CHECKING:
    from tenfold.models.attention import SelfAttention
    from tenfold.models.byte_transformer import byte_transformer_config
    from tenfold.models.feed_forward import SwiGLU, inner_width
    from tenfold.models.initialisation import Linear, truncated_normal_
    from tenfold.models.kimi_k2 import ParameterCounts, kimi_k2_config, parameter_counts
    from tenfold.models.norms import rms_norm
    from tenfold.models.rotary import RotaryEmbedding
    from tenfold.models.router_bias import RouterBias, bias_step, gate_scale_factor, load_violation, routers
    from tenfold.models.sparse_embedding import SparseEmbedding
    from tenfold.models.stablemax import softmax_cross_entropy, stablemax_cross_entropy, stablemax_scores
    from tenfold.models.weighted_likelihood import effective_sample_size, weight_statistics, weighted_nll

__all__ = [
    "Linear",
    "ParameterCounts",
    "RotaryEmbedding",
    "RouterBias",
    "SelfAttention",
    "SparseEmbedding",
    "SwiGLU",
    "bias_step",
    "byte_transformer_config",
    "effective_sample_size",
    "gate_scale_factor",
    "inner_width",
    "kimi_k2_config",
    "load_violation",
    "parameter_counts",
    "rms_norm",
    "routers",
    "softmax_cross_entropy",
    "stablemax_cross_entropy",
    "stablemax_scores",
    "truncated_normal_",
    "weight_statistics",
    "weighted_nll",
]

__getattr__ = names_when_asked(__name__, __file__)

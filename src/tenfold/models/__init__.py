"""Model parts: initialisation, norms, rotary positions, attention, feed-forward layers, sparse embedding, stablemax."""

from tenfold.models.attention import SelfAttention
from tenfold.models.feed_forward import SwiGLU, inner_width
from tenfold.models.initialisation import Linear, truncated_normal_
from tenfold.models.norms import rms_norm
from tenfold.models.rotary import RotaryEmbedding
from tenfold.models.sparse_embedding import SparseEmbedding
from tenfold.models.stablemax import softmax_cross_entropy, stablemax_cross_entropy, stablemax_scores

__all__ = [
    "Linear",
    "RotaryEmbedding",
    "SelfAttention",
    "SparseEmbedding",
    "SwiGLU",
    "inner_width",
    "rms_norm",
    "softmax_cross_entropy",
    "stablemax_cross_entropy",
    "stablemax_scores",
    "truncated_normal_",
]

"""Optimizers and schedules: Muon, QK-Clip and both as MuonClip, AdamATan2, sign descent, phases of a rate."""

from typing import TYPE_CHECKING

from tenfold.core.lazy import names_when_asked

if TYPE_CHECKING:
    from tenfold.optim.adam_atan2 import AdamATan2
    from tenfold.optim.averages import lagging_average
    from tenfold.optim.matrix_blocks import BlockSpec
    from tenfold.optim.muon import Muon
    from tenfold.optim.muon_clip import MuonClip
    from tenfold.optim.muon_groups import Decision, muon_decisions, muon_param_groups
    from tenfold.optim.newton_schulz import POLAR_EXPRESS, QUINTIC, orthogonalize
    from tenfold.optim.observed_attention import attention_modules
    from tenfold.optim.qk_clip import QKClip
    from tenfold.optim.qk_layouts import (
        HeadFactors,
        Layout,
        Scaled,
        alternating_projection,
        fused_projection,
        head_factors,
        known_layouts,
        latent_attention,
        layout_of,
        normed_heads,
        normed_projections,
        register_layout,
        scale_heads,
        separate_projections,
    )
    from tenfold.optim.qk_scores import Visibility, bound_logits, largest_logits, visibility
    from tenfold.optim.qk_verify import verify_layouts
    from tenfold.optim.schedules import phased, warmup_cosine, wsd_schedule
    from tenfold.optim.sign_sgd import SparseSignSGD

__all__ = [
    "POLAR_EXPRESS",
    "QUINTIC",
    "AdamATan2",
    "BlockSpec",
    "Decision",
    "HeadFactors",
    "Layout",
    "Muon",
    "MuonClip",
    "QKClip",
    "Scaled",
    "SparseSignSGD",
    "Visibility",
    "alternating_projection",
    "attention_modules",
    "bound_logits",
    "fused_projection",
    "head_factors",
    "known_layouts",
    "lagging_average",
    "largest_logits",
    "latent_attention",
    "layout_of",
    "muon_decisions",
    "muon_param_groups",
    "normed_heads",
    "normed_projections",
    "orthogonalize",
    "phased",
    "register_layout",
    "scale_heads",
    "separate_projections",
    "verify_layouts",
    "visibility",
    "warmup_cosine",
    "wsd_schedule",
]

__getattr__ = names_when_asked(__name__, __file__)

"""Optimizers and schedules: Muon, AdamATan2, sign descent for sparse embeddings, warm-up with cosine."""

from tenfold.optim.adam_atan2 import AdamATan2
from tenfold.optim.matrix_blocks import BlockSpec
from tenfold.optim.muon import Muon
from tenfold.optim.newton_schulz import POLAR_EXPRESS, QUINTIC, orthogonalize
from tenfold.optim.schedules import warmup_cosine
from tenfold.optim.sign_sgd import SparseSignSGD

__all__ = [
    "POLAR_EXPRESS",
    "QUINTIC",
    "AdamATan2",
    "BlockSpec",
    "Muon",
    "SparseSignSGD",
    "orthogonalize",
    "warmup_cosine",
]

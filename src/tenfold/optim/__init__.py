"""Optimizers and schedules: AdamATan2, sign descent for sparse embeddings, warm-up with cosine."""

from tenfold.optim.adam_atan2 import AdamATan2
from tenfold.optim.schedules import warmup_cosine
from tenfold.optim.sign_sgd import SparseSignSGD

__all__ = ["AdamATan2", "SparseSignSGD", "warmup_cosine"]

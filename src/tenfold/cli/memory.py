"""Says before hours are spent that a training will not fit its device."""

import math
import sys
from typing import Any

from tenfold.core import timing


def warn_of_memory(recipe: Any, config: Any, device: str) -> None:
    """Print a line where the study's estimate, which is the least it takes, exceeds the device's memory.

    Args:
        recipe: of the study, with its ``estimate``.
        config: of the training; one that the estimate is not made for, such as another kind of model, is left alone.
        device: as it was given.
    """
    from tenfold.train.distributed import memory_of

    there = memory_of(device)
    if not math.isfinite(there) or not isinstance(config, recipe.Config):
        return
    needed = recipe.estimate(config)["memory_bytes"]
    if needed > there:
        print(
            f"tenfold: this takes {timing.size(needed)} on each device, which has {timing.size(there)}; "
            "less is taken with a smaller rollout_batch_size or evaluation.batch_size, LoRA or policy.dtype = bfloat16",
            file=sys.stderr,
        )

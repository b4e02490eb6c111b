"""The features of prompts on their way into a loss: trl cuts a batch into chunks, and each chunk gets its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tenfold.core.errors import UserError


class WithFeatures:
    """A model that is fed the features of its rows beside their tokens.

    Args:
        model: takes ``input_ids`` and the features by their names.
        features: of each row, in the order in which the rows are fed, in as many calls as it may take.

    Example:
        >>> fed = WithFeatures(lambda input_ids, pixels: input_ids + pixels, [{"pixels": torch.ones(1, 1)}] * 2)
        >>> fed(input_ids=torch.zeros(2, 3)).sum()
        tensor(6.)
    """

    def __init__(self, model: Any, features: Sequence[Mapping[str, Any]]) -> None:
        self._model = model
        self._features = features
        self._num_fed = 0

    def __call__(self, *, input_ids: torch.Tensor, **given: Any) -> Any:
        """One chunk of the rows.

        Raises:
            UserError: if the rows of a chunk have features of different names or sizes.
        """
        rows = self._features[self._num_fed : self._num_fed + len(input_ids)]
        self._num_fed += len(input_ids)
        sizes = {tuple(sorted((name, tuple(value.shape[1:])) for name, value in row.items())) for row in rows}
        if len(sizes) > 1:
            raise UserError(f"features = {sorted(sizes)}: must have the same names and sizes in all prompts of a batch")
        together = {}
        for name in rows[0]:
            together[name] = torch.cat([row[name] for row in rows]).to(input_ids.device)
        return self._model(input_ids=input_ids, **given, **together)

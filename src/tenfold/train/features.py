"""The features of prompts, such as the pixels of an image, on their way into a loss.

In reinforcement trl cuts a batch into chunks, and each chunk gets its own: :class:`WithFeatures`. In supervised
training rows remember by number whose features are theirs, and batches get them: :class:`CollateFeatures`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset

from tenfold.core.errors import UserError
from tenfold.core.types import Prompt
from tenfold.policies import Policy

FEATURES_OF = "features_of_row"
"""The column that says whose features are a row's, from 0."""

PromptOf = Callable[[Policy, Mapping[str, Any]], Prompt]
"""Makes the prompt of a row: tokens, a key, and features of the same names and sizes in all rows.

A column of the data named ``image`` or ``images`` would be trl's to encode."""


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
        together = {name: value.to(input_ids.device) for name, value in joined(rows).items()}
        return self._model(input_ids=input_ids, **given, **together)


def joined(rows: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The features of several prompts, one behind the other along the first axis.

    Raises:
        UserError: if they have different names or sizes.

    Example:
        >>> joined([{"pixels": torch.zeros(1, 3)}, {"pixels": torch.ones(1, 3)}])["pixels"].shape
        torch.Size([2, 3])
    """
    sizes = {tuple(sorted((name, tuple(value.shape[1:])) for name, value in row.items())) for row in rows}
    if len(sizes) > 1:
        raise UserError(f"features = {sorted(sizes)}: must have the same names and sizes in all prompts of a batch")
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


class CollateFeatures:
    """A collator that adds the features of rows to the batch of another one.

    Args:
        collate: the other one.
        features: of each row of the data, by the number in the column :data:`FEATURES_OF`.
    """

    def __init__(
        self,
        collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]],
        features: Sequence[Mapping[str, torch.Tensor]],
    ) -> None:
        self.collate, self.features = collate, features

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The other collator's batch, with the features by their names."""
        return self.collate(rows) | joined([self.features[row[FEATURES_OF]] for row in rows])


def with_prompts(
    policy: Policy, dataset: Dataset, prompt_of: PromptOf
) -> tuple[Dataset, list[Mapping[str, torch.Tensor]]]:
    """Rows in tokens, and the features of their prompts: what supervised training takes of prompts with images.

    Args:
        policy: whose tokens.
        dataset: with ``completion``, text that the end-of-sequence token follows, and what ``prompt_of`` reads.
        prompt_of: makes the prompt of a row.

    Returns:
        The rows with ``input_ids``, ``completion_mask`` (1 for supervised tokens) and :data:`FEATURES_OF` beside their
        other columns, and the features by number.

    Raises:
        UserError: if there is no column ``completion``.
    """
    if "completion" not in dataset.column_names:
        raise UserError(f"dataset: columns {', '.join(dataset.column_names)}; needed: completion, beside prompt_of")
    ids, masks, features = [], [], []
    for row in dataset:
        prompt = prompt_of(policy, row)
        completion = [*policy.encode(row["completion"]), policy.tokenizer.eos_token_id]
        ids.append([*prompt.ids, *completion])
        masks.append([0] * len(prompt.ids) + [1] * len(completion))
        features.append(prompt.features)
    others = dataset.remove_columns([name for name in ("prompt", "completion") if name in dataset.column_names])
    rows = others.add_column("input_ids", ids).add_column("completion_mask", masks)
    return rows.add_column(FEATURES_OF, list(range(len(ids)))), features

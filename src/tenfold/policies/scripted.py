"""A policy that says what it is told to, through the same ``rollout``: for tests of rewards, environments, papers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import UserError
from tenfold.policies.rows import Row, refuse_constraint, refuse_features
from tenfold.policies.sampling import Sampling

Script = Callable[[int, int], str]


@dataclass(frozen=True)
class ScriptedPolicy:
    """Says a given text, with certainty: every log-probability is 0. After the text it ends.

    Stop strings, limits and environments act on it as on a model: what comes after a stop string in its text is said
    in the next turn, once the environment has answered. An end-of-sequence token's name in the text is that token.

    Args:
        tokenizer: spells the turns; one of transformers, such as a ``character_tokenizer``, with an
            end-of-sequence token.
        script: ``(prompt number, sample number)`` to the text of that trajectory.
        context: most tokens of prompt and completion.

    Example:
        >>> from tenfold.policies import Sampling, character_tokenizer, rollout
        >>> policy = ScriptedPolicy(character_tokenizer("0123456789+="), lambda prompt, sample: str(prompt + sample))
        >>> said = rollout(policy, [policy.encode("0+0="), policy.encode("0+1=")], Sampling(max_new_tokens=9))
        >>> [policy.decode(trajectory.token_ids) for trajectory in said]
        ['0<eos>', '1<eos>']
    """

    tokenizer: Any
    script: Script
    context: int | None = None

    @property
    def end_ids(self) -> frozenset[int]:
        """The end-of-sequence token."""
        return frozenset([self.tokenizer.eos_token_id])

    def encode(self, text: str) -> list[int]:
        """The tokens of a text.

        Raises:
            UserError: if the tokenizer has no token for a part of it.
        """
        token_ids = self.tokenizer.encode(text, add_special_tokens=False)
        if self.tokenizer.unk_token_id in token_ids:
            raise UserError(f"text = {text[:60]!r}: the tokenizer has no token for a part of it")
        return token_ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, special tokens spelled out."""
        return self.tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False)

    def decoder(self, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> "_ScriptedDecoder":
        """What ``rollout`` samples with.

        Raises:
            UserError: if a prompt has features, or there is a constraint.
        """
        refuse_features(rows, "ScriptedPolicy")
        refuse_constraint(rows, "ScriptedPolicy")
        said = [self.encode(self.script(*row.index)) for row in rows]
        return _ScriptedDecoder(rows, said, self.tokenizer.eos_token_id)


class _ScriptedDecoder:
    def __init__(self, rows: Sequence[Row], said: Sequence[list[int]], end_id: int) -> None:
        self._rows = list(zip(rows, said, strict=True))
        self._end_id = end_id

    def step(self) -> list[tuple[Row, int, float]]:
        sampled = []
        for row, said in self._rows:
            if row.stop_reason is None and not row.waiting:
                spoken = sum(row.loss_mask)
                sampled.append((row, said[spoken] if spoken < len(said) else self._end_id, 0.0))
        return sampled

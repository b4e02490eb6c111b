"""What a policy says follows a grammar, by llguidance; the extra ``constrained`` installs it.

    constraint = GrammarConstraint(policy.tokenizer, 'start: "yes" | "no"')
    rollout(policy, prompts, sampling, constraint=constraint)

Fast tokenizers of transformers are read by llguidance itself. It cannot read those of ``character_tokenizer``, whose
decoder only fuses; these are handed to it as bytes, token by token.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras


class GrammarConstraint:
    """A :class:`~tenfold.policies.constraint.Constraint` from a grammar.

    Args:
        tokenizer: of the policy, one of transformers.
        grammar: in Lark's notation, with the rule ``start``; ``docs`` of llguidance name the differences.

    Raises:
        UserError: llguidance is not installed, or the grammar is not one.

    Example:
        >>> from tenfold.policies import Sampling, rollout, tiny_policy
        >>> policy = tiny_policy("abno yes", width=16, layers=1, heads=2)
        >>> constraint = GrammarConstraint(policy.tokenizer, 'start: "yes" | "no"')
        >>> said = rollout(policy, [policy.encode("so")], Sampling(9), constraint=constraint, num_samples=8)
        >>> {policy.decode(each.token_ids) for each in said} <= {"yes<eos>", "no<eos>"}
        True
    """

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        require_extras(["constrained"], "a grammar")
        import llguidance

        self._llguidance = llguidance
        self._tokenizer = _ll_tokenizer(tokenizer)
        self._grammar = llguidance.LLMatcher.grammar_from_lark(grammar)
        if reason := llguidance.LLMatcher.validate_grammar(self._grammar, self._tokenizer):
            raise UserError(f"grammar: {' '.join(reason.split())[:200]}")

    def start(self, prompt_ids: Sequence[int]) -> Any:
        """A matcher at the start of the grammar, whatever the prompt is."""
        return self._llguidance.LLMatcher(self._tokenizer, self._grammar)

    def mask(self, state: Any) -> np.ndarray:
        """Which tokens the grammar allows next, bool [V]."""
        bits = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._tokenizer.vocab_size].astype(bool)

    def accept(self, state: Any, token: int) -> Any:
        """The same matcher, one token further."""
        if not state.consume_token(token) and not state.is_stopped():
            raise RuntimeError(f"the grammar refuses a token that it allowed: {state.get_error()}")
        return state

    def accepts(self, text: str) -> bool:
        """Whether a whole text follows the grammar.

        Example:
            >>> from tenfold.policies import character_tokenizer
            >>> constraint = GrammarConstraint(character_tokenizer("abc"), 'start: "a"+ "b"')
            >>> constraint.accepts("aab"), constraint.accepts("aa"), constraint.accepts("ba")
            (True, False, False)
        """
        state = self.start(())
        tokens = self._tokenizer.tokenize_bytes(text.encode())
        return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()


def _ll_tokenizer(tokenizer: Any) -> Any:
    import llguidance
    import llguidance.hf

    if type(getattr(tokenizer.backend_tokenizer, "decoder", None)).__name__ == "Fuse":
        return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Characters(tokenizer)))
    return llguidance.hf.from_tokenizer(tokenizer)


class _Characters:
    """A tokenizer whose tokens are the texts that they are named by, as llguidance asks for one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id: int = tokenizer.eos_token_id
        self.bos_token_id: int | None = tokenizer.bos_token_id
        self.special_token_ids: list[int] = list(tokenizer.all_special_ids)
        self.tokens = [name.encode() for name in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]

    def __call__(self, text: bytes) -> list[int]:
        """A true tokenization: what a grammar forces goes through here."""
        ids: list[int] = self._tokenizer.encode(text.decode(), add_special_tokens=False)
        return ids

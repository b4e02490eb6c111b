"""A policy: a causal language model with its tokenizer, as everything in tenfold that acts with words takes it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.policies.adapters import folded, require_named_base
from tenfold.policies.conversation import conversation_text, start_of
from tenfold.policies.rows import Decoder, Row
from tenfold.policies.sampling import Sampling
from tenfold.policies.stopping import turn_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Policy:
    """A model that says something, and the tokenizer that spells it.

    Args:
        model: any causal model of transformers, also one that peft has wrapped; not one that is wrapped for several
            processes (unwrap it first).
        tokenizer: its tokenizer.
        autocast: the type that its forward passes compute in where :func:`~tenfold.policies.rollout` asks it, as they
            did in training; ``None`` for that of its weights.

    Example:
        >>> from tenfold.policies import tiny_policy
        >>> policy = tiny_policy("0123456789+=", width=16, layers=1, heads=2)
        >>> policy.decode(policy.encode("1+2="))
        '1+2='
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    autocast: torch.dtype | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def context(self) -> int | None:
        """Most tokens of prompt and completion; ``None`` when the configuration names no limit."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end what the policy says: the tokenizer's and those of the model's generation settings."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        named = named if isinstance(named, list) else [named]
        return frozenset(token for token in [self.tokenizer.eos_token_id, *named] if token is not None)

    @property
    def num_parameters(self) -> int:
        """Trained numbers, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def encode(self, text: str, *, start: bool = False) -> list[int]:
        """The tokens of a text; names of special tokens in it become those tokens.

        Args:
            text: the text.
            start: add what the tokenizer puts at the start of a document; what it puts at the end is left out.

        Raises:
            UserError: if the tokenizer has no token for a part of it.
        """
        if start:
            token_ids = start_of(self.tokenizer, text, self.end_ids)
        else:
            token_ids = self.tokenizer.encode(text, add_special_tokens=False)
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown in token_ids and self.tokenizer.unk_token not in text:
            missing = sorted({letter for letter in text if unknown in self.tokenizer.encode(letter)})
            raise UserError(
                f"text = {text[:60]!r}: the tokenizer has no token for {' '.join(missing) or 'a part of it'}"
            )
        return token_ids

    def chat(self, messages: Sequence[Message | Mapping[str, Any]]) -> list[int]:
        """The prompt of a conversation, by the tokenizer's chat template, up to where the assistant speaks.

        Args:
            messages: each with its role, its content and what else it has, such as ``tool_calls`` or ``name``.

        Raises:
            UserError: if the tokenizer has no chat template, the template refuses the conversation, or a message has
                neither content nor tool calls.
        """
        return self.encode(conversation_text(self.tokenizer, messages))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, special tokens spelled out."""
        return turn_text(self.tokenizer, token_ids)

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer so that :func:`~tenfold.policies.load_policy` and transformers load them.

        Of a model with adapters, they and the name of their base are written.

        Raises:
            UserError: if the base of the adapters has no folder.
        """
        require_named_base(self.model)
        from transformers.utils import logging

        had_bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # it would be drawn through the display of a run
        try:
            with warnings.catch_warnings():
                # peft looks for the vocabulary of a base that may rest on adapters itself; ours is never resized.
                warnings.filterwarnings("ignore", "Could not find a config file", UserWarning)
                self.model.save_pretrained(folder)
        finally:
            if had_bars:
                logging.enable_progress_bar()
        self.tokenizer.save_pretrained(folder)

    def merged(self) -> "Policy":
        """The policy with its adapters folded into the weights: what follows starts from, and refers to, all of it.

        Raises:
            UserError: if the adapters are of a kind that weights cannot hold.
        """
        return replace(self, model=folded(self.model)) if hasattr(self.model, "peft_config") else self

    def decoder(self, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> Decoder:
        """What :func:`~tenfold.policies.rollout` samples with.

        Raises:
            UserError: if the model's attention, or the features of a prompt, are not served.
        """
        from tenfold.policies.decoding import TransformersDecoder

        return TransformersDecoder(self.model, rows, sampling, batch_size, self.autocast)

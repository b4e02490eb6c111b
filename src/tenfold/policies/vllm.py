"""Rollouts by a vLLM engine behind the same interface; the extra ``vllm`` installs it.

    policy = vllm_policy("Qwen/Qwen2.5-7B-Instruct", max_model_len=4096)
    rollout(policy, prompts, Sampling(max_new_tokens=512), num_samples=8)

vLLM samples a turn at a time; the tokens of prompt and completion are handed back to it after a reply, and its prefix
cache keeps that cheap. The sessions of an environment answer side by side, and as the engine is fast only with many
rows, it goes on when at least as many are ready as wait. What differs from sampling with transformers: noise is vLLM's
own, seeded by trajectory and position, and repeatable only as far as the engine's kernels are; ``batch_size`` is the
engine's to choose; top-p is refused, for vLLM reports probabilities after truncation, and ours are those before it.

Written against the interface that trl 1.16 uses (vLLM 0.22 to 0.31) and tested against a stand-in for it: vLLM itself
needs an accelerator, and no test here has run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import UserError
from tenfold.core.extras import require_extras
from tenfold.policies.rows import Row, refuse_constraint, refuse_features
from tenfold.policies.sampling import Sampling


def vllm_policy(name_or_path: str, **engine: Any) -> "VLLMPolicy":
    """Start an engine.

    Args:
        name_or_path: what vLLM takes as ``model``.
        engine: further arguments of ``vllm.LLM``.

    Raises:
        UserError: if vLLM is not installed.
    """
    require_extras(["vllm"], "backend = vllm")
    from vllm import LLM, SamplingParams

    llm = LLM(model=name_or_path, logprobs_mode="processed_logprobs", **engine)
    return VLLMPolicy(llm, llm.get_tokenizer(), llm.llm_engine.model_config.max_model_len, SamplingParams)


@dataclass(frozen=True)
class VLLMPolicy:
    """An engine with its tokenizer, for :func:`~tenfold.policies.rollout`.

    Args:
        llm: a ``vllm.LLM`` with ``logprobs_mode="processed_logprobs"``.
        tokenizer: its tokenizer.
        context: most tokens of prompt and completion.
        make_params: ``vllm.SamplingParams``.
    """

    llm: Any
    tokenizer: Any
    context: int
    make_params: Any

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokenizer's end-of-sequence token."""
        return frozenset([self.tokenizer.eos_token_id])

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decoder(self, rows: Sequence[Row], sampling: Sampling, batch_size: int) -> "_VLLMDecoder":
        """What ``rollout`` samples with.

        Raises:
            UserError: if the sampling asks for top-p, a prompt has features, or there is a constraint.
        """
        refuse_features(rows, "vllm_policy")
        refuse_constraint(rows, "vllm_policy")
        if sampling.top_p < 1:
            raise UserError(f"top_p = {sampling.top_p}: with vLLM must be 1")
        return _VLLMDecoder(self, rows, sampling)


class _VLLMDecoder:
    """Hands out tokens one at a time from turns that the engine has sampled whole."""

    def __init__(self, policy: VLLMPolicy, rows: Sequence[Row], sampling: Sampling) -> None:
        self._policy = policy
        self._rows = list(rows)
        self._sampling = sampling
        # Row to its turn: the length that the row had before it, its tokens and their log-probabilities.
        self._turns: dict[int, tuple[int, list[int], list[float]]] = {}

    def step(self) -> list[tuple[Row, int, float]]:
        going_on = [row for row in self._rows if row.stop_reason is None]
        ready = [row for row in going_on if not row.waiting]
        speaking = [row for row in ready if self._has_more(row)]
        if not speaking and 2 * len(ready) >= len(going_on):
            self._sample(ready)
            speaking = ready
        sampled = []
        for row in speaking:
            start, token_ids, log_probs = self._turns[id(row)]
            index = len(row.ids) - start
            sampled.append((row, token_ids[index], log_probs[index]))
        return sampled

    def _has_more(self, row: Row) -> bool:
        """False at first, at the end of a turn, and when a reply came after it."""
        start, token_ids, _ = self._turns.get(id(row), (0, [], []))
        index = len(row.ids) - start
        return index < len(token_ids) and row.ids[start:] == token_ids[:index]

    def _sample(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        outputs = self._policy.llm.generate(
            [{"prompt_token_ids": list(row.ids)} for row in rows],
            sampling_params=[self._params(row) for row in rows],
            use_tqdm=False,
        )
        for row, output in zip(rows, outputs, strict=True):
            token_ids = list(output.outputs[0].token_ids)
            log_probs = [at[token].logprob for at, token in zip(output.outputs[0].logprobs, token_ids, strict=True)]
            self._turns[id(row)] = (len(row.ids), token_ids, log_probs)

    def _params(self, row: Row) -> Any:
        return self._policy.make_params(
            max_tokens=min(row.budget, self._policy.context - len(row.ids)),
            temperature=self._sampling.temperature,
            seed=(row.seed + len(row.loss_mask)) % 2**63,
            logprobs=0,  # that of the sampled token alone
            stop=list(self._sampling.stop),
            stop_token_ids=sorted(self._policy.end_ids),
            skip_special_tokens=False,  # a stop string may be a special token
            spaces_between_special_tokens=False,
        )

"""A policy with eyes, small enough to learn from scratch on a CPU: a convolutional stem in front of a tiny GPT-2.

An image becomes a few tokens, which stand where the prompt has the image's token, as in LLaVA; everything behind the
stem is transformers' GPT-2. So the same model serves :func:`tenfold.policies.rollout`, ``grpo`` and ``sft`` with the
pixels as a feature of the :class:`~tenfold.core.types.Prompt`, and :meth:`SmallVisionForCausalLM.logits_of_groups`
computes the image once for all of its samples, which is about three times as fast in a training loop of one's own.

The stem sees the image minus the colour of its border: a tinted background is no news. Strided convolutions learn about
twice as fast as a linear projection of patches.

Shapes: B images, H x W pixels, P tokens of an image, D width, N = B * G rows of words (G for each image, in order),
T words, V vocabulary.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model, PreTrainedTokenizerFast
from transformers.cache_utils import DynamicCache

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed
from tenfold.core.types import Prompt
from tenfold.policies.policy import Policy

PAD, BOS, END, UNKNOWN, IMAGE = "<pad>", "<bos>", "end", "<unknown>", "<image>"
SPECIAL = (PAD, BOS, END, UNKNOWN, IMAGE)
STRIDE = 8
"""Pixels of a side that one token of an image stands for."""


class SmallVisionConfig(GPT2Config):
    """That of a GPT-2, with the side of the images in pixels and the token that stands for a part of one."""

    model_type = "tenfold_small_vision"
    image_size: int = 24
    image_token_id: int = SPECIAL.index(IMAGE)

    @property
    def image_tokens(self) -> int:
        """Tokens of an image."""
        return (self.image_size // STRIDE) ** 2


class ConvStem(nn.Module):
    """Images [B, 3, H, W] in [0, 1] to tokens [B, P, D]: three convolutions of stride 2 and a vector for each place."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
        )
        self.places_PD = nn.Parameter(0.02 * torch.randn(tokens, width))

    def forward(self, pixels_B3HW: Tensor) -> Tensor:
        """See the class."""
        states_BPD: Tensor = self.layers(without_border_colour(pixels_B3HW)).flatten(2).transpose(1, 2)
        return states_BPD + self.places_PD


def without_border_colour(pixels_B3HW: Tensor) -> Tensor:
    """Images minus the median colour of their border, which is the background of a drawing.

    Example:
        >>> grey = torch.full((1, 3, 4, 4), 0.25)
        >>> grey[..., 1, 1] = 1.0
        >>> without_border_colour(grey)[0, 0, :2, :2].tolist()
        [[0.0, 0.0], [0.0, 0.75]]
    """
    rows = [pixels_B3HW[..., 0, :], pixels_B3HW[..., -1, :], pixels_B3HW[..., :, 0], pixels_B3HW[..., :, -1]]
    return pixels_B3HW - torch.cat(rows, dim=-1).median(dim=-1).values[..., None, None]


class SmallVisionModel(GPT2Model):
    """A GPT-2 whose image tokens are embedded by a stem."""

    config_class = SmallVisionConfig

    def __init__(self, config: SmallVisionConfig) -> None:
        super().__init__(config)
        self.stem = ConvStem(config.hidden_size, config.image_tokens)

    def warn_if_padding_and_no_attention_mask(self, *_: Any) -> None:
        """Nothing: padding between turns is a word like any other, and is seen by all that follow."""

    def forward(self, input_ids: Tensor | None = None, pixel_values: Tensor | None = None, **options: Any) -> Any:
        """As ``GPT2Model``, with the images of the rows in order, [B, 3, H, W].

        Raises:
            UserError: if there are not as many image tokens as the images have.
        """
        if pixel_values is not None:
            assert input_ids is not None
            embedded = self.wte(input_ids)
            seen = input_ids == self.config.image_token_id
            tokens_BPD = self.stem(pixel_values.to(embedded.dtype))
            if int(seen.sum()) != tokens_BPD[..., 0].numel():
                raise UserError(
                    f"input_ids: {int(seen.sum())} image tokens for {len(pixel_values)} images of "
                    f"{tokens_BPD.shape[1]} tokens each"
                )
            options["inputs_embeds"] = embedded.masked_scatter(seen[..., None], tokens_BPD)
            input_ids = None
        return super().forward(input_ids=input_ids, **options)


class SmallVisionForCausalLM(GPT2LMHeadModel):
    """A GPT-2 that sees: ``pixel_values`` [B, 3, H, W] in [0, 1] stand where the prompt has image tokens.

    Example:
        >>> policy = small_vision_policy(("bar", "red"), width=16, layers=1, heads=2)
        >>> words_NT = torch.zeros(6, 3, dtype=torch.long)
        >>> policy.model.logits_of_groups(torch.rand(2, 3, 24, 24), words_NT).shape  # three samples for each image
        torch.Size([6, 3, 7])
    """

    config_class = SmallVisionConfig

    def __init__(self, config: SmallVisionConfig) -> None:
        super().__init__(config)
        self.transformer = SmallVisionModel(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        pixel_values: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> Any:
        """As ``GPT2LMHeadModel``; see the class."""
        if pixel_values is not None:
            options["pixel_values"] = pixel_values
        return super().forward(
            input_ids=cast(Any, input_ids),
            position_ids=cast(Any, position_ids),
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            **options,
        )

    def looked_at(self, pixels_B3HW: Tensor, samples: int) -> DynamicCache:
        """What words need to know of their image, computed once and repeated for the samples of each."""
        cache = DynamicCache()
        seen_BPD = cast(Any, self.transformer.stem)(pixels_B3HW)
        self.transformer(inputs_embeds=seen_BPD, past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(samples)
        return cache

    def said(self, words_NT: Tensor, cache: DynamicCache) -> Tensor:
        """Logits [N, T, V] of what follows each word, which the cache then holds as well."""
        states_NTD = self.transformer(input_ids=words_NT, past_key_values=cache, use_cache=True).last_hidden_state
        logits_NTV: Tensor = self.lm_head(states_NTD)
        return logits_NTV

    def logits_of_groups(self, pixels_B3HW: Tensor, words_NT: Tensor) -> Tensor:
        """Logits [N, T, V] of what follows each word behind the image of its group; words begin with ``<bos>``."""
        return self.said(words_NT, self.looked_at(pixels_B3HW, len(words_NT) // len(pixels_B3HW)))


def word_tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words between blanks; ``end`` ends what is said.

    Example:
        >>> word_tokenizer(("bar", "red")).tokenize("bar red end")
        ['bar', 'red', 'end']
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def small_vision_policy(
    words: tuple[str, ...],
    *,
    image_size: int = 24,
    width: int = 96,
    layers: int = 2,
    heads: int = 4,
    context: int = 64,
    seed: int = 0,
) -> Policy:
    """A policy with fresh weights that writes words about an image.

    Args:
        words: that it can say, beside ``end``.
        image_size: pixels of a side, a multiple of 8.
        width: of the residual stream.
        layers: number of blocks.
        heads: attention heads.
        context: most tokens, those of the image included.
        seed: of the weights.

    Raises:
        UserError: if a size does not fit.

    Example:
        >>> small_vision_policy(("bar", "red"), width=16, layers=1, heads=2).decode([2, 5])
        'end bar'
    """
    if image_size < STRIDE or image_size % STRIDE:
        raise UserError(f"image_size = {image_size}: must be a multiple of {STRIDE}")
    if width % heads:
        raise UserError(f"width = {width}: must be a multiple of the {heads} heads")
    config = SmallVisionConfig(
        vocab_size=len(SPECIAL) + len(words),
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        n_positions=context,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        pad_token_id=SPECIAL.index(PAD),
        bos_token_id=SPECIAL.index(BOS),
        eos_token_id=SPECIAL.index(END),
        image_size=image_size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "weights"))
        model = SmallVisionForCausalLM(config)
    return Policy(model.eval(), word_tokenizer(words))


def image_prompt(policy: Policy, pixels_3HW: Tensor, key: Any) -> Prompt:
    """The prompt of an image: its tokens, and where words begin.

    Args:
        policy: made by :func:`small_vision_policy`.
        pixels_3HW: in [0, 1].
        key: tells the image apart.

    Example:
        >>> image_prompt(small_vision_policy(("bar",)), torch.zeros(3, 24, 24), key="black").ids
        (4, 4, 4, 4, 4, 4, 4, 4, 4, 1)
    """
    config = cast(Any, policy.model.config)
    ids = (*[config.image_token_id] * config.image_tokens, config.bos_token_id)
    return Prompt(ids, key=key, features={"pixel_values": pixels_3HW[None]})

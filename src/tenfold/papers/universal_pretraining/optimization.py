"""The model of a configuration, its optimizer, the loss, and what a token costs, for pre-training and fine-tuning.

AdamW with a clipped gradient. With ``mup`` the rate of matrices in blocks and of the output head is multiplied by
mup_base_width / width, while embeddings and norms keep the base rate; the attention scale 1/d and the logit multiplier
of the author's muP code are left out, because a checkpoint that transformers loads as it is cannot carry them. Matrices
start by fan-in with and without muP (``tenfold.models.causal_lm``).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.models.byte_transformer import byte_transformer_config
from tenfold.models.causal_lm import causal_lm
from tenfold.models.post_norm_transformer import post_norm_transformer_config
from tenfold.papers.universal_pretraining.config import GeneratorConfig, ModelConfig, PretrainingConfig

VOCABULARY = 256
_BETA1 = 0.9  # PyTorch's default


def build_model(config: ModelConfig, seed: int) -> Any:
    """A fresh byte-level model of transformers; equal seeds give equal weights.

    Example:
        >>> build_model(ModelConfig(width=32, layers=1), seed=0).get_output_embeddings().weight.shape
        torch.Size([256, 32])
    """
    sizes = dict(width=config.width, layers=config.layers, heads=config.heads, context=config.context)
    if config.architecture == "post_norm":
        return causal_lm(post_norm_transformer_config(**sizes, dropout=config.dropout), seed)
    return causal_lm(byte_transformer_config(**sizes), seed)


def next_token_loss(model: nn.Module, tokens_BL: Tensor) -> Tensor:
    """Mean cross-entropy in nats of each token given those before it.

    Args:
        model: a causal language model of transformers.
        tokens_BL: int64.
    """
    logits = model(tokens_BL).logits[:, :-1].float()
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens_BL[:, 1:].flatten())


def make_optimizer(
    rate: float, config: PretrainingConfig, width: int
) -> Callable[[nn.Module], Sequence[torch.optim.Optimizer]]:
    """What the loop of ``tenfold.train`` wants: a function from a model to its optimizers, here one AdamW.

    Args:
        rate: learning rate after the warm-up.
        config: decays, clipping and muP.
        width: of the model.
    """

    def make(model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        groups = parameter_groups(model, rate, config.mup_base_width / width if config.mup else 1.0)
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=(_BETA1, config.beta2), weight_decay=config.weight_decay)
        parameters = [parameter for group in groups for parameter in group["params"]]
        # Gradients are complete, accumulated and averaged, just before the optimizer steps.
        optimizer.register_step_pre_hook(lambda *_: _clip(parameters, config.clip))
        return [optimizer]

    return make


def _clip(parameters: Sequence[nn.Parameter], largest: float) -> None:
    nn.utils.clip_grad_norm_(parameters, largest)


def parameter_groups(model: Any, rate: float, matrix_factor: float) -> list[dict[str, Any]]:
    """Two groups for AdamW: matrices of blocks and head at ``rate * matrix_factor``, all else at ``rate``.

    Embeddings, of tokens and of positions, are matrices by shape but not by role: their rows do not grow with the
    width. They keep the base rate, as do norms and biases.

    Args:
        model: any model of ``torch``; parameters that take no gradient are left out.
        rate: the base rate.
        matrix_factor: 1 without muP, base width / width with it.

    Example:
        >>> model = build_model(ModelConfig(width=32, layers=1), seed=0)
        >>> [group["lr"] for group in parameter_groups(model, rate=1e-3, matrix_factor=20.0)]
        [0.02, 0.001]
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in trained if p.ndim < 2 or id(p) in embeddings]
    return [{"params": matrices, "lr": rate * matrix_factor}, {"params": others, "lr": rate}]


def training_flops_per_token(model: nn.Module, config: ModelConfig) -> float:
    """Floating-point operations of training on one token, forward and backward.

    6 for each weight of a matrix (embeddings are looked up), and 12 · layers · context · width for attention, whose
    kernels compute every pair of positions.
    """
    weights = sum(p.numel() for p in parameter_groups(model, 1.0, 1.0)[0]["params"])
    return 6.0 * weights + 12.0 * config.layers * config.context * config.width


def generation_flops_per_token(config: GeneratorConfig) -> float:
    """Floating-point operations of one token of the random LSTM: 2 for each weight, for it has no backward pass."""
    hidden = config.hidden
    lstm = 4 * hidden * (2 * hidden + hidden) + (config.layers - 1) * 4 * hidden * (hidden + hidden)
    return 2.0 * (lstm + hidden * VOCABULARY)

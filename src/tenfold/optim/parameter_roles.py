"""What each parameter of a model is: a matrix, rows of a table, a head, or numbers that act one by one.

Told, in this order, by what holds it (an embedding, a head, a linear layer, a norm), by its shape, by its name, and by
what the code of its module does with it. What none of these tells, or two of them tell differently, is in doubt.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from tenfold.optim.parameter_uses import ELEMENTWISE, MATRIX, TABLE, parameter_uses

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MATRIX_MODULES = (*CONVOLUTIONS, nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
TABLE_MODULES = (nn.Embedding, nn.EmbeddingBag)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

# Words in the names of parameters, which are cut at underscores, digits and capitals.
TABLE_PARTS = ("embed", "token", "table", "position", "codebook", "codevector")  # also within a word
TABLE_WORDS = {"emb", "embs", "pe", "pos", "latent", "latents", "query", "queries", "prompt", "prompts", "prototypes"}
ELEMENTWISE_WORDS = {
    "scale", "scales", "gain", "gains", "alpha", "gamma", "beta", "lambda", "temperature", "log", "decay", "mix",
}  # fmt: skip
NORM_WORDS = {"norms", "ln", "rms", "gn", "bn"}  # and what ends in norm, as rmsnorm: a gain, even if called a weight
PROJECTIONS = {"proj", "projection", "kernel"}
MATRIX_WORDS = {"weight", "weights", "w"} | PROJECTIONS

# Names of modules that are heads. A head is small: at most three linear layers, as in dense, dense, output.
HEADS = {
    "score", "scores", "classifier", "classifiers", "logits", "qa_outputs", "unembed", "unembedding", "embed_out",
    "output_projection", "to_logits",
}  # fmt: skip
NO_HEADS = {"attention", "attn", "multi", "per", "talking", "pos"}  # as in per_head, multi_head, talking_heads
LINEAR_LAYERS_OF_A_HEAD = 3


class Role(NamedTuple):
    """What a parameter is, and why.

    Args:
        is_matrix: or made of matrices.
        reason: in a few words.
        doubt: whether it may be otherwise.
    """

    is_matrix: bool
    reason: str
    doubt: bool = False


class Holder(NamedTuple):
    """Where a parameter belongs: entries of containers and parametrizations belong to the module that has those.

    Args:
        path: of the module, from the model.
        module: that uses the parameter.
        attribute: in which the module has the parameter, or the container with it.
        kind: the parameter's name there; in a container, with its key behind it.
    """

    path: str
    module: nn.Module
    attribute: str
    kind: str


def holder_of(model: nn.Module, name: str) -> Holder:
    """The module that a parameter belongs to.

    Example:
        >>> tower = nn.ModuleDict({"stem": nn.ParameterDict({"a": nn.Parameter(nn.Linear(2, 2).weight.detach())})})
        >>> holder = holder_of(tower, "stem.a")
        >>> holder.path, type(holder.module).__name__, holder.attribute, holder.kind
        ('', 'ModuleDict', 'stem', 'stem_a')
    """
    path, _, attribute = name.rpartition(".")
    kind = attribute
    module = model.get_submodule(path)
    if isinstance(module, ParametrizationList):  # LAYER.parametrizations.weight.original, or original0, original1, …
        path, _, tensor = path.rpartition(".")
        path = path.removesuffix("parametrizations").removesuffix(".")
        return Holder(path, model.get_submodule(path), tensor, tensor if kind == "original" else f"{tensor}_{kind}")
    while isinstance(module, nn.ParameterDict | nn.ParameterList) and path:
        path, _, attribute = path.rpartition(".")
        kind = f"{attribute}_{kind}"
        module = model.get_submodule(path)
    return Holder(path, module, attribute, kind)


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """The role of each parameter, by name; a parameter that stands in several places is named once.

    Example:
        >>> roles = parameter_roles(nn.Sequential(nn.Embedding(8, 4), nn.LayerNorm((5, 4)), nn.Linear(4, 3)))
        >>> [(name, role.is_matrix, role.reason) for name, role in roles.items()][:2]
        [('0.weight', False, 'rows of a table'), ('1.weight', False, 'of a LayerNorm')]
    """
    elsewhere = {id(parameter): Role(False, "rows of a table") for parameter in _tables(model)}
    for parameter in _heads(model):
        elsewhere.setdefault(id(parameter), Role(False, "a head"))
    for parameter in _as_large_as_a_table(model):
        elsewhere.setdefault(id(parameter), Role(False, "a linear layer of the shape of an embedding", doubt=True))
    return {
        name: elsewhere.get(id(parameter)) or _role(parameter, holder_of(model, name))
        for name, parameter in model.named_parameters()
    }


def is_depthwise(module: nn.Module) -> bool:
    """Whether a convolution has a kernel of its own for each channel."""
    return isinstance(module, CONVOLUTIONS) and module.groups > 1 and module.groups == module.in_channels


def _role(parameter: Tensor, holder: Holder) -> Role:
    kind, module = holder.kind, holder.module
    class_name = type(module).__name__
    words = _words(kind)
    if parameter.ndim < 2:
        return Role(False, "a vector")
    if words & {"bias", "biases"} or kind.endswith("bias"):
        return Role(False, "a bias")  # those of a stack of experts are [E, out]
    if is_depthwise(module):
        return Role(False, "a kernel for each channel")
    has_matrices = isinstance(module, MATRIX_MODULES) or class_name == "Conv1D"  # a linear layer of transformers
    if has_matrices and kind == "weight":
        return Role(True, f"of a {class_name}")
    if sum(size > 1 for size in parameter.shape) < 2:
        return Role(False, "a vector with more axes")
    if any(part in kind for part in TABLE_PARTS) or class_name.endswith(("Embedding", "Embeddings")):
        return Role(False, "rows of a table, by its name")
    if has_matrices and not words & ELEMENTWISE_WORDS and not _is_of_a_norm(words):
        return Role(True, f"of a {class_name}")
    uses = _uses_in(module).get(holder.attribute, frozenset())
    return _loose_role(kind, words, class_name, uses, parameter.ndim)


def _loose_role(kind: str, words: set[str], class_name: str, uses: frozenset[str], axes: int) -> Role:
    """Of a parameter in a module that is not known: by what the module's code does with it, and by its name."""
    if TABLE in uses and axes > 2:
        uses -= {TABLE}  # one of a stack of matrices
    named_matrix = bool(words & MATRIX_WORDS)
    if uses == {MATRIX} or (MATRIX in uses and named_matrix):
        return Role(True, "multiplied as a matrix")
    if "norm" in class_name.lower():
        return Role(False, f"of a {class_name}")
    if TABLE in uses and MATRIX not in uses:
        return Role(False, "looked up by rows")
    if uses == {ELEMENTWISE}:
        is_surprising = named_matrix and not _is_of_a_norm(words)
        return Role(False, "multiplied or added entry by entry", doubt=is_surprising)
    if _is_of_a_norm(words):
        return Role(False, "of a norm, by its name", doubt=MATRIX in uses or bool(words & PROJECTIONS))
    if words & (ELEMENTWISE_WORDS | TABLE_WORDS):
        return Role(False, "no matrix, by its name", doubt=MATRIX in uses)
    return Role(True, f"{kind} in a {class_name}, by its name", doubt=not named_matrix or bool(uses))


def _uses_in(module: Any) -> dict[str, frozenset[str]]:
    kind: Any = type(module)
    return parameter_uses(kind)


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.split(r"[_\d]+|(?<=[a-z])(?=[A-Z])", name) if word}


def _is_of_a_norm(words: set[str]) -> bool:
    return bool(words & NORM_WORDS) or any(word.endswith("norm") for word in words)


def _tables(model: nn.Module) -> Iterator[Tensor]:
    """What embeddings hold, and what a module's code uses as a table, wherever it stands."""
    for module in model.modules():
        if isinstance(module, TABLE_MODULES):
            yield from module.parameters()
        for path, uses in _uses_in(module).items():
            used = _at(module, path)
            if TABLE in uses and MATRIX not in uses and isinstance(used, nn.Parameter) and used.ndim == 2:
                yield used


def _at(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _heads(model: nn.Module) -> Iterator[Tensor]:
    """What a transformers model gives out as its head, within wrappers too, and small modules that are called so."""
    for name, module in model.named_modules():
        for part in _output_embeddings(module):
            if isinstance(part, nn.Module):
                yield from part.parameters()
            elif isinstance(part, Tensor):
                yield part
        path, _, own_name = name.lower().rpartition(".")
        parent = path.rpartition(".")[2]
        is_within_attention = "attn" in parent or "attention" in parent  # as attention.q_head
        if _is_head(own_name, module) and not is_within_attention:
            yield from module.parameters()


def _output_embeddings(module: Any) -> list[Any]:
    """One head, several (one for each codebook), or none."""
    try:
        found = getattr(module, "get_output_embeddings", lambda: None)()
    except (AttributeError, NotImplementedError):  # models without a head may have the method all the same
        return []
    return list(found) if isinstance(found, list | tuple) else [found]


def _is_head(name: str, module: nn.Module) -> bool:
    if name in ("head", "heads"):  # those of an attention may be called so, too: they are more than linear layers
        parts = list(module.children()) if isinstance(module, CONTAINERS) else [module]
        return all(isinstance(part, nn.Linear) or not list(part.parameters()) for part in parts)
    words = name.split("_")
    called_so = name in HEADS or (words[-1] in ("head", "heads") and not NO_HEADS & set(words))
    return called_so and _is_small(module)


def _is_small(module: nn.Module) -> bool:
    """Whether a module is made of a few linear layers and no other matrices; adapters beside them do not count."""
    layers = [(name, child) for name, child in module.named_modules() if list(child.parameters(recurse=False))]
    linear = [name for name, child in layers if isinstance(child, nn.Linear) and "lora_" not in name]
    others = [child for _, child in layers if isinstance(child, (*CONVOLUTIONS, *TABLE_MODULES, nn.MultiheadAttention))]
    return len(linear) <= LINEAR_LAYERS_OF_A_HEAD and not others


def _as_large_as_a_table(model: nn.Module) -> Iterator[Tensor]:
    """Linear layers that look like a head by their shape, outside of repeated blocks."""
    tables = {tuple(module.weight.shape) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, module in model.named_modules():
        names = [part for part in name.split(".") if part not in ("module", "_orig_mod")]
        is_repeated = len(names) > 1 and any(part.isdigit() for part in names)
        if isinstance(module, nn.Linear) and not is_repeated:
            shape = tuple(module.weight.shape)
            if shape in tables and shape[0] > shape[-1]:
                yield module.weight

"""Parameters that are sharded over processes (DTensor): the part that lies here, and the whole made of all parts.

Each function takes tensors that are not sharded too, and gives them back as they are.
"""

from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

from tenfold.core.errors import UserError
from tenfold.optim.matrix_blocks import BlockSpec


def require_whole(parameter: Tensor, name: str = "a parameter") -> None:
    """Refuse a parameter that does not show its matrices: sharding of other kinds flattens or empties weights.

    Raises:
        UserError: for a flat parameter of FSDP1, and one that ZeRO-3 emptied.
    """
    shape = tuple(parameter.shape)
    if getattr(parameter, "_is_flat_param", False) or getattr(parameter, "_fsdp_flattened", False):
        raise UserError(
            f"{name} of shape {shape} was flattened by FullyShardedDataParallel (FSDP1), so that no matrix is left in "
            "it; shard with fully_shard (FSDP2)"
        )
    if parameter.ndim == 1 and parameter.numel() == 0:
        raise UserError(
            f"{name} of shape {shape} has no entries, as DeepSpeed's ZeRO-3 leaves weights, so that no matrix is left "
            "in it; shard with fully_shard (FSDP2)"
        )


def local_part(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this process, as a view of its memory.

    Example:
        >>> import torch
        >>> local_part(torch.ones(2))
        tensor([1., 1.])
    """
    if isinstance(tensor, DTensor):
        return tensor.to_local()
    return tensor


def holds_whole_matrices(parameter: Tensor, spec: BlockSpec) -> bool:
    """Whether the local part consists of whole matrices, and their views share its memory.

    Example:
        >>> import torch
        >>> kernel = torch.ones(6, 3, 2, 2).to(memory_format=torch.channels_last)
        >>> holds_whole_matrices(torch.ones(4, 3), BlockSpec()), holds_whole_matrices(kernel, BlockSpec())
        (True, False)
    """
    if isinstance(parameter, DTensor):
        is_stack = parameter.ndim == 3 and not spec.flatten
        return is_stack and all(placement == Shard(0) for placement in parameter.placements)
    is_flattened = spec.flatten or parameter.ndim > 3
    return parameter.is_contiguous() or not is_flattened


def gather(part: Tensor, parameter: Tensor) -> Tensor:
    """The whole of a tensor that is sharded as ``parameter`` is and of which ``part`` lies here; all processes ask.

    Example:
        >>> import torch
        >>> gather(torch.ones(2), torch.zeros(2))
        tensor([1., 1.])
    """
    if not isinstance(parameter, DTensor):
        return part
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(part, mesh, placements, shape=parameter.shape, stride=parameter.stride()).full_tensor()


def own_slice(whole: Tensor, parameter: Tensor) -> Tensor:
    """The part of a whole tensor that lies here when it is sharded as ``parameter`` is; nothing is sent.

    Example:
        >>> import torch
        >>> own_slice(torch.ones(2), torch.zeros(2))
        tensor([1., 1.])
    """
    if not isinstance(parameter, DTensor):
        return whole
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None).to_local()


def is_finite(tensor: Tensor) -> Tensor:
    """Whether a tensor is without NaN and infinity, in the parts of all processes (some may be empty).

    Example:
        >>> import torch
        >>> is_finite(torch.tensor([1.0, torch.inf]))
        tensor(False)
    """
    num_bad = (~local_part(tensor).isfinite()).sum()
    if isinstance(tensor, DTensor):
        mesh = tensor.device_mesh
        num_bad = DTensor.from_local(num_bad, mesh, [Partial()] * mesh.ndim).full_tensor()
    return num_bad == 0

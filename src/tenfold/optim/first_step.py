"""Steps that are none: a checkpoint asks an optimizer for its state before there is one."""

import torch


def asks_for_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the step that is about to be taken only serves to make the optimizer's state.

    ``get_optimizer_state_dict`` and ``set_optimizer_state_dict`` of torch step a fresh optimizer at a rate of 0 with
    gradients of 0. Whoever counts steps must not count this one.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.zeros(2)
        >>> asks_for_state(torch.optim.SGD([weight], lr=0.0)), asks_for_state(torch.optim.SGD([weight], lr=0.1))
        (True, False)
    """
    if optimizer.state or any(float(group["lr"]) != 0 for group in optimizer.param_groups):
        return False
    from tenfold.optim.shards import local_part  # loads torch.distributed.tensor, which few steps need

    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return not any(bool(local_part(gradient).any()) for gradient in gradients)

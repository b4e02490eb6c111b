"""Where the model of a user's own training goes, and what is said of it."""

from tenfold.core.cell import Cell
from tenfold.policies import Policy


def save_trained(policy: Policy, cell: Cell, *, show_loss: bool = False) -> None:
    """Save the policy in ``model`` of the cell's folder, and print how its rewards went; on the main process alone.

    Args:
        policy: after the training.
        cell: the training.
        show_loss: whether the loss is printed, too.
    """
    if not cell.is_main:
        return
    folder = cell.directory / "model"
    policy.save(folder)
    for name, points in cell.curves().items():
        is_reward = name.startswith("rewards/") and name.endswith("/mean")
        if is_reward or (show_loss and name == "train/loss"):
            print(f"{name:30} first step {points[0][1]:.3f}   last step {points[-1][1]:.3f}")
    print(f"model: {folder}; metrics: {cell.directory / 'metrics.jsonl'}")

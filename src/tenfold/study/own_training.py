"""Training on data of a user's own, as ``tenfold train PAPER`` does it: what it is about, and what it leaves.

A paper that offers it has a preset ``own(data)`` in its ``config.py``, whose fields are the flags of the verb, and a
module ``own_training.py``::

    ARMS = ("rl", "sft")
    ACTING = ("policy", "rates", "reward", "training")

    OF_ARM = {"rl": ("rates.rl", "reward"), "sft": ("rates.sft",)}

    def read(config: Config, arm: str) -> Given: ...

    def train(config: Config, arm: str, given: Given, cell: Cell) -> Policy | None: ...

``ARMS`` names what can be trained, the first by default. ``ACTING`` names the fields, or groups of them, that act in
it. ``OF_ARM``, which may be left out, names those of them that act in some arms alone. ``read`` refuses all else that
can be refused, before anything is written. ``train`` returns the trained policy, or nothing if it has saved a model of
another kind.

The folder says what it is about, and goes on with it: the same again resumes, anything else is refused.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tenfold.core.cell import Cell
from tenfold.core.config import differences, leaf_types, leaves
from tenfold.core.directory import claim_folder
from tenfold.core.errors import UserError
from tenfold.core.writing import writing_to
from tenfold.policies import Policy
from tenfold.study.tuning import with_value
from tenfold.train.distributed import device_of

ABOUT = "training.yaml"


class OwnTraining(Protocol):
    """What the module ``own_training.py`` of a paper holds."""

    ARMS: Sequence[str]
    ACTING: Sequence[str]

    def read(self, config: Any, arm: str) -> Any:
        """Data, model and all else that is needed, each checked."""

    def train(self, config: Any, arm: str, given: Any, cell: Cell) -> Policy | None:
        """The training, or what is left of it."""


def train_in(paper: str, module: OwnTraining, config: Any, data: Path, cell: Cell) -> None:
    """Train in the cell's folder, from the start or from where it was interrupted, and save the model there.

    Args:
        paper: its name.
        module: its ``own_training``.
        config: the resolved configuration.
        data: the file that the configuration was made for; known by the hash of its content.
        cell: the training.

    Raises:
        UserError: something cannot be used, such as a device that is not there, before anything is written; or the
            folder is about something else, is held by another process, or cannot be written to.
    """
    device_of(cell)
    data_sha256 = sha256_of(data)
    given = module.read(config, cell.arm)
    facts = {"paper": paper, "arm": cell.arm, "seed": cell.seed, "dtype": cell.dtype, "data_sha256": data_sha256}
    with writing_to(cell.directory, "once it can be written to, the same command goes on"):
        claim_folder(cell.directory, ABOUT, facts, _with_whole_paths(config), ignored=_naming(data, config))
        policy = module.train(config, cell.arm, given, cell)
        if policy is not None:
            save_trained(policy, cell)


def _naming(data: Path, config: Any) -> list[str]:
    """The fields that hold the path of the data: the file may be moved, for the hash of its content counts."""
    return [field for field, value in leaves(config).items() if value in (str(data), (str(data),))]


def _with_whole_paths(config: Any) -> Any:
    """The configuration with absolute paths: ``model`` and ``/home/me/model`` may be the same."""
    kinds = leaf_types(type(config))
    for field, value in leaves(config).items():
        if kinds[field] is not str or not isinstance(value, str) or not value:  # a word of a choice is no path
            continue
        if Path(value).exists():
            config = with_value(config, field, str(Path(value).resolve()))
    return config


def refuse_unread(module: OwnTraining, default: Any, config: Any, paper: str) -> None:
    """Refuse values of fields that do nothing in this training.

    Args:
        module: the paper's ``own_training``.
        default: the preset ``own``.
        config: the same with the user's values.
        paper: its name.

    Raises:
        UserError: naming the first such field, and those that act.
    """
    for field, (_, value) in differences(default, config).items():
        if not _is_among(field, module.ACTING):
            raise UserError(
                f"--{field} = {value}: does nothing in tenfold train {paper}; what acts: {', '.join(module.ACTING)}"
            )


def refuse_fields_of_others(module: OwnTraining, default: Any, config: Any, arm: str) -> None:
    """Refuse values of fields that act in other arms alone.

    Args:
        module: the paper's ``own_training``.
        default: the preset ``own``.
        config: the same with the user's values.
        arm: what is trained.

    Raises:
        UserError: naming the first such field, and the arms in which it acts.
    """
    of_arm: Mapping[str, Sequence[str]] = getattr(module, "OF_ARM", {})
    for field, (_, value) in differences(default, config).items():
        acts_in = [name for name, fields in of_arm.items() if _is_among(field, fields)]
        if acts_in and arm not in acts_in:
            raise UserError(
                f"--{field} = {value}: acts with --arm {' or '.join(acts_in)}, not with {arm}; "
                f"what acts with {arm}, and not with every arm: {', '.join(of_arm.get(arm, ())) or 'nothing'}"
            )


def _is_among(field: str, names: Sequence[str]) -> bool:
    """Whether a field, or a group that holds it, is among names."""
    return any(field == name or field.startswith(f"{name}.") for name in names)


def sha256_of(path: Path) -> str:
    """The hash of a file's content, or, for a folder, of the names and contents of its files.

    Raises:
        UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(f"--data is {path}, which does not exist")
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def save_trained(policy: Policy, cell: Cell) -> None:
    """Save the policy in ``model`` of the cell's folder, and print how loss and rewards went; on the main process.

    Args:
        policy: after the training.
        cell: the training.
    """
    if not cell.is_main:
        return
    folder = cell.directory / "model"
    policy.save(folder)
    for name, points in cell.curves().items():
        is_reward = "rewards/" in name and name.endswith("/mean")
        if is_reward or name.endswith("train/loss"):
            print(f"{name:30} first step {points[0][1]:.3f}   last step {points[-1][1]:.3f}")
    print(f"model: {folder}; metrics: {cell.directory / 'metrics.jsonl'}")

"""Agreement between the processes of one launch, for code that does not know accelerate."""

from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


def broadcast(value: T) -> T:
    """The main process's ``value`` (anything that pickles), on every process."""
    PartialState()
    return broadcast_object_list([value])[0]

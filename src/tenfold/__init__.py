"""tenfold: ten systems of one week's paper digest, runnable, comparable and reusable.

    import tenfold

    report = tenfold.run("hrm", preset="smoke")

Importing the package costs nothing: the layers (``tenfold.optim``, ``tenfold.models``,
``tenfold.data``, …) and the papers (``tenfold.papers.hrm``, …) are imported by name.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold.cli.python import RunReport, compare, list_papers, load, run

__all__ = ["RunReport", "compare", "list_papers", "load", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
    from tenfold.cli import python

    return getattr(python, name)

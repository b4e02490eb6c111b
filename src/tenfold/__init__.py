"""tenfold: ten systems of one week's paper digest, runnable, comparable and reusable.

Importing the package costs nothing: the layers (``tenfold.optim``, ``tenfold.models``,
``tenfold.data``, …) and the papers (``tenfold.papers.hrm``, …) are imported by name.
"""

__version__ = "0.1.0"

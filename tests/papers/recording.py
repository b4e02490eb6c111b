"""A configuration that records which of its leaves are read, so that a test can find those that do nothing.

Each node of the configuration gets a class of its own, derived from the original, that knows its dotted path. A read
counts unless it comes from code that only passes values on: dataclasses (``replace``, comparing, printing), validation
in ``__post_init__``, and the functions of ``tenfold.core.config`` that store or list a configuration. What ``replace``
has set to another value is no longer the user's, so reading it afterwards does not count either.
"""

import dataclasses
import sys

import tenfold.core.config

PASSING_ON = (dataclasses.__file__, tenfold.core.config.__file__, __file__, "<string>")
"""Files of code that passes values on; methods that dataclasses generate say ``<string>``."""
COMPREHENSIONS = ("<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>")
CALLS_OF_A_CHECK = 6
"""How far below ``__post_init__`` a check may read."""


def recording(config, read, path=""):
    """A copy of a configuration that adds to ``read`` the dotted name of each leaf that is read.

    Args:
        config: any frozen dataclass of values and further dataclasses.
        read: a set that is filled while the copy is used.
        path: of ``config`` itself, with a dot at its end.
    """
    original = type(config)
    names = [field.name for field in dataclasses.fields(config)]

    def note(self, name):
        value = object.__getattribute__(self, name)
        is_leaf = name in names and not dataclasses.is_dataclass(value)
        if is_leaf and name not in overridden(self) and not passes_on(sys._getframe(1)):
            read.add(f"{path}{name}")
        return value

    def initialise(self, *args, **values):
        original.__init__(self, *args, **values)
        caller = sys._getframe(1)
        if caller.f_code.co_filename == dataclasses.__file__ and caller.f_code.co_name in ("replace", "_replace"):
            before = caller.f_locals.get("obj", caller.f_locals.get("self"))  # the latter from Python 3.13 on
            changed = {name for name in names if differs(before, self, name)}
            object.__setattr__(self, "_overridden", overridden(before) | changed)

    node = type(original.__name__, (original,), {"__getattribute__": note, "__init__": initialise})
    values = {}
    for name in names:
        value = getattr(config, name)
        values[name] = recording(value, read, f"{path}{name}.") if dataclasses.is_dataclass(value) else value
    return node(**values)


def overridden(node):
    """The fields of a node that ``replace`` has set to other values than the user's."""
    return object.__getattribute__(node, "__dict__").get("_overridden", frozenset())


def differs(before, after, name):
    one, other = (object.__getattribute__(node, name) for node in (before, after))
    return not dataclasses.is_dataclass(one) and one != other


def passes_on(frame):
    """Whether a read comes from code that only passes values on, or checks them."""
    while frame.f_code.co_name in COMPREHENSIONS:
        frame = frame.f_back
    if frame.f_code.co_filename in PASSING_ON:
        return True
    for _ in range(CALLS_OF_A_CHECK):
        if frame is None:
            return False
        if frame.f_code.co_name == "__post_init__":
            return True
        frame = frame.f_back
    return False

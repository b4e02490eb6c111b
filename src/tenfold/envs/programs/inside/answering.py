"""A request to infer, and its answer, as one line of text: how programs are run within the code sandbox."""

import base64
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.methods import Found, Request, infer

MARK = "TENFOLD-PROGRAM-ANSWER "


def answer(request: str) -> str:
    """Infer, and say what was found.

    Args:
        request: the fields of a :class:`Request`, in JSON.
    """
    found = infer(Request(**json.loads(request)))
    plain = asdict(found)
    plain["values"] = {name: _text(values) for name, values in found.values.items()}
    plain["log_weights"] = _text(found.log_weights)
    return MARK + json.dumps(plain)


def read(line: str) -> Found:
    """The answer as it was found.

    Raises:
        ValueError: the line is no answer.
    """
    if not line.startswith(MARK):
        raise ValueError("no answer")
    plain: dict[str, Any] = json.loads(line[len(MARK) :])
    plain["values"] = {name: _array(text) for name, text in plain["values"].items()}
    plain["log_weights"] = _array(plain["log_weights"])
    return Found(**plain)


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def _array(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").copy()

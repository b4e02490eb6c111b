"""The distributions of the vocabulary: draws for one particle, draws for N particles, log-densities.

A scalar draw uses Python's ``random``, which is several times faster than a numpy generator for single numbers. A
vector draw takes arguments that are numbers or arrays of shape [N] and gives an array of shape [N], which nobody may
write to: memory cells share it. ``log_prob`` takes numbers or arrays, the value last.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.envs.programs.inside.faults import BranchOnRandom, ProgramFault


@dataclass(frozen=True)
class Distribution:
    """One name of the vocabulary.

    Args:
        name: as programs call it.
        parameters: names of its parameters, in order.
        discrete: whether single values have a probability.
        check: raises :class:`ProgramFault` for parameters out of range.
        scalar: ``(random, *parameters) -> value``.
        vector: ``(generator, n, *parameters) -> values[n]``.
        log_prob: ``(*parameters, value) -> log-density``.
    """

    name: str
    parameters: tuple[str, ...]
    discrete: bool
    check: Callable[..., None]
    scalar: Callable[..., Any]
    vector: Callable[..., np.ndarray]
    log_prob: Callable[..., Any]


def require(name: str, parameter: str, value: Any, holds: Any, allowed: str) -> None:
    """Refuse a parameter out of range."""
    if not (holds.all() if isinstance(holds, np.ndarray) else holds):
        shown = f"{value:g}" if isinstance(value, (int, float)) else "out of range for some particles"
        raise ProgramFault(f"{name}: {parameter} is {shown}; allowed: {allowed}")


def _share(name: str, p: Any) -> None:
    if p.__class__ is float and 0 <= p <= 1:  # the scalar executor comes by here very often
        return
    require(name, "p", p, (p >= 0) & (p <= 1), "0 to 1")


def _positive(name: str, **parameters: Any) -> None:
    for parameter, value in parameters.items():
        require(name, parameter, value, value > 0, "above 0")


def _ordered(name: str, lo: Any, hi: Any) -> None:
    require(name, "hi", hi, hi >= lo, "at least lo")


def _whole(name: str, **parameters: Any) -> None:
    for parameter, value in parameters.items():
        kind = value.dtype.kind if isinstance(value, np.ndarray) else None
        if not (kind in "iu" if kind else isinstance(value, (int, np.integer))):
            raise ProgramFault(f"{name}: {parameter} is {value!r}; allowed: a whole number")


def _check_gaussian(mean: Any, sd: Any) -> None:
    if sd.__class__ in (int, float) and sd > 0:
        return
    _positive("gaussian", sd=sd)


def _check_randint(lo: Any, hi: Any) -> None:
    _whole("randint", lo=lo, hi=hi)
    _ordered("randint", lo, hi)


def _where_log(holds: Any, probability: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(holds, np.log(probability), -np.inf)


def _flip_log_prob(p: Any, value: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.where(value, np.log(p), np.log1p(-np.asarray(p, dtype=float)))


def normal_log_prob(mean: Any, sd: Any, value: Any) -> Any:
    """log N(value; mean, sd²).

    Example:
        >>> round(float(normal_log_prob(0.0, 1.0, 0.0)), 4)
        -0.9189
    """
    return -0.5 * ((value - mean) / sd) ** 2 - np.log(sd) - 0.5 * math.log(2 * math.pi)


def _uniform_log_prob(lo: Any, hi: Any, value: Any) -> Any:
    return _where_log((value >= lo) & (value <= hi), 1.0 / np.subtract(hi, lo))


def _exponential_log_prob(rate: Any, value: Any) -> Any:
    return np.where(np.asarray(value) >= 0, np.log(rate) - rate * value, -np.inf)


def _log_gamma(value: Any) -> Any:
    from scipy.special import gammaln  # a quarter of a second that few programs need

    return gammaln(value)


def _gamma_log_prob(shape: Any, rate: Any, value: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = shape * np.log(rate) - _log_gamma(shape) + (shape - 1) * np.log(value) - rate * value
    return np.where(np.asarray(value) > 0, inside, -np.inf)


def _beta_log_prob(a: Any, b: Any, value: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = (a - 1) * np.log(value) + (b - 1) * np.log1p(-np.asarray(value))
    inside = inside + _log_gamma(np.add(a, b)) - _log_gamma(a) - _log_gamma(b)
    return np.where((np.asarray(value) > 0) & (np.asarray(value) < 1), inside, -np.inf)


def _poisson_log_prob(rate: Any, value: Any) -> Any:
    return np.where(np.asarray(value) >= 0, value * np.log(rate) - rate - _log_gamma(np.add(value, 1.0)), -np.inf)


def _randint_log_prob(lo: Any, hi: Any, value: Any) -> Any:
    return _where_log((value >= lo) & (value <= hi) & (value == np.floor(value)), 1.0 / (np.subtract(hi, lo) + 1))


def _geometric_log_prob(p: Any, value: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        failures = np.where(np.asarray(value) == 0, 0.0, value * np.log1p(-np.asarray(p, dtype=float)))
        return np.where(np.asarray(value) >= 0, np.log(p) + failures, -np.inf)


def _scalar_poisson(source: random.Random, rate: float) -> int:
    """Knuth's product of uniforms, in pieces of 30, for a sum of Poisson numbers is one of the summed rates."""
    count = 0
    while rate > 0:
        piece = min(rate, 30.0)
        rate -= piece
        bound, product = math.exp(-piece), source.random()
        while product > bound:
            count += 1
            product *= source.random()
    return count


def _scalar_geometric(source: random.Random, p: float) -> int:
    return 0 if p >= 1 else int(math.log(1.0 - source.random()) / math.log1p(-p))


def _check_categorical(probs: Any, values: Any) -> None:
    if not isinstance(values, (list, tuple)) or not isinstance(probs, (list, tuple)) or len(probs) != len(values):
        raise ProgramFault("categorical: probs and values must be two lists of equal length")
    if not values:
        raise ProgramFault("categorical: values is empty; allowed: at least one")
    total: Any = 0.0
    for p in probs:
        _share("categorical", p)
        total = total + p
    require("categorical", "the sum of probs", total, abs(total - 1) < 1e-6, "1")


def _scalar_categorical(source: random.Random, probs: Sequence[float], values: Sequence[Any]) -> Any:
    left = source.random()
    for p, value in zip(probs, values, strict=True):
        left -= p
        if left < 0:
            return value
    return values[-1]


def _vector_categorical(generator: np.random.Generator, n: int, probs: Sequence[Any], values: Sequence[Any]) -> Any:
    left, index = generator.random(n), np.zeros(n, dtype=np.int64)
    total: Any = 0.0
    for p in probs[:-1]:
        total = total + p
        index += left >= total
    return pick(index, values)


def pick(index: np.ndarray, values: Sequence[Any]) -> np.ndarray:
    """The value of each particle, of equally many plain values or arrays [N], by its index [N]."""
    if any(isinstance(value, np.ndarray) for value in values):
        return np.choose(index, values)
    are_texts = {isinstance(value, str) for value in values}
    if len(are_texts) > 1 or not all(isinstance(value, (bool, int, float, str)) for value in values):
        raise BranchOnRandom("a categorical whose values are neither all numbers nor all texts")
    return np.array(values)[index]


def _categorical_log_prob(probs: Sequence[Any], values: Sequence[Any], value: Any) -> Any:
    total: Any = 0.0
    for p, one in zip(probs, values, strict=True):
        total = total + np.where(np.asarray(value) == one, p, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(total)


_FLIP = Distribution(
    "flip",
    ("p",),
    True,
    lambda p=0.5: _share("flip", p),
    lambda source, p=0.5: source.random() < p,
    lambda generator, n, p=0.5: generator.random(n) < p,
    lambda *given: _flip_log_prob(*(given if len(given) > 1 else (0.5, *given))),
)
_GAUSSIAN = Distribution(
    "gaussian",
    ("mean", "sd"),
    False,
    _check_gaussian,
    lambda source, mean, sd: source.gauss(mean, sd),
    lambda generator, n, mean, sd: generator.standard_normal(n) * sd + mean,
    normal_log_prob,
)
_UNIFORM = Distribution(
    "uniform",
    ("lo", "hi"),
    False,
    lambda lo, hi: _ordered("uniform", lo, hi),
    lambda source, lo, hi: lo + (hi - lo) * source.random(),
    lambda generator, n, lo, hi: lo + (hi - lo) * generator.random(n),
    _uniform_log_prob,
)
_BETA = Distribution(
    "beta",
    ("a", "b"),
    False,
    lambda a, b: _positive("beta", a=a, b=b),
    lambda source, a, b: source.betavariate(a, b),
    lambda generator, n, a, b: generator.beta(a, b, n),
    _beta_log_prob,
)
_GAMMA = Distribution(
    "gamma",
    ("shape", "rate"),
    False,
    lambda shape, rate: _positive("gamma", shape=shape, rate=rate),
    lambda source, shape, rate: source.gammavariate(shape, 1.0 / rate),
    lambda generator, n, shape, rate: generator.standard_gamma(shape, n) / rate,
    _gamma_log_prob,
)
_EXPONENTIAL = Distribution(
    "exponential",
    ("rate",),
    False,
    lambda rate: _positive("exponential", rate=rate),
    lambda source, rate: source.expovariate(rate),
    lambda generator, n, rate: generator.standard_exponential(n) / rate,
    _exponential_log_prob,
)
_POISSON = Distribution(
    "poisson",
    ("rate",),
    True,
    lambda rate: require("poisson", "rate", rate, (rate > 0) & (rate <= 1e6), "above 0, at most 1e6"),
    _scalar_poisson,
    lambda generator, n, rate: generator.poisson(rate, n),
    _poisson_log_prob,
)
_RANDINT = Distribution(
    "randint",
    ("lo", "hi"),
    True,
    _check_randint,
    lambda source, lo, hi: source.randint(lo, hi),
    lambda generator, n, lo, hi: generator.integers(lo, hi, n, endpoint=True),
    _randint_log_prob,
)
_CATEGORICAL = Distribution(
    "categorical",
    ("probs", "values"),
    True,
    _check_categorical,
    _scalar_categorical,
    _vector_categorical,
    _categorical_log_prob,
)
_GEOMETRIC = Distribution(
    "geometric",
    ("p",),
    True,
    lambda p: require("geometric", "p", p, (p > 0) & (p <= 1), "above 0, at most 1"),
    _scalar_geometric,
    lambda generator, n, p: generator.geometric(p, n) - 1,
    _geometric_log_prob,
)
DISTRIBUTIONS = {
    distribution.name: distribution
    for distribution in (
        _FLIP,
        _GAUSSIAN,
        _UNIFORM,
        _BETA,
        _GAMMA,
        _EXPONENTIAL,
        _POISSON,
        _RANDINT,
        _CATEGORICAL,
        _GEOMETRIC,
    )
}

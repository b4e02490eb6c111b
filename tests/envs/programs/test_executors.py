"""One source, two executors: they agree on every construct, and the vector executor gives up where it must."""

import numpy as np
import pytest
from scipy import stats

from tenfold.envs.programs import InThisProcess, ProgramRefused, infer
from tenfold.envs.programs.inside.distributions import DISTRIBUTIONS, ProgramFault

from .examples import FULL, TUG_OF_WAR, rare

HERE = InThisProcess()

LIFTED = {
    "if with assignments": """
    x = gaussian(0, 1)
    y = 1.0
    if x > 1:
        y = x * 2
        label = 3
    elif x < 0:
        y += 5
        label = 4
    else:
        label = 5
    return {"y": y, "label": label}
""",
    "if with returns": """
    def kind(x):
        if x > 1:
            z = x + 1
            return z * 2
        if x > 0:
            return 7
        z = x - 1
        return z
    return {"z": kind(gaussian(0, 1)), "plain": kind(3)}
""",
    "chained comparison and truths": """
    x, y = gaussian(0, 1), gaussian(0, 1)
    inside = -1 < x < y < 1
    return {"a": inside, "b": not inside and x > 0, "c": (x > 0) + (y > 0), "d": -(x > 0)}
""",
    "largest, smallest, rounded": """
    x, y, z = (gaussian(0, 1) for _ in range(3))
    return {"a": max(x, y, z), "b": min([x, y, 0]), "c": round(x), "d": int(y), "e": round(z, 1), "f": floor(x),
            "g": abs(y), "h": max(2, 3), "i": sum([x > 0, y > 0]), "j": mean([x, y]), "k": mean(x, 1)}
""",
    "any and all": """
    @mem
    def event(day):
        return flip(0.3)
    days = [event(day) for day in range(4)]
    return {"a": any(days), "b": all(not day for day in days), "c": any_previous_time(event, 3),
            "d": any_previous_time(event, 3, inclusive=False)}
""",
    "containers": """
    wins = {"a": 0, "b": 0}
    seen = []
    for match in range(5):
        winner = "a" if match % 2 else "b"
        wins[winner] += gaussian(0, 1) > 0
        seen.append(wins[winner])
    condition(seen[3] > 0)
    total = 0
    for value in seen:
        total += value
    return {"a": wins["a"], "b": wins["b"], "total": total}
""",
    "texts": """
    colour = categorical([0.2, 0.5, 0.3], ["red", "green", "blue"])
    weight = 3 if colour == "red" else 5 if colour == "green" else 8
    return {"red": colour == "red", "weight": weight + gaussian(0, 1)}
""",
    "arithmetic in place leaves a cell alone": """
    @mem
    def strength(name):
        return gaussian(0, 1)
    total = strength("a")
    total += strength("b")
    return {"total": total, "a": strength("a")}
""",
    "conditions in a loop and a function": """
    @mem
    def strength(name):
        return gaussian(0, 1)
    def require_order(names):
        for i in range(len(names) - 1):
            condition(strength(names[i]) < strength(names[i + 1]))
    require_order(["a", "b", "c"])
    before = strength("c")
    for name in ["d", "e"]:
        condition(strength(name) > 0)
    return {"a": strength("a"), "c": before, "e": strength("e")}
""",
    "both sides of a dictionary": """
    x = gaussian(0, 1)
    if x > 0:
        return {"x": x, "y": 1}
    return {"x": -x, "y": 0}
""",
}
BRANCHING = {
    "while": """
    count = 0
    while flip(0.5):
        count += 1
    condition(count > 0)
    return {"count": count}
""",
    "recursion": """
    def tails(already):
        return already if flip(0.5) else tails(already + 1)
    return {"count": tails(0)}
""",
    "condition under a branch": """
    x = gaussian(0, 1)
    if x > 0:
        condition(flip(0.2))
    return {"positive": x > 0}
""",
    "index": """
    prices = [10, 20, 30]
    return {"price": prices[randint(0, 2)]}
""",
    "a random name": """
    @mem
    def strength(name):
        return gaussian(0, 1)
    who = categorical([0.5, 0.5], ["a", "b"])
    condition(strength("a") > 0)
    return {"strength": strength(who)}
""",
    "sorted": """
    values = sorted([gaussian(0, 1), gaussian(0, 1), gaussian(0, 1)])
    return {"middle": values[1]}
""",
}


def both(program, n=5000, **options):
    found = [
        infer(program, "rejection", n=n, seed=7, executor=name, max_seconds=60, runner=HERE, **options)
        for name in ("auto", "scalar")
    ]
    assert found[1].executor == "scalar"
    return found


def agree(one, other):
    assert one.queries == other.queries
    for query in one.queries:
        p = stats.ks_2samp(one.samples[query], other.samples[query]).pvalue
        assert p > 0.001, f"{query}: {one[query].mean()} and {other[query].mean()}"


@pytest.mark.spec("msa", "4")
@pytest.mark.parametrize("name", LIFTED)
def test_what_is_lifted_means_the_same_in_both_executors(name):
    vector, scalar = both("def model():" + LIFTED[name])
    assert vector.executor == "vector"
    agree(vector, scalar)


@pytest.mark.spec("msa", "4")
@pytest.mark.parametrize("name", BRANCHING)
def test_a_branch_over_random_values_falls_back_to_one_particle_at_a_time(name):
    found, scalar = both("def model():" + BRANCHING[name], n=2000)
    assert found.executor.startswith("scalar (") and found.executor != "scalar"
    agree(found, scalar)


@pytest.mark.parametrize("program", [TUG_OF_WAR, FULL, rare(0.4, 0.4, 0.4)], ids=["tug-of-war", "full", "rare"])
def test_the_executors_agree_on_whole_programs(program):
    vector, scalar = both(program, n=300)
    assert vector.executor == "vector"
    agree(vector, scalar)


def test_a_fault_in_a_branch_that_no_particle_takes_is_none():
    program = """
def model():
    x = gaussian(0, 1)
    return {"root": sqrt(x) if x > 0 else 0}
"""
    assert infer(program, n=500, runner=HERE)["root"].mean() > 0
    with pytest.raises(ProgramRefused, match="line 4: ValueError"):
        infer(program.replace("sqrt(x) if x > 0 else 0", "sqrt(x)"), n=500, runner=HERE)


@pytest.mark.spec("msa", "5")
@pytest.mark.parametrize("executor", ["vector", "scalar"])
def test_equal_arguments_by_position_or_keyword_are_one_cell(executor):
    program = """
def model():
    @mem
    def strength(athlete, day=1):
        return gaussian(0, 1)
    values = [strength("tom"), strength(athlete="tom"), strength("tom", 1), strength(day=1, athlete="tom")]
    return {"spread": max(values) - min(values), "other": strength("tom", 2) - strength("tom"), "value": values[0]}
"""
    posterior = infer(program, n=300, executor=executor, runner=HERE)
    assert np.all(posterior.samples["spread"] == 0)
    assert np.all(posterior.samples["other"] != 0)
    assert len(set(posterior.samples["value"])) == 300, "every run has values of its own"


@pytest.mark.spec("msa", "5")
@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ('strength(player="tom")', "does not bind to strength"),
        ("strength()", "does not bind to strength"),
        ('strength("tom", "sue")', "does not bind to strength"),
        ('indirect(lambda: strength(["tom"]))', "names and numbers, not with list: strength"),
    ],
)
@pytest.mark.parametrize("executor", ["vector", "scalar"])
def test_a_call_that_does_not_bind_is_an_error(call, reason, executor):
    program = f"""
def model():
    @mem
    def strength(athlete):
        return gaussian(0, 1)
    def indirect(call):
        return call()
    return {{"x": {call}}}
"""
    with pytest.raises(ProgramRefused, match=reason):
        infer(program, executor=executor, runner=HERE)


@pytest.mark.spec("msa", "5")
@pytest.mark.parametrize("executor", ["vector", "scalar"])
def test_a_call_through_another_name_that_does_not_bind_is_an_error_when_it_runs(executor):
    program = """
def model():
    @mem
    def strength(athlete):
        return gaussian(0, 1)
    same = strength
    return {"x": same("tom", 2)}
"""
    with pytest.raises(ProgramRefused, match="line 7: a call of strength does not bind: too many positional arguments"):
        infer(program, executor=executor, runner=HERE)


@pytest.mark.parametrize(
    ("name", "parameters", "reference"),
    [
        ("flip", (0.3,), stats.bernoulli(0.3)),
        ("gaussian", (2.0, 3.0), stats.norm(2, 3)),
        ("uniform", (-1.0, 3.0), stats.uniform(-1, 4)),
        ("beta", (2.0, 5.0), stats.beta(2, 5)),
        ("gamma", (2.0, 3.0), stats.gamma(2, scale=1 / 3)),
        ("exponential", (0.5,), stats.expon(scale=2)),
        ("poisson", (41.5,), stats.poisson(41.5)),
        ("randint", (2, 6), stats.randint(2, 7)),
        ("geometric", (0.2,), stats.geom(0.2, loc=-1)),
    ],
)
def test_distributions_are_those_of_scipy(name, parameters, reference):
    import random

    one, n = DISTRIBUTIONS[name], 4000
    vector = one.vector(np.random.default_rng(0), n, *parameters)
    source = random.Random(0)
    scalar = np.array([one.scalar(source, *parameters) for _ in range(n)])
    for drawn in (vector, scalar):
        assert drawn.mean() == pytest.approx(reference.mean(), abs=5 * reference.std() / np.sqrt(n))
        assert drawn.std() == pytest.approx(reference.std(), rel=0.1)
    density = reference.logpmf if one.discrete else reference.logpdf
    values = np.unique(vector[:50])
    assert one.log_prob(*parameters, values) == pytest.approx(density(values), abs=1e-9)
    outside = np.array([-7.5])
    if name not in ("flip", "gaussian"):
        assert np.isneginf(one.log_prob(*parameters, outside)).all()


@pytest.mark.parametrize(
    ("name", "parameters", "reason"),
    [
        ("flip", (1.5,), "p is 1.5; allowed: 0 to 1"),
        ("gaussian", (0.0, 0.0), "sd is 0; allowed: above 0"),
        ("uniform", (1.0, 0.0), "hi is 0; allowed: at least lo"),
        ("randint", (0.5, 2), "lo is 0.5; allowed: a whole number"),
        ("categorical", ([0.5, 0.6], ["a", "b"]), "the sum of probs is 1.1; allowed: 1"),
        ("categorical", ([1.0], ["a", "b"]), "two lists of equal length"),
        ("geometric", (0.0,), "p is 0; allowed: above 0, at most 1"),
    ],
)
def test_parameters_out_of_range_are_named(name, parameters, reason):
    with pytest.raises(ProgramFault, match=reason):
        DISTRIBUTIONS[name].check(*parameters)

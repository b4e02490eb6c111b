"""Planning through a model: sequences of actions are improved by what a model says they would cost, and then acted.

Cross-entropy method (CEM), its colored-noise variant with kept elites (iCEM, Pinneri et al., arXiv 2008.06389), model
predictive path integrals (MPPI) and gradient descent on the actions, each over all starts and candidates at once; model
predictive control (MPC) acts a part of the plan and plans again from where that led, starting from what is left of it.
They know nothing of a model but its costs: anything with a :class:`Costable`'s one method can be planned with.

Shapes: B starts, S candidates, K steps of a plan (its horizon), A numbers of an action.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tenfold.core.errors import UserError


class Costable(Protocol):
    """What is planned with: a model that has read where it is, and knows where it is to go."""

    def cost(self, actions_BSKA: Tensor) -> Tensor:
        """What each candidate would cost, [B, S]; differentiable where a gradient is asked for."""
        ...


class Planner(Protocol):
    """Improves a plan; all planners of this module are such functions with their settings filled in."""

    def __call__(self, model: Costable, mean_BKA: Tensor, generator: torch.Generator) -> Tensor:
        """From a first idea [B, K, A] to a plan [B, K, A]."""
        ...


@dataclass(frozen=True)
class CEM:
    """Sample around the mean, take the best, and let mean and deviation be theirs; repeat.

    Candidate 0 is the mean itself. With ``color`` above 0 samples are noise whose power falls with frequency^color, so
    that plans are smooth, and a share of the elites is kept for the next round: that is iCEM.

    Args:
        samples: candidates of a round.
        elites: the best of them, which make the next mean.
        iterations: rounds.
        deviation: of the first round.
        low: least number of an action.
        high: largest number of an action.
        color: exponent of the noise's spectrum; 0 for white noise.
        kept: share of the elites that compete again in the next round.

    Example:
        >>> class Far:
        ...     def cost(self, actions):
        ...         return (actions.sum(2) - 1.5).square().sum(-1)
        >>> planner, generator = CEM(samples=64, elites=8, iterations=10), torch.Generator().manual_seed(0)
        >>> plan = planner(Far(), torch.zeros(1, 3, 1), generator)
        >>> abs(plan.sum().item() - 1.5) < 0.05
        True
    """

    samples: int = 300
    elites: int = 30
    iterations: int = 30
    deviation: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    color: float = 0.0
    kept: float = 0.0

    def __post_init__(self) -> None:
        _check_search(self.samples, self.iterations, self.deviation, self.low, self.high)
        if not 1 < self.elites <= self.samples:
            raise UserError(f"elites = {self.elites}: allowed: from 2 to samples = {self.samples}")
        if not 0 <= self.kept < 1 or self.color < 0:
            raise UserError(f"kept = {self.kept:g}, color = {self.color:g}: allowed: from 0 to below 1, and from 0 on")

    @torch.no_grad()
    def __call__(self, model: Costable, mean_BKA: Tensor, generator: torch.Generator) -> Tensor:
        """The mean of the last round's elites, within the limits."""
        deviation_BKA = torch.full_like(mean_BKA, self.deviation)
        kept_BSKA = mean_BKA[:, None][:, :0]
        for _ in range(self.iterations):
            candidates = _around(mean_BKA, deviation_BKA[:, None], self.samples, self.color, generator)
            candidates = torch.cat([candidates, kept_BSKA], dim=1).clamp(self.low, self.high)
            best_BS = model.cost(candidates).topk(self.elites, dim=1, largest=False).indices
            elites = candidates.gather(1, best_BS[..., None, None].expand(-1, -1, *candidates.shape[2:]))
            mean_BKA, deviation_BKA = elites.mean(1), elites.std(1)
            kept_BSKA = elites[:, : int(self.kept * self.elites)]
        return mean_BKA


def iCEM(
    samples: int = 300,
    elites: int = 30,
    iterations: int = 30,
    deviation: float = 1.0,
    low: float = -math.inf,
    high: float = math.inf,
) -> CEM:
    """CEM with colored noise of exponent 2 and three tenths of the elites kept, the settings of its authors."""
    return CEM(samples, elites, iterations, deviation, low, high, color=2.0, kept=0.3)


@dataclass(frozen=True)
class MPPI:
    """Sample around the mean, and let the next mean be the candidates' average, weighted by exp(-cost / temperature).

    Costs are counted from the best candidate's on, in units of their deviation over candidates, so that a temperature
    means the same whatever the costs' scale is.

    Args:
        samples: candidates of a round.
        iterations: rounds.
        deviation: of the candidates, in all rounds.
        temperature: small ones follow the best candidate alone.
        low: least number of an action.
        high: largest number of an action.
    """

    samples: int = 300
    iterations: int = 30
    deviation: float = 0.5
    temperature: float = 0.1
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_search(self.samples, self.iterations, self.deviation, self.low, self.high)
        if self.temperature <= 0:
            raise UserError(f"temperature = {self.temperature:g}: allowed: above 0")

    @torch.no_grad()
    def __call__(self, model: Costable, mean_BKA: Tensor, generator: torch.Generator) -> Tensor:
        """The last mean, within the limits."""
        for _ in range(self.iterations):
            candidates = _around(mean_BKA, self.deviation, self.samples, 0.0, generator).clamp(self.low, self.high)
            costs = model.cost(candidates)
            scaled = (costs - costs.amin(1, keepdim=True)) / costs.std(1, keepdim=True).clamp(min=1e-12)
            weights = (-scaled / self.temperature).softmax(1)
            mean_BKA = (weights[..., None, None] * candidates).sum(1)
        return mean_BKA


@dataclass(frozen=True)
class GradientPlanner:
    """Adam on the actions of several candidates, which start around the first idea; the cheapest one is the plan.

    Args:
        candidates: starts, the first of them the idea itself.
        iterations: steps of Adam.
        rate: of Adam.
        deviation: of the starts.
        low: least number of an action.
        high: largest number of an action.
    """

    candidates: int = 16
    iterations: int = 50
    rate: float = 0.1
    deviation: float = 1.0
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_search(self.candidates, self.iterations, self.deviation, self.low, self.high)
        if self.rate <= 0:
            raise UserError(f"rate = {self.rate:g}: allowed: above 0")

    def __call__(self, model: Costable, mean_BKA: Tensor, generator: torch.Generator) -> Tensor:
        """The cheapest candidate after the last step, within the limits."""
        start = _around(mean_BKA, self.deviation, self.candidates, 0.0, generator)
        with torch.enable_grad():
            actions = start.clamp(self.low, self.high).detach().requires_grad_(True)
            optimizer = torch.optim.Adam([actions], lr=self.rate)
            for _ in range(self.iterations):
                # of the actions alone: the model's own weights gather no gradient
                (actions.grad,) = torch.autograd.grad(model.cost(actions).sum(), [actions])
                optimizer.step()
                with torch.no_grad():
                    actions.clamp_(self.low, self.high)
        with torch.no_grad():
            best_B = model.cost(actions).argmin(1)
            return actions[torch.arange(len(actions), device=actions.device), best_B].detach()


def _around(
    mean_BKA: Tensor, deviation: Tensor | float, count: int, color: float, generator: torch.Generator
) -> Tensor:
    """Candidates around a mean, [B, count, K, A], the mean itself the first of them."""
    noise = colored_noise((len(mean_BKA), count, *mean_BKA.shape[1:]), color, generator)
    candidates = mean_BKA[:, None] + deviation * noise.to(mean_BKA)
    candidates[:, 0] = mean_BKA
    return candidates


def colored_noise(shape: tuple[int, ...], color: float, generator: torch.Generator) -> Tensor:
    """Noise of unit variance along the plan, the second axis from the right; its power falls with frequency^color.

    Args:
        shape: [..., K, A].
        color: 0 for white noise, 1 for pink, 2 for red.
        generator: of the draw, on the CPU.

    Example:
        >>> noise = colored_noise((1000, 8, 1), 2.0, torch.Generator().manual_seed(0))
        >>> bool((noise[:, 1:] * noise[:, :-1]).mean() > 0.5), abs(noise.std().item() - 1) < 0.1
        (True, True)
    """
    white = torch.randn(shape, generator=generator)
    if color == 0 or shape[-2] < 2:
        return white
    spectrum = torch.fft.rfft(white, dim=-2)
    frequency = torch.fft.rfftfreq(shape[-2]).clamp(min=1 / shape[-2])
    amplitude = frequency ** (-color / 2)
    both_sides = torch.cat([amplitude, amplitude[1 : (shape[-2] + 1) // 2]])
    amplitude = amplitude / both_sides.square().mean().sqrt()
    return torch.fft.irfft(spectrum * amplitude[:, None], n=shape[-2], dim=-2)


class Actionable(Protocol):
    """Where plans are acted, for B starts at once."""

    def act(self, actions_BKA: Tensor) -> None:
        """Do these actions, one after the other."""
        ...


def model_predictive_control(
    planner: Planner,
    model_of: Callable[[], Costable],
    world: Actionable,
    first_idea_BKA: Tensor,
    *,
    executed: int,
    rounds: int,
    generator: torch.Generator,
) -> list[Tensor]:
    """Plan, act the first part, and plan again from where that led; a new plan starts from what is left of the last.

    Args:
        planner: one of this module's, or any other.
        model_of: what is planned with in each round: it looks at the world anew.
        world: where actions are done.
        first_idea_BKA: the first plan starts from it; zeros know nothing.
        executed: actions of a plan that are done before the next one, up to K.
        rounds: plans.
        generator: of all candidates.

    Returns:
        The plan of each round, [B, K, A].

    Raises:
        UserError: more actions are to be executed than a plan has, or there are no rounds.
    """
    horizon = first_idea_BKA.shape[1]
    if not 0 < executed <= horizon or rounds < 1:
        raise UserError(
            f"executed = {executed}, rounds = {rounds}: allowed: from 1 to the horizon {horizon}, and from 1"
        )
    idea, plans = first_idea_BKA, []
    for _ in range(rounds):
        plan = planner(model_of(), idea, generator)
        world.act(plan[:, :executed])
        plans.append(plan)
        idea = torch.cat([plan[:, executed:], torch.zeros_like(plan[:, :executed])], dim=1)
    return plans


def _check_search(samples: int, iterations: int, deviation: float, low: float, high: float) -> None:
    if samples < 1 or iterations < 1:
        raise UserError(f"{samples} candidates in {iterations} iterations: allowed: at least 1 of each")
    if not 0 < deviation < math.inf or not low < high:
        raise UserError(
            f"deviation = {deviation:g}, actions from {low:g} to {high:g}: allowed: finite above 0, and low below high"
        )

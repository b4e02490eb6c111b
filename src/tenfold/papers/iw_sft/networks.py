"""Policies and values for control: the authors' Gaussian policy, a mixture for routes that exclude each other, IQL's.

A policy's ``forward(observations, actions)`` is log p(a|s), so that wrapping for several processes changes nothing;
``act`` samples, with numbers drawn on the CPU, or takes the most likely action. Defaults of the Gaussian policy are the
authors' control code: three layers of 256, ReLU, tanh mean, log standard deviation independent of the state and clamped
to [-5, 2], an unsquashed Normal.

Shapes: ... leading (batch, steps), O observation, A action, K components.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

LOG_STD_RANGE = (-5.0, 2.0)
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


def perceptron(
    inputs: int, outputs: int, hidden_size: int, layers: int, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """``layers`` hidden layers with their activation, and a linear one.

    Example:
        >>> perceptron(3, 2, hidden_size=8, layers=2)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """
    sizes = [inputs, *[hidden_size] * layers]
    hidden = [module for pair in pairwise(sizes) for module in (nn.Linear(*pair), activation())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


def gaussian_log_prob(actions: Tensor, means: Tensor, log_stds: Tensor) -> Tensor:
    """log density of independent Normals, summed over the last axis."""
    standard = (actions - means) * torch.exp(-log_stds)
    return (-0.5 * standard.square() - log_stds - _LOG_ROOT_TWO_PI).sum(-1)


class GaussianPolicy(nn.Module):
    """The authors' policy: tanh mean, one clamped log standard deviation for each action value.

    Args:
        observation_size: O.
        action_size: A; actions are expected in [-1, 1].
        hidden_size: width.
        layers: hidden layers.

    Example:
        >>> policy = GaussianPolicy(3, 1, hidden_size=8, layers=2)
        >>> policy(torch.zeros(4, 7, 3), torch.zeros(4, 7, 1)).shape
        torch.Size([4, 7])
    """

    def __init__(self, observation_size: int, action_size: int, hidden_size: int = 256, layers: int = 3) -> None:
        super().__init__()
        self.mean = perceptron(observation_size, action_size, hidden_size, layers)
        self.log_std = nn.Parameter(torch.zeros(action_size))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log p(a|s), [...]."""
        return gaussian_log_prob(actions, torch.tanh(self.mean(observations)), self.log_std.clamp(*LOG_STD_RANGE))

    @torch.no_grad()
    def act(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean action, or a sample when a generator is given; [N, A]."""
        means = torch.tanh(self.mean(observations))
        if generator is None:
            return means
        noise = torch.randn(means.shape, generator=generator).to(means.device)
        return means + self.log_std.clamp(*LOG_STD_RANGE).exp() * noise


class MixturePolicy(nn.Module):
    """A mixture of K Gaussians whose shares, means and deviations all depend on the state, smoothly: tanh layers.

    Args:
        observation_size: O.
        action_size: A.
        num_components: K.
        hidden_size: width.
        layers: hidden layers.

    Example:
        >>> policy = MixturePolicy(3, 2, num_components=2, hidden_size=8, layers=2)
        >>> policy.act(torch.zeros(4, 3), torch.Generator()).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        num_components: int = 2,
        hidden_size: int = 64,
        layers: int = 2,
    ) -> None:
        super().__init__()
        self.shape = (num_components, action_size)
        num_outputs = num_components * (1 + 2 * action_size)
        self.head = perceptron(observation_size, num_outputs, hidden_size, layers, nn.Tanh)

    def components(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log shares [..., K], means [..., K, A] and log standard deviations [..., K, A]."""
        K, A = self.shape
        shares, means, log_stds = self.head(observations).split([K, K * A, K * A], dim=-1)
        log_stds = log_stds.unflatten(-1, self.shape).clamp(*LOG_STD_RANGE)
        return shares.log_softmax(-1), means.unflatten(-1, self.shape), log_stds

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log p(a|s), [...]."""
        log_shares, means, log_stds = self.components(observations)
        return torch.logsumexp(log_shares + gaussian_log_prob(actions[..., None, :], means, log_stds), -1)

    @torch.no_grad()
    def act(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A sample, or without a generator the mean of the largest component; [N, A]."""
        log_shares, means, log_stds = self.components(observations)
        rows = torch.arange(len(observations), device=observations.device)
        if generator is None:
            return means[rows, log_shares.argmax(-1)]
        # Drawn on the CPU, so that every device sees the same numbers.
        uniform = torch.rand(len(rows), 1, generator=generator).to(observations.device)
        noise = torch.randn(len(rows), self.shape[1], generator=generator).to(observations.device)
        chosen = (log_shares.exp().cumsum(-1)[:, :-1] <= uniform).sum(-1)
        return means[rows, chosen] + log_stds[rows, chosen].exp() * noise


class IQLValues(nn.Module):
    """IQL's V(s) and two Q(s, a).

    Example:
        >>> v, q = IQLValues(3, 2, hidden_size=8, layers=2)(torch.zeros(4, 3), torch.zeros(4, 2))
        >>> tuple(v.shape), tuple(q.shape)
        ((4,), (2, 4))
    """

    def __init__(self, observation_size: int, action_size: int, hidden_size: int = 256, layers: int = 3) -> None:
        super().__init__()
        self.v = perceptron(observation_size, 1, hidden_size, layers)
        self.q = nn.ModuleList(perceptron(observation_size + action_size, 1, hidden_size, layers) for _ in range(2))

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """V [...] and both Q [2, ...]."""
        both = torch.cat([observations, actions], -1)
        return self.v(observations)[..., 0], torch.stack([network(both)[..., 0] for network in self.q])

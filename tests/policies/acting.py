"""What several tests of policies need: models, environments, and the truth about a trajectory."""

from dataclasses import dataclass, field

import torch

from tenfold.core.types import Reply
from tenfold.policies import Policy, tiny_policy

DIGITS = "0123456789+=#"
TAGS = ("<answer>", "</answer>")


def digits_policy(**sizes) -> Policy:
    return tiny_policy(DIGITS, TAGS, **{"width": 16, "layers": 2, "heads": 2, "context": 64, **sizes})


def fresh_log_probs(model, trajectory, temperature=1.0) -> torch.Tensor:
    """The log-probability of each token of the completion, by one forward pass over all of the tokens."""
    ids_1T = torch.tensor([[*trajectory.prompt_ids, *trajectory.token_ids]])
    with torch.no_grad():
        log_probs_TV = (model(input_ids=ids_1T).logits[0, :-1].float() / (temperature or 1.0)).log_softmax(-1)
    return log_probs_TV.gather(1, ids_1T[0, 1:, None])[len(trajectory.prompt_ids) - 1 :, 0]


def check_log_probs(model, trajectory, temperature=1.0, atol=1e-4) -> None:
    mask_T = torch.tensor(trajectory.loss_mask)
    reported_T = torch.tensor(trajectory.log_probs)
    torch.testing.assert_close(
        reported_T[mask_T], fresh_log_probs(model, trajectory, temperature)[mask_T], atol=atol, rtol=0
    )
    assert (reported_T[~mask_T] == 0).all()


@dataclass
class Echo:
    """Answers every turn with ``replies``, one after the other, then has nothing more to say."""

    replies: list[Reply]
    stop: tuple[str, ...] = ()
    turns: dict = field(default_factory=dict)
    closed: list = field(default_factory=list)

    def open(self, prompt, sample):
        self.turns[prompt, sample] = []
        return EchoSession(self, (prompt, sample))


@dataclass
class EchoSession:
    echo: Echo
    number: tuple[int, int]

    def respond(self, turn):
        told = self.echo.turns.setdefault(self.number, [])
        told.append(turn)
        return self.echo.replies[len(told) - 1] if len(told) <= len(self.echo.replies) else None

    def close(self):
        self.echo.closed.append(self.number)

"""Other ways to say how sure a policy is, for one that was trained without a calibration reward.

Answer probability: mean probability of the tokens between the answer's tags, found by character offsets of what was
sampled (the authors look for the last two tokens "answer", and give 0.5 where that fails). Verbalised: ask after the
answer. Probe: a linear map of the final layer's last state. Classifier: a copy of the whole model with such a map, both
trained to predict correctness from problem and response, by cross-entropy or by the Brier score.

Shapes: N responses, T tokens, D width.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import UserError
from tenfold.core.seeding import key_to_seed, numpy_generator
from tenfold.core.types import Trajectory
from tenfold.papers.rlcr.answering import Answers, first_token, without_end
from tenfold.papers.rlcr.prompts import POST_HOC
from tenfold.policies import Policy, Sampling, rollout
from tenfold.rewards import parse_tagged
from tenfold.train.trl_run import bare

Loss = Literal["bce", "brier"]
LOSSES: tuple[Loss, ...] = ("bce", "brier")


def answer_probability(policy: Policy, trajectories: Sequence[Trajectory]) -> np.ndarray:
    """Mean probability of the answer's tokens, [N]; 0 where there is no answer.

    The probabilities are those the trajectories carry: of sampling, at its temperature (greedy: of softmax(logits)).
    """
    return np.array([_answer_probability(policy, trajectory) for trajectory in trajectories])


def _answer_probability(policy: Policy, trajectory: Trajectory) -> float:
    ids = trajectory.token_ids
    end = first_token(policy, ids, "</answer>")
    if end is None:
        return 0.0
    text = policy.decode(ids)
    last = text.rindex("</answer>")
    opening = text.rfind("<answer>", 0, last)
    first = opening + len("<answer>")
    if opening < 0 or first == last:
        return 0.0
    ends = np.array([len(policy.decode(ids[: k + 1])) for k in range(end + 1)])
    starts = np.concatenate([[0], ends[:-1]])
    inside = (ends > first) & (starts < last)  # a token that straddles a tag holds a part of the answer
    return float(np.exp(np.array(trajectory.log_probs)[: end + 1][inside]).mean())


def verbalised_confidence(
    policy: Policy,
    trajectories: Sequence[Trajectory],
    question: str = POST_HOC,
    *,
    percent: bool = True,
    max_new_tokens: int = 20,
    batch_size: int = 64,
) -> np.ndarray:
    """What a policy says when it is asked after its answer, greedily, [N] in [0, 1]; 0 where it names no number.

    Args:
        policy: who answered.
        trajectories: its answers.
        question: appended to prompt and completion.
        percent: whether the question asks for a number between 0 and 100.
        max_new_tokens: of the reply.
        batch_size: replies at the same time.
    """
    asked = policy.encode(question)
    prompts = []
    for trajectory in trajectories:
        prompts.append([*trajectory.prompt_ids, *without_end(policy, trajectory.token_ids), *asked])
    replies = rollout(policy, prompts, Sampling(max_new_tokens, temperature=0.0), batch_size=batch_size)
    stated = []
    for reply in replies:
        text = f"<confidence>{policy.decode(reply.token_ids)}</confidence>"
        stated.append(parse_tagged(text, "ac", loose=True, percent=percent).confidence or 0.0)
    return np.array(stated)


def probed(policy: Policy, learned: Answers, answers: Answers) -> dict[str, np.ndarray]:
    """P(right) of the answers by a probe for each loss, which has learned from other answers of the same policy."""
    states_ND = last_states(policy, learned.trajectories)
    asked_ND = last_states(policy, answers.trajectories)
    return {f"probe_{loss}": Probe(loss).fit(states_ND, learned.right).predict(asked_ND) for loss in LOSSES}


def classified(
    policy: Policy, learned: Answers, answers: Answers, steps: int, learning_rate: float, seed: int
) -> dict[str, np.ndarray]:
    """The same by a classifier for each loss; none for 0 steps."""
    estimates: dict[str, np.ndarray] = {}
    for loss in LOSSES if steps else ():
        classifier = Classifier(policy, loss, steps, learning_rate=learning_rate, seed=seed)
        classifier.fit(learned.trajectories, learned.right)
        estimates[f"classifier_{loss}"] = classifier.predict(answers.trajectories)
    return estimates


@torch.no_grad()
def last_states(policy: Policy, trajectories: Sequence[Trajectory], batch_size: int = 64) -> Tensor:
    """The final layer's state at the last token of prompt and response, float32 [N, D]."""
    parts = []
    for start in range(0, len(trajectories), batch_size):
        ids_BT, mask_BT = _padded(policy, trajectories[start : start + batch_size])
        parts.append(_states(policy.model, ids_BT, mask_BT).float().cpu())
    return torch.cat(parts)


class Probe:
    """P(right) by a linear map of a response's last state, with ridge regularisation.

    Args:
        loss: ``bce`` or ``brier`` (mean squared error of the probability).
        penalty: on the squared weights of the standardised states.

    Example:
        >>> states = torch.tensor([[0.0], [1.0]]).repeat(50, 1)
        >>> probe = Probe().fit(states, np.array([0.0, 1.0] * 50))
        >>> probe.predict(torch.tensor([[0.0], [1.0]])).round(1)
        array([0., 1.])
    """

    def __init__(self, loss: Loss = "bce", penalty: float = 1e-3) -> None:
        self.loss, self.penalty = loss, penalty

    def fit(self, states_ND: Tensor, right_N: np.ndarray) -> "Probe":
        """Minimise by L-BFGS, in float64."""
        states_ND, target_N = states_ND.cpu().double(), torch.as_tensor(right_N, dtype=torch.float64)
        self.mean_D, self.scale_D = states_ND.mean(0), states_ND.std(0).clamp(min=1e-6)
        inputs_ND = (states_ND - self.mean_D) / self.scale_D
        self.weight_D = torch.zeros(inputs_ND.shape[1], dtype=torch.float64, requires_grad=True)
        self.bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([self.weight_D, self.bias], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = _loss(inputs_ND @ self.weight_D + self.bias, target_N, self.loss)
            loss = loss + self.penalty * self.weight_D.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return self

    @torch.no_grad()
    def predict(self, states_ND: Tensor) -> np.ndarray:
        """P(right), [N]."""
        logits_N = (states_ND.cpu().double() - self.mean_D) / self.scale_D @ self.weight_D + self.bias
        return logits_N.sigmoid().numpy()


class Classifier:
    """P(right) by a copy of the policy's model with a linear map of the last state, all of it trained.

    Args:
        policy: whose model is copied; it is left as it is.
        loss: ``bce`` or ``brier``.
        steps: of AdamW.
        batch_size: responses of a step.
        learning_rate: of AdamW; linear decay to 0.
        seed: of the order.
    """

    def __init__(
        self,
        policy: Policy,
        loss: Loss = "bce",
        steps: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.policy = Policy(copy.deepcopy(policy.model), policy.tokenizer)
        self.loss, self.steps, self.batch_size = loss, steps, batch_size
        self.learning_rate, self.seed = learning_rate, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key_to_seed(seed, "classifier"))
            self.head = nn.Linear(policy.model.config.get_text_config().hidden_size, 1).to(policy.device)

    def fit(self, trajectories: Sequence[Trajectory], right_N: np.ndarray) -> "Classifier":
        """Train on responses and their correctness.

        Raises:
            UserError: if there are none.
        """
        if not len(trajectories):
            raise UserError("trajectories = []: at least one response is needed")
        parameters = [*self.policy.model.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self.steps)
        for step in range(self.steps):
            rows = numpy_generator(self.seed, "classifier", step).integers(len(trajectories), size=self.batch_size)
            target_N = torch.as_tensor(right_N[rows], dtype=torch.float32, device=self.policy.device)
            loss = _loss(self._logits([trajectories[row] for row in rows]), target_N, self.loss)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
        return self

    @torch.no_grad()
    def predict(self, trajectories: Sequence[Trajectory]) -> np.ndarray:
        """P(right), [N]."""
        starts = range(0, len(trajectories), self.batch_size)
        logits = [self._logits(trajectories[start : start + self.batch_size]) for start in starts]
        return torch.cat(logits).sigmoid().double().cpu().numpy()

    def _logits(self, trajectories: Sequence[Trajectory]) -> Tensor:
        ids_BT, mask_BT = _padded(self.policy, trajectories)
        return self.head(_states(self.policy.model, ids_BT, mask_BT).float()).squeeze(-1)


def _loss(logits_N: Tensor, target_N: Tensor, loss: Loss) -> Tensor:
    if loss == "bce":
        return nn.functional.binary_cross_entropy_with_logits(logits_N, target_N)
    return (logits_N.sigmoid() - target_N).square().mean()


def _padded(policy: Policy, trajectories: Sequence[Trajectory]) -> tuple[Tensor, Tensor]:
    """Prompt and response of each, padded on the left, and the mask of what is no padding."""
    rows = [[*trajectory.prompt_ids, *trajectory.token_ids] for trajectory in trajectories]
    width = max(map(len, rows))
    ids_BT = torch.full((len(rows), width), int(policy.tokenizer.pad_token_id))
    mask_BT = torch.zeros_like(ids_BT)
    for place, row in enumerate(rows):
        ids_BT[place, width - len(row) :] = torch.tensor(row)
        mask_BT[place, width - len(row) :] = 1
    return ids_BT.to(policy.device), mask_BT.to(policy.device)


def _states(model: Any, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    # Without the head: the logits of all tokens would take most of the memory.
    outputs = bare(model).base_model(ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=False)
    return outputs.last_hidden_state[:, -1]

"""Small trainings on trl that the tests run here, on two processes, and in processes that are killed."""

from dataclasses import replace
from pathlib import Path

import torch
from datasets import Dataset

from tenfold.core.cell import Cell
from tenfold.core.types import Reply
from tenfold.policies import Policy, tiny_policy
from tenfold.train.grpo import grpo
from tenfold.train.policy_loss import GRPOLoss
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings
from tenfold.train.sft import sft
from tenfold.train.weighting import REFERENCE, Weighting

ALPHABET = "0123456789+=?."
FAST = OptimizerSettings(learning_rate=3e-3, beta2=0.95, schedule="linear", warmup_steps=2)
SFT = SFTSettings(
    steps=8, batch_size=8, gradient_accumulation=2, optimizer=FAST, log_every=3, evaluate_every=4, checkpoint_every=3
)
GRPO = GRPOSettings(
    steps=8,
    prompts_per_step=4,
    num_generations=4,
    gradient_accumulation=2,
    updates_per_generation=2,
    max_completion_length=5,
    loss_type="dapo",
    optimizer=FAST,
    log_every=3,
    evaluate_every=4,
    checkpoint_every=2,
)


def policy(seed=0):
    return tiny_policy(ALPHABET, width=16, layers=2, heads=2, context=64, seed=seed)


def experts():
    """A mixture of experts, which transformers saves under other names, and in other pieces, than those it has."""
    import transformers

    tokenizer = policy().tokenizer
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    config = transformers.MixtralConfig(
        **sizes,
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        num_local_experts=4,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    return Policy(transformers.MixtralForCausalLM(config), tokenizer)


def sums(text="{}"):
    """Completions of unequal lengths, with a quality."""
    pairs = [(a, b) for a in range(5) for b in range(0, 100, 17)]
    return Dataset.from_dict(
        {
            "prompt": [f"{a}+{b}=" for a, b in pairs],
            "completion": [str(a + b) + "." * (a % 3) for a, b in pairs],
            "quality": [1.0 + a for a, _ in pairs],
            "answer": [str(a + b) for a, b in pairs],
        }
    )


def likely(log_probs_BT, mask_BT, columns):
    """Weights that need everything: q, the reference, a column, and the whole batch to be normalised by."""
    weights = (log_probs_BT - columns[REFERENCE]).sum(1).exp().clamp(0, 16) * columns["quality"]
    return weights / weights.mean(), {"raw_mean": weights.mean()}


WEIGHTING = Weighting(likely, columns=("quality",), reference="initial", q_ema=0.5)


def digits(prompts, completions, answer, **columns):
    """The share of right characters; a function of the completion alone."""
    return [sum(c in set(a) for c in text) / (len(text) + 1) for text, a in zip(completions, answer, strict=True)]


def short(prompts, completions, **columns):
    return [-0.1 * len(text) for text in completions]


def probe(model, step):
    return {"validation/weight": float(sum(p.detach().double().sum() for p in model.parameters()))}


class Echo:
    """Answers the first question mark of each trajectory, and ends at the second."""

    stop = ("?",)

    def __init__(self, rows):
        self.rows = rows

    def open(self, prompt, sample):
        return EchoSession(self.rows[prompt]["answer"])


class EchoSession:
    def __init__(self, answer):
        self.answer, self.turns = answer, 0

    def respond(self, turn):
        self.turns += 1
        if turn.stop is None:
            return None
        return Reply(
            self.answer, end=self.turns > 1, tool_calls=({"turn": self.turns},), reward_parts={"asked": self.turns}
        )

    def close(self):
        pass


def train_sft(cell, settings=SFT, **options):
    return sft(policy(), sums(), settings, cell, **({"weighting": WEIGHTING, "evaluate": probe} | options))


def train_grpo(cell, settings=GRPO, rewards=(digits, short), **options):
    return grpo(policy(), sums(), rewards, settings, cell, **({"evaluate": probe} | options))


def on_policy(cell, settings=GRPO, **options):
    """Each round of generation is one step, so that no shuffling decides which completions share a step."""
    return train_grpo(cell, replace(settings, updates_per_generation=1), **options)


KINDS = {
    "sft": train_sft,
    "sft_experts": lambda cell, s=SFT: sft(experts(), sums(), s, cell),
    "sft_lora": lambda cell, s=SFT: train_sft(cell, replace(s, lora=LoraSettings(rank=2))),
    "sft_muon": lambda cell, s=SFT: train_sft(
        cell, replace(s, optimizer=replace(FAST, name="muon_clip", learning_rate=1e-2, tau=1e-3))
    ),
    "grpo": train_grpo,
    "grpo_on_policy": on_policy,
    "grpo_environment": lambda cell, s=GRPO: on_policy(cell, s, environment=Echo),
    "grpo_policy_loss": lambda cell, s=GRPO: on_policy(
        cell, replace(s, loss_type="bnpo"), policy_loss=GRPOLoss("dapo", beta=0.1).policy_loss
    ),
    "grpo_kl": lambda cell, s=GRPO: train_grpo(cell, replace(s, beta=0.1, entropy_coefficient=0.01)),
    "grpo_iterations": lambda cell, s=GRPO: train_grpo(
        cell, replace(s, num_iterations=2, checkpoint_every=4, temperature=0.7, epsilon=0.01)
    ),
    "grpo_lora": lambda cell, s=GRPO: train_grpo(cell, replace(s, beta=0.1, lora=LoraSettings(rank=2))),
}
SETTINGS = {kind: SFT if kind.startswith("sft") else GRPO for kind in KINDS}


def weights_of(trained):
    return {name: value.detach().clone() for name, value in trained.model.state_dict().items()}


def cell_of(kind, directory, **options):
    return Cell(arm=kind, seed=0, directory=Path(directory), device="cpu", **options)


def work(kinds, directory, steps=0):
    """Train the kinds in turn, each in its folder, and leave weights and log; in several processes those of rank 0."""
    for kind in kinds:
        cell = cell_of(kind, directory / kind)
        settings = replace(SETTINGS[kind], steps=steps) if steps else SETTINGS[kind]
        trained = KINDS[kind](cell, settings)
        if cell.is_main:
            torch.save(weights_of(trained), directory / kind / "weights.pt")

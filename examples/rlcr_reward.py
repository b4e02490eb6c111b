"""RLCR's reward in a script of trl: right answers, and confidence that can be believed.

The completion is ``<answer>…</answer><confidence>…</confidence>``. The reward adds a proper scoring rule to
correctness, so that the best a policy can state is how often it is right. The policy here is a tiny random model, which
learns nothing in two steps; put your model, tokenizer and questions in its place.
"""

import argparse
import tempfile
import warnings

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from tenfold.papers.rlcr.method import rlcr_rewards
from tenfold.policies import tiny_policy

warnings.filterwarnings("ignore", ".*gradient_checkpointing")  # trl 1.16 uses a name that transformers gives up


def main(steps: int = 2) -> dict[str, float]:
    """Train, and return what trl logged at the last step."""
    policy = tiny_policy(
        special=("<answer>", "</answer>", "<confidence>", "</confidence>"), width=16, layers=1, heads=2
    )
    questions = [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(4) for b in range(4)]
    rewards, weights = rlcr_rewards("ac")  # "tabc" for completions with thoughts and an analysis
    for text in ("<answer>5</answer><confidence>0.9</confidence>", "<answer>4</answer><confidence>0.9</confidence>"):
        parts = [reward(prompts=["2+3="], completions=[text], answer=["5"])[0] for reward in rewards]
        print(text, "->", sum(weight * part for weight, part in zip(weights, parts, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            folder,
            max_steps=steps,
            reward_weights=weights,
            beta=0.0,
            scale_rewards="none",
            loss_type="bnpo",
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=16,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
        )
        rows = Dataset.from_list(questions)
        trainer = GRPOTrainer(policy.model, rewards, settings, train_dataset=rows, processing_class=policy.tokenizer)
        trainer.train()
    return [logs for logs in trainer.state.log_history if "loss" in logs][-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    main(parser.parse_args().steps)

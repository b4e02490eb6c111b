"""iw-SFT: supervised training on curated completions, weighted by how far the policy has moved towards them.

The weight of a completion is its probability under a lagging policy over that under the reference, to a power: 0 is
SFT, 1 the bound of the paper. ``log_ratio="sum"`` is the power 1. The policy is a tiny random model; put your model,
tokenizer and rows in its place.
"""

import argparse
import tempfile

from datasets import Dataset
from trl import SFTConfig

from tenfold.papers.iw_sft.config import IWSFTConfig
from tenfold.papers.iw_sft.trainer import IWSFTTrainer
from tenfold.policies import tiny_policy


def main(steps: int = 5) -> dict[str, float]:
    """Train, and return what trl logged at the last step."""
    policy = tiny_policy("0123456789+= ", width=16, layers=1, heads=2)
    rows = [{"prompt": f"{a}+{b}=", "completion": str(a + b), "quality": 1.0} for a in range(4) for b in range(4)]
    rows += [{"prompt": "2+2=", "completion": "5", "quality": 0.1}]  # a poor one counts a tenth
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            folder,
            max_steps=steps,
            learning_rate=3e-3,
            per_device_train_batch_size=8,
            loss_type="nll",
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
        )
        trainer = IWSFTTrainer(
            policy.model,
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=policy.tokenizer,
            iw=IWSFTConfig(log_ratio="sum", quality_column="quality"),
        )
        trainer.train()
    return [logs for logs in trainer.state.log_history if "loss" in logs][-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    print(main(parser.parse_args().steps))

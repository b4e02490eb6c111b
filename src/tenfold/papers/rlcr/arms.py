"""The arms of RLCR: what each is rewarded for, by which fields of the configuration, and how it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from tenfold.papers.rlcr.answering import Examiner
from tenfold.papers.rlcr.config import Config
from tenfold.papers.rlcr.method import WeightedRewards, rlcr_rewards, rlvr_rewards
from tenfold.papers.rlcr.questions import VERIFIERS
from tenfold.rewards import RULES, ScoringRule, log_rule
from tenfold.study.tuning import at_rate
from tenfold.train.settings import GRPOSettings

FORMAT, CORRECTNESS, CALIBRATION = "reward.format_weight", "reward.correctness_weight", "reward.calibration_weight"


@dataclass(frozen=True)
class Arm:
    """What differs between the arms; fields of the configuration are dotted names.

    Args:
        text: what it is, in a sentence.
        rate: the field with its learning rate.
        steps: the field with its number of steps.
        blocks: the field with the form of its completions.
        earns: the fields with the weights of what it is rewarded for; the other parts are logged, and weigh 0.
        rule: the scoring rule; ``None`` for ``reward.rule``.
        allow_unsafe: whether the reward may pay for surely wrong answers.
        is_estimated: other confidences than the stated ones are measured too: answer probability, probe, classifier.
        shows_bandit: the six arms with exact gradients are measured too.
    """

    text: str
    rate: str
    steps: str = "training.steps"
    blocks: str = "reward.blocks"
    earns: tuple[str, ...] = (FORMAT, CORRECTNESS, CALIBRATION)
    rule: ScoringRule | None = None
    allow_unsafe: bool = False
    is_estimated: bool = False
    shows_bandit: bool = False

    @property
    def fields(self) -> frozenset[str]:
        """The fields that act in this arm, of those that act in some arms alone."""
        rule = ("reward.rule",) if self.rule is None else ()
        return frozenset((self.rate, self.steps, "reward.blocks", self.blocks, *self.earns, *rule))


ARMS: Mapping[str, Arm] = {
    "rlvr": Arm(
        text="binary reward for form and correctness; the stated confidence earns nothing",
        rate="rates.rlvr",
        blocks="reward.rlvr_blocks",
        earns=(FORMAT, CORRECTNESS),
        is_estimated=True,
    ),
    "rlcr": Arm(
        text="reward for form, correctness and the Brier score of the stated confidence",
        rate="rates.rlcr",
        shows_bandit=True,
    ),
    "brier_only": Arm(
        text="reward for form and the Brier score alone; fewer steps",
        rate="rates.brier_only",
        steps="ablation_steps",
        earns=(FORMAT, CALIBRATION),
        allow_unsafe=True,
    ),
    "log_score": Arm(
        text="reward for form, correctness and the logarithmic score, which is not safe; fewer steps",
        rate="rates.log_score",
        steps="ablation_steps",
        rule=log_rule,
        allow_unsafe=True,
    ),
}


def rewards_of(config: Config, arm: Arm) -> WeightedRewards:
    """The scientific difference between the arms. All parts are logged, but a confidence that is never stated."""
    weights = []
    for field in (FORMAT, CORRECTNESS, CALIBRATION):
        weights.append(attrgetter(field)(config) if field in arm.earns else 0.0)
    examiner = examiner_of(config, arm)
    if not examiner.reads_confidence:
        functions = rlvr_rewards(examiner.blocks, verifier=examiner.verifier).functions
        return WeightedRewards(functions, weights[:2])
    return rlcr_rewards(
        examiner.blocks,
        verifier=examiner.verifier,
        rule=RULES[config.reward.rule] if arm.rule is None else arm.rule,
        weights=(weights[0], weights[1], weights[2]),
        allow_unsafe=arm.allow_unsafe,
    )


def examiner_of(config: Config, arm: Arm) -> Examiner:
    """How an arm's questions are put, and its completions read and marked."""
    blocks = attrgetter(arm.blocks)(config)
    if blocks == "same":
        blocks = config.reward.blocks
    return Examiner(
        blocks,
        VERIFIERS[config.task.verifier],
        config.training.stop,
        instructions_for(blocks, config),
        knows_law=config.task.kind == "masked_addition",
    )


def instructions_for(blocks: str, config: Config) -> str:
    """The instructions that ask for these blocks: those of the task, unless they ask for the blocks of other arms."""
    asked = config.task.system_prompt
    if asked == "none" or (asked != "blocks" and blocks == config.reward.blocks):
        return asked
    return blocks


def training_of(config: Config, arm: Arm) -> GRPOSettings:
    """The training of an arm: its steps, its rate, and the weights of its rewards.

    Example:
        >>> from tenfold.papers.rlcr.config import laptop
        >>> training_of(laptop(), ARMS["log_score"]).steps == laptop().ablation_steps
        True
    """
    weights = tuple(rewards_of(config, arm).weights)
    settings = replace(config.training, steps=attrgetter(arm.steps)(config), reward_weights=weights)
    return at_rate(settings, attrgetter(arm.rate)(config))

"""Configuration of RRVF's laptop study: fields, presets, and the source of every published value. Imports no torch."""

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.core.errors import UserError
from tenfold.train.settings import GRPOSettings, LoraSettings, OptimizerSettings, SFTSettings

PROGRAMS = 1200
"""Of the chart language."""


@dataclass(frozen=True)
class WorldConfig:
    """The images that are learned from and tested on."""

    held_out: int = 200
    """Programs that no training sees, neither with labels nor as images; all tests are on them."""
    tint: float = 0.4
    """How much the paper of the new domain may darken, for each channel apart."""
    shade: float = 0.2
    """How far a colour of the new domain may be off, in each channel."""
    noise: float = 0.06
    """Deviation of the noise on each pixel of the new domain."""
    sampled: int = 4
    """Answers that are sampled for each test image, beside the most probable one."""

    def __post_init__(self) -> None:
        """Refuse worlds that cannot be drawn."""
        if not 10 <= self.held_out <= PROGRAMS // 2:
            raise UserError(f"world.held_out = {self.held_out}: allowed: 10 to {PROGRAMS // 2}")
        if self.sampled < 1:
            raise UserError(f"world.sampled = {self.sampled}: must be at least 1")
        for name in ("tint", "shade", "noise"):
            if not 0 <= getattr(self, name) <= 0.6:
                raise UserError(f"world.{name} = {getattr(self, name)}: allowed: 0 to 0.6")


@dataclass(frozen=True)
class PolicyConfig:
    """The small policy with eyes."""

    width: int = 96
    """Width of the residual stream, and of the convolutions."""
    layers: int = 2
    """Number of transformer blocks."""
    heads: int = 4
    """Attention heads."""


@dataclass(frozen=True)
class LabelsConfig:
    """Supervised training, which starts everything and is the rival."""

    batch_size: int = 128
    """Images of a step."""
    rate: float = 3e-3
    """Learning rate of AdamW."""
    form_steps: int = 30
    """Steps on random programs beside unrelated images, from which only the form is learned."""
    weak_steps: int = 60
    """Steps of the weak start."""
    dialogue_steps: int = 60
    """Steps on made-up dialogues that follow the weak start where there are two turns."""
    start_steps: int = 100
    """Steps of the start that then sees images of the new domain."""
    rival_steps: int = 150
    """Steps of the supervised rivals; as many for every number of labels."""
    few: int = 30
    """Labelled programs of the weak start."""
    some: int = 100
    """Labelled programs of the start for the new domain, and of its rival."""
    many: int = 1000
    """Labelled programs of the rival that has most."""

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        for name in ("batch_size", "form_steps", "weak_steps", "dialogue_steps", "start_steps", "rival_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"labels.{name} = {getattr(self, name)}: must be at least 1")
        if not 1 <= self.few <= self.some <= self.many:
            raise UserError(f"labels.few, some, many = {self.few}, {self.some}, {self.many}: must not fall")


@dataclass(frozen=True)
class ImagesConfig:
    """Training from images alone, by group-relative policy gradients."""

    images: int = 32
    """Fresh images of a step."""
    samples: int = 16
    """Dialogues of each image, a group."""
    rate: float = 1.5e-3
    """Learning rate of AdamW; also from the form alone."""
    steps: int = 90
    """Steps with one turn."""
    form_start_steps: int = 300
    """Steps from a start that knows the form alone."""
    turns_steps: int = 70
    """Steps with two turns."""
    entropy_first: float = 0.03
    """Bonus for each nat of entropy at the first step; it falls along a line."""
    entropy_last: float = 0.01
    """The same at the last step."""
    form_entropy_first: float = 0.12
    """Bonus at the first step from the form alone, where the policy else stays with one good constant program."""
    form_entropy_last: float = 0.04
    """The same at the last step."""

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        for name, least in (("images", 1), ("samples", 2), ("steps", 1), ("form_start_steps", 1), ("turns_steps", 1)):
            if getattr(self, name) < least:
                raise UserError(f"images.{name} = {getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True)
class RewardConfig:
    """R = vision R_vision + format R_format + tool R_tool; see ``tenfold.rewards.visual`` for the named presets."""

    vision_weight: float = 0.8
    """Weight of the similarity of the last render."""
    format_weight: float = 0.2
    """Weight of 0, or -1 where the last program does not run."""
    tool_weight: float = 0.2
    """Weight of the bonus for a call that runs; acts with two turns."""
    tool_rule: Literal["gated", "above_half", "per_call"] = "gated"
    """How calls are paid."""
    failed_call: float = 2.0
    """What a first turn that does not run costs, in units of the format part: in all as much as a failed answer."""


@dataclass(frozen=True)
class LoggingConfig:
    """What is written while training."""

    log_every: int = 5
    """Steps between logged metrics, which are means since the last log."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    world: WorldConfig = field(default_factory=WorldConfig)
    """The images."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The policy."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Training with labels."""
    images: ImagesConfig = field(default_factory=ImagesConfig)
    """Training without."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """What training without labels is paid for."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """Logs and checkpoints."""

    def __post_init__(self) -> None:
        """Refuse more labels than there are programs to learn from."""
        left = PROGRAMS - self.world.held_out
        if self.labels.many > left:
            raise UserError(
                f"labels.many = {self.labels.many}: allowed: up to {left}, the programs that are not held out"
            )


@dataclass(frozen=True)
class DialogueConfig:
    """How a vision-language model draws an image, and what it is paid."""

    renderer: Literal["chart", "web", "svg", "shapes"] = "chart"
    """What draws the code, and so in which language it is."""
    max_turns: int = 4
    """Most turns of a dialogue."""
    side: int = 512
    """Most pixels of an image's longer side."""
    strict: bool = True
    """Whether a turn must begin with thoughts and hold nothing but its blocks."""
    weights: Literal["default", "deepeyes", "rrvf_note"] = "default"
    """A preset of the reward; what the paper used is unstated."""

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        for name in ("max_turns", "side"):
            if getattr(self, name) < 1:
                raise UserError(f"dialogue.{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class OwnConfig:
    """A training of a vision-language model on a folder of images, for ``tenfold train rrvf``."""

    images: str
    """The folder of the images; with labels, those with their code beside them."""
    model: str = ""
    """A vision-language model of the hub, or its folder."""
    dialogue: DialogueConfig = field(default_factory=DialogueConfig)
    """What a dialogue is, with ``--arm rrvf``; the renderer and the side of images act with labels, too."""
    training: GRPOSettings = field(default_factory=GRPOSettings)
    """Reinforcement on images alone, with ``--arm rrvf``."""
    labels: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training on images with their code beside them, with ``--arm labels``."""


def own(data: str) -> OwnConfig:
    """Images of your own, for ``tenfold train rrvf``; with labels, ``chart.png`` has its code in ``chart.py``."""
    lora = LoraSettings(rank=16)
    return OwnConfig(
        images=data,
        training=GRPOSettings(
            steps=100,
            prompts_per_step=4,
            num_generations=8,
            max_completion_length=1024,
            scale_rewards="group",
            optimizer=OptimizerSettings(learning_rate=1e-5),
            lora=lora,
            log_every=1,
            checkpoint_every=20,
        ),
        labels=SFTSettings(
            steps=100,
            batch_size=8,
            max_length=2048,
            optimizer=OptimizerSettings(learning_rate=1e-5),
            lora=lora,
            log_every=1,
            checkpoint_every=20,
        ),
    )


def laptop() -> Config:
    """A chart language at 24 pixels and a policy of 0.4 M parameters; minutes on a CPU."""
    return Config()


def smoke() -> Config:
    """For tests: every part, and nothing is learned."""
    return Config(
        world=WorldConfig(held_out=20, sampled=1),
        policy=PolicyConfig(width=24, layers=1, heads=2),
        labels=LabelsConfig(
            batch_size=16,
            rate=1e-2,
            form_steps=20,
            weak_steps=8,
            dialogue_steps=6,
            start_steps=4,
            rival_steps=5,
            few=8,
            some=12,
            many=16,
        ),
        images=ImagesConfig(images=4, samples=4, steps=5, form_start_steps=5, turns_steps=5),
        logging=LoggingConfig(log_every=1, checkpoint_every=2),
    )


def gpu() -> Config:
    """The same study on one GPU: a wider policy and ten times the images."""
    return Config(
        policy=PolicyConfig(width=256, layers=6, heads=8),
        labels=LabelsConfig(rate=1e-3),
        images=ImagesConfig(images=128, samples=16, rate=5e-4, steps=300, form_start_steps=1000, turns_steps=300),
    )


TASKS = ("chart",)


def paper(task: str = "chart") -> Config:
    """The published group of 8 dialogues for each image, and about 100 steps, on the study's world.

    The published policy is a model of 7 B on ChartMimic's and WebSight's images, which are not part of this study.
    """
    config = gpu()
    return {"chart": replace(config, images=replace(config.images, samples=8, steps=100, turns_steps=100))}[task]


SOURCES = {
    "chart": {
        "images.samples": "a digest (secondary): 8 dialogues for each image",
        "images.steps": "peer reviews (secondary): the published curve has about 100 steps",
        "images.turns_steps": "peer reviews (secondary): the published curve has about 100 steps",
        "images.rate": "unstated: ours (the paper's learning rate was not available)",
        "reward.vision_weight": "unstated: ours (every source contradicts another, see tenfold.rewards.visual.PRESETS)",
        "reward.format_weight": "unstated: ours (every source contradicts another)",
        "reward.tool_weight": "unstated: ours (every source contradicts another)",
    }
}
"""Task to field to source; what is not named here is ours."""

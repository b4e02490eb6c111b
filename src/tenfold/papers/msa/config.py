"""Configuration of MSA's laptop experiment: fields, presets, and the source of every published value. No torch."""

from dataclasses import dataclass, field

from tenfold.core.errors import UserError


@dataclass(frozen=True)
class WorldConfig:
    """The situations that are learned from and tested on."""

    num_training: int = 5700
    """Training situations; each is asked in all ways."""
    label_particles: int = 2000
    """Particles that the answers and thoughts of training come from."""
    num_validation: int = 40
    """Situations on which the better rival is chosen, and rates are compared."""
    num_test: int = 40
    """Test situations of each split."""
    samples: int = 1000
    """Effective samples of each program's posterior, gold programs included."""
    max_seconds: float = 20.0
    """Seconds for one program's inference; one that has fewer samples by then answers with what it has."""

    def __post_init__(self) -> None:
        """Refuse sizes that no data set has."""
        for name in ("num_training", "label_particles", "num_validation", "num_test", "samples"):
            if getattr(self, name) < 1:
                raise UserError(f"world.{name} is {getattr(self, name)}; allowed: at least 1")
        if not self.max_seconds > 0:
            raise UserError(f"world.max_seconds is {self.max_seconds}; allowed: above 0")


@dataclass(frozen=True)
class NetworkConfig:
    """The one network that is asked in several ways."""

    width: int = 96
    """Width of the residual stream."""
    layers: int = 3
    """Number of transformer blocks."""
    heads: int = 4
    """Attention heads."""


@dataclass(frozen=True)
class TrainingConfig:
    """Its training, on a mixture with equal words for each way of being asked."""

    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 2
    """Parts in a training step; several processes, or accumulation, share them."""
    words: int = 250
    """Words of each way of being asked, in each part of a step."""
    rate: float = 4e-3
    """Peak learning rate of Muon, and of AdamW for the embedding; of 2.5e-3, 4e-3, 8e-3 and 1.6e-2 the best for each
    way of being asked, on seed 50."""
    blur: float = 4.0
    """Standard deviation, in points, of the Gaussian of numbers that an answer aims at; 0 for its number alone."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises; it then falls to 0 along a cosine."""
    log_every: int = 20
    """Steps between logged losses."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers, beside the seed."""

    world: WorldConfig = field(default_factory=WorldConfig)
    """The situations."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The network's training."""


def smoke() -> Config:
    """For tests: a few seconds."""
    return Config(
        world=WorldConfig(num_training=60, label_particles=300, num_validation=3, num_test=2, samples=50),
        network=NetworkConfig(width=32, layers=1, heads=2),
        training=TrainingConfig(steps=20, batch_size=2, words=100, warmup_steps=4, log_every=2, checkpoint_every=5),
    )


def laptop() -> Config:
    """For a reader who wants to see the claim."""
    return Config()


def gpu() -> Config:
    """For one GPU: a wider network than ``laptop``'s, and ten times the words."""
    return Config(
        world=WorldConfig(num_training=70_000, num_validation=100, num_test=150, samples=4000),
        network=NetworkConfig(width=256, layers=6, heads=8),
        training=TrainingConfig(steps=4000, batch_size=8, words=450, rate=3e-3),
    )


TASKS = ("little_world",)


def paper(task: str = "little_world") -> Config:
    """The published number of samples; the paper trains no network, so that the rest is that of ``gpu``."""
    from dataclasses import replace

    config = gpu()
    return {"little_world": replace(config, world=replace(config.world, samples=1000))}[task]


# task -> field -> section or table of the publication; what no entry names is shown as ours
SOURCES = {"little_world": {"world.samples": "experiments 1 and 2 (as told by a reader of the paper)"}}

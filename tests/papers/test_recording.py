"""The recorder itself: what counts as read, and what does not."""

from dataclasses import dataclass, field, replace

from recording import recording

from tenfold.core.config import leaves, to_yaml


@dataclass(frozen=True)
class Optimizer:
    rate: float = 0.1
    decay: float = 0.0


@dataclass(frozen=True)
class Config:
    optimizer: Optimizer = field(default_factory=Optimizer)
    steps: int = 5
    size: int = 3

    def __post_init__(self):
        if not self.size > 0:
            raise ValueError(self.size)

    @property
    def twice(self):
        return 2 * self.size


def test_a_leaf_that_is_read_is_noted_with_its_path():
    read = set()
    config = recording(Config(), read)
    assert config.optimizer.rate == 0.1 and config.twice == 6
    assert read == {"optimizer.rate", "size"}


def test_storing_comparing_and_checking_do_not_count():
    read = set()
    config = recording(Config(), read)
    assert to_yaml(config) == to_yaml(Config()) and leaves(config) == leaves(Config())
    assert repr(config).startswith("Config(") and config == replace(config) and hash(config)
    assert read == set()


def test_a_value_that_was_replaced_is_no_longer_the_users():
    read = set()
    config = recording(Config(), read)
    used = replace(config, optimizer=replace(config.optimizer, rate=0.7))
    assert (used.optimizer.rate, used.optimizer.decay, used.steps) == (0.7, 0.0, 5)
    assert read == {"optimizer.decay", "steps"}
    again = replace(replace(config.optimizer, rate=0.7), decay=0.5)
    assert again.rate == 0.7 and again.decay == 0.5
    assert "optimizer.rate" not in read


def test_a_comprehension_reads_as_the_code_around_it_does():
    read = set()
    config = recording(Config(), read)
    assert [getattr(config, name) for name in ("steps",)] == [5]
    assert read == {"steps"}

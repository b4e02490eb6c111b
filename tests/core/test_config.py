from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import pytest
import tyro

from tenfold.core.config import (
    differences,
    from_plain,
    from_yaml,
    leaf_types,
    leaves,
    nearest,
    parse,
    read_settings,
    refuse_idle,
    to_plain,
    to_yaml,
)
from tenfold.core.errors import UserError

C = TypeVar("C")


@dataclass(frozen=True)
class Model:
    hidden_size: int = 64
    """Width."""
    kind: Literal["plain", "hrm"] = "hrm"
    """Which model."""
    sizes: tuple[int, ...] = (1, 2)
    """Some sizes."""
    rate: float | None = None
    """A rate."""

    def __post_init__(self) -> None:
        if self.hidden_size % 2:
            raise UserError(f"model.hidden_size is {self.hidden_size}; allowed: even numbers")


@dataclass(frozen=True)
class Config:
    model: Model = field(default_factory=lambda: Model(hidden_size=32))
    """The model."""
    steps: int = 5
    """Steps."""
    weight: float = 1e-5
    """A weight."""
    ema: bool = True
    """Whether to average."""
    data: Path = Path("a/b")
    """Where the data is."""
    name: str = "x"
    """A name."""


@dataclass(frozen=True)
class Command(Generic[C]):
    config: Annotated[C, tyro.conf.arg(name="")]
    """The configuration."""
    seeds: str = "1"
    """Seeds."""


def write(directory: Path, text: str) -> Path:
    path = directory / "my.yaml"
    path.write_text(text)
    return path


def parsed(arguments: list[str], yaml_path: Path | None = None) -> Config:
    default = Command(Config())
    return parse(
        Command[Config], default=default, config=default.config, yaml_path=yaml_path, arguments=arguments, prog="t"
    ).config


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(model=Model(sizes=(), rate=1e-12, kind="plain"), ema=False, name="-3", data=Path("c")),
        Config(model=Model(sizes=(7,), rate=float("inf")), name="two words: # and 'quotes'", weight=-2.5e300),
        Config(name=""),
        Config(name="true"),
    ],
)
def test_yaml_round_trip(config, tmp_path):
    path = write(tmp_path, to_yaml(config))
    assert from_yaml(Config, path) == config
    assert from_plain(Config, to_plain(config)) == config
    assert parsed([], path) == config


def test_leaves_and_their_types_name_the_same_fields():
    assert list(leaves(Config())) == list(leaf_types(Config))
    assert leaves(Config())["model.hidden_size"] == 32


def test_fields_left_out_keep_the_default_of_the_whole_not_of_the_part():
    assert from_plain(Config, {"model": {"kind": "plain"}}).model == Model(hidden_size=32, kind="plain")


def test_precedence_is_preset_then_yaml_then_flags(tmp_path):
    path = write(tmp_path, "steps: 6\nmodel: {rate: 1e-3, hidden_size: 8}\nema: no\n")
    config = parsed(["--model.hidden-size", "4"], path)
    assert config == Config(model=Model(hidden_size=4, rate=0.001), steps=6, ema=False)


def test_scientific_notation_in_yaml_is_a_number(tmp_path):
    assert from_yaml(Config, write(tmp_path, "weight: 1e-3")).weight == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "steps: 3\nmodel:\n  hiden_size: 4\n",
            "my.yaml:3: unknown key model.hiden_size; did you mean model.hidden_size?",
        ),
        ("stps: 3", "my.yaml:1: unknown key stps; did you mean steps?"),
        ("\nsteps: 3.5", "my.yaml:2: steps is '3.5'; allowed: an integer"),
        ("weight: [1]", "my.yaml:1: weight is [1]; allowed: a number"),
        ("ema: 3", "my.yaml:1: ema is '3'; allowed: true or false"),
        ("model:\n  sizes: 3", "my.yaml:2: model.sizes is '3'; allowed: a list, each element an integer"),
        ("model:\n  sizes: [1, a]", "my.yaml:2: model.sizes is [1, a]; allowed: a list, each element an integer"),
        ("model: {kind: trm}", "my.yaml:1: model.kind is 'trm'; allowed: one of plain, hrm"),
        ("model: {rate: high}", "my.yaml:1: model.rate is 'high'; allowed: a number or null"),
        ("model: 3", "my.yaml:1: model is a group of fields, not a value"),
        ("steps: 3\nsteps: 4", "my.yaml:2: steps is set twice"),
        ("steps: [3", "my.yaml:1: not YAML"),
        ("- 3", "my.yaml:1: a configuration is a mapping of field names to values, not a list"),
        ("\nsteps", "my.yaml:2: a configuration is a mapping of field names to values, not 'steps'"),
        ("steps: {a: 3}", "my.yaml:1: steps is a value, not a group of fields; allowed: an integer"),
        ("name: x\nsteps: {}", "my.yaml:2: steps is {}; allowed: an integer"),
        ("name: {}", "my.yaml:1: name is {}; allowed: a text"),
        ("steps: [{a: 3}]", "my.yaml:1: steps has a mapping in a list; allowed there: single values"),
        ("model:\n  sizes: [1, {a: 3}]", "my.yaml:2: model.sizes has a mapping in a list"),
        ("name: x\n[steps]: 3", "my.yaml:2: a field name is a word, not a list or a mapping"),
        ("steps: \x00", "my.yaml: not YAML: allowed is printable text in UTF-8"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line(text, message, tmp_path):
    path = write(tmp_path, text)
    for read in (lambda: from_yaml(Config, path), lambda: parsed([], path)):
        with pytest.raises(UserError) as error:
            read()
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "my.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(UserError, match=r"my\.yaml: not YAML: allowed is printable text in UTF-8"):
        parsed([], tmp_path / "my.yaml")


def test_a_group_of_which_nothing_is_set_changes_nothing(tmp_path):
    assert parsed([], write(tmp_path, "model: {}\nsteps: 6")) == Config(steps=6)
    assert from_plain(Config, {"model": {}, "steps": 6}) == Config(steps=6)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.yaml: No such file"):
        parsed([], tmp_path / "none.yaml")


def test_plain_data_is_read_strictly():
    with pytest.raises(UserError, match=r"run\.json: unknown key model\.knd; did you mean model\.kind\?"):
        from_plain(Config, {"model": {"knd": 3}}, where="run.json")
    with pytest.raises(UserError, match=r"allowed: even numbers"):
        from_plain(Config, {"model": {"hidden_size": 3}})
    with pytest.raises(UserError, match=r"configuration: steps is \{\}; allowed: an integer"):
        from_plain(Config, {"steps": {}})
    with pytest.raises(UserError, match=r"configuration: model\.sizes has a mapping in a list"):
        from_plain(Config, {"model": {"sizes": [{"a": 1}]}})


def test_a_field_without_default_must_be_given():
    @dataclass(frozen=True)
    class Needs:
        path: str

    with pytest.raises(UserError, match="configuration: path is missing"):
        from_plain(Needs, {})


def test_a_misspelt_flag_is_refused_with_a_suggestion(capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(["--model.hiden-size", "4"])
    assert stop.value.code == 2
    assert "--model.hidden-size" in capsys.readouterr().err


def test_differences_name_the_fields():
    assert differences(Config(), Config(model=Model(hidden_size=32, rate=0.5))) == {"model.rate": (None, 0.5)}


def test_a_field_that_does_not_act_is_refused_unless_it_is_at_its_default():
    everything = ("model", "steps", "data")
    refuse_idle(Config(), everything, acts="other")
    refuse_idle(Config(model=Model()), everything, acts="other")
    with pytest.raises(UserError, match=r"^steps = 6: does not act here; set other, or leave it at 5$"):
        refuse_idle(Config(steps=6), everything, acts="other")
    with pytest.raises(
        UserError, match=r"^model\.sizes = \(3,\): does not act here; set other, or leave it at \(.*\)$"
    ):
        refuse_idle(Config(model=Model(sizes=(3,))), everything, acts="other")
    with pytest.raises(UserError, match=r"^model\.hidden_size = 2: "):
        refuse_idle(Config(model=Model(hidden_size=2)), ["model.hidden_size"], acts="other")
    refuse_idle(Config(steps=6), ["model.hidden_size"], acts="other")


def test_nearest_falls_back_to_all_names():
    assert nearest("zzz", ["hrm", "msa"]) == "known: hrm, msa"


HOSTILE = {
    "itself": "a: &a [*a]\n",
    "itself in a mapping": "a: &a {b: *a}\n",
    "deep": "a: " + "[" * 3000 + "]" * 3000,
    "deep mappings": "".join("  " * depth + "a:\n" for depth in range(3000)),
    "many times itself": "a: &a [1,2,3,4,5,6,7,8,9]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_yaml_without_end_is_one_sentence(tmp_path, kind):
    path = tmp_path / "a.yaml"
    path.write_text(HOSTILE[kind])
    with pytest.raises(UserError, match=r"a\.yaml.*(nests too deep|refers to itself)") as refused:
        read_settings(path)
    assert "\n" not in str(refused.value)

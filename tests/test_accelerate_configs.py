"""The accelerate configurations of the documentation are what accelerate's own command line reads and accepts."""

from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "docs" / "accelerate"
COMMAND = ["-m", "tenfold", "run", "rlcr", "--preset", "paper", "--task", "hotpotqa"]


def launched(name):
    """What ``accelerate launch`` makes of a configuration, before it starts anything."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    args = launch_command_parser().parse_args(["--config_file", str(FOLDER / name), *COMMAND])
    return _validate_launch_command(args)[0]


@pytest.fixture(autouse=True)
def eight_gpus(monkeypatch):
    """The command line looks for devices; the ones of the configuration are pretended."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)


def test_fsdp2_is_what_accelerate_launches():
    args = launched("fsdp2.yaml")
    assert args.use_fsdp and int(args.fsdp_version) == 2 and args.num_processes == 8 and not args.use_cpu
    assert args.fsdp_auto_wrap_policy == "TRANSFORMER_BASED_WRAP" and args.module and args.training_script == "tenfold"
    assert args.training_script_args == COMMAND[2:]


def test_zero_3_is_what_accelerate_launches():
    args = launched("zero3.yaml")
    assert args.use_deepspeed and int(args.zero_stage) == 3 and args.num_processes == 8
    assert str(args.zero3_save_16bit_model).lower() == "true", "a checkpoint holds all weights"


@pytest.mark.parametrize("name", ["fsdp2.yaml", "zero3.yaml"])
def test_every_field_is_one_that_accelerate_knows(name):
    from accelerate.commands.config.config_args import ClusterConfig

    ClusterConfig.from_yaml_file(yaml_file=str(FOLDER / name))  # it refuses keys that it does not know
    assert yaml.safe_load((FOLDER / name).read_text())["num_processes"] == 8

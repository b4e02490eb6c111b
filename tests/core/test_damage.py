"""Files that were cut short, emptied or overwritten are told from whole ones."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tenfold.core.damage import fault_of, read_json
from tenfold.core.errors import UserError


def write(path):
    """A file of each form, with content that cannot be cut short unnoticed."""
    if path.suffix == ".safetensors":
        save_file({"a": torch.arange(12.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"seeds": [0, 1], "text": "é"}))
    else:
        torch.save({"a": torch.arange(12.0), "step": 3}, path)
    return path


FORMS = ("weights.safetensors", "state.json", "optimizer.pt", "optimizer.bin", "random_states_0.pkl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return {name: write(folder / name).read_bytes() for name in FORMS}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_whole_has_no_fault(tmp_path, name):
    assert fault_of(write(tmp_path / name)) is None


@pytest.mark.parametrize("name", FORMS)
def test_wherever_it_is_cut_short_it_has_one(tmp_path, whole, name):
    lengths = [0, 1, 7, 8, 9, len(whole[name]) - 1, *np.random.default_rng(0).integers(0, len(whole[name]), 40)]
    for length in lengths:
        (tmp_path / name).write_bytes(whole[name][:length])
        assert fault_of(tmp_path / name), length


@pytest.mark.parametrize("name", FORMS)
def test_a_block_of_zeros_in_place_of_the_content_is_a_fault(tmp_path, whole, name):
    path = tmp_path / name
    path.write_bytes(bytes(len(whole[name])))
    assert fault_of(path)


def test_a_changed_byte_of_an_archive_does_not_fit_its_checksum(tmp_path, whole):
    content = bytearray(whole["optimizer.pt"])
    place = content.find(torch.arange(12.0).numpy().tobytes())
    content[place + 5] ^= 1
    (tmp_path / "optimizer.pt").write_bytes(content)
    assert "checksum" in fault_of(tmp_path / "optimizer.pt")


def test_files_of_other_kinds_need_only_have_content(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"\xff\x00")
    assert fault_of(tmp_path / "notes.txt") is None
    (tmp_path / "notes.txt").write_bytes(b"")
    assert fault_of(tmp_path / "notes.txt") == "it is empty"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is empty"),
        (b'{"a": 1', "character 8"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b"\0\0", "no JSON"),
    ],
)
def test_damaged_json_is_named_with_what_to_do(tmp_path, content, fault):
    path = tmp_path / "scores.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"scores\.json is damaged \(.*{fault}.*\); delete it") as refused:
        read_json(path, "delete it")
    assert "\n" not in str(refused.value)


def test_missing_json_is_named_too(tmp_path):
    with pytest.raises(UserError, match=r"scores\.json is missing; delete it"):
        read_json(tmp_path / "scores.json", "delete it")

import pytest
import torch

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.study.own_training import train_in


class NothingIsCalled:
    """A paper's ``own_training`` that must not be asked for anything."""

    def read(self, config, arm):
        raise AssertionError("data and model were read")

    def train(self, config, arm, given, cell):
        raise AssertionError("a training was begun")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_device_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "data.jsonl").write_text("{}\n")
    cell = Cell(arm="any", seed=0, directory=tmp_path / "out", device="cuda")
    with pytest.raises(UserError, match="device = cuda: this PyTorch sees no CUDA device"):
        train_in("any", NothingIsCalled(), None, tmp_path / "data.jsonl", cell)
    assert not cell.directory.exists()

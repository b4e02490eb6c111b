"""A name of a package costs what it needs itself, and every name that is listed is there."""

import importlib
import subprocess
import sys

import pytest

HEAVY = ("torch.distributed.tensor", "torch._dynamo", "transformers")


@pytest.mark.parametrize("package", ["tenfold.optim", "tenfold.models"])
def test_every_listed_name_is_there_and_others_are_not(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec(f"from {package} import Nothing")


@pytest.mark.parametrize(
    "statement", ["import tenfold.optim", "from tenfold.optim import AdamATan2", "from tenfold.models import rms_norm"]
)
def test_importing_a_light_name_loads_nothing_heavy(statement):
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

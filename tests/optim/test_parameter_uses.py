"""What is read from the code of modules."""

import pytest
from torch import nn
from torch.nn import functional
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts, GptOssTopKRouter
from transformers.models.mamba.modeling_mamba import MambaMixer

from tenfold.optim.parameter_uses import parameter_uses


class Everything(nn.Module):
    def forward(self, x, ids):
        x = x.matmul(self.a) + functional.linear(x, self.b * self.scale) + x @ self.c.T
        x = self.d[ids] + functional.embedding_bag(ids, weight=self.e) + self.head.weight[ids]
        return self._rest(x) * (1 - self.f.view(-1)) / -self.g

    def _rest(self, x):
        return x + self.h[: len(x)].to(x.dtype) + torch_like.sigmoid(self.i) + self.j.exp()


class Derived(Everything):
    def more(this, x):
        return x @ this.k


torch_like = functional
ALL = {"a": "matrix", "c": "matrix", "d": "table", "e": "table", "head.weight": "table"} | dict.fromkeys(
    "fghij", "elementwise"
)


@pytest.mark.parametrize("kind", [Everything, Derived])
def test_each_way_of_using_a_parameter_is_found(kind):
    uses = {path: set(found) for path, found in parameter_uses(kind).items()}
    assert all(use in uses[path] for path, use in ALL.items())
    assert all(uses[path] == {use} for path, use in ALL.items() if use != "table")  # rows may be added, too
    assert "matrix" in uses["b"]
    assert ("k" in uses) == (kind is Derived)


@pytest.mark.parametrize(
    ("kind", "path", "use"),
    [
        (nn.Bilinear, "weight", "matrix"),
        (nn.LayerNorm, "weight", "elementwise"),
        (nn.MultiheadAttention, "bias_k", None),  # passed on to a function that is not known
        (MambaMixer, "A_log", "elementwise"),
        (GptOssExperts, "gate_up_proj", "matrix"),
        (GptOssTopKRouter, "weight", "matrix"),
    ],
)
def test_real_modules(kind, path, use):
    found = parameter_uses(kind).get(path, frozenset())
    assert use in found if use else not found


def test_classes_without_a_file_tell_nothing():
    made = {}
    exec("class Made(nn.Module):\n    def forward(self, x): return x @ self.a", {"nn": nn}, made)
    assert parameter_uses(made["Made"]) == {}

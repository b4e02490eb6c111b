"""What arms share: made by one, found by the others, whichever comes first, killed or not."""

import pytest

from tenfold.core.cell import Cell, read_stages
from tenfold.policies import tiny_policy
from tenfold.study.stages import json_made_once, policy_made_once


def cell_of(folder, arm):
    return Cell(arm=arm, seed=0, directory=folder / arm, shared_directory=folder / "shared", device="cpu")


def test_it_is_made_once_and_found_by_others(tmp_path):
    made = []

    def make(stage):
        made.append(stage.arm)
        return {"share": 0.5}

    found = [json_made_once(cell_of(tmp_path, arm), "knowledge", make) for arm in ("sem", "baseline", "sem")]
    assert found == [{"share": 0.5}] * 3 and made == ["sem"]


def test_what_was_killed_before_its_end_is_made_again(tmp_path):
    def killed(stage):
        (stage.directory).mkdir(parents=True)
        (stage.directory / "made.json").write_text("half of i")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        json_made_once(cell_of(tmp_path, "sem"), "knowledge", killed)
    assert json_made_once(cell_of(tmp_path, "baseline"), "knowledge", lambda stage: [1.0]) == [1.0]


def test_a_policy_comes_back_with_the_very_same_weights(tmp_path):
    policy = tiny_policy("01+=", width=16, layers=1, heads=2, seed=3)
    policy_made_once(cell_of(tmp_path, "sem"), "warm-start", lambda stage: policy)
    found = policy_made_once(cell_of(tmp_path, "baseline"), "warm-start", lambda stage: pytest.fail("made twice"))
    before, after = policy.model.state_dict(), found.model.state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert found.encode("1+0=") == policy.encode("1+0=") and not found.model.training


def test_a_stage_may_need_another_one(tmp_path):
    def outer(stage):
        return json_made_once(stage, "inner", lambda inner: 2) * 10

    assert json_made_once(cell_of(tmp_path, "rl"), "outer", outer) == 20
    assert set(read_stages(tmp_path / "shared")) == {"inner", "outer"}
    assert json_made_once(cell_of(tmp_path, "rft"), "inner", lambda stage: pytest.fail("made twice")) == 2

"""A policy that may answer before any training stands where its cell computes; a device that is pretended shows it."""

from dataclasses import replace

import pytest
from pretended import pretended_device

from tenfold.core.cell import Cell
from tenfold.papers.cort import answering as cort
from tenfold.papers.cort import config as cort_config
from tenfold.papers.cort import stages as cort_stages
from tenfold.papers.iw_sft.language import config as iw_sft_config
from tenfold.papers.iw_sft.language import recipe as iw_sft_recipe
from tenfold.papers.rlcr import config as rlcr_config
from tenfold.papers.rlcr import recipe as rlcr_recipe
from tenfold.papers.sem import config as sem_config
from tenfold.papers.sem import stages as sem_stages
from tenfold.papers.sem.arms import ARMS
from tenfold.papers.sem.data import draw_questions
from tenfold.papers.sem.study import Study
from tenfold.policies import tiny_policy
from tenfold.study.language import PolicyConfig
from tenfold.train.settings import SFTSettings

NONE = SFTSettings(steps=0)


def cort_base(cell, model):
    config = replace(cort_config.smoke(), base=cort_config.BaseConfig(programs=NONE, thinking=NONE))
    return cort_stages.base(cort.Study(config, cell, None))


def cort_programs(cell, model):
    """What learns to think where a model is loaded."""
    smoke = cort_config.smoke()
    return cort_stages.programs(cort.Study(replace(smoke, base=replace(smoke.base, programs=NONE)), cell, None))


def iw_sft_clone(cell, model):
    smoke = iw_sft_config.smoke()
    policy, rates = PolicyConfig(model=model), replace(smoke.rates, cloning=iw_sft_config.RatesConfig.cloning)
    config = replace(smoke, policy=policy, cloning=NONE, rates=rates)
    return iw_sft_recipe.clone(iw_sft_recipe.begin(config, cell))


def rlcr_start(cell, model):
    config = replace(rlcr_config.smoke(), warm_start=rlcr_config.WarmStartConfig(training=NONE))
    return rlcr_recipe.warm_start(config, cell)


def sem_start(cell, model):
    config = replace(sem_config.smoke(), warm_start=sem_config.WarmStartConfig(training=NONE))
    return sem_stages.warm_start(Study(config, ARMS["sem"], cell, draw_questions(config, 0)))


@pytest.mark.parametrize("build", [cort_base, cort_programs, iw_sft_clone, rlcr_start, sem_start])
def test_a_policy_that_is_not_trained_first_stands_on_the_device(build, tmp_path):
    tiny_policy(width=16, layers=1, heads=2).save(tmp_path / "model")
    with pretended_device():
        policy = build(Cell(arm="any", seed=0, directory=tmp_path / "cell", device="auto"), str(tmp_path / "model"))
        assert {weight.device.type for weight in policy.model.parameters()} == {"cuda"}

"""GRPO with a served engine: weights follow, wrong ones are refused, and a model may be sharded over two processes."""

import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import served_training
import torch
from completions_server import StandIn, serving
from language_training import SFT, Echo, cell_of, digits, policy, short, sums, train_sft, weights_of
from processes import launch
from served_training import SHORT, recorded, settings_of, train

from tenfold.core.errors import Interrupted, UserError
from tenfold.policies.served import ServerError
from tenfold.train.grpo import grpo
from tenfold.train.policy_loss import GRPOLoss
from tenfold.train.settings import EngineSettings, GRPOSettings, LoraSettings

LOG_PROB_DIFFERENCE = "sampling/sampling_logp_difference/mean"


@pytest.fixture
def stand_in():
    return StandIn(policy())


@pytest.fixture
def url(stand_in):
    with serving(stand_in) as url:
        yield url


def test_the_servers_weights_follow_the_trainers_and_their_log_probabilities_agree(tmp_path, stand_in, url):
    trained = train(tmp_path, url)
    curves = cell_of("served", tmp_path).curves()
    differences = [value for _, value in curves[LOG_PROB_DIFFERENCE]]
    assert len(differences) == 8 and max(differences) < 1e-5
    assert len(curves["sampling/sampling_logp_difference/max"]) == 8
    assert [path for path, _ in stand_in.calls].count("/collective_rpc") == 8, "once for each step"
    versions = [body["new_version"] for path, body in stand_in.calls if path == "/update_weight_version"]
    assert [version.partition("-")[2] for version in versions] == [str(step) for step in range(8)]
    assert not torch.equal(trained.model.get_input_embeddings().weight, policy().model.get_input_embeddings().weight)


def test_a_killed_run_goes_on_to_equal_numbers(tmp_path, url):
    expected = weights_of(train(tmp_path / "whole", url))
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for newer in ("step-00000008", "step-00000006"):
        shutil.rmtree(tmp_path / "killed" / "checkpoints" / newer, ignore_errors=True)
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "step-00000006", tmp_path / "killed/checkpoints/step-00000006")
    resumed = weights_of(train(tmp_path / "killed", url))
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_fewer_pushes_leave_the_server_behind_and_the_loss_is_weighted_for_it(tmp_path, stand_in, url):
    train(tmp_path, url, push_every=2, largest_difference=1.0)
    assert [path for path, _ in stand_in.calls].count("/collective_rpc") == 4
    differences = dict(cell_of("served", tmp_path).curves()[LOG_PROB_DIFFERENCE])
    assert max(differences[step] for step in (1, 3, 5, 7)) < 1e-5 < min(differences[step] for step in (4, 6, 8))


@pytest.mark.parametrize("cap", [1.5, 0.0])
def test_weights_of_the_loss_are_capped_or_left_out(tmp_path, stand_in, url, cap):
    """Recorded tokens whose probabilities are far off: exp(-2.7 + 2.0) to exp(-2.7 + 2.5) or so."""
    stand_in.said = recorded
    train(tmp_path, url, steps=2, importance_cap=cap, largest_difference=9.0)
    curves = cell_of("served", tmp_path).curves()
    (low, _), (high, _) = (
        [value for _, value in curves[f"sampling/importance_sampling_ratio/{kind}"]] for kind in ("min", "max")
    )
    assert (low, high) == (1.0, 1.0) if not cap else low < 0.9 and high <= 1.5


def test_a_round_from_other_weights_is_refused(tmp_path, stand_in, url):
    """A server that says it has read the new weights, and has not."""
    plain = stand_in.call
    stand_in.call = lambda path, body: (200, {"results": [None]}) if path == "/collective_rpc" else plain(path, body)
    with torch.no_grad():
        for parameter in stand_in.policy.model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    with pytest.raises(UserError, match=r"differ from the trainer's by .* more than engine\.largest_difference = 0\.2"):
        train(tmp_path, url)


def test_a_server_that_goes_away_ends_the_run_in_a_sentence_and_the_run_goes_on_with_another(
    tmp_path, stand_in, url, monkeypatch
):
    at_once = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("tenfold.core.posting.time", at_once)  # between the tries
    expected = weights_of(train(tmp_path / "whole", url))
    plain, completions = stand_in._sampled, []

    def dying(ids, request):
        completions.append(request)
        if len(completions) > 16 * 4 + 5:  # in the fifth round
            raise ConnectionError
        return plain(ids, request)

    stand_in._sampled = dying
    engine = dict(seconds=5.0)
    with pytest.raises(ServerError, match=r"^http://127\.0\.0\.1:\d+/v1: .*\(tried 4 times\)$"):
        train(tmp_path / "broken", url, **engine)
    with serving(StandIn(policy())) as other:
        resumed = weights_of(train(tmp_path / "broken", other, **engine))
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def test_a_server_that_was_started_anew_between_two_pushes_is_found_out(tmp_path, stand_in, url):
    plain = stand_in.call

    def call(path, body):
        answer = plain(path, body)
        if path == "/resume" and len([each for each, _ in stand_in.calls if each == path]) == 2:
            stand_in.version = "default"
        return answer

    stand_in.call = call
    with pytest.raises(ServerError, match="holds the weights 'default', and the trainer pushed"):
        train(tmp_path, url, push_every=2, largest_difference=1.0)


def test_an_environment_answers_in_the_turns_of_a_served_engine(tmp_path, stand_in, url):
    cell = cell_of("served", tmp_path)
    grpo(policy(), sums(), (digits, short), settings_of(url), cell, environment=Echo)
    curves = cell.curves()
    assert max(value for _, value in curves["completions/tool_calls"]) > 0
    assert max(value for _, value in curves[LOG_PROB_DIFFERENCE]) < 1e-5, "the reply's tokens play no part"


@pytest.mark.parametrize("adapters", ["merged", "alone"])
def test_adapters_are_pushed_merged_or_alone(tmp_path, stand_in, url, adapters):
    stand_in.said = recorded if adapters == "alone" else None  # the stand-in does not apply adapters
    settings = settings_of(url, adapters=adapters, largest_difference=9.0, lora=LoraSettings(rank=2))
    cell = cell_of("served", tmp_path)
    grpo(policy(), sums(), (digits, short), settings, cell)
    paths = [path for path, _ in stand_in.calls]
    assert paths.count("/v1/load_lora_adapter") == (8 if adapters == "alone" else 0)
    assert paths.count("/collective_rpc") == (8 if adapters == "merged" else 0)
    if adapters == "merged":
        assert max(value for _, value in cell.curves()[LOG_PROB_DIFFERENCE]) < 1e-5
    else:
        assert len(stand_in.adapters) == 1 and paths.count("/v1/unload_lora_adapter") == 7


def test_settings_that_do_not_act_or_lack_a_server_are_refused():
    with pytest.raises(UserError, match=r"urls = \(\): a served engine needs the address"):
        EngineSettings("served")
    with pytest.raises(UserError, match=r"push_every = 2: does not act here; set name = served"):
        EngineSettings(push_every=2)
    served = EngineSettings("served", urls=("http://127.0.0.1:9/v1",), adapters="alone")
    with pytest.raises(UserError, match=r"engine\.adapters = .?alone.?: does not act here; set lora\.rank"):
        GRPOSettings(engine=served)
    with pytest.raises(UserError, match=r"top_p = 0\.9: does not act here; set engine\.name = in_process"):
        GRPOSettings(engine=EngineSettings("served", urls=("http://127.0.0.1:9/v1",)), top_p=0.9)


def test_a_cap_beside_another_loss_and_checkpoints_between_pushes_are_refused(tmp_path, url):
    with pytest.raises(UserError, match=r"engine\.importance_cap = 3\.0: does not act here; set policy_loss"):
        settings = replace(settings_of(url, importance_cap=3.0), loss_type="bnpo")
        grpo(policy(), sums(), (digits,), settings, cell_of("a", tmp_path), policy_loss=GRPOLoss("dapo").policy_loss)
    with pytest.raises(UserError, match=r"checkpoint_every = 2: must be a multiple of 4 steps"):
        train(tmp_path, url, push_every=4)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Trainings on recorded completions by two processes with FSDP2, one of them resumed by two new ones."""
    directory = tmp_path_factory.mktemp("sharded")
    with serving(StandIn(policy(), said=recorded)) as url:
        launch(served_training.train_sharded, directory, url, folder=directory)
        launch(served_training.resume_sharded, directory, url, folder=directory)
        for loss_type in ("dapo", "dr_grpo"):
            train(directory / "one" / loss_type, url, loss_type, **SHORT)
        train(directory / "one" / "kl", url, beta=0.1, **SHORT)
    return directory


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kind", "whole"), [("dapo", "dapo"), ("dr_grpo", "dr_grpo"), ("kl", "kl"), ("resumed", "dapo")]
)
def test_two_processes_with_fsdp2_have_the_losses_of_one(sharded, kind, whole):
    curves, expected = (cell_of("served", each).curves() for each in (sharded / kind, sharded / "one" / whole))
    for name in ("train/loss", "train/grad_norm", "train/reward", "sampling/importance_sampling_ratio/max"):
        steps, values = zip(*curves[name], strict=True)
        of_one = [value for _, value in expected[name]]
        assert steps == tuple(range(1, 5))
        assert values == pytest.approx(of_one, abs=1e-5), name
    weights, of_one = (
        torch.load(each / "weights.pt", weights_only=True) for each in (sharded / kind, sharded / "one" / whole)
    )
    assert weights.keys() == of_one.keys()
    for name, value in of_one.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-4)


@pytest.mark.alone
def test_sampling_in_process_from_a_sharded_model_is_refused_by_name(tmp_path):
    launch(served_training.sample_from_shards, tmp_path, folder=tmp_path)
    assert "the model is sharded over processes (FSDP2)" in (tmp_path / "told").read_text()


@pytest.mark.alone
def test_supervised_training_with_fsdp2_weighs_as_one_process_does(tmp_path):
    """iw-SFT's kind of weights: normalised over the whole batch, so that ranks must agree on them exactly."""
    launch(served_training.sft_sharded, tmp_path, folder=tmp_path)
    whole = weights_of(train_sft(cell_of("sft", tmp_path / "one"), SFT, weighting=served_training.WEIGHTING))
    weights = torch.load(tmp_path / "sft" / "weights.pt", weights_only=True)
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    curves, expected = (cell_of("sft", tmp_path / name).curves() for name in ("sft", "one"))
    for name in ("train/loss", "weights/mean", "weights/max", "weights/raw_mean"):
        assert [value for _, value in curves[name]] == pytest.approx([value for _, value in expected[name]], abs=1e-5)


def test_a_stop_is_taken_at_the_next_push(tmp_path, url):
    with pytest.raises(Interrupted) as stopped:
        train(tmp_path, url, stop=1, push_every=2, largest_difference=1.0)
    assert stopped.value.step == 2

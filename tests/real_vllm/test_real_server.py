"""Rollouts, pushes and training with a real vLLM: what the stand-ins of other tests stand for.

``make test-vllm`` runs them. The numbers are printed (``-s``), and the bounds are about twice what was measured.
"""

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
import real_training
import torch
from acting import fresh_log_probs
from processes import start
from real_server import Server
from recorded_policy import conversation, recorded_policy

from tenfold.core.cell import Cell
from tenfold.envs import BM25, Passage, SearchTool, ToolEnvironment
from tenfold.policies import Policy, Sampling, rollout, served_policy
from tenfold.policies.served import ServerError
from tenfold.policies.transport import Transport
from tenfold.train.weight_sync import FolderSync, adapter_weights, merged_weights

pytestmark = pytest.mark.vllm

RECORDED = Path(__file__).parents[1] / "policies" / "recorded_vllm.json"
TEXTS = ["The capital of France is", "Once upon a time", "Water boils at", "My favourite colour is"]
PASSAGES = [
    Passage("1", "Paris", "Paris is the capital of France."),
    Passage("2", "Rome", "Rome is the capital of Italy and lies on the Tiber."),
    Passage("3", "Berlin", "Berlin is the capital of Germany."),
]
SHOTS = (
    "Q: Where is Oslo?\n<search>Oslo</search>\n<result>\n[1] Oslo: Oslo is in Norway.\n</result>\nA: Norway\n\n"
    "Q: Where is Lima?\n<search>Lima</search>\n<result>\n[1] Lima: Lima is in Peru.\n</result>\nA: Peru\n\n"
)


def differences(model, trajectories, temperature=1.0):
    """Absolute differences of the sampled tokens' log-probabilities, ours less the server's."""
    return torch.cat(
        [
            (fresh_log_probs(model, each, temperature) - torch.tensor(each.log_probs)).abs()[
                torch.tensor(each.loss_mask)
            ]
            for each in trajectories
        ]
    )


def told(what, found):
    print(f"\n{what}: mean {found.mean():.4f}, largest {found.max():.4f} nats over {len(found)} tokens")
    return float(found.mean())


@pytest.fixture(scope="module")
def served(smollm2, smollm2_server):
    return served_policy(smollm2_server.url, smollm2.tokenizer, end_ids=smollm2.end_ids)


@pytest.fixture(scope="module")
def prompts(smollm2):
    return [smollm2.encode(text) for text in TEXTS]


def test_turns_end_at_stop_strings_and_equal_seeds_repeat(served, prompts):
    sampling = Sampling(48, stop=(" the", "."))
    said = rollout(served, prompts, sampling, num_samples=8, seed=3)
    for trajectory in said:
        text = served.decode(trajectory.token_ids)
        if trajectory.stop_reason == "stop" and trajectory.token_ids[-1] not in served.end_ids:
            assert " the" in text or "." in text
            assert not any(stop in served.decode(trajectory.token_ids[:-1]) for stop in sampling.stop)
    assert sum(each.stop_reason == "stop" for each in said) > 16
    again = rollout(served, prompts, sampling, num_samples=8, seed=3)
    equal = sum(one.token_ids == other.token_ids for one, other in zip(said, again, strict=True))
    print(f"\nequal seeds: {equal} of {len(said)} completions repeat")
    assert equal >= 0.7 * len(said), "other batches round in another way, and few completions notice"
    other = rollout(served, prompts, sampling, num_samples=8, seed=4)
    assert sum(one.token_ids == two.token_ids for one, two in zip(said, other, strict=True)) < 4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_ours_within_the_rounding_of_bfloat16(smollm2, served, prompts, temperature):
    said = rollout(served, prompts, Sampling(32, temperature=temperature), num_samples=4)
    found = differences(smollm2.model, said, temperature)
    assert told(f"bfloat16 against float32, temperature {temperature}", found) < 0.08 and found.max() < 0.6


def test_two_turns_through_the_search_tool(smollm2, served):
    environment = ToolEnvironment([SearchTool(BM25(PASSAGES), k=1)], smollm2.tokenizer, max_calls=1)
    questions = [smollm2.encode(f"{SHOTS}Q: Where is {city}?\n<search>") for city in ("Paris", "Rome", "Berlin")]
    said = rollout(served, questions, Sampling(40), num_samples=8, environment=environment)
    called = [each for each in said if each.tool_calls]
    print(f"\nsearched: {len(called)} of {len(said)}; {smollm2.decode(called[0].token_ids)!r}")
    went_on = [each for each in called if each.loss_mask[-1] and not all(each.loss_mask)]
    assert len(went_on) >= 4, "these spoke a second time"
    assert told("two turns", differences(smollm2.model, went_on)) < 0.08


def test_pushed_weights_are_sampled_with(smollm2, served, prompts, tmp_path):
    sync, before = FolderSync(served, tmp_path / "weights"), smollm2.model.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for name, parameter in smollm2.model.named_parameters():
                if "embed_tokens" in name:  # shared with the output layer, of which vLLM keeps an old copy on a CPU
                    continue
                parameter.mul_(1 + 0.03 * torch.randn(parameter.shape, generator=generator))
                parameter.copy_(parameter.bfloat16())  # which the server holds: nothing is left to round
        said = rollout(served, prompts, Sampling(24), num_samples=4)
        assert (old := told("before the push", differences(smollm2.model, said))) > 0.1
        started = time.perf_counter()
        sync.write(merged_weights(smollm2.model), 1)
        written = time.perf_counter()
        with pytest.warns(UserWarning, match="runs on a CPU, where vLLM 0.32 keeps the old output layer"):
            sync.activate(1)
        print(f"a push: {written - started:.2f} s to write, {time.perf_counter() - written:.2f} s to read")
        sync.require(1)
        said = rollout(served, prompts, Sampling(24), num_samples=4)
        assert told("after the push", differences(smollm2.model, said)) < 0.08 < old / 3
    finally:
        smollm2.model.load_state_dict(before)
        sync.write(merged_weights(smollm2.model), 2)
        sync.activate(2)


def test_three_steps_of_grpo_push_and_agree(smollm2, smollm2_server, tmp_path):
    policy = real_training.smollm2()
    cell = Cell(arm="grpo", seed=0, directory=tmp_path, device="cpu")
    trained = real_training.train(policy, smollm2_server.url, cell, steps=3)
    curve = dict(cell.curves()["sampling/sampling_logp_difference/mean"])
    print(f"\nGRPO: differences {curve}")
    assert sorted(curve) == [1, 2, 3] and max(curve.values()) < 0.12
    served = served_policy(smollm2_server.url, policy.tokenizer, end_ids=policy.end_ids)
    sync = FolderSync(served, tmp_path / "last")
    sync.write(merged_weights(trained.model), 3)
    sync.activate(3)
    said = rollout(served, [policy.encode(text) for text in TEXTS], Sampling(24), num_samples=4)
    assert told("after training", differences(trained.model, said)) < 0.12


def test_answers_are_recorded_for_the_stand_in(tiny_server, monkeypatch):
    policy, exchanges = recorded_policy(), {}
    plain = Transport.ask

    def ask(transport, url, body=None, **options):
        answer = plain(transport, url, body, **options)
        path = url.removeprefix(tiny_server.root)
        exchanges[path, json.dumps(body, sort_keys=True)] = _without_clocks(json.loads(answer))
        return answer

    monkeypatch.setattr(Transport, "ask", ask)
    served = served_policy(tiny_server.url, policy.tokenizer)
    said = conversation(served)
    ours = [differences(policy.model, said[:4], 0.7), differences(policy.model, said[4:])]
    found = torch.cat(ours)
    assert told("float32 against float32", found) < 1e-4 and found.max() < 1e-3
    version = Transport().ask(f"{tiny_server.root}/version")
    monkeypatch.undo()
    entries = [{"path": path, "body": json.loads(body), "answer": answer} for (path, body), answer in exchanges.items()]
    record = {"server": f"vLLM {json.loads(version)['version']} on a CPU, float32", "exchanges": entries}
    if os.environ.get("TENFOLD_RECORD"):
        RECORDED.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    stored = json.loads(RECORDED.read_text())
    keys = [
        {(each["path"], json.dumps(each["body"], sort_keys=True)) for each in one["exchanges"]}
        for one in (record, stored)
    ]
    assert keys[0] == keys[1], "what is asked has changed: run again with TENFOLD_RECORD=1"


def _asked(record):
    return {(each["path"], json.dumps(each["body"], sort_keys=True)) for each in record["exchanges"]}


def _without_clocks(answer):
    """Fields that differ from run to run are left out."""
    if isinstance(answer, dict):
        volatile = ("id", "created", "root", "permission") if "choices" in answer or "object" in answer else ()
        keep_id = answer.get("object") == "model"
        return {
            name: _without_clocks(value)
            for name, value in answer.items()
            if name not in volatile or (name == "id" and keep_id)
        }
    return [_without_clocks(each) for each in answer] if isinstance(answer, list) else answer


def test_adapters_are_pushed_alone_and_full_weights_are_refused_beside_them(tmp_path_factory, tmp_path):
    from peft import LoraConfig, get_peft_model

    from tenfold.train.trl_run import quiet

    policy, folder = recorded_policy(), tmp_path_factory.mktemp("lora")
    policy.save(folder)
    with Server(folder, "tiny", "float32", 96, ("--enable-lora", "--max-lora-rank", "8")) as server:
        served = served_policy(server.url, policy.tokenizer)
        sync = FolderSync(served, tmp_path / "weights")
        sync.write(merged_weights(policy.model), 1)
        with pytest.raises(ServerError, match="was started with --enable-lora"):
            sync.activate(1)
        with quiet():
            model = get_peft_model(policy.model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        prompts = [policy.encode("1+2=")]
        said = rollout(served, prompts, Sampling(24), num_samples=8)
        assert told("adapter not pushed", differences(model.eval(), said)) > 0.02
        for version in (2, 3):
            sync.write_adapter(adapter_weights(model), model.peft_config["default"], version)
            sync.activate_adapter(version)
            said = rollout(served, prompts, Sampling(24), num_samples=8)
            assert told("adapter pushed", differences(model, said)) < 1e-3


def test_a_server_killed_in_mid_rollout_is_told_in_a_sentence(tiny_server):
    policy = recorded_policy()
    served = served_policy(tiny_server.url, policy.tokenizer, wait_seconds=0.1)
    killer = threading.Timer(0.5, tiny_server.kill)
    killer.start()
    try:
        with pytest.raises(ServerError, match=r"^http://127\.0\.0\.1:\d+/v1: .*\(tried 4 times\)$"):
            rollout(served, [policy.encode("1+2=")], Sampling(80), num_samples=2000)
    finally:
        killer.join()
        tiny_server.start()


def test_two_processes_with_fsdp2_are_killed_with_the_server_and_resumed(tiny_server, tmp_path):
    """Two gloo processes shard the model; in mid-run the server is killed. It is started again, and the run resumed."""
    url, steps = tiny_server.url, 6
    log, checkpoints = tmp_path / "log", tmp_path / "run" / "checkpoints"
    processes = real_training.launch_sharded(start, url, tmp_path / "run", steps, log)
    until = time.monotonic() + 300
    while not list(checkpoints.glob("step-00000002")) and time.monotonic() < until:
        time.sleep(0.05)
    tiny_server.kill()
    for process in processes:
        process.join(120)
        assert process.exitcode == 1
    words = "".join(path.read_text() for path in tmp_path.glob("log-*"))
    # It was gone at a request for tokens, or at a push: either is told.
    assert re.search(r"ServerError: .*http://127\.0\.0\.1:\d+.*\(tried 4 times\)", words), words
    tiny_server.start()
    for process in real_training.launch_sharded(start, url, tmp_path / "run", steps, log):
        process.join(300)
        assert process.exitcode == 0, words
    curve = dict(real_training.cell_of(tmp_path / "run").curves()["sampling/sampling_logp_difference/mean"])
    print(f"\ntwo processes, FSDP2, resumed: differences {curve}")
    # The shared output layer stays the old one on a CPU, which so few steps hardly show.
    assert sorted(curve) == list(range(1, steps + 1)) and max(curve.values()) < 0.01
    trained = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    policy = recorded_policy()
    assert not torch.equal(trained["model.norm.weight"], policy.model.state_dict()["model.norm.weight"])
    policy.model.load_state_dict(trained)
    assert isinstance(policy, Policy)

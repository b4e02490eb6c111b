"""A stand-in for vLLM's server that samples with a model of ours, on a free port of this machine, and fails on demand.

It takes the fields that :mod:`tenfold.policies.served` sends and no others, keeps to the format of the answers that a
real server gave (``tests/policies/recorded_vllm.json``), and has the endpoints by which weights are pushed.
"""

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from local_server import Handler, listening
from safetensors.torch import load_file

FIELDS = {
    "add_special_tokens",
    "allowed_token_ids",
    "frequency_penalty",
    "ignore_eos",
    "logprobs",
    "max_tokens",
    "min_p",
    "model",
    "presence_penalty",
    "prompt",
    "repetition_penalty",
    "return_token_ids",
    "seed",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop",
    "stop_token_ids",
    "temperature",
    "top_k",
    "top_p",
}


class StandIn:
    """What the server does.

    ``script`` has an entry per completion to come: a status, bytes, ``"hang"`` or ``"cut"``; then it samples.
    ``said`` replaces sampling: a function of prompt and request to tokens and log-probabilities.
    """

    def __init__(self, policy, name="tiny", context=64, processed=True, said=None):
        self.policy, self.name, self.context, self.processed, self.said = policy, name, context, processed, said
        self.script, self.requests, self.calls, self.failing = [], [], [], set()
        self.version, self.paused, self.under_way, self.most_under_way, self.delay = "default", False, 0, 0, 0.0
        self.lock, self.adapters, self.lora_config = threading.Lock(), {}, None

    def models(self):
        served = [{"id": self.name, "max_model_len": self.context, "parent": None}]
        return {"data": served + [{"id": name, "parent": self.name} for name in self.adapters]}

    def completion(self, request):
        if unknown := set(request) - FIELDS:
            return 400, {"error": {"message": f"unknown fields {sorted(unknown)}"}}
        if request["model"] != self.name and request["model"] not in self.adapters:
            return 404, {"error": {"message": f"The model `{request['model']}` does not exist."}}
        prompt = request["prompt"]
        tokenizer = self.policy.tokenizer  # not ``Policy.encode``, which refuses what it has no tokens for
        ids = tokenizer.encode(prompt, add_special_tokens=False) if isinstance(prompt, str) else prompt
        if len(ids) + request["max_tokens"] > self.context:
            return 400, {"error": {"message": f"This model's maximum context length is {self.context} tokens."}}
        with self.lock:
            sample = self.said if self.said and "allowed_token_ids" not in request else self._sampled
            token_ids, log_probs = sample(ids, request)
        choice = {
            "text": self.policy.decode(token_ids),
            "token_ids": token_ids if request["return_token_ids"] else None,
            "prompt_token_ids": ids if request["return_token_ids"] else None,
            "logprobs": {"token_logprobs": log_probs},
        }
        return 200, {"choices": [choice]}

    def _sampled(self, ids, request):
        generator = torch.Generator().manual_seed(request["seed"])
        token_ids, log_probs = [], []
        while len(token_ids) < request["max_tokens"]:
            with torch.no_grad():
                logits_V = self.policy.model(torch.tensor([[*ids, *token_ids]])).logits[0, -1]
            raw_V = logits_V.log_softmax(-1)
            if (allowed := request.get("allowed_token_ids")) is not None:
                others = torch.ones_like(logits_V, dtype=torch.bool)
                others[allowed] = False
                logits_V = logits_V.masked_fill(others, -torch.inf)
            log_probs_V = (logits_V / (request["temperature"] or 1.0)).log_softmax(-1)
            token = int(torch.multinomial(log_probs_V.exp(), 1, generator=generator))
            token_ids.append(token if request["temperature"] else int(log_probs_V.argmax()))
            log_probs.append(float((log_probs_V if self.processed else raw_V)[token_ids[-1]]))
            text = self.policy.decode(token_ids)
            if token_ids[-1] in request["stop_token_ids"] or any(stop in text for stop in request["stop"]):
                break
        return token_ids, log_probs

    def call(self, path, body):
        """An endpoint for weights."""
        self.calls.append((path, body))
        name = path.partition("?")[0]
        if name in self.failing:
            return 500, {"error": f"{name} failed"}
        if name == "/collective_rpc":
            if not self.paused:
                return 500, {"error": "weights change while it samples"}
            folder = Path(body["kwargs"]["weights_path"])
            tensors = {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}
            known = self.policy.model.state_dict()
            self.policy.model.load_state_dict({key: tensors[key] for key in known if key in tensors}, strict=False)
            return 200, {"results": [None]}
        if name in ("/pause", "/resume"):
            self.paused = name == "/pause"
        elif name == "/update_weight_version":
            self.version = body["new_version"]
        elif name == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = body["lora_path"]
        elif name == "/v1/unload_lora_adapter":
            del self.adapters[body["lora_name"]]
        elif name != "/reset_prefix_cache":
            return 404, {"error": path}
        return 200, {"success": True}


def handler(stand_in):
    class Answers(Handler):
        def do_GET(self):
            if self.path == "/v1/models":
                return self.answer(200, stand_in.models())
            if self.path == "/weight_info":
                return self.answer(200, {"weight_version": stand_in.version})
            if self.path == "/server_info?config_format=json":
                return self.answer(200, {"vllm_config": {"lora_config": stand_in.lora_config}})
            self.answer(404, {"error": self.path})

        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"] or 0))
            request = json.loads(data) if data else None
            if self.path != "/v1/completions":
                return self.answer(*stand_in.call(self.path, request))
            stand_in.requests.append(request)
            what = stand_in.script.pop(0) if stand_in.script else None
            if what == "hang":
                return self.hang()
            if what == "cut":
                return self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            if isinstance(what, int):
                return self.answer(what, {"error": {"message": "on demand"}})
            if isinstance(what, bytes):
                return self.write(200, what)
            with stand_in.lock:
                stand_in.under_way += 1
                stand_in.most_under_way = max(stand_in.most_under_way, stand_in.under_way)
            time.sleep(stand_in.delay)
            status, answer = stand_in.completion(request)
            with stand_in.lock:
                stand_in.under_way -= 1
            self.answer(status, answer)

        def hang(self):
            """Until the other side goes away, which is kept."""
            self.connection.settimeout(10)
            stand_in.calls.append(("gone", self.connection.recv(1)))

        def answer(self, status, content):
            self.write(status, json.dumps(content).encode())

        def write(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Answers


@contextmanager
def serving(stand_in):
    with listening(handler(stand_in)) as address:
        yield f"{address}/v1"

"""The answers that a real vLLM gave, replayed: the policy that it served is made in code, and so are our requests.

``make test-vllm`` records them (with ``TENFOLD_RECORD=1``). A request that differs in any field from the recorded one
is refused, so a change of what we send is seen here, where no vLLM is installed.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from acting import check_log_probs
from local_server import Handler, listening
from recorded_policy import conversation, recorded_policy

from tenfold.policies import served, served_policy
from tenfold.policies.served import ServerError

RECORD = json.loads((Path(__file__).parent / "recorded_vllm.json").read_text())


def key(path, body):
    return path, json.dumps(body, sort_keys=True)


class Replay(Handler):
    answers = {key(each["path"], each["body"]): each["answer"] for each in RECORD["exchanges"]}  # noqa: RUF012

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body):
        found = self.answers.get(key(self.path, body))
        content = json.dumps({"error": "not what was recorded"} if found is None else found).encode()
        self.send_response(400 if found is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def replaying():
    with listening(Replay) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def policy():
    return recorded_policy()


@pytest.fixture
def url():
    with replaying() as url:
        yield url


def test_recorded_rollouts_are_read_as_they_were(policy, url):
    assert RECORD["server"].startswith("vLLM 0.32.0")
    said = conversation(served_policy(url, policy.tokenizer, retries=0))
    for trajectory in said[:4]:
        check_log_probs(policy.model, trajectory, temperature=0.7, atol=1e-3)
    for trajectory in said[4:]:
        check_log_probs(policy.model, trajectory, atol=1e-3)
    two_turns = [each for each in said[4:10] if not all(each.loss_mask)]
    assert two_turns, "some were answered, and went on"
    assert {each.stop_reason for each in said} == {"stop", "length"}


def test_a_request_that_differs_in_a_field_is_refused(policy, url, monkeypatch):
    plain = served._fields
    client = served_policy(url, policy.tokenizer, retries=0)
    monkeypatch.setattr(served, "_fields", lambda *given, **named: plain(*given, **named) | {"min_p": 0.1})
    with pytest.raises(ServerError, match="not what was recorded"):
        conversation(client)

"""The client against a real server on this machine: answers, retries, time-outs, counts, a key that stays secret."""

import pytest
from chat_endpoint import Endpoint, serving

from tenfold.core.errors import UserError
from tenfold.core.types import Message
from tenfold.policies import ChatServer, ChatServerError

HELLO = [Message("system", "Be brief."), Message("user", "Hello")]
KEY = "sk-very-secret-0123"


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def url(endpoint):
    with serving(endpoint) as url:
        yield url


def chat(url, **settings):
    return ChatServer(url, "small", **{"seconds": 5.0, "wait_seconds": 0.0, **settings})


def test_a_conversation_is_answered_and_tokens_are_counted(endpoint, url):
    server = chat(url, extra={"top_p": 0.9})
    assert server.generate(HELLO, 2, 0.5, 30) == ["Hello 0", "Hello 1"]
    path, request = endpoint.requests[0]
    assert path == "/v1/chat/completions"
    assert request == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "max_tokens": 30,
        "top_p": 0.9,
        "n": 2,
    }
    assert (server.usage.requests, server.usage.prompt_tokens, server.usage.completion_tokens) == (1, 7, 4)


def test_a_server_that_gives_one_answer_at_a_time_is_asked_again(endpoint, url):
    endpoint.most_at_once = 1
    completions = chat(url).complete(HELLO, 3, seed=5, stop=["\n"])
    assert [completion.finish_reason for completion in completions] == ["stop"] * 3
    assert [(request["n"], request["seed"]) for _, request in endpoint.requests] == [(3, 5), (2, 6), (1, 7)]
    assert endpoint.requests[0][1]["stop"] == ["\n"]


@pytest.mark.parametrize("failure", [(429, b"slow down"), (503, b""), "hang"])
def test_what_may_pass_is_tried_again(endpoint, url, failure):
    endpoint.script = [failure, failure]
    server = chat(url, retries=2, seconds=0.3)
    assert server.generate(HELLO) == ["Hello 0"]
    assert server.usage.retries == 2 and server.usage.requests == 1


def test_what_does_not_pass_is_given_up_in_one_sentence(endpoint, url):
    endpoint.script = [(503, b"")] * 3
    with pytest.raises(ChatServerError, match=r"status 503 Service Unavailable \(tried 3 times\)"):
        chat(url, retries=2).generate(HELLO)
    endpoint.script = [(400, b"no such model")]
    with pytest.raises(ChatServerError, match=r"status 400 Bad Request: no such model$"):
        chat(url).generate(HELLO)
    assert len(endpoint.requests) == 4, "a refusal is not tried again"
    for response in (b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"text": "old"}]}'):
        endpoint.script = [response]
        with pytest.raises(ChatServerError, match="is not that of a chat server"):
            chat(url).generate(HELLO)


def test_the_key_is_sent_and_shown_nowhere(endpoint, url, monkeypatch):
    server = chat(url)
    server.generate(HELLO)
    assert "Authorization" not in endpoint.headers[0]
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.generate(HELLO)
    assert endpoint.headers[1]["Authorization"] == f"Bearer {KEY}"
    endpoint.script = [(401, f"wrong key {KEY}".encode())]
    with pytest.raises(ChatServerError) as caught:
        server.generate(HELLO)
    assert KEY not in str(caught.value) and "[key]" in str(caught.value)
    assert KEY not in repr(server) and KEY not in repr(caught.value.__context__)


def test_the_key_does_not_follow_a_redirection(endpoint, url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint.script = [(302, b"")]
    with pytest.raises(ChatServerError, match="status 302"):
        chat(url).generate(HELLO)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://a/v1", "allowed: an address"),
        ("localhost", "allowed: an address"),
        ("http://a:b@c/v1", "environment variable"),
    ],
)
def test_wrong_addresses_are_refused(url, reason):
    with pytest.raises(UserError, match=reason):
        ChatServer(url, "small")


def test_wrong_numbers_are_refused():
    with pytest.raises(UserError, match="seconds = 0"):
        ChatServer("http://a/v1", "small", seconds=0)

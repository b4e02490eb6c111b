"""The client against a real server on this machine: answers, batches, retries, time-outs, and one kind of error."""

import json
import socket

import pytest
from retrieval_server import Behaviour, serving

from tenfold.core.errors import UserError
from tenfold.envs.search import FakeRetriever, HTTPRetriever, Passage, RetrievalError

ROME = Passage("1", "Rome", "Rome is on the Tiber.\nIt is old.", 2.5)
PARIS = Passage("2", "", "Paris is on the Seine.", 1.5)
ANSWERS = {"Tiber": [ROME, PARIS], "Seine": [PARIS]}


@pytest.fixture(params=[True, False], ids=["contents", "title and text"])
def behaviour(request):
    return Behaviour(FakeRetriever(ANSWERS), with_contents=request.param)


@pytest.fixture
def url(behaviour):
    with serving(behaviour) as url:
        yield url


def retriever(url, **settings):
    return HTTPRetriever(url, **{"seconds": 5.0, "wait_seconds": 0.0, **settings})


def test_passages_arrive_as_they_were_sent(url, behaviour):
    assert retriever(url).search(["Tiber", "Seine", "nothing"], 5) == [[ROME, PARIS], [PARIS], []]
    assert behaviour.requests == [{"queries": ["Tiber", "Seine", "nothing"], "topk": 5, "return_scores": True}]


def test_queries_are_sent_in_batches(url, behaviour):
    found = retriever(url, batch_size=2).search(["Tiber", "Seine", "Tiber"], 1)
    assert found == [[ROME], [PARIS], [ROME]]
    assert [request["queries"] for request in behaviour.requests] == [["Tiber", "Seine"], ["Tiber"]]


@pytest.mark.parametrize("failures", [[503], [429, 500], ["cut", "hang"]])
def test_what_may_pass_is_tried_again(url, behaviour, failures):
    behaviour.script = list(failures)
    assert retriever(url, retries=2, seconds=1.0).search(["Seine"], 5) == [[PARIS]]
    assert len(behaviour.requests) == len(failures) + 1


def test_retries_end_and_waits_double(url, behaviour, monkeypatch):
    behaviour.script = [503] * 9
    waits = []
    monkeypatch.setattr("tenfold.core.posting.time.sleep", waits.append)
    with pytest.raises(RetrievalError, match=r"status 503 Service Unavailable \(tried 4 times\)$"):
        retriever(url, retries=3, wait_seconds=0.5).search(["Seine"], 5)
    assert waits == [0.5, 1.0, 2.0] and len(behaviour.requests) == 4


def test_a_wrong_request_is_not_repeated(url, behaviour):
    behaviour.script = [404] * 9
    with pytest.raises(RetrievalError, match=r"status 404 Not Found$"):
        retriever(url).search(["Seine"], 5)
    assert len(behaviour.requests) == 1


@pytest.mark.parametrize("what", ["hang", "trickle"])
def test_a_slow_server_is_given_up(url, behaviour, what):
    """One that is silent, and one that keeps sending a little."""
    behaviour.script = [what]
    with pytest.raises(RetrievalError, match=r"no answer within 0.3 s$"):
        retriever(url, seconds=0.3, retries=0).search(["Seine"], 5)


def test_a_server_that_sends_too_many_passages(url, behaviour):
    behaviour.script = [json.dumps({"result": [[ITEM] * 4]}).encode()]
    assert len(retriever(url).search(["Seine"], 3)[0]) == 3


ITEM = {"document": {"id": 1, "contents": "t\nx"}, "score": 1}
NOT_UNDERSTOOD = [
    b"<html>",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b'{"result": 3}',
    b'{"result": []}',
    b'{"result": [[], []]}',
    b'{"result": [3]}',
    b'{"result": [[3]]}',
    b'{"result": [[null]]}',
    json.dumps({"result": [[{**ITEM, "score": "high"}]]}).encode(),
    json.dumps({"result": [[{**ITEM, "score": float("nan")}]]}).encode(),
    json.dumps({"result": [[{**ITEM, "document": {"id": 1}}]]}).encode(),
    json.dumps({"result": [[{**ITEM, "document": {"id": 1, "contents": 3}}]]}).encode(),
    json.dumps({"result": [[{**ITEM, "document": {"id": 1, "title": 3, "text": "x"}}]]}).encode(),
    json.dumps({"result": [[{**ITEM, "document": {"id": 1, "title": "t", "text": None}}]]}).encode(),
]

LESS = [
    ({"document": {"id": 1, "contents": '"Rome"\na\nb'}, "score": 1}, ("1", "Rome", "a\nb", 1.0)),
    ({"document": {"id": 1, "contents": "A text without a title."}}, ("1", "", "A text without a title.", 0.0)),
    ({"document": {"id": "1", "title": None, "text": "x"}, "score": None}, ("1", "", "x", 0.0)),
    ({"document": {"id": "1", "text": "x"}, "score": 2}, ("1", "", "x", 2.0)),
    ({"id": "1", "contents": "t\nx"}, ("1", "t", "x", 0.0)),
    ({"id": "1", "title": "t", "contents": "t\nx", "score": 0.5}, ("1", "t", "x", 0.5)),
    ({"id": "1", "title": "t", "contents": "x\ny"}, ("1", "t", "x\ny", 0.0)),
]


@pytest.mark.parametrize(("item", "passage"), LESS)
def test_a_server_that_says_less_is_understood(url, behaviour, item, passage):
    behaviour.script = [json.dumps({"result": [[item]]}).encode()]
    assert retriever(url).search(["Seine"], 5) == [[Passage(*passage)]]


def test_documents_without_an_id_are_told_apart_by_their_text(url, behaviour):
    items = ["한강이 흐른다.", {"document": "Rome\nis old"}, {"document": {"text": "x"}}, "한강이 흐른다."]
    behaviour.script = [json.dumps({"result": [items]}).encode()]
    (found,) = retriever(url).search(["Seine"], 5)
    assert [(one.title, one.text) for one in found] == [("", items[0]), ("Rome", "is old"), ("", "x"), ("", items[0])]
    assert len({one.id for one in found}) == 3 and found[0].id == found[3].id


@pytest.mark.parametrize("body", NOT_UNDERSTOOD)
def test_a_response_that_nobody_understands_is_one_error(url, behaviour, body):
    behaviour.script = [body]
    with pytest.raises(RetrievalError, match="the response is not that of a retrieval server"):
        retriever(url).search(["Seine"], 5)


def test_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RetrievalError, match=rf"^{url}: Connection refused \(tried 2 times\)$"):
            retriever(url, retries=1).search(["Tiber"], 5)


@pytest.mark.parametrize("url", ["", "localhost:8000", "file:///etc/passwd", "ftp://host/", "http://"])
def test_only_addresses_of_http(url):
    with pytest.raises(UserError, match="allowed: an address that starts with http"):
        HTTPRetriever(url)


@pytest.mark.parametrize("numbers", [{"seconds": 0}, {"retries": -1}, {"wait_seconds": -1}, {"batch_size": 0}])
def test_numbers_out_of_range(numbers):
    with pytest.raises(UserError, match="allowed: seconds above 0"):
        HTTPRetriever("http://host", **numbers)

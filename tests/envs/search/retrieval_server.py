"""A retrieval server in Search-R1's wire format, on a free port of this machine, that fails on demand."""

import json
import time
from contextlib import contextmanager

from local_server import Handler, listening


class Behaviour:
    """What the server does: ``script`` holds one entry per request to come, and then it serves."""

    def __init__(self, retriever, with_contents=True):
        self.retriever = retriever
        self.with_contents = with_contents
        self.script = []
        self.requests = []


def document(passage, with_contents):
    if with_contents:
        return {"id": passage.id, "contents": f'"{passage.title}"\n{passage.text}'}
    return {"id": passage.id, "title": passage.title, "text": passage.text}


def handler(behaviour):
    class Answers(Handler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            behaviour.requests.append(request)
            what = behaviour.script.pop(0) if behaviour.script else None
            if isinstance(what, int):
                return self.send_error(what)
            if what == "hang":
                return time.sleep(3)
            if what == "cut":
                return self.answer(b'{"result": [', promised=1000)
            if what == "trickle":
                return self.trickle()
            self.answer(what if isinstance(what, bytes) else self.found(request))

        def found(self, request):
            answers = behaviour.retriever.search(request["queries"], request["topk"])
            items = [
                [{"document": document(passage, behaviour.with_contents), "score": passage.score} for passage in found]
                for found in answers
            ]
            return json.dumps({"result": items}).encode()

        def answer(self, body, promised=None):
            self.send_response(200)
            self.send_header("Content-Length", str(promised or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def trickle(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(20):
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.1)

    return Answers


@contextmanager
def serving(behaviour):
    with listening(handler(behaviour)) as address:
        yield f"{address}/retrieve"

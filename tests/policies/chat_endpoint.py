"""A chat server in OpenAI's wire format, on a free port of this machine, that fails on demand."""

import json
import time
from contextlib import contextmanager

from local_server import Handler, listening


class Endpoint:
    """What the server does: ``script`` has an entry per request to come (a status, bytes, "hang"); then it answers."""

    def __init__(self, most_at_once=100):
        self.script = []
        self.requests = []
        self.headers = []
        self.most_at_once = most_at_once


def handler(endpoint):
    class Answers(Handler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append((self.path, request))
            endpoint.headers.append(dict(self.headers))
            what = endpoint.script.pop(0) if endpoint.script else None
            if what == "hang":
                return time.sleep(2)
            if isinstance(what, tuple):
                return self.answer(what[1], status=what[0])
            self.answer(what if isinstance(what, bytes) else self.said(request))

        def said(self, request):
            last = request["messages"][-1]["content"]
            n = min(request["n"], endpoint.most_at_once)
            choices = [
                {"message": {"role": "assistant", "content": f"{last} {i}"}, "finish_reason": "stop"} for i in range(n)
            ]
            return json.dumps({"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 2 * n}}).encode()

        def answer(self, body, status=200):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

    return Answers


@contextmanager
def serving(endpoint):
    with listening(handler(endpoint)) as address:
        yield f"{address}/v1"

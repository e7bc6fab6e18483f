"""A mock OpenAI server for fixtures: adds the two numbers of the last message, right or wrong by a fixed plan."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

PLAN = {4: "RRWR", 11: "WCWW", 42: "WRWE"}
"""Per sum: R right, W wrong, C cut at the limit, E the server fails."""


class Handler(BaseHTTPRequestHandler):
    seen: ClassVar[Counter[int]] = Counter()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        a, b = map(int, re.findall(r"(\d+) \+ (\d+)", json.dumps(body))[-1])
        kind = PLAN[a + b][self.seen[a + b] % 4]
        self.seen[a + b] += 1
        if kind == "E":
            refusal = {"message": "the prompt is refused", "type": "invalid_request_error"}
            self.reply(400, json.dumps({"error": refusal}).encode())
            return
        text = {"R": str(a + b), "C": "let me think"}.get(kind, str(a + b + 1))
        part = "delta" if body.get("stream") else "message"
        choice = {"index": 0, part: {"role": "assistant", "content": text}, "logprobs": None}
        choice["finish_reason"] = "length" if kind == "C" else "stop"
        usage = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
        head = {"id": "toy", "object": "chat.completion", "created": 0, "model": body["model"]}
        if body.get("stream"):
            head["object"] = "chat.completion.chunk"
            chunks = [{**head, "choices": [choice]}, {**head, "choices": [], "usage": usage}]
            data = "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"
            self.reply(200, data.encode(), "text/event-stream")
        else:
            self.reply(200, json.dumps({**head, "choices": [choice], "usage": usage}).encode())

    def reply(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()

"""An OpenAI-compatible server that draws from known distributions, and misbehaves as told; localhost only."""

import json
import math
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIVERSE = {f"word {i}": 1 / 64 for i in range(64)}
"""What is said to a prompt that the server has no script for."""


class FaultyServer:
    """`routes(prompt)` gives texts with probabilities. `fault(number, body)` names what goes wrong with a request:
    a status as text, `hang`, `truncated`, `drop`, `html`, `error200`, `empty`, `fewer`, `more`, or None.
    """

    def __init__(self, routes=None, fault=None, **ways):
        self.routes = routes or (lambda prompt: DIVERSE)
        self.fault = fault or (lambda number, body: None)
        self.ways = {
            "n": True,  # honoured
            "copies": False,  # n > 1 gives n copies of one draw
            "one_seed": False,  # every request starts from the same seed
            "temperature": True,  # honoured; "greedy" or "hot": fixed at T = 0 or 1; "only 1": others are refused
            "limit": "max_tokens",  # the name of the token limit in a chat
            "logprobs": True,
            "ids": True,
            "finish": "stop",
            "unknown_fields": True,  # accepted
            "seed_fails": False,
            "retry_after": None,
            "key": "",
            "hang": 1.0,
            "version": "1.2.3",
            "models": ("toy",),
            "answers_as": None,  # the model's name in the answers; None: as it was asked for
            "fingerprint": None,
            "scores": None,  # log P of each token of a prompt; None: it does not score
        } | ways
        self.lock, self.rng = threading.Lock(), np.random.default_rng(0)
        self.port, self.http = 0, None
        self.number, self.at_once, self.most_at_once = 0, 0, 0
        self.bodies, self.drawn, self.headers = [], Counter(), []
        self.open = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self):
        outer = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                pass  # a client that hung up

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                outer.open.add(self.request)
                super().setup()

            def finish(self):
                outer.open.discard(self.request)
                super().finish()

            def do_GET(self):
                outer.get(self)

            def do_POST(self):
                outer.post(self)

            def log_message(self, *_):
                pass

        self.http = Server(("127.0.0.1", self.port), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        if self.http is not None:
            self.http.shutdown()
            self.http.server_close()
            for connection in list(self.open):  # as when its process dies
                with suppress(OSError):
                    connection.shutdown(2)
            self.http = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- answers

    def get(self, to):
        if to.path == "/v1/models":
            models = [{"id": m, "created": time.time_ns(), "owned_by": "tests"} for m in self.ways["models"]]
            self.send(to, 200, {"object": "list", "data": models})
        elif to.path == "/version" and self.ways["version"]:
            self.send(to, 200, {"version": self.ways["version"]})
        else:
            self.send(to, 404, {"detail": "Not Found"})

    def post(self, to):
        body = json.loads(to.rfile.read(int(to.headers["Content-Length"])))
        with self.lock:
            self.number += 1
            number = self.number
            self.bodies.append(body)
            self.headers.append(dict(to.headers))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.answer(to, body, self.fault(number, body))
        finally:
            with self.lock:
                self.at_once -= 1

    def answer(self, to, body, fault):
        ways = self.ways
        if ways["key"] and to.headers.get("Authorization") != f"Bearer {ways['key']}":
            return self.send(to, 401, {"error": {"message": f"wrong key {to.headers.get('Authorization')}"}})
        extensions = {"top_k", "min_p", "repetition_penalty", "return_token_ids"} & set(body)
        if not ways["unknown_fields"] and extensions:
            return self.send(to, 422, {"detail": f"Unexpected fields in the request: {extensions}"})
        if "messages" in body and ways["limit"] not in body:
            said = (
                f"Unsupported parameter: 'max_tokens' is not supported with this model. Use '{ways['limit']}' instead."
            )
            return self.send(to, 400, {"error": {"message": said, "param": "max_tokens"}})
        if ways["temperature"] == "only 1" and body["temperature"] != 1:
            said = (
                "Unsupported value: 'temperature' does not support this with this model. Only the default (1) value is."
            )
            return self.send(to, 400, {"error": {"message": said, "param": "temperature"}})
        if ways["seed_fails"] and "seed" in body:
            return self.send(to, 500, {"error": "engine dead"})
        if fault and fault.isdigit():
            headers = {"Retry-After": ways["retry_after"]} if ways["retry_after"] else {}
            return self.send(to, int(fault), {"error": {"message": f"told to fail with {fault}"}}, headers)
        if fault == "hang":
            time.sleep(ways["hang"])
        if fault == "drop":
            to.close_connection = True
            return to.connection.shutdown(2)
        if fault == "html":
            return self.send(to, 200, b"<html>Bad gateway</html>")
        if fault == "error200":
            return self.send(to, 200, {"error": {"message": "out of memory"}})
        if body.get("echo") and ways["scores"] is not None:
            scores = [None, *[ways["scores"]] * 20, -1.0]
            choice = {"index": 0, "text": body["prompt"], "logprobs": {"token_logprobs": scores}}
            return self.send(to, 200, {"model": body["model"], "choices": [choice]})
        choices = self.choices(body)
        choices = {"empty": [], "fewer": choices[: max(len(choices) // 2, 1)], "more": choices * 2}.get(fault, choices)
        answer = {"object": "text_completion", "model": ways["answers_as"] or body["model"], "choices": choices}
        answer |= {"system_fingerprint": ways["fingerprint"]} if ways["fingerprint"] else {}
        text = json.dumps(answer).encode()
        return self.send(to, 200, text[: len(text) // 2] if fault == "truncated" else text)

    def choices(self, body):
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        routes = self.routes(prompt) or DIVERSE
        texts, p = list(routes), np.array(list(routes.values()))
        n = body.get("n", 1) if self.ways["n"] else 1
        temperature = {"greedy": 0, "hot": 1}.get(self.ways["temperature"], body["temperature"])
        with self.lock:
            generator = np.random.default_rng(body.get("seed", 7)) if self.ways["one_seed"] else self.rng
            if "seed" in body:
                generator = np.random.default_rng(body["seed"])
            if temperature == 0:
                at = np.full(n, p.argmax())
            else:
                share = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
                at = generator.choice(len(p), size=n, p=share)
            at = np.full(n, at[0]) if self.ways["copies"] else at
            self.drawn[prompt] += n
        return [self.choice(chat, i, texts[k], int(k), float(p[k]), body) for i, k in enumerate(at)]

    def choice(self, chat, index, text, k, p, body):
        out = {"index": index, "finish_reason": self.ways["finish"]}
        out |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if self.ways["logprobs"] and body.get("logprobs"):
            values = [math.log(p), 0.0]
            out["logprobs"] = {"content": [{"logprob": v} for v in values]} if chat else {"token_logprobs": values}
        if self.ways["ids"] and body.get("return_token_ids"):
            out["token_ids"] = [k, 99]
        return out

    def send(self, to, status, content, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        to.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            to.send_header(name, str(value))
        to.end_headers()
        to.wfile.write(data)


def with_p(problems, p, wrong="no", spread=1):
    """Routes that answer each problem rightly with probability p; wrong answers come in `spread` forms."""
    answers = {problem.prompt: str(problem.meta.get("chain", problem.answer)) for problem in problems}
    bad = {f"{wrong} {i}": (1 - p) / spread for i in range(spread)}
    return lambda prompt: {answers[prompt]: p, **bad} if prompt in answers else None

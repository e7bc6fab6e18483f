"""What servers answer, in the shapes that they give it, and what they refuse: read, or told by its meaning."""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.policies.answer import Answer, completions, is_stream, join_stream
from goldpanner.policies.base import Request
from goldpanner.policies.endpoint import Address, Patience, ServerLostError, answer_limit, dispensable, refused_fields
from goldpanner.policies.server import ServerPolicy
from goldpanner.types import Problem, SamplingParams

PARAMS = SamplingParams(max_tokens=400, template="chat")
QUICK = Patience(timeout=5, attempts=4, away=2, first=0.005, longest=0.02)
PROBLEMS = [Problem("test", f"What is {i} + 1?", str(i + 1)) for i in range(3)]


class Hosted:
    """A chat server; `reply(body, number)` returns (status, JSON or bytes) or None for an ordinary answer."""

    def __init__(self, reply=lambda body, number: None, message=None, usage=None):
        self.reply, self.message, self.usage = reply, message or (lambda text: {"content": text}), usage
        self.bodies, self.rng, self.lock = [], np.random.default_rng(0), threading.Lock()

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                found = self.path.endswith("/models")
                outer.send(self, 200 if found else 404, {"data": [{"id": "m", "owned_by": "me"}]} if found else {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.bodies.append(body)
                    number = len(outer.bodies)
                    reply = outer.reply(body, number) or (200, outer.answer(body))
                outer.send(self, *reply)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def text(self, body):
        return "word 0" if body.get("temperature", 1) == 0 else f"word {self.rng.integers(10**6)}"

    def answer(self, body):
        choices = [
            {"index": i, "finish_reason": "stop", "message": self.message(self.text(body))}
            for i in range(body.get("n", 1))
        ]
        return {"choices": choices} | ({"usage": self.usage(body)} if self.usage else {})

    @staticmethod
    def send(to, status, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        to.send_response(status)
        to.send_header("Content-Type", "text/event-stream" if data.startswith(b"data:") else "application/json")
        to.send_header("Content-Length", str(len(data)))
        to.end_headers()
        to.wfile.write(data)

    def policy(self, **options):
        url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        return ServerPolicy(url, **{"patience": QUICK, "n_per_request": 4, **options})


def draw(who, n=8, problems=PROBLEMS, params=PARAMS):
    return list(who.sample([Request(p, range(n)) for p in problems], params))


def one(message=None, reason="stop", **choice):
    made = {"finish_reason": reason, **choice} | ({} if message is None else {"message": message})
    return completions({"choices": [made]}, PARAMS)[0]


# --- shapes


@pytest.mark.parametrize(
    ("message", "text", "thought", "finish"),
    [
        ({"content": "4"}, "4", None, "stop"),
        ({"content": None}, "", None, "stop"),
        ({}, "", None, "stop"),
        ({"content": []}, "", None, "stop"),
        ({"content": ["a", "b"]}, "ab", None, "stop"),
        ({"content": [{"type": "text", "text": "4"}, {"type": "image_url", "image_url": "x"}]}, "4", None, "stop"),
        ({"content": [{"type": "output_text", "text": "4"}, {"text": "2"}]}, "42", None, "stop"),
        ({"content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "4"}]}, "4", "so", "stop"),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, "4"]},
            "4",
            "so",
            "stop",
        ),
        ({"content": [{"type": "reasoning", "summary": ["so"]}, {"type": "text", "text": "4"}]}, "4", "so", "stop"),
        ({"content": "4", "reasoning_content": "so"}, "4", "so", "stop"),
        ({"content": "4", "reasoning": "so"}, "4", "so", "stop"),
        ({"content": "4", "reasoning_content": None, "reasoning": "so"}, "4", "so", "stop"),
        (
            {"content": "4", "reasoning_details": [{"type": "reasoning.text", "text": "so"}]},
            "4",
            "so",
            "stop",
        ),
        ({"content": None, "refusal": "No."}, "No.", None, "withheld"),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "No.", None, "withheld"),
        ({"content": "4", "refusal": ""}, "4", None, "stop"),
        ({"content": "4", "refusal": None}, "4", None, "stop"),
    ],
)
def test_a_message_in_any_shape(message, text, thought, finish):
    c = one(message)
    assert (c.text, c.thought, c.finish) == (text, thought, finish)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("eos", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "withheld"),
     ("content_filter", "withheld"), ("tool_calls", "unknown"), (None, "unknown"), ("error", "error"),
     ("abort", "error")],
)  # fmt: skip
def test_endings_in_every_spelling(reason, finish):
    assert one({"content": "x"}, reason).finish == finish
    assert one(text="x", reason=reason).finish == finish


def test_one_bad_choice_leaves_the_others():
    choices = [
        {"text": "a"},
        {"text": None},
        {"text": "b", "error": {"code": 502}},
        {"text": "c", "finish_reason": "abort"},
    ]
    answer = Answer.of({"choices": choices}, PARAMS)
    assert ([c.text for c in answer.completions], answer.failed, answer.given) == (["a"], 3, 4)
    with pytest.raises(ValueError, match="502"):
        Answer.of({"choices": choices[2:]}, PARAMS)


def events(*pieces, end="data: [DONE]\n\n", line="\n"):
    return "".join(f"data: {json.dumps(p)}{line}{line}" for p in pieces) + end


def piece(index=0, reason=None, **delta):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_an_event_stream_is_joined(line):
    text = ": hello\n\n" + events(
        {"id": "x", "choices": [{"index": 1, "delta": {"role": "assistant", "content": ""}}]},
        piece(0, reasoning_content="so "),
        piece(1, content="9"),
        piece(0, reasoning_content="on", content=None),
        {"choices": [{"index": 0, "delta": {"content": "4"}, "logprobs": {"content": [{"logprob": -1.0}]}}]},
        {"choices": [{"index": 0, "delta": {"content": "2"}, "logprobs": {"content": [{"logprob": -0.5}]}}]},
        piece(0, "stop"),
        piece(1, "length"),
        {"choices": [], "usage": {"prompt_tokens": 7}},
        line=line,
    )
    assert is_stream(text)
    answer = Answer.of(join_stream(text), PARAMS)
    first, second = answer.completions
    assert (first.text, first.thought, first.finish, first.logprob) == ("42", "so on", "stop", -1.5)
    assert (second.text, second.finish, answer.prompt_size) == ("9", "length", 7)


def test_a_stream_of_texts_and_one_that_broke_off():
    texts = [{"choices": [{"index": 0, "text": t, "token_ids": [i]}]} for i, t in enumerate("ab")]
    (c,) = completions(join_stream(events(*texts)), PARAMS)
    assert (c.text, c.tokens) == ("ab", (0, 1))
    with pytest.raises(ValueError, match="broke off"):
        join_stream(events(*texts, end=""))
    ended = join_stream(events(*texts, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, end=""))
    assert completions(ended, PARAMS)[0].text == "ab"
    assert join_stream(events({"error": {"message": "busy"}}, end=""))["error"]


@given(st.text(max_size=60))
def test_any_text_is_a_stream_or_an_error(text):
    try:
        assert "choices" in join_stream("data: " + text) or True
    except ValueError:
        return


def test_a_server_that_streams_all_the_same_is_read():
    def reply(body, number):
        words = [f"word {number} ", str(body.get("temperature") and number)]
        streams = [piece(i, content=w) for i in range(body.get("n", 1)) for w in words]
        return 200, events(*streams, *(piece(i, "stop") for i in range(body.get("n", 1)))).encode()

    with Hosted(reply) as server:
        groups = draw(server.policy(override=True))
    assert {len(g) for g in groups} == {8}
    assert all(c.text.startswith("word ") and c.finish == "stop" for g in groups for c in g)


# --- refusals by their meaning


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("top_p", {"error": {"message": "not supported", "param": "top_p"}}),
        ("top_k", {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs"}]}),
        ("temperature", {"error": {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}}),
        ("n", {"error": "parameter `n` is not allowed"}),
        ("logprobs", {"error": {"message": "You may not request logprobs", "param": None}}),
        ("repetition_penalty", {"message": "unknown field repetition_penalty"}),
    ],
)
def test_a_neutral_field_that_is_refused_by_name_is_left_out(field, says, status):
    def refuses(body, number):
        if field == "temperature" and body.get("temperature", 1) != 1:
            return 400, {"error": {"message": "T", "param": "temperature"}}
        return (status, says) if field in body else None

    with Hosted(refuses) as server:
        who = server.policy()
        groups = draw(who)
        last = server.bodies[-1]
        found = who.probe(PROBLEMS[0], PARAMS)
    assert {c.finish for g in groups for c in g} == {"stop"}
    assert field not in last
    assert field in found.refused
    assert ("its own defaults" in " ".join(found.notes)) == (field not in ("n", "logprobs"))


def test_a_field_that_asks_for_something_is_never_left_out():
    assert dispensable("top_p", 1.0)
    assert not dispensable("top_p", 0.9)
    assert not dispensable("stop", ["x"])
    assert dispensable("seed", 3)

    def refuses(body, number):
        return (400, {"error": {"message": "top_p?", "param": "top_p"}}) if body.get("top_p", 1) != 1 else None

    with Hosted(refuses) as server, pytest.raises(InputError, match=r"refuses top_p 0\.9.*without it"):
        draw(server.policy(), params=SamplingParams(max_tokens=20, top_p=0.9, template="chat"))


def test_a_parameter_is_named_by_the_answers_own_word():
    sent = {"model": "m", "n": 1, "top_p": 1.0, "top_k": -1, "messages": []}
    assert refused_fields('{"error": {"message": "top_k and top_p", "param": "top_p"}}', sent) == {"top_p"}
    assert refused_fields("a new line\\n and n", sent) == set()
    assert refused_fields("`n` must be 1", sent) == {"n"}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}),
        (403, {"error": {"message": "your input was flagged", "code": 403}}),
        (400, {"code": "data_inspection_failed"}),
    ],
)
def test_a_prompt_that_a_filter_refuses_is_withheld(status, says):
    with Hosted(lambda body, number: (status, says) if "What is 1" in str(body) else None) as server:
        groups = draw(server.policy())
    assert [{c.finish for c in g} for g in groups] == [{"stop"}, {"withheld"}, {"stop"}]


def test_access_and_quota_are_told_apart_and_not_waited_for():
    for status, says, error, words in (
        (401, {"error": "wrong key"}, InputError, "GOLDPANNER_API_KEY"),
        (403, {"error": "this key may not use m"}, InputError, "may not use m"),
        (429, {"error": {"code": "insufficient_quota"}}, ServerLostError, "quota"),
        (402, {"error": "pay first"}, ServerLostError, "quota"),
    ):  # fmt: skip
        with (
            Hosted(lambda body, number, at=status, says=says: (at, says) if number > 14 else None) as server,
            pytest.raises(error, match=words),
        ):
            draw(server.policy(), n=400)
        assert len(server.bodies) < 100


def test_a_busy_server_is_waited_for():
    with Hosted(lambda body, number: (429, {"error": "slow down"}) if number % 3 == 0 else None) as server:
        assert {len(g) for g in draw(server.policy())} == {8}


# --- what a probe sees


def hidden(least, message):
    """A model whose hidden thought takes `least` tokens."""

    def reply(body, number):
        if body.get("max_tokens", 0) < least:
            choice = {"finish_reason": "length", "message": message}
            return 200, {"choices": [choice | {"index": i} for i in range(body.get("n", 1))]}
        return None

    return reply


@pytest.mark.parametrize("message", [{"content": ""}, {"content": None}, {}])
def test_hidden_thoughts_are_not_taken_for_equal_draws(message):
    with Hosted(hidden(200, message)) as server:
        who = server.policy()
        groups = draw(who)
        found = who.probe(PROBLEMS[0], PARAMS)
    assert (found.faults, found.draws_distinct, found.greedy_equal) == ((), True, True)
    assert {c.finish for g in groups for c in g} == {"stop"}
    with Hosted(hidden(10**6, message)) as server:
        found = server.policy().probe(PROBLEMS[0], PARAMS)
    assert found.faults == ()
    assert "cannot be seen" in " ".join(found.notes)


def test_thoughts_that_are_shown_tell_draws_apart_at_once():
    with Hosted(message=lambda text: {"content": "", "reasoning_content": text}) as server:
        found = server.policy().probe(PROBLEMS[0], PARAMS)
    assert (found.faults, found.draws_distinct) == ((), True)
    assert {body["max_tokens"] for body in server.bodies} == {1, 32}


def test_a_server_that_ignores_the_temperature_is_still_found_out_behind_thoughts():
    with Hosted(message=lambda text: {"content": "7", "reasoning_content": "always this"}) as server:
        assert "ignores the temperature" in " ".join(server.policy().probe(PROBLEMS[0], PARAMS).faults)


def test_failed_choices_are_asked_for_again():
    def reply(body, number):
        if number < 14 or body.get("n", 1) == 1:
            return None
        answer = server.answer(body)
        answer["choices"][1] |= {"finish_reason": "error", "error": {"code": 502}}
        return 200, answer

    with Hosted(reply) as server:
        who = server.policy()
        groups = draw(who, 16)
    assert {len(g) for g in groups} == {16}
    assert {c.finish for g in groups for c in g} == {"stop"}
    assert "asked for again" in " ".join(who.notes)


def test_a_prompt_that_was_cut_is_noticed():
    long = [Problem("test", "a long story " * times, "x") for times in (100, 200, 300, 400)]
    with Hosted(usage=lambda body: {"prompt_tokens": len(body["messages"][0]["content"]) // 4}) as server:
        who = server.policy()
        draw(who, problems=long)
        assert not who.notes
    with Hosted(usage=lambda body: {"prompt_tokens": min(len(body["messages"][0]["content"]) // 4, 256)}) as server:
        who = server.policy()
        draw(who, problems=long)
        assert "seems to cut at 256 tokens" in " ".join(who.notes)
    with Hosted(usage=lambda body: {"prompt_tokens": 64}) as server:
        found = server.policy().probe(long[-1], PARAMS)
        assert "it cut the prompt" in " ".join(found.notes)


# --- size and secrets


def test_an_answer_longer_than_any_is_given_up():
    limit = answer_limit({"n": 4, "max_tokens": 100, "prompt": "x" * 10})
    assert limit == (1 << 24) + 2048 * 410
    assert answer_limit({"max_completion_tokens": 500}) > answer_limit({"max_tokens": 50})
    flood = b'{"choices": [{"text": "' + b"x" * (1 << 25) + b'"}]}'
    with Hosted(lambda body, number: (200, flood) if "What is 1" in str(body) else None) as server:
        groups = draw(server.policy(), n=4)
        assert sum("What is 1" in str(body) for body in server.bodies) == 1, "it is not asked for again"
    assert [{c.finish for c in g} for g in groups] == [{"stop"}, {"error"}, {"stop"}]
    assert "longer than" in groups[1][0].text


def test_a_key_that_is_echoed_is_not_kept(monkeypatch):
    monkeypatch.setenv("GOLDPANNER_API_KEY", 'sk-"secret"-1')
    halves = [piece(0, content='your key is sk-"sec'), piece(0, content='ret"-1'), piece(0, "stop")]

    def echo(body, number):
        if "What is 2" in str(body):
            return 200, events(*halves).encode()
        return 200, {"system_fingerprint": 'sk-"secret"-1'} | server.answer(body)

    with Hosted(
        echo, message=lambda text: {"content": f'{text} sk-"secret"-1', "reasoning": 'sk-"secret"-1'}
    ) as server:
        who = server.policy(override=True)
        groups = draw(who)
        kept = [*groups, who.describe(), dataclasses.asdict(who.probe(PROBLEMS[0], PARAMS))]
    assert "secret" not in repr(kept)
    assert "***" in groups[0][0].text
    assert groups[2][0].text == "your key is ***"
    basic = Address.of("http://me:long-password@host/v1", "GOLDPANNER_API_KEY")
    assert basic.scrub("Basic bWU6bG9uZy1wYXNzd29yZA== long-password") == "Basic *** ***"
    assert Address.of("http://me:1@host/v1", "NO_SUCH_KEY").scrub("1 + 1 = 2") == "1 + 1 = 2"

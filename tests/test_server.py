"""Sampling from a server: nothing lost, nothing counted twice, nothing believed because of an HTTP 200."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from faulty_server import FaultyServer, with_p
from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.measure.intervals import proportion
from goldpanner.policies.answer import completions
from goldpanner.policies.base import Policy, Request
from goldpanner.policies.endpoint import (
    Address,
    Patience,
    ServerChangedError,
    ServerLostError,
    retry_after,
    wants_other_limit,
)
from goldpanner.policies.local import LocalPolicy
from goldpanner.policies.probe import copied
from goldpanner.policies.server import ServerPolicy
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.rollout import rollout
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord, ProbeRecord
from goldpanner.tasks import load
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, save_model
from goldpanner.types import Completion, Outcome, Problem, SamplingParams
from goldpanner.verify import Exact

PARAMS = SamplingParams(max_tokens=40)
QUICK = Patience(timeout=5, attempts=6, away=10, first=0.005, longest=0.02)
PROBLEMS = [Problem("test", f"question {i}", "yes") for i in range(6)]
HALF = with_p(PROBLEMS, 0.5, spread=20)


def policy(server, **options):
    return ServerPolicy(server.url, **{"patience": QUICK, "n_per_request": 8, **options})


def draw(who, n=20, problems=PROBLEMS, **params):
    requests = [Request(p, range(n)) for p in problems]
    return list(who.sample(requests, SamplingParams(**{"max_tokens": 40, **params})))


def after_probe(bad, every=3):
    """Each `every`-th request goes wrong, once the probe is over."""
    return lambda number, body: bad if number > 8 and number % every == 0 else None


# --- what is asked


def test_a_server_is_a_policy_and_nothing_is_left_to_its_defaults():
    with FaultyServer(HALF) as server:
        who = policy(server, concurrency=3)
        assert isinstance(who, Policy)
        groups = draw(who, temperature=0.7, top_p=0.9, top_k=5, stop=("\n",))
        assert [len(group) for group in groups] == [20] * 6
        asked = server.bodies[9:]
    assert {body["n"] for body in asked} == {8, 4}
    for body in asked:
        settings_ = [body[k] for k in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop")]
        assert settings_ == [0.7, 0.9, 5, 0.0, 1.0, ["\n"]]
    for body in server.bodies:
        assert {"temperature", "top_p", "top_k"} <= set(body)
        assert "seed" not in body
    assert server.most_at_once <= 3


def test_samples_come_with_tokens_and_logprobs_at_t_1_only():
    with FaultyServer(HALF) as server:
        group = draw(policy(server))[0]
        for c in group:
            assert c.logprob == pytest.approx(np.log(0.5 if c.text == "yes" else 0.5 / 20))
            assert sum(c.token_logprobs) == c.logprob
            assert len(c.tokens) == len(c.token_logprobs)
        cold = draw(policy(server), temperature=0.5)[0]
        assert {c.logprob for c in cold} == {None}
        assert None not in {c.tokens for c in cold}


def test_the_chat_endpoint():
    with FaultyServer(HALF) as server:
        group = draw(policy(server), template="chat")[0]
        assert {c.text for c in group} & {"yes"}
        assert None not in {c.logprob for c in group}
        assert all("prompt" not in body for body in server.bodies)
        assert {m["role"] for body in server.bodies for m in body["messages"]} == {"user"}
        draw(policy(server), 1, template="Q: {prompt}\nA:")
        assert server.bodies[-1]["prompt"].startswith("Q: question")
        with pytest.raises(InputError, match="has no"):
            draw(policy(server), 1, template="nothing")


@pytest.mark.parametrize(
    ("said", "kept"), [("stop", "stop"), ("length", "length"), (None, "unknown"), ("content_filter", "withheld")]
)
def test_finish_reasons_are_kept(said, kept):
    with FaultyServer(HALF, finish=said) as server:
        who = policy(server)
        found = who.probe(PROBLEMS[0], PARAMS)
        assert {c.finish for c in draw(who)[0]} == {kept}
        assert found.finish == (kept,)
        assert any("cut ones" in note for note in found.notes) == (kept == "unknown")


def test_seeds_differ_for_every_sample_and_never_go_with_several():
    with FaultyServer(HALF) as server:
        who = policy(server, seeds=True)
        first = draw(who, 6)
        drawn = [body for body in server.bodies if "seed" in body]
        assert {body["n"] for body in drawn} == {1}
        assert len({body["seed"] for body in drawn}) >= 6 * 6
        assert draw(policy(server, seeds=True, concurrency=2), 6) == first
        part = next(policy(server, seeds=True).sample([Request(PROBLEMS[3], (5, 2))], PARAMS))
        assert part == [first[3][5], first[3][2]]


def test_seeds_that_kill_are_left_out():
    with FaultyServer(HALF, seed_fails=True) as server:
        who = policy(server, seeds=True)
        assert [len(group) for group in draw(who)] == [20] * 6
        assert "seed" not in server.bodies[-1]
        found = who.probe(PROBLEMS[0], PARAMS)
        assert found.seeds == "not sent"


# --- faults


@pytest.mark.parametrize(
    "bad",
    ["500", "502", "503", "429", "408", "hang", "truncated", "drop", "html", "error200", "empty", "fewer", "more"],
)
def test_nothing_is_lost_by_a_fault_that_passes(bad):
    patience = Patience(timeout=0.3 if bad == "hang" else 5, attempts=8, away=20, first=0.005, longest=0.02)
    every = 9 if bad == "hang" else 3
    with FaultyServer(HALF, after_probe(bad, every), hang=0.8) as server:
        who = policy(server, patience=patience)
        groups = draw(who)
    assert [len(group) for group in groups] == [20] * 6
    assert {c.finish for group in groups for c in group} == {"stop"}
    assert bool(who.notes) == (bad in ("fewer", "more"))


def test_a_request_that_always_fails_is_unjudged_and_the_others_are_not_touched():
    def fault(number, body):
        return {"question 2": "500", "question 4": "413"}.get(body["prompt"])

    with FaultyServer(HALF, fault) as server:
        groups = list(rollout(policy(server), PROBLEMS, (Exact(),), PARAMS, n=20))
    for i, group in enumerate(groups):
        failed = i in (2, 4)
        assert {s.completion.finish for s in group} == ({"error"} if failed else {"stop"})
        assert (Outcome.UNJUDGED in {s.verdict.outcome for s in group}) == failed
        assert not failed or Outcome.WRONG not in {s.verdict.outcome for s in group}
    assert "told to fail with 500" in groups[2][0].completion.text
    assert "HTTP 413" in groups[4][0].completion.text


def test_a_server_that_dies_stops_the_run_instead_of_filling_it_with_failures():
    patience = Patience(timeout=5, attempts=3, away=0.3, first=0.005, longest=0.02)
    with (
        FaultyServer(HALF, lambda number, body: "500" if number > 12 else None) as server,
        pytest.raises(ServerLostError, match="run the same command to go on"),
    ):
        draw(policy(server, patience=patience))
    with FaultyServer(HALF) as server:
        who = policy(server, patience=patience, concurrency=1)
        stream = who.sample([Request(p, range(200)) for p in PROBLEMS], PARAMS)
        assert len(next(stream)) == 200
        server.stop()
        with pytest.raises(ServerLostError, match="does not answer"):
            list(stream)


def test_a_restart_in_the_middle_is_waited_for():
    with FaultyServer(HALF) as server:
        who = policy(server, concurrency=2)
        stream = who.sample([Request(p, range(100)) for p in PROBLEMS], PARAMS)
        groups = [next(stream)]
        server.stop()
        threading.Timer(0.5, server.start).start()
        groups += stream
        assert policy(server).id == who.id
    assert [len(group) for group in groups] == [100] * 6
    assert {c.finish for group in groups for c in group} == {"stop"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answers_as": "other"}, "name the model 'other', and before 'toy'"),
        ({"fingerprint": "fp2"}, "name the system fingerprint 'fp2', and before 'fp1'"),
        ({"scores": -1.9}, r"gives a fixed text log P -38\.00, and before -30\.00"),
        ({"version": "1.2.4"}, r"says of itself .*1\.2\.4.*, and before .*1\.2\.3"),
    ],
)
def test_a_server_started_again_as_another_model_stops_the_run_and_is_not_mixed_in(tmp_path, monkeypatch, change, says):
    monkeypatch.setattr("goldpanner.policies.server._AGAIN", 0.0)
    with FaultyServer(HALF, fingerprint="fp1", scores=-1.5) as server:
        who = policy(server, concurrency=1)
        stream = who.sample([Request(p, range(100)) for p in PROBLEMS], PARAMS)
        assert len(next(stream)) == 100
        server.stop()
        server.ways |= change
        server.start()
        with pytest.raises(ServerChangedError, match=says + r".*What was drawn stays"):
            list(stream)
        if "version" in change:
            return  # another policy id
        # a later run, too
        server.ways |= {"fingerprint": "fp1", "scores": -1.5, "answers_as": None}
        store = Store(tmp_path)
        verifiers = lambda: [Exact()]  # noqa: E731
        top_up(policy(server), PROBLEMS[:1], verifiers, PARAMS, store, Goal(most=4))
        assert top_up(policy(server), PROBLEMS[:1], verifiers, PARAMS, store, Goal(most=6)).new == 2
        server.ways |= change
        with pytest.raises(InputError, match=says + r".*What was drawn stays"):
            top_up(policy(server), PROBLEMS[:1], verifiers, PARAMS, store, Goal(most=9))
        assert store.counts(policy(server).id).n.tolist() == [6]


def test_retry_after_is_waited_for():
    assert retry_after("7") == 7
    assert 25 < retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert [retry_after(x) for x in (None, "", "soon", "-3", "nan", formatdate(0, usegmt=True))] == [0] * 6
    times = []

    def fault(number, body):
        times.append(time.monotonic())
        return "429" if number == 9 else None

    with FaultyServer(HALF, fault, retry_after="0.4") as server:
        assert len(draw(policy(server), 4, PROBLEMS[:1])[0]) == 4
    assert len(times) == 11
    assert times[9] - times[8] >= 0.4


def test_leaving_early_cancels_what_is_under_way():
    def fault(number, body):
        return "hang" if body["prompt"] == "question 5" else None

    with FaultyServer(HALF, fault, hang=8.0) as server:
        stream = policy(server).sample([Request(p, range(4)) for p in PROBLEMS], PARAMS)
        assert len(next(stream)) == 4
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 4
        assert "goldpanner server" not in {thread.name for thread in threading.enumerate()}
        assert list(policy(server).sample([], PARAMS)) == []


# --- the probe


def probe(server, params=PARAMS, **options):
    who = policy(server, **options)
    return who, who.probe(PROBLEMS[0], params)


def test_the_probe_of_a_good_server():
    with FaultyServer(HALF) as server:
        _, found = probe(server)
        assert found.requests == server.number <= 12
    assert [found.n_honoured, found.draws_distinct, found.greedy_equal, found.logprobs, found.token_ids] == [True] * 5
    assert (found.faults, found.notes, found.refused) == ((), (), ())
    assert found.seeds == "not sent"
    assert "NO" not in "".join(found.lines())


@pytest.mark.parametrize("ways", [{"n": False}, {"copies": True}, {"copies": True, "logprobs": False}])
def test_n_that_is_not_honoured_is_asked_for_one_by_one(ways):
    with FaultyServer(HALF, **ways) as server:
        who, found = probe(server)
        before = server.number
        groups = draw(who)
        assert {body["n"] for body in server.bodies[before:]} == {1}
    assert not found.n_honoured
    assert "one by one" in " ".join(found.notes)
    assert [len(group) for group in groups] == [20] * 6
    assert not found.faults


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        ({"temperature": "greedy"}, "ignores the temperature"),
        ({"temperature": "greedy", "logprobs": False}, "ignores the temperature"),
        ({"temperature": "hot"}, "at T = 0 differ"),
        ({"one_seed": True}, "always uses one seed"),
    ],
)
def test_draws_that_are_not_as_asked_are_refused_unless_told(ways, says):
    with FaultyServer(**ways) as server:
        who, found = probe(server)
        assert says in " ".join(found.faults)
        with pytest.raises(InputError, match="--allow-truncated-sampling"):
            draw(who)
        assert [len(group) for group in draw(policy(server, override=True))] == [20] * 6


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_model_that_is_certain_is_no_fault(logprobs):
    with FaultyServer(with_p(PROBLEMS, 1.0), logprobs=logprobs) as server:
        who, found = probe(server)
        assert found.faults == ()
        assert found.draws_distinct is False
        assert [len(group) for group in draw(who)] == [20] * 6
        assert not who.notes


def test_fields_that_a_server_does_not_know_are_left_out_and_said():
    with FaultyServer(HALF, unknown_fields=False) as server:
        who, found = probe(server)
        assert set(found.refused) == {"top_k", "min_p", "repetition_penalty", "return_token_ids"}
        assert "refuses top_k" in " ".join(found.notes)
        group = draw(who)[0]
        assert {c.tokens for c in group} == {None}
        assert None not in {c.logprob for c in group}
        with pytest.raises(InputError, match="refuses top_k"):
            draw(who, top_k=5)


def test_the_token_limit_goes_by_the_name_that_a_chat_asks_for():
    with FaultyServer(HALF, limit="max_completion_tokens") as server:
        assert {c.finish for c in draw(policy(server), template="chat")[0]} == {"stop"}
        draw(policy(server))  # the other endpoint keeps the old name
    chats = [body for body in server.bodies if "messages" in body]
    assert ["max_tokens" in body for body in chats] == [True] + [False] * (len(chats) - 1)  # learnt at once, for good
    assert {body["max_completion_tokens"] for body in chats[1:]} == {1, 32, 40}
    assert all("max_tokens" in body for body in server.bodies if "prompt" in body)


@pytest.mark.parametrize(
    ("reason", "renames"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.", True),
        ("Unknown field: max_tokens", True),
        ("max_tokens is too large: 99999. This model supports at most 4096 completion tokens", False),
        ("This model's maximum context length is 64 tokens", False),
    ],
)
def test_a_limit_that_is_refused_for_its_number_keeps_its_name(reason, renames):
    assert wants_other_limit(reason) == renames
    with FaultyServer(HALF, fault=lambda number, body: "400" if "max_tokens" in body else None) as server:
        with pytest.raises(InputError, match="told to fail"):
            draw(policy(server), template="chat")
        assert all("max_tokens" in body for body in server.bodies)


def test_a_server_that_draws_at_one_temperature_only_is_said_to():
    with FaultyServer(HALF, temperature="only 1") as server:
        _, found = probe(server)
        assert len(draw(policy(server), temperature=1.0)[0]) == 20
    assert found.faults == ()
    assert "refuses T = 0" in " ".join(found.notes)
    assert not found.greedy_equal
    certain = with_p(PROBLEMS, 1.0)
    with FaultyServer(certain, temperature="only 1") as server:
        assert probe(server)[1].faults == ()
    with FaultyServer(HALF, temperature="only 1", one_seed=True) as server:
        assert "always uses one seed" in " ".join(probe(server)[1].faults)


def test_mistakes_are_told():
    with FaultyServer(HALF, models=("a", "b")) as server:
        with pytest.raises(InputError, match="serves a, b; name one"):
            _ = policy(server).id
        assert policy(server, model="a").id != policy(server, model="b").id
        url = server.url
    with pytest.raises(InputError, match="does not answer"):
        _ = ServerPolicy(url, patience=Patience(away=0.05, first=0.01)).id
    with FaultyServer(HALF, lambda number, body: "400") as server, pytest.raises(InputError, match="told to fail"):
        draw(policy(server))
    for bad in ("ftp://x/v1", "http://", "http://h:99999/v1", "http://h/v1?key=1"):
        with pytest.raises(InputError, match="URL"):
            ServerPolicy(bad)
    with pytest.raises(InputError, match="concurrency"):
        ServerPolicy(url, concurrency=0)


def test_credentials_are_sent_and_never_shown_or_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDPANNER_API_KEY", "sk-hidden")
    with FaultyServer(HALF, key="sk-hidden") as server:
        who = policy(server)
        assert len(draw(who, 4)[0]) == 4
        assert server.headers[-1]["Authorization"] == "Bearer sk-hidden"
        assert "sk-hidden" not in json.dumps(who.describe())
        same = ServerPolicy(server.url.replace("http://", "http://me:pw-hidden@"), patience=QUICK)
        assert same.id == who.id
        assert "pw-hidden" not in json.dumps(same.describe())
        server.ways["key"] = "another"
        with pytest.raises(InputError, match="GOLDPANNER_API_KEY") as told:
            draw(policy(server))
        assert "hidden" not in str(told.value)
    address = Address.of("http://me:pw-hidden@host/v1", "GOLDPANNER_API_KEY")
    assert address.clean("bad key sk-hidden of pw-hidden") == "bad key *** of ***"


def test_the_id_is_the_servers_own_word():
    with FaultyServer(HALF) as server:
        first = policy(server).id
        assert policy(server).id == first  # although `created` changes with every answer
        server.ways["version"] = "2"
        assert policy(server).id != first


# --- copies


def drawn_from(p, n, generator, logprobs=True):
    at = generator.choice(len(p), size=n, p=p)
    return [Completion(f"text {k}", None, float(np.log(p[k])) if logprobs else None) for k in at]


def test_copies_are_found_and_chance_is_not_taken_for_them():
    generator = np.random.default_rng(0)
    for _ in range(300):
        p = generator.dirichlet(np.full(40, generator.choice([0.05, 0.5, 5.0])))
        for logprobs in (True, False):
            parts = [drawn_from(p, 32, generator, logprobs) for _ in range(2)]
            assert not copied(parts)
            if logprobs and p.max() < 0.3:
                assert copied([drawn_from(p, 1, generator) * 32])
    different = [[Completion(f"{i}")] * 32 for i in range(2)]
    assert copied(different)
    assert not copied([[Completion("same")] * 32] * 2)
    assert not copied([[Completion("alone")] * 32])
    assert not copied([[], [Completion("x", finish="error")] * 40])


def test_copies_in_the_middle_of_a_run_are_thrown_away_and_no_longer_asked_for():
    with FaultyServer(with_p(PROBLEMS, 0.3, spread=50)) as server:
        who, found = probe(server, n_per_request=32)
        assert not found.notes
        server.ways["copies"] = True
        groups = draw(who, 64)
        assert any("beyond chance" in note for note in who.notes)
        assert not any(copied([[c] for c in group]) for group in groups)
        server.bodies.clear()
        draw(who, 8)
        assert {body["n"] for body in server.bodies} == {1}
    assert [len(group) for group in groups] == [64] * 6
    assert {c.finish for group in groups for c in group} == {"stop"}


def test_a_server_that_repeats_itself_in_single_requests_too_gives_no_samples():
    with FaultyServer(with_p(PROBLEMS, 0.3, spread=50)) as server:
        who, _ = probe(server, n_per_request=32)
        server.ways["one_seed"] = True
        group = draw(who, 64, PROBLEMS[:1])[0]
        assert {c.finish for c in group} == {"error"}
        assert "again and again" in group[0].text
        believed = policy(server, override=True)
        assert {c.finish for c in draw(believed, 64, PROBLEMS[:1])[0]} == {"stop"}


# --- what a server may say

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "text", "message", "content", "logprobs", "token_logprobs", "logprob", "index",
                         "token_ids", "finish_reason", "reasoning"]), x, max_size=6),
    max_leaves=30,
)  # fmt: skip


CHOICE = st.dictionaries(st.sampled_from(["text", "message", "logprobs", "index", "token_ids", "finish_reason"]), JSON)


@settings(max_examples=300, deadline=None)
@given(choices=st.lists(CHOICE, min_size=1, max_size=3))
def test_any_answer_is_read_or_refused(choices):
    try:
        found = completions({"choices": choices}, PARAMS)
    except ValueError:
        return
    assert len(found) == len(choices)
    for c in found:
        assert isinstance(c.text, str)
        assert c.logprob is None or c.logprob <= 0
        assert c.tokens is None or c.token_logprobs is None or len(c.tokens) == len(c.token_logprobs)


def test_choices_are_put_in_order_and_thoughts_are_kept():
    said = [
        {"index": 1, "text": "b", "finish_reason": "stop"},
        {"index": 0, "message": {"content": "4", "reasoning_content": "2+2"}, "finish_reason": "length"},
    ]
    first, second = completions({"choices": said}, PARAMS)
    assert (first.text, first.thought, first.finish) == ("4", "2+2", "length")
    assert (second.text, second.tokens, second.logprob) == ("b", None, None)


# --- the whole command line

runner = CliRunner()


def call(*arguments):
    result = runner.invoke(application(), [str(a) for a in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def test_known_p_through_the_whole_command_line(tmp_path):
    problems = load("world/d2", 40, 0)
    with FaultyServer(with_p(problems, 0.3, spread=9), after_probe("500", 7)) as server:
        said = call("sample", server.url, "world/d2", "--store", tmp_path, "-n", 100, "--problems", 40, "--json")
        out = json.loads(said.stdout)
        again = call("sample", server.url, "world/d2", "--store", tmp_path, "-n", 100, "--problems", 40, "--json")
        assert json.loads(again.stdout) == out
    assert "n > 1 yes" in said.stderr
    assert (out["n"], out["problems"], out["unjudged"]) == (4000, 40, 0)
    assert abs(out["correct"] - 1200) < 4 * (4000 * 0.3 * 0.7) ** 0.5
    store = Store(tmp_path)
    (record,) = store.records(ProbeRecord).values()
    assert (record.probe.n_honoured, record.policy, record.probe.faults) == (True, out["policy"], ())
    assert store.get(PolicyRecord, out["policy"]).model["version"] == "1.2.3"
    profile = json.loads(call("measure", "toy", "--store", tmp_path, "--json", "--level", 0.9999).stdout)
    assert profile["pass_at_k"]["1"]["low"] <= 0.3 <= profile["pass_at_k"]["1"]["high"]
    counts = store.counts(out["policy"])
    low, high = proportion(counts.c, counts.n)
    assert ((low <= 0.3) & (high >= 0.3)).sum() >= 32  # 38 expected of 40


def test_a_server_that_ignores_the_temperature_stops_the_command_line(tmp_path):
    with FaultyServer(temperature="greedy") as server:
        arguments = ["sample", server.url, "world/d2", "--store", tmp_path, "-n", 4, "--problems", 3]
        result = runner.invoke(application(), [str(a) for a in arguments])
        assert isinstance(result.exception, InputError)
        assert "ignores the temperature" in str(result.exception)
        call(*arguments, "--allow-truncated-sampling")
        call(*arguments[:5], "-n", 4, "--problems", 3, "--seed", 1, "--allow-truncated-sampling")
    systems = call("compare", "toy", "toy", "--store", tmp_path).stdout
    assert "did not draw as asked" in " ".join(systems.split())
    assert "Two systems are compared as they were run" in " ".join(systems.split())
    said = "the server of toy did not draw as asked: "
    page = tmp_path / "page.html"
    shown = call("measure", "toy", "--store", tmp_path, "--html", page).stdout
    assert said in " ".join(shown.split())
    assert "not reached within n" not in shown
    assert said in page.read_text()
    found = json.loads(call("measure", "toy", "--store", tmp_path, "--json").stdout)
    assert found["support_refused"].startswith(said)
    assert len(found["source"]["server_faults"]) == 1, "two probes with one fault say it once"
    again = json.loads(
        call("compare", "toy", "toy", "--store", tmp_path, "--allow-truncated-sampling", "--json").stdout
    )
    assert {str(x["server_faults"]) for x in again["sources"].values()} == {str(found["source"]["server_faults"])}


def test_requests_that_failed_for_good_are_drawn_again_by_the_same_command(tmp_path):
    data, store = tmp_path / "problems.jsonl", Store(tmp_path / "store")
    data.write_text("".join(json.dumps({"question": p.prompt, "answer": p.answer}) + "\n" for p in PROBLEMS))
    broken = {PROBLEMS[2].prompt: 999, PROBLEMS[4].prompt: 1}  # how many requests are still refused

    def fault(number, body):
        left = broken.get(body.get("prompt"), 0)
        broken[body.get("prompt")] = left - 1
        return "413" if left > 0 else None

    with FaultyServer(HALF, fault) as server:
        command = ["sample", server.url, data, "--store", store.root, "-n", 40, "--max-tokens", 40, "--json"]
        first = json.loads(call(*command).stdout)
        second = json.loads(call(*command).stdout)
        broken.clear()
        before = sum(server.drawn.values())
        shown = call(*[c for c in command if c != "--json"])
        third = json.loads(call(*command).stdout)
        after = sum(server.drawn.values())
    assert 40 < first["unjudged"] < 80  # all of one problem, one request of the other
    assert [r["n"] for r in (first, second, third)] == [240] * 3  # what failed is there, unjudged, until it is replaced
    assert [r["unjudged"] for r in (second, third)] == [40, 0]
    assert "failed" not in shown.stderr
    assert after - before <= 40 + 12  # the failed ones and one probe, and nothing at all the last time
    keys = [s.key for s in store.samples()]
    assert len(keys) == len(set(keys)) == 240
    assert {s.index for s in store.samples(problem=store.samples()[0].problem)} == set(range(40))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_taken_up_again(tmp_path, how):
    problems = load("world/d2", 12, 0)
    slow = {"on": True}

    def fault(number, body):
        time.sleep(0.1 if slow["on"] else 0)

    with FaultyServer(with_p(problems, 0.5, spread=9), fault) as server:
        arguments = ["sample", server.url, "world/d2", "--store", tmp_path, "-n", 32, "--problems", 12]
        arguments += ["--concurrency", 2, "--json"]
        program = [sys.executable, "-m", "goldpanner.cli", *map(str, arguments)]
        running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while server.number < 14 and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(how)
        _, said = running.communicate(timeout=20)
        kept = Store(tmp_path).drawn(
            next(iter(Store(tmp_path).records(PolicyRecord))), SamplingParams(max_tokens=48).hash, 0
        )
        slow["on"] = False
        before = server.number
        out = json.loads(call(*arguments).stdout)
        asked = [body["prompt"] for body in server.bodies[before:] if body["n"] == 32]
    assert (running.returncode == 130) == (how == signal.SIGINT), said
    assert out["n"] == 12 * 32
    assert out["unjudged"] == 0
    keys = [s.key for s in Store(tmp_path).samples(policy=out["policy"])]
    assert len(keys) == len(set(keys)) == 12 * 32
    assert sorted(asked) == sorted(p.prompt for p in problems if p.id not in kept)
    assert how == signal.SIGKILL or kept


# --- real servers


def tiny_model(folder, **options):
    """Save a random model of the lab's with predictions far from uniform."""
    tokenizer = build_tokenizer(tuple("abcdefghijkl"))
    model = build_model(ModelConfig(**options), len(tokenizer), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    model.generation_config.do_sample = folder.name != "greedy"
    save_model(model, tokenizer, folder)


@contextlib.contextmanager
def serving(folder, seconds, *program, **surroundings):
    """Run a server until it answers /health; yield its base URL, and end it with all its children."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    own = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1", **surroundings}
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [*map(str, program), *address], env=own, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        until = time.monotonic() + seconds
        while running.poll() is None and time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text()[-3000:])
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(30)


def follows_the_model(drawn, folder, asked):
    """Return the p-value of chi-square: first tokens against the model's own softmax."""
    local = LocalPolicy.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        logits = local.model(torch.tensor([local.encode_prompt(asked)])).logits[0, -1]
    p = logits.double().softmax(-1).numpy()
    said = np.array([sum(c.text.strip() == local.tokenizer.decode([k]) for c in drawn) for k in range(3, len(p))])
    common = len(drawn) * p[3:] >= 5
    f_obs, f_exp = said[common], len(drawn) * p[3:][common]
    assert common.sum() >= 3
    return stats.chisquare([*f_obs, len(drawn) - f_obs.sum()], [*f_exp, len(drawn) - f_exp.sum()]).pvalue


@pytest.mark.server
def test_transformers_serve_is_seen_through_and_worked_around(tmp_path):
    pytest.importorskip("openai", reason="transformers serve needs openai")
    for name in ("sampled", "greedy"):
        tiny_model(tmp_path / name, hidden_size=16, intermediate_size=24)
    asked, patience = Problem("test", "a b c", "d"), replace(QUICK, timeout=60)
    program = Path(sys.executable).with_name("transformers")
    with serving(tmp_path, 60, program, "serve", "--device", "cpu") as url:
        greedy = ServerPolicy(url, str(tmp_path / "greedy"), patience=patience)
        assert "ignores the temperature" in " ".join(greedy.probe(asked, SamplingParams(max_tokens=8)).faults)
        sampled = ServerPolicy(url, str(tmp_path / "sampled"), patience=patience)
        found = sampled.probe(asked, SamplingParams(max_tokens=8))
        (drawn,) = sampled.sample([Request(asked, range(200))], SamplingParams(max_tokens=1))
    assert (found.faults, found.n_honoured, found.logprobs, found.greedy_equal) == ((), False, False, True)
    assert "top_k" in found.refused
    assert len(drawn) == 200
    assert {c.finish for c in drawn} <= {"length", "stop"}
    assert follows_the_model(drawn, tmp_path / "sampled", asked) > 1e-4


@pytest.mark.vllm
@pytest.mark.skipif("VLLM_PYTHON" not in os.environ, reason="set VLLM_PYTHON to the Python of an environment with vLLM")
def test_vllm_does_what_is_asked(tmp_path):
    tiny_model(tmp_path / "tiny", hidden_size=128, intermediate_size=128, heads=2)
    asked = Problem("test", "a b c", "d")
    program = [os.environ["VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server", "--model", tmp_path / "tiny"]
    program += ["--dtype", "float32", "--max-model-len", "64", "--enforce-eager", "--served-model-name", "tiny"]
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with serving(tmp_path, 400, *program, **own) as url:
        who = ServerPolicy(url, patience=replace(QUICK, timeout=60))
        found = who.probe(asked, SamplingParams(max_tokens=8))
        (drawn,) = who.sample([Request(asked, range(400))], SamplingParams(max_tokens=1))
        (longer,) = who.sample([Request(asked, range(64))], SamplingParams(max_tokens=8))
        echoed = who.logprobs([asked] * 64, [c.tokens for c in longer])
        spelled = who.decode(longer[0].tokens)
    assert who.card["version"]
    assert (found.faults, found.notes, found.refused) == ((), (), ())
    assert [found.n_honoured, found.draws_distinct, found.greedy_equal, found.logprobs, found.token_ids] == [True] * 5
    assert not who.notes
    assert follows_the_model(drawn, tmp_path / "tiny", asked) > 1e-4
    local = LocalPolicy.from_pretrained(tmp_path / "tiny", device="cpu")
    scored = local.logprobs([asked] * 64, [c.tokens for c in longer])
    assert np.allclose(scored, [c.logprob for c in longer], atol=1e-3)
    assert np.allclose(echoed, scored, atol=1e-3)
    assert who.scoring_distance < 1e-3
    assert spelled == local.tokenizer.decode(longer[0].tokens)


def test_a_request_that_hangs_is_given_up_after_the_time_asked_for(tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"question": p.prompt, "answer": p.answer}) + "\n" for p in PROBLEMS))
    with FaultyServer(HALF, lambda number, body: "hang" if number == 1 else None, hang=60.0) as server:
        began = time.monotonic()
        told = call("sample", server.url, data, "--store", tmp_path / "s", "-n", 4, "--timeout", 1, "--json")
        assert json.loads(told.stdout)["unjudged"] == 0
        assert time.monotonic() - began < 30

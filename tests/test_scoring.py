"""`score` on a server: log P of stored completions equals a local full forward, or it is refused with a reason."""

import json
import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from faulty_server import FaultyServer
from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.policies.base import Request
from goldpanner.policies.endpoint import Patience, ServerLostError
from goldpanner.policies.local import LocalPolicy
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.policies.server import ServerPolicy
from goldpanner.sampling.rollout import rollout
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord, PolicyRecord
from goldpanner.train.model import ModelConfig, build_model, save_model
from goldpanner.types import Completion, Outcome, Problem, Sample, SamplingParams, Verdict
from goldpanner.verify import Exact

QUICK = Patience(timeout=5, attempts=3, away=1, first=0.005, longest=0.02)
PARAMS = SamplingParams(max_tokens=6, template="b{prompt}a")
LETTERS = "abcdefgh"


def tokenizer_():
    """Letters, and pairs of equal letters as one token: a boundary inside `aa` is lost by who joins texts."""
    pairs = [(x, x) for x in LETTERS]
    words = ["<pad>", "<eos>", *LETTERS, *(x + x for x in LETTERS)]
    bpe = BPE(vocab={w: i for i, w in enumerate(words)}, merges=pairs)
    chat = "{% for m in messages %}c{{ m['content'] }}d{% endfor %}{% if add_generation_prompt %}a{% endif %}"
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(bpe), eos_token="<eos>", pad_token="<pad>")
    made.chat_template = chat
    return made


def model_(seed=0):
    tokenizer = tokenizer_()
    model = build_model(ModelConfig(hidden_size=16, intermediate_size=24, heads=2), len(tokenizer), seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    return model, tokenizer


class ModelServer(FaultyServer):
    """Serves a tiny model: draws token by token, and echoes prompts as vLLM and SGLang do; or not quite (`echo`)."""

    def __init__(self, model, tokenizer, **ways):
        super().__init__(**({"echo": True, "prompt_ids": True, "no_new": True, "detokenize": True} | ways))
        self.model, self.tokenizer = model, tokenizer
        self.torch_rng = torch.Generator().manual_seed(0)

    def post(self, to):
        if to.path != "/detokenize":
            return super().post(to)
        body = json.loads(to.rfile.read(int(to.headers["Content-Length"])))
        if not self.ways["detokenize"]:
            return self.send(to, 404, {"detail": "Not Found"})
        return self.send(to, 200, {"prompt": self.tokenizer.decode(body["tokens"])})

    def answer(self, to, body, fault):
        cannot = self.ways["echo"] == "refused" or (not self.ways["no_new"] and not body["max_tokens"])
        if fault is None and body.get("echo") and cannot:
            return self.send(to, 400, {"error": {"message": "told to refuse"}})
        return super().answer(to, body, fault)

    def choices(self, body):
        chat = "messages" in body
        with self.lock, torch.no_grad():
            if chat:
                ids = self.tokenizer.apply_chat_template(
                    body["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
                )
            else:
                ids = body["prompt"] if isinstance(body["prompt"], list) else self.tokenizer.encode(body["prompt"])
            return [self.one(chat, i, list(ids), body) for i in range(body.get("n", 1))]

    def one(self, chat, index, ids, body):
        prompt, end, finish = len(ids), self.tokenizer.eos_token_id, "length"
        for _ in range(body["max_tokens"]):
            p = self.logp(ids, body["temperature"] or 1e-6)[-1].exp()
            ids.append(int(torch.multinomial(p, 1, generator=self.torch_rng)))
            if ids[-1] == end:
                finish = "stop"
                break
        scores = self.logp(ids, 2.0 if body.get("echo") and self.ways["echo"] == "hot" else 1.0)
        values = [None, *(float(scores[i, t]) for i, t in enumerate(ids[1:]))]
        shown = values if body.get("echo") and self.ways["echo"] != "dropped" else values[prompt:]
        text = self.tokenizer.decode(ids[prompt:], skip_special_tokens=True)
        out = {"index": index, "finish_reason": finish, "token_ids": ids[prompt:]}
        out |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        out["logprobs"] = {"content": [{"logprob": v} for v in shown]} if chat else {"token_logprobs": shown}
        if self.ways["prompt_ids"]:
            out["prompt_token_ids"] = ids[:prompt]
        return out

    def logp(self, ids, temperature):
        return (self.model(torch.tensor([ids])).logits[0].double() / temperature).log_softmax(-1)


PROBLEMS = [Problem("test", text, "a") for text in ("aab", "cda")]


def scorer(server, **options):
    return ServerPolicy(server.url, **{"patience": QUICK, **options})


def drawn_by(policy, params=PARAMS, n=12):
    return [(p, c) for p, group in zip(PROBLEMS, policy.sample([Request(p, range(n)) for p in PROBLEMS], params))
            for c in group]  # fmt: skip


@pytest.mark.parametrize("template", [PARAMS.template, "chat"])
@pytest.mark.parametrize("no_new", [True, False])
def test_a_servers_scores_are_those_of_a_full_forward(template, no_new):
    params = SamplingParams(max_tokens=6, template=template)
    other, mine = LocalPolicy(*model_(1), device="cpu"), LocalPolicy(*model_(0), device="cpu")
    pairs = drawn_by(other, params)
    problems, tokens = [p for p, _ in pairs], [c.tokens for _, c in pairs]
    with ModelServer(*model_(0), no_new=no_new) as server:
        who = scorer(server)
        found = who.logprobs(problems, tokens, template)
        again = who.logprobs(problems, tokens, template)
    assert np.allclose(found, mine.logprobs(problems, tokens, template), atol=1e-4)
    assert np.array_equal(found, again)
    assert who.scoring_distance < 1e-4
    echoes = [body["prompt"] for body in server.bodies if body.get("echo")]
    assert all(isinstance(ids, list) for ids in echoes)  # never a text, which would be cut into tokens anew
    assert len({tuple(t) for t in tokens}) < len(tokens)
    if no_new:  # equal completions of a problem are asked for once, and tokens are checked once
        distinct = {(p.id, t) for p, t in zip(problems, tokens)}
        assert len(echoes) == 2 * len(distinct) + 1


def test_the_boundary_is_between_tokens_even_where_texts_would_melt():
    # the prompt ends with "a" and the completion begins with "a": as one text they are the token "aa"
    problem, mine = PROBLEMS[0], LocalPolicy(*model_(0), device="cpu")
    a, eos = mine.tokenizer.convert_tokens_to_ids(["a", "<eos>"])
    assert mine.tokenizer.encode("baaba" + "a")[-1] not in (a, eos)
    with ModelServer(*model_(0)) as server:
        (found,) = scorer(server).logprobs([problem], [(a, eos)], PARAMS.template)
    ids = [*mine.tokenizer.encode("baaba"), a, eos]
    with torch.no_grad():
        logp = mine.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    assert found == pytest.approx(float(logp[-3, a] + logp[-2, eos]), abs=1e-6)


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        ({"echo": "dropped"}, "drops the log-probabilities of a prompt"),
        ({"echo": "refused"}, "does not score given tokens (HTTP 400"),
        ({"echo": "hot"}, "nats a token away from how it drew them"),
        ({"prompt_ids": False}, "gives no token ids of the prompt"),
    ],
)
def test_a_server_that_cannot_score_is_refused(ways, says):
    with ModelServer(*model_(0), **ways) as server, pytest.raises(InputError, match="score with") as told:
        scorer(server).logprobs(PROBLEMS[:1], [(3, 4)])
    assert says in str(told.value)
    assert len(server.bodies) < 6  # found out at once: nothing is tried again


def test_mistakes_and_a_lost_server_are_told():
    with ModelServer(*model_(0)) as server:
        who = scorer(server)
        with pytest.raises(InputError, match="token ids, and a completion has none"):
            who.logprobs(PROBLEMS[:1], ["a"])
        with pytest.raises(InputError, match="one response each"):
            who.logprobs(PROBLEMS, [(3,)])
        assert who.logprobs([], []).shape == (0,)
        server.fault = lambda number, body: "500" if len(body["prompt"]) > 8 else None
        with pytest.raises(ServerLostError, match="does not answer any more"):
            who.logprobs(PROBLEMS, [(3, 4)] * 2)


# --- the command


def stored(store, policy, params=PARAMS, n=8):
    store.put(PolicyRecord.of(policy.describe(), name="rl"))
    store.put(ParamsRecord.of(params))
    store.put_problems(PROBLEMS)
    with store.writer() as sink:
        for _ in rollout(policy, PROBLEMS, [Exact()], params, n=n, sink=sink):
            pass


def score(*arguments):
    return CliRunner().invoke(application(), ["score", *map(str, arguments)])


def test_the_command_scores_under_the_template_they_were_drawn_with_and_goes_on(tmp_path):
    rl, store = LocalPolicy(*model_(1), device="cpu"), Store(tmp_path)
    for template in (PARAMS.template, "chat"):
        stored(store, rl, SamplingParams(max_tokens=6, template=template))
    with ModelServer(*model_(0)) as server:
        done = score(server.url, "rl", "--store", tmp_path, "--json")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        asked = len(server.bodies)
        again = score(server.url, "rl", "--store", tmp_path)
        assert (again.exit_code, len(server.bodies)) == (0, asked)
    assert said["scored"] == 32
    assert said["distance"] < 1e-4
    assert "0 samples scored" in again.stdout
    assert "has no samples of" in again.stderr
    mine, problems = LocalPolicy(*model_(0), device="cpu"), store.problems()
    rows = store.sql('SELECT * FROM scores ORDER BY problem, params, "index"').to_pylist()
    samples_ = {s.key: s for s in store.samples(policy=rl.id)}
    for row in rows:
        sample = samples_[row["problem"], row["policy"], row["params"], row["seed"], row["index"]]
        template = store.get(ParamsRecord, row["params"]).template
        (true,) = mine.logprobs([problems[row["problem"]]], [sample.completion.tokens], template)
        assert row["logp"] == pytest.approx(true, abs=1e-4)
    assert len(rows) == 32


def test_a_model_folder_scores_under_the_samples_own_template(tmp_path):
    # once every prompt was put bare, however it had been put when the completion was drawn
    save_model(*model_(0), tmp_path / "base")
    rl, store = LocalPolicy(*model_(1), device="cpu"), Store(tmp_path / "store")
    stored(store, rl)
    assert score(tmp_path / "base", "rl", "--store", tmp_path / "store").exit_code == 0
    mine, problems = LocalPolicy.from_pretrained(tmp_path / "base", device="cpu"), store.problems()
    scored = store.scored(rl.id, mine.id, list(problems))
    for problem, rows in scored.items():
        drawn = [s.completion.tokens for s in store.samples(policy=rl.id, problem=problem)]
        true = mine.logprobs([problems[problem]] * 8, drawn, PARAMS.template)
        assert np.allclose(rows["logp"], true, atol=1e-4)
        assert not np.allclose(true, mine.logprobs([problems[problem]] * 8, drawn), atol=1e-2)
    assert len(scored) == 2


def test_another_tokenizer_is_refused_instead_of_scored(tmp_path):
    rl, store = LocalPolicy(*model_(1), device="cpu"), Store(tmp_path)
    stored(store, rl)
    other = tokenizer_()
    shuffled = [*LETTERS[::-1], *(x + x for x in LETTERS[::-1])]
    words = {w: i for i, w in enumerate(["<pad>", "<eos>", *shuffled])}
    other._tokenizer.model = BPE(vocab=words, merges=[(x, x) for x in LETTERS])
    with ModelServer(model_(0)[0], other) as server:
        refused = score(server.url, "rl", "--store", tmp_path)
    assert isinstance(refused.exception, InputError)
    assert "its tokenizer is another one" in str(refused.exception)
    with ModelServer(model_(0)[0], other, detokenize=False) as server:  # nobody can tell
        assert score(server.url, "rl", "--store", tmp_path).exit_code == 0


@pytest.mark.parametrize(("finish", "stop"), [("length", ()), ("stop", ("\n",))])
def test_texts_whose_end_is_not_known_are_refused(tmp_path, finish, stop):
    store, params = Store(tmp_path / "store"), SamplingParams(stop=stop)
    store.put(PolicyRecord(id="rl", name="rl"))
    store.put(ParamsRecord.of(params))
    store.put_problems(PROBLEMS)
    verdict = Verdict(Outcome.WRONG, "exact@1")
    store.append([Sample(PROBLEMS[0].id, "rl", params.hash, 0, 0, Completion("ab", None, -1.0, finish), verdict)])
    save_model(*model_(0), tmp_path / "base")
    refused = score(tmp_path / "base", "rl", "--store", tmp_path / "store")
    assert isinstance(refused.exception, InputError)
    assert "without tokens" in str(refused.exception)


def test_a_scripted_policy_scores_texts_as_before(tmp_path):
    store, params = Store(tmp_path), SamplingParams(stop=("\n",))
    stored(store, ScriptedPolicy.with_p(0.5, name="scripted:0.5"), params)
    assert score("scripted:0.25", "rl", "--store", tmp_path).exit_code == 0
    found = set(np.round(store.sql("SELECT logp FROM scores").column(0).to_numpy(), 6))
    assert found == {round(math.log(0.25), 6), round(math.log(0.75), 6)}


def test_a_served_base_tells_where_gained_problems_came_from(tmp_path):
    rl, store, params = LocalPolicy(*model_(1), device="cpu"), Store(tmp_path), SamplingParams(max_tokens=6)
    with ModelServer(*model_(0)) as server:
        base = scorer(server)
        store.put(PolicyRecord.of(base.describe(), name="base"))
        store.put(PolicyRecord(id=rl.id, name="rl"))
        store.put(ParamsRecord.of(params))
        store.put_problems(PROBLEMS[:1])
        (drawn,) = rl.sample([Request(PROBLEMS[0], range(64))], params)
        verdicts = [Verdict(o, "exact@1") for o in (Outcome.WRONG, Outcome.CORRECT)]
        for who, right in ((base.id, False), (rl.id, True)):
            store.append(
                Sample(PROBLEMS[0].id, who, params.hash, 0, i, c, verdicts[right and len(c.tokens) < 4])
                for i, c in enumerate(drawn)
            )
        assert score(server.url, "rl", "--store", tmp_path).exit_code == 0
    compared = CliRunner().invoke(application(), ["compare", "base", "rl", "--store", str(tmp_path), "--json"])
    assert compared.exit_code == 0, compared.exception
    (origin,) = json.loads(compared.stdout)["origin"].values()
    mine = LocalPolicy(*model_(0), device="cpu")
    short = [c for c in drawn if len(c.tokens) < 4]
    true = mine.logprobs(PROBLEMS[:1] * len(short), [c.tokens for c in short])
    weights = np.exp(true - np.array([c.logprob for c in short]))
    assert short
    assert origin["p_base"]["value"] == pytest.approx(weights.sum() / 64, rel=0.2)

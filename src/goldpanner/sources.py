"""What a word on the command line stands for: a counts file, a log, a policy in a store, a policy to sample."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from goldpanner.errors import InputError
from goldpanner.policies.base import on_hub
from goldpanner.types import Counts, Problem, SamplingParams

if TYPE_CHECKING:
    from goldpanner.interop import Imported, Question
    from goldpanner.measure.compare import Comparison
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.policies.server import ServerPolicy
    from goldpanner.store import Store
    from goldpanner.verify import Verifier


@dataclass(frozen=True)
class Log:
    """How another tool's log is read (`interop.read_log`)."""

    format: str | None = None
    threshold: float | None = None
    score: str | None = None
    filter: str | None = None
    step: int | None = None
    pool_steps: bool = False
    rescore: str | None = None
    torn_tail: bool = False
    map: str | None = None

    def read(self, path: Path) -> "Imported":
        """Return the log at `path` as a stream of records."""
        from goldpanner import interop
        from goldpanner.verify.named import rescorer

        return interop.read_log(
            path,
            self.format,
            map=self.map,
            verifier=None if self.rescore is None else rescorer(self.rescore, self.threshold),
            threshold=self.threshold,
            score=self.score,
            filter=self.filter,
            step=self.step,
            torn_tail=self.torn_tail,
        )


@dataclass(frozen=True)
class Choice:
    """Which samples of a source are meant."""

    store: Path | None = None
    tasks: tuple[str, ...] = ()
    verifier: str | None = None
    params: str | None = None
    log: Log = field(default_factory=Log)


@dataclass(frozen=True)
class Source:
    """Counts and what is known of how they were drawn."""

    name: str
    counts: Counts
    stated: Mapping[str, Any] = field(default_factory=dict)
    """The fields of SamplingParams that are known."""
    policy: str | None = None
    store: "Store | None" = None
    choice: Choice = field(default_factory=Choice)
    asked: Mapping[str, "Question"] = field(default_factory=dict)
    """By problem id, what a log calls a problem and how it asks it; empty where nothing is known of it."""

    @property
    def params(self) -> SamplingParams | None:
        """How the samples were drawn, what is not known at its neutral value; None: nothing of the softmax is known."""
        known = {name: value for name, value in self.stated.items() if name in ("temperature", "top_p", "top_k")}
        return SamplingParams(**known) if known else None

    @property
    def faults(self) -> list[str]:
        """What probes of the policy's server found, where samples were drawn nevertheless; each once."""
        probes = self.store.records("probes").values() if self.store is not None else []
        meant = [p for p in probes if p["policy"] == self.policy and self.choice.params in (None, p["params"])]
        return list(dict.fromkeys(fault for p in meant if p["overridden"] for fault in p["faults"]))

    @property
    def distrusted(self) -> str | None:
        """Why the samples may not show the model's own distribution, whatever their parameters; None: no reason."""
        return f"the server of {self.name} did not draw as asked: {'; '.join(self.faults)}" if self.faults else None

    @property
    def full_softmax(self) -> bool:
        """Whether the samples are known to come from the model's own distribution."""
        return (
            not self.faults
            and {"temperature", "top_p", "top_k"} <= set(self.stated)
            and SamplingParams(**self.stated).full_softmax
        )

    def confounds(self, level: float) -> dict[str, Any]:
        """Return what the texts show that counts cannot: P(parses) x P(correct | parses), and the guess floor.

        Empty for counts without texts, and for the verdicts of a verifier that did not judge while sampling: what was
        read in the texts is the sampling's. `guess_floor` is the mean chance that the model's answer to another problem
        would have been right here, `less_own_guesses` pass@k with such luck taken out problem by problem.
        """
        if self.store is None or self.policy is None or self.choice.verifier is not None:
            return {}
        from goldpanner.measure import corrections

        query = """
            SELECT problem, extracted, outcome, count(*) AS times FROM samples
            WHERE policy = $policy AND step IS NULL AND ($params IS NULL OR params = $params) GROUP BY ALL
        """
        rows = self.store.sql(query, {"policy": self.policy, "params": self.choice.params}).to_pylist()
        place = {problem: i for i, problem in enumerate(self.counts.ids)}
        n, c, parsed = (np.zeros(len(place), np.int64) for _ in range(3))
        answers: dict[str, dict[str | None, int]] = {}
        for row in rows:
            if row["problem"] in place and row["outcome"] != "unjudged":
                at = place[row["problem"]]
                n[at] += row["times"]
                c[at] += row["times"] * (row["outcome"] == "correct")
                parsed[at] += row["times"] * (row["extracted"] is not None or row["outcome"] == "correct")
                said = answers.setdefault(row["problem"], {})
                said[row["extracted"]] = said.get(row["extracted"], 0) + row["times"]
        if not n.sum():
            return {}
        split = corrections.parse_split(n, c, parsed, level)
        problems = self.store.problems()
        known = {problem: found for problem, found in answers.items() if problem in problems}
        floor = corrections.guess_floor(known, {problem: problems[problem].answer for problem in known})
        values = [value for value in floor.values() if np.isfinite(value)]
        corrected = {}
        if len(values) == len(self.counts) and max(values) < 1:
            ks = sorted({1, int(self.counts.n.min())})
            own = np.array([floor[problem] for problem in self.counts.ids])
            corrected = corrections.chance_corrected(self.counts, own, ks, level)
        return {
            "parses": split.parses.to_json(),
            "correct_given_parsed": split.correct_given_parsed.to_json(),
            "guess_floor": float(np.mean(values)) if values else None,
            "less_own_guesses": {str(k): estimate.to_json() for k, estimate in corrected.items()},
            "observed_groups": self.observed_groups(level),
        }

    def judged_by(self) -> set[str]:
        """Return the verifiers that judged the chosen samples while they were drawn; none for a file."""
        if self.store is None or self.policy is None:
            return set()
        query = """
            SELECT DISTINCT verifier FROM samples
            WHERE policy = $policy AND step IS NULL AND ($params IS NULL OR params = $params)
                AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], task))
        """
        asked = {"policy": self.policy, "params": self.choice.params, "tasks": list(self.choice.tasks)}
        return set(self.store.sql(query, asked).column("verifier").to_pylist())

    def observed_groups(self, level: float) -> dict[str, Any]:
        """Return the shares of the groups that RL drew from this very policy (its first step), by group size."""
        if self.store is None:
            return {}
        from goldpanner.measure import groups

        query = """
            SELECT count(*) AS n, count(*) FILTER (outcome = 'correct') AS c,
                count(*) FILTER (outcome = 'unjudged' AND cause IS DISTINCT FROM 'model') AS u
            FROM samples WHERE policy = $policy AND step IS NOT NULL AND "group" IS NOT NULL
                AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], task))
            GROUP BY run, step, "group"
        """
        rows = self.store.sql(query, {"policy": self.policy, "tasks": list(self.choice.tasks)}).to_pylist()
        n, c, u = (np.array([row[name] for row in rows], np.int64) for name in ("n", "c", "u"))
        return {str(size): shares.to_json() for size, shares in groups.observed(n, c, u, level).items()} if rows else {}


def open_store(folder: Path) -> "Store":
    """Return the store in `folder`, or in `folder/store` where a run keeps it."""
    from goldpanner.store import Store

    inner = folder / "store"
    return Store(inner if inner.is_dir() else folder)


def load_source(name: str, choice: Choice) -> Source:
    """Return the counts that `name` stands for: a policy of the store, else a file or folder of a known format.

    Raises InputError when it is neither, naming the policies there are.
    """
    path = Path(name)
    if is_file(name, choice.store):
        if choice.store is None and (choice.tasks or choice.verifier or choice.params):
            raise InputError(
                f"--task, --verifier and --params choose among the samples of a store, and {name} is a file; leave "
                "them out, or name a store with --store DIR"
            )
        log = choice.log.read(path)
        counts = log.counts(pool_steps=choice.log.pool_steps)
        for line in log.report.remarks():
            typer.echo(f"{name}: {line}", err=True)
        return Source(path.stem, with_samples(counts, path.stem), log.stated, choice=choice, asked=log.questions)
    if choice.store is None:
        raise InputError(
            f"{name!r} is no file; give a counts file or a log, or name the store of a policy with --store DIR"
        )
    store = open_store(choice.store)
    if not store.root.is_dir():
        raise InputError(f"there is no store at {choice.store}; give the folder of a store or of a run")
    policy = find_policy(store, name)
    counts = with_samples(counts_of(store, policy, choice), name)
    return Source(name, counts, drawn_with(store, policy, choice.params), policy, store, choice)


def is_file(name: str, store: Path | None) -> bool:
    """Return whether a word stands for a file or folder: one lies there, and no policy of the store is called that."""
    if name == "-":
        return True
    if not Path(name).exists():
        return False
    place = None if store is None else open_store(store)
    if place is None or not place.root.is_dir():
        return True
    policies = place.records("policies")
    names = {*policies, *place.records("runs"), *(record.get("name") for record in policies.values())}
    return name not in names


def load_base(
    name: str | None,
    margin: float | None,
    store: Path,
    params: SamplingParams,
    problems: Sequence[Problem],
    verifier: "Verifier",
) -> Counts | None:
    """Return the counts that a policy about to be drawn with `params` is compared with, None without a name.

    In the store they are those of `verifier`, which judges the samples of the problems that it has not judged yet.
    Raises InputError where they were drawn otherwise.
    """
    if name is None:
        if margin is not None:
            raise InputError(f"--margin {margin:g} is that of a comparison; name the other policy with --against")
        return None
    choice = Choice()
    if not is_file(name, store):
        choice, place = Choice(store, params=params.hash, verifier=verifier.id), open_store(store)
        if place.root.is_dir():
            from goldpanner.sampling.collect import judge_stored

            judge_stored(verifier, find_policy(place, name), problems, params, place)
    source = load_source(name, choice)
    mine = asdict(params)
    if changed := [field for field, value in source.stated.items() if value != mine.get(field, value)]:
        said = ", ".join(f"{field} = {source.stated[field]!r}, not {mine[field]!r}" for field in changed)
        raise InputError(f"{name} was sampled with {said}; sample both alike")
    return source.counts


def with_samples(counts: Counts, name: str) -> Counts:
    """Return the counts; raises InputError where nothing is judged, or naming a problem without samples.

    No k would be defined for all of them.
    """
    if (counts.n == 0).any():
        empty = counts.ids[int(np.argmax(counts.n == 0))]
        raise InputError(f"problem {empty!r} has n = 0: no samples; leave its row out")
    if not counts.judged.any():
        raise InputError(
            f"{name}: none of the {counts.n.sum():,} samples of {len(counts)} problems is judged; judge some first "
            "(for a log: --rescore VERIFIER, or another --score)"
        )
    return counts


def counts_of(store: "Store", policy: str, choice: Choice) -> Counts:
    """Return a policy's counts: what was drawn to measure it if there is any, else the rollouts that trained it."""
    query = "SELECT count(*) AS n FROM samples WHERE policy = $policy AND step IS NULL"
    measured = store.sql(query, {"policy": policy}).to_pylist()[0]["n"] > 0
    tasks = choice.tasks or None
    return store.counts(policy, params=choice.params, tasks=tasks, verifier=choice.verifier, rollouts=not measured)


def find_policy(store: "Store", name: str) -> str:
    """Return the id of the policy that a run's name, a label, or a beginning of the id stands for."""
    run = store.get("runs", name) if name.replace("-", "").replace("_", "").isalnum() else None
    if run is not None:
        return str(run["policy"])
    policies = store.records("policies")
    if name in policies:
        return name
    found = [i for i, record in policies.items() if i.startswith(name) or record.get("name") == name]
    if len(found) == 1:
        return found[0]
    known = (
        ", ".join([*store.records("runs"), *(f"{i} ({r.get('name', '')})" for i, r in policies.items())][:12]) or "none"
    )
    raise InputError(f"{len(found)} policies of {store.root} fit {name!r}; there are {known}")


def drawn_with(store: "Store", policy: str, params: str | None) -> dict[str, Any]:
    """Return the fields of the sampling parameters of a policy's samples that the store knows."""
    table = store.sql("SELECT DISTINCT params FROM samples WHERE policy = $policy", {"policy": policy})
    hashes = [params] if params else table.column("params").to_pylist()
    record = store.get("params", hashes[0]) if len(hashes) == 1 else None
    fields = SamplingParams.__dataclass_fields__
    known = {name: value for name, value in (record or {}).items() if name in fields}
    return {name: tuple(value) if name == "stop" else value for name, value in known.items()}


def load_policy(
    name: str, *, dtype: str = "auto", timeout: float = 600, **server: Any
) -> "ScriptedPolicy | LocalPolicy | ServerPolicy":
    """Return a policy to sample: `scripted:0.3` (right with that probability), a Hugging Face model folder or its name
    on the hub, a folder of LoRA adapters, or a URL.

    `dtype` is that of a model folder's weights (auto: as saved). A URL is an OpenAI-compatible server's; `server` goes
    to `ServerPolicy` (`timeout`: seconds a request), and its `model` is the adapters' base too.
    """
    if dtype != "auto" and ("://" in name or name.startswith("scripted:")):
        raise InputError(f"--dtype {dtype} is for model folders, and {name} is none; leave it out")
    if name.startswith(("http://", "https://")):
        from goldpanner.policies.endpoint import Patience
        from goldpanner.policies.server import ServerPolicy

        return ServerPolicy(name, **server, patience=Patience(timeout=timeout))
    if name.startswith("scripted:"):
        from goldpanner.policies.scripted import ScriptedPolicy

        try:
            p = float(name.removeprefix("scripted:"))
        except ValueError:
            p = -1.0
        if not 0 <= p <= 1:
            raise InputError(f"policy {name!r}: write scripted:P with a probability P between 0 and 1")
        return ScriptedPolicy.with_p(p, name=name)
    folder = any((Path(name) / file).is_file() for file in ("config.json", "adapter_config.json"))
    if not folder and not on_hub(name):
        raise InputError(
            f"policy {name!r} is no model folder (it has no config.json); give one, a folder of adapters, a model's "
            "name on the hub (OWNER/NAME), a server's URL, or scripted:P"
        )
    from goldpanner.cli.options import need_lab

    need_lab()
    from goldpanner.policies.local import LocalPolicy

    return LocalPolicy.from_pretrained(name, dtype=dtype, base=server.get("model") or None)


def origins(found: "Comparison", base: Source, rl: Source) -> "Comparison":
    """Return the comparison with the origin of every gained problem whose RL samples were scored under the base.

    The scores are those of `goldpanner score`; without them nothing is added, nor where the verdicts counted are not
    those of the sampling: which sample was right is read there.
    """
    gained = found.changes.of("gained")
    if not gained or rl.store is None or base.policy is None or rl.policy is None:
        return found
    if rl.choice.verifier is not None and rl.judged_by() != {rl.choice.verifier}:
        return found
    from goldpanner.measure.compare import with_origins

    scored = rl.store.scored(rl.policy, base.policy, gained, params=rl.choice.params)
    return with_origins(found, scored, base.counts, rl.full_softmax)


def same_conditions(base: Source, rl: Source, override: bool) -> str | None:
    """Return why nothing can be said of support, if so.

    Raises InputError where the two were sampled or asked differently, naming what differs, and where their problems are
    not the same, by the names that the logs give them.
    """
    from goldpanner.measure.compare import align
    from goldpanner.measure.corrections import support_refusal

    if changed := [name for name in base.stated if name in rl.stated and base.stated[name] != rl.stated[name]]:
        said = [", ".join(f"{name} = {x.stated[name]!r}" for name in changed) for x in (base, rl)]
        raise InputError(
            f"base ({base.name}) was sampled with {said[0]}, RL ({rl.name}) with {said[1]}; sample both alike"
        )
    _same_verifier(base, rl)
    _same_prompts(base, rl)
    align(base.counts, rl.counts, {i: asked.name for x in (base, rl) for i, asked in x.asked.items() if asked.name})
    refusals = [x.distrusted for x in (base, rl) if x.distrusted]
    refusals += [told for x in (base, rl) if x.params is not None and (told := support_refusal(x.params, override))]
    refused = next(iter(refusals), None)
    if refused and not override:
        raise InputError(f"{refused}; or go on with --speak-of-support, and every page will say so")
    return refused


def _same_verifier(base: Source, rl: Source) -> None:
    """Raise InputError where two policies of a store were judged by different verifiers, and none was named."""
    judged = [x.judged_by() for x in (base, rl)]
    if base.choice.verifier is None and all(judged) and judged[0] != judged[1]:
        said = [", ".join(sorted(names)) for names in judged]
        raise InputError(
            f"base ({base.name}) was judged by {said[0]}, RL ({rl.name}) by {said[1]}; let one verifier judge what is "
            "stored of both (goldpanner sample ... --verifier NAME, which draws nothing that is there) and name it "
            "with --verifier"
        )


def _same_prompts(base: Source, rl: Source) -> None:
    """Raise InputError naming a problem that two logs ask differently: one id, or one name in both logs."""
    named = {asked.name: asked for i, asked in rl.asked.items() if asked.name and i not in base.asked}
    changed = []
    for i, asked in base.asked.items():
        other = rl.asked.get(i) or named.get(asked.name)
        if other is not None and asked.prompt and other.prompt and asked.prompt != other.prompt:
            changed.append((asked.name or i, asked.prompt, other.prompt))
    if changed:
        name, first, second = changed[0]
        more = f" (and {len(changed) - 1} more problems)" if len(changed) > 1 else ""
        at = next((k for k, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
        raise InputError(
            f"problem {name!r} is asked differently{more}: base ({base.name}) has {_around(first, at)}, RL "
            f"({rl.name}) has {_around(second, at)}; sample both with the same prompts"
        )


def _around(text: str, at: int, before: int = 20, after: int = 60) -> str:
    """Return the part of a prompt around position `at`, quoted."""
    start, end = max(at - before, 0), at + after
    return f"{'... ' if start else ''}{text[start:end]!r}{' ...' if end < len(text) else ''}"

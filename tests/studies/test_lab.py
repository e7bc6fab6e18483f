"""The laboratory: stages trained once, kept whole, watched exactly; jobs taken once."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.runs import stages
from goldpanner.store import Store
from goldpanner.store.findings import ForecastRecord
from goldpanner.studies import claims, runner
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, StudyScale
from goldpanner.studies.statistics import computed
from goldpanner.studies.study import Finding, Study
from goldpanner.train.supervised import SFT

TINY = StudyScale(
    worlds=(0, 1),
    share=0.02,
    problems=0.05,
    world={"letters": 10, "word_length": 2, "known_relations": 3, "max_depth": 3},
    model={"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16},
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"), 0, TINY)


@pytest.fixture(scope="module")
def base(lab):
    return lab.base(lab.world())


def test_a_stage_is_trained_once_and_shared(lab, base, monkeypatch):
    monkeypatch.setattr(stages, "supervised", None)  # training again would fail
    other = Lab(lab.out, 0, TINY, study="another")
    again = other.base(other.world())
    assert again.folder == base.folder
    assert again.policy.id == base.policy.id


def test_whatever_determines_a_stage_tells_it_apart(lab, base):
    watch = {"d1": lab.problems(base.world, "world/d1")}
    stages = [
        lab.grpo(base, ["world/d1"], steps=100),
        lab.grpo(base, ["world/d2"], steps=100),
        lab.grpo(base, ["world/d1"], steps=100, group_size=8),
        lab.grpo(base, ["world/d1"], steps=100, watch=watch),
        lab.sft(base, lab.demonstrations(base.world, ["world/d1"], 4), steps=100),
        lab.sft(base, lab.demonstrations(base.world, ["world/d1"], 5), steps=100),
        lab.base(lab.world(gap=False)),
        Lab(lab.out, 1, TINY).base(Lab(lab.out, 1, TINY).world()),
    ]
    assert len({stage.key for stage in stages}) == len(stages)
    assert stages[0].policy.id == stages[3].policy.id  # to watch changes nothing


def test_watched_problems_are_known_before_during_and_after(lab, base):
    problems = lab.problems(base.world, "world/d1")
    rl = lab.grpo(base, ["world/d1"], steps=200, watch={"d1": problems}, every=2)
    steps, logp = rl.watched("d1")
    assert steps == [0, 2, 4]
    assert logp[0] == pytest.approx(lab.logp(base, problems))
    assert logp[-1] == pytest.approx(lab.logp(rl, problems))
    assert [record["step"] for record in rl.records] == [0, 1, 2, 3]


def test_every_rollout_is_stored_with_its_problem(lab, base):
    rl = lab.grpo(base, ["world/d3"], steps=100, prompts_per_step=3, group_size=4)
    rows = lab.store.samples(run=rl.key)
    assert len(rows) == 2 * 3 * 4
    assert {row.problem for row in rows} <= set(lab.store.problems())


def test_an_interrupted_stage_begins_again_and_ends_the_same(lab, base, monkeypatch):
    whole = lab.grpo(base, ["world/d1"], steps=150, seed=7)
    here = Lab(lab.out / "again", 0, TINY)
    again = here.base(here.world())
    stepping = stages.rlvr

    def broken(*args, **more):
        yield next(stepping(*args, **more))
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "rlvr", broken)
    with pytest.raises(KeyboardInterrupt):
        here.grpo(again, ["world/d1"], steps=150, seed=7)
    monkeypatch.setattr(stages, "rlvr", stepping)
    assert here.grpo(again, ["world/d1"], steps=150, seed=7).policy.id == whole.policy.id
    assert len(here.store.samples(run=whole.key)) == 3 * 48 * 16  # the steps drawn twice are stored once


def test_stop_ends_a_stage_early(lab, base):
    policies = []

    def stop(policy):
        policies.append(policy.id)
        return len(policies) == 2

    texts = lab.demonstrations(base.world, ["world/d1"], 4)
    stage = stages.sft_stage(texts, SFT.model_copy(update={"steps": 50, "batch": 4}))
    early = lab.train(stage, base.world, base, ["stopped"], every=3, stop=stop)
    assert len(early.records) == 6
    assert policies[-1] == early.policy.id


def test_a_stage_needs_a_beginning(lab):
    with pytest.raises(InputError, match="neither a parent nor a fresh model"):
        lab.train(stages.sft_stage([], SFT), lab.world(), None)


def test_origins_of_nothing_are_nothing(lab, base):
    assert lab.origins(base, base, []) == []


def test_a_model_is_its_own_origin(lab, base):
    problems = lab.problems(base.world, "world/d1")[:2]
    for found, counts in zip(lab.origins(base, base, problems, n=2560), lab.counts(base, problems, 2560).c):
        assert found.p_base.value == pytest.approx(counts / 128, abs=1e-6)  # weights are 1


def test_a_forecast_is_never_replaced(lab):
    first = lab.forecast("w0", "base", {"pass@1": 0.5}, {"draws": [3, 0]})
    assert lab.forecast("w0", "base", {"pass@1": 0.9}, {"draws": [5, 0]}) == first
    kept = lab.store.get(ForecastRecord, "w0")
    assert kept == first
    assert kept.aggregate == {"pass@1": 0.5}
    assert kept.made.endswith("Z")


CALLS = []


def measure(lab):
    CALLS.append(lab.seed)
    return {"value": float(lab.seed)}


def judge(results):
    return Finding({"rises": [Effect("here", [computed(r["value"]) for r in results], low=-1)]})


@pytest.fixture
def fake(monkeypatch):
    text = {
        "title": {"en": "t", "zh": "题"},
        "question": {"en": "q", "zh": "问"},
        "method": {"en": "m", "zh": "法"},
        "predictions": {"rises": {"text": {"en": "p", "zh": "预"}}},
        "conditions": {"here": {"en": "here", "zh": "此处"}},
        "found": {"en": "f", "zh": "果"},
        "plots": {},
    }
    from goldpanner.store.findings import StudyText

    study = Study("fake", measure, judge)
    monkeypatch.setattr(Study, "text", StudyText.model_validate(text))
    monkeypatch.setattr(claims, "load_study", lambda name: study)
    monkeypatch.setattr(runner, "import_module", lambda name: SimpleNamespace())
    monkeypatch.setattr(runner, "getsource", lambda module: "the method")
    CALLS.clear()
    return study


def test_a_job_is_done_once_and_again_only_when_its_method_changed(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(
        runner, "side_by_side", lambda jobs, progress: [function(progress, *rest) for function, rest in jobs]
    )
    first = runner.conduct(["fake"], tmp_path / "s", TINY, lambda event: None)
    again = runner.conduct(["fake"], tmp_path / "s", TINY, lambda event: None)
    assert CALLS == [0, 1]
    assert [[p.word for p in x["fake"].predictions.values()] for x in (first, again)] == [["held"], ["held"]]
    monkeypatch.setattr(runner, "getsource", lambda module: "another method")
    runner.conduct(["fake"], tmp_path / "s", TINY, lambda event: None)
    assert CALLS == [0, 1, 0, 1]


def test_a_job_that_another_process_holds_is_left_to_it(fake, tmp_path):
    import fcntl

    out = tmp_path / "s"
    (out / "locks").mkdir(parents=True)
    Store(out / "store")
    with (out / "locks" / "fake-0").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        runner.take_jobs(lambda event: None, [("fake", 0), ("fake", 1)], out, TINY)
    assert CALLS == [1]


def test_folders_that_cannot_be_used_are_refused(fake, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        runner.conduct(["fake"], tmp_path / "file", TINY, lambda event: None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        runner.conduct(["fake"], tmp_path / "full", TINY, lambda event: None)


def test_another_scale_in_the_same_folder_is_refused(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(
        runner, "side_by_side", lambda jobs, progress: [function(progress, *rest) for function, rest in jobs]
    )
    runner.conduct(["fake"], tmp_path / "s", TINY, lambda event: None)
    with pytest.raises(InputError, match=r"other settings \(share: 0.02 -> 0.5\)"):
        runner.conduct(["fake"], tmp_path / "s", TINY.model_copy(update={"share": 0.5}), lambda event: None)


def test_results_are_json(lab, base):
    problems = lab.problems(base.world, "world/d1")
    assert json.dumps(lab.logp(base, problems).tolist())
    assert np.isfinite(lab.logp(base, problems)).all()

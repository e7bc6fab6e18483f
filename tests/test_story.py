"""The main job end to end at a fiftieth of its size, killed and resumed, with another domain, and asked twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from goldpanner.errors import InputError, StoreError
from goldpanner.report.pages.run import build
from goldpanner.runs import lab_run, settings
from goldpanner.runs.config import RunConfig
from goldpanner.runs.folder import lock_folder
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.store.studies import STUDY, StudyRecord

SMALL = (
    "pretrain.steps=40 pretrain.batch=64 sft.steps=4 demonstrations=16 grpo.steps=4 grpo.prompts_per_step=8 "
    "grpo.group_size=8 measure.problems=8 measure.sampled=4 measure.samples=8 measure.every=2"
).split()
WORLD = [  # words of one letter out of 12: easy enough for a model that has seen 40 batches to be right at times
    *SMALL,
    *"domain.letters=12 domain.word_length=1 domain.max_depth=3 tasks.demonstrated=[world/d1,world/d2]".split(),
    "tasks.measured=[world/d1,world/d2]",
    "tasks.probed=[world/d3]",
]


def config(*overrides, seed=0):
    return settings.load_settings(RunConfig, None, [*WORLD, *overrides], seed=seed)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    out = tmp_path_factory.mktemp("story") / "out"
    events = []
    record = lab_run.run_lab(config(), out, events.append, command="goldpanner run")
    return out, record, events


def weights(out, stage):
    from goldpanner.train.model import load_model

    return load_model(out / "stages" / stage / "model")[0].state_dict()


def test_every_stage_is_trained_measured_and_on_record(told):
    out, record, events = told
    store = Store(out / "store")
    assert record.stages == ("base", "base-grpo", "sft", "sft-grpo")
    policies = {stage: store.get(RunRecord, stage).policy for stage in record.stages}
    assert len(set(policies.values())) == 4
    for stage, policy in policies.items():
        counts = store.counts(policy, rollouts=False, verifier="world-answer@1")
        assert len(counts) == 8
        assert counts.n.tolist() == [8] * 8
        assert len(store.truth(policy)) >= 16
        assert (out / "stages" / stage / "model" / "config.json").is_file()
    assert {(e.stage, e.doing) for e in events} >= {("base", "pretrain"), ("sft", "sft"), ("sft-grpo", "grpo")}
    assert all(e.done <= e.total for e in events)


def test_every_rollout_is_kept_under_the_policy_that_drew_it(told):
    out, record, _ = told
    store = Store(out / "store")
    table = store.sql(
        "SELECT run, step, count(DISTINCT policy) AS policies, count(*) AS n FROM samples WHERE step IS NOT NULL "
        "GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    assert [(r["policies"], r["n"]) for r in table] == [(1, 64)] * 8
    drawn_by = store.sql("SELECT DISTINCT policy FROM samples WHERE step IS NOT NULL AND run = 'base-grpo'")
    assert len(drawn_by) == 4, "each step's policy is another one"
    asked = set(store.sql("SELECT DISTINCT problem FROM samples").column(0).to_pylist())
    assert asked <= set(store.problems()), "the question of every sample is known"


def test_training_and_held_out_problems_never_meet(told):
    store = Store(told[0] / "store")
    trained = set(store.sql("SELECT DISTINCT problem FROM samples WHERE step IS NOT NULL").column(0).to_pylist())
    measured = set(store.sql("SELECT DISTINCT problem FROM samples WHERE step IS NULL").column(0).to_pylist())
    assert trained
    assert not trained & measured


def test_the_verdict_is_made_of_the_numbers(told):
    record = told[1]
    verdict = record.verdict
    assert verdict.headline
    assert len(verdict.arms) == 2
    assert verdict.agreement.problems == 32
    sampled = verdict.table["base"]["world/d1"].pass_at_1
    assert sampled.low <= sampled.value <= sampled.high
    assert Store(told[0] / "store").get(StudyRecord, STUDY) == record


def test_told_twice_it_does_nothing_again(told):
    out, record, _ = told
    parts = sorted(p.name for p in (out / "store" / "samples").iterdir())
    events = []
    again = lab_run.run_lab(config(), out, events.append, command="goldpanner run")
    assert again.verdict == record.verdict
    assert sorted(p.name for p in (out / "store" / "samples").iterdir()) == parts
    assert not [e for e in events if e.doing != "measure"]


def test_other_settings_are_refused_by_name(told):
    with pytest.raises(InputError, match="grpo.steps: 4 -> 5"):
        lab_run.run_lab(config("grpo.steps=5"), told[0], lambda event: None)


def test_a_folder_that_is_no_story_is_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        lab_run.run_lab(config(), tmp_path, lambda event: None)


def test_the_report_is_drawn_from_the_folder_alone(told):
    page = build(told[0])
    text = page.read_text(encoding="utf-8")
    assert told[1].verdict.headline.split(":")[0] in text
    page.unlink()
    assert build(told[0]).read_text(encoding="utf-8") == text


def test_killed_anywhere_it_ends_with_the_same_weights(told, tmp_path):
    """SIGKILL the whole thing twice, at different moments; the third call must end where an undisturbed one ends."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "goldpanner.cli", "run", "--out", str(out), *(f"--set={s}" for s in WORLD)]
    for wait_for in ("stages/base/metrics.jsonl", "stages/base/model/config.json"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (out / wait_for).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1.0)  # the workers see that their parent is gone
    lab_run.run_lab(config(), out, lambda event: None)
    for stage in ("base", "base-grpo", "sft", "sft-grpo"):
        one, other = weights(told[0], stage), weights(out, stage)
        assert all(torch.equal(one[name], other[name]) for name in one), stage
    both = [Store(folder / "store") for folder in (told[0], out)]
    counts = [s.sql("SELECT count(*) FROM samples").column(0).to_pylist() for s in both]
    assert counts[0] == counts[1], "nothing lost, nothing twice"


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("verb", "folder"), [(["run"], "stages/base"), (["train", "pretrain"], ".")])
def test_interrupted_from_outside_it_says_how_to_go_on(tmp_path, word, verb, folder):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "goldpanner.cli", *verb, "--out", str(out), *(f"--set={s}" for s in WORLD)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(word)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_another_domain_tells_its_own_story(tmp_path):
    other = settings.load_settings(
        RunConfig,
        None,
        [*SMALL, "domain.kind=column-addition", "tasks.measured=[column-addition/2d,column-addition/3d]"],
    )
    record = lab_run.run_lab(other, tmp_path / "out", lambda event: None)
    assert set(record.verdict.table["base"]) == {"column-addition/2d", "column-addition/3d"}
    assert record.verifiers == {"answer": "column-addition-answer@1", "process": "column-addition-process@1"}


def test_a_missing_model_is_trained_again_to_the_same_one(told, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(told[0], out)
    shutil.rmtree(out / "stages" / "sft" / "model")
    lab_run.run_lab(config(), out, lambda event: None)
    one, other = weights(told[0], "sft"), weights(out, "sft")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_metrics_survive_a_torn_line(tmp_path):
    from goldpanner.train.metrics import Metrics

    path = tmp_path / "metrics.jsonl"
    first = Metrics(path)
    first.add({"step": 0, "loss": 1.0})
    first.add({"step": 1, "loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    again = Metrics(path)
    assert again.steps == {0, 1}
    again.add({"step": 1, "loss": 9.9})
    again.add({"step": 2, "loss": 0.2})
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [line["loss"] for line in lines] == [1.0, 0.5, 0.2]


def test_samples_lost_to_damage_are_drawn_again(told, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(told[0], out)
    for part in (out / "store" / "samples").iterdir():
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(StoreError, match="store repair"):  # nothing is set aside unasked
        lab_run.run_lab(config(), out, lambda event: None)
    Store(out / "store").repair()
    again = lab_run.run_lab(config(), out, lambda event: None)
    assert again.verdict.table == told[1].verdict.table


def test_a_folder_is_one_process_s_at_a_time(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with lock_folder(out), pytest.raises(InputError, match="another process"), lock_folder(out):
        pass


def test_a_token_limit_below_the_worked_answers_is_told_first(tmp_path):
    with pytest.raises(InputError, match="measure.max_tokens is 3"):
        lab_run.run_lab(config("measure.max_tokens=3"), tmp_path / "out", lambda event: None)


def test_a_finished_stage_with_other_settings_is_not_passed_off_as_new(told, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(told[0], out)
    other = config("sft.steps=5")
    with pytest.raises(InputError, match=r"other settings \(steps: 4 -> 5\)"):
        lab_run.train_by_settings(
            "sft", other, out / "stages" / "sft", out / "stages" / "base" / "model", Store(out / "store"), print
        )

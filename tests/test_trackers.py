"""Metrics to trackers: stand-ins have the signatures of trackio 0.43, wandb 0.31, mlflow 3.17 and torch's writer."""

import json
import sys
import types
from pathlib import Path

import pytest

import goldpanner as gp
from goldpanner.train.trackers import TRACKERS, step_numbers
from goldpanner.train.trl.recorder import ProbeLook, StepLog
from goldpanner.train.trl.rollout_log import GroupStats
from goldpanner.types import StepMetrics

STEP = {
    "step": 0, "reward": 0.25, "mixed": 0.5, "all_wrong": 0.25, "all_correct": 0.25, "loss": None, "kl": None,
    "length": 9.5, "truncated": 0.125, "grad_norm": 2.0, "heldout": {"world/d1": 0.75}, "exact": [0.5],
}  # fmt: skip


@pytest.fixture
def sent(monkeypatch):
    """Install a stand-in for every tracker; return what they were sent, in order."""
    calls = []

    class Run:
        def log(self, data, step=None, commit=None):
            calls.append((step, data))

        def finish(self, exit_code=None):
            calls.append("finish")

    class SummaryWriter:
        def __init__(self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix=""):
            calls.append(("open", log_dir))

        def add_scalar(self, tag, scalar_value, global_step=None, walltime=None):
            calls.append((global_step, {tag: scalar_value}))

        def close(self):
            calls.append("finish")

    def init(project=None, name=None, reinit=None):
        calls.append(("open", project, name))
        return Run()

    def module(name, **names):
        made = types.ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)

    module("trackio", init=init)
    module("wandb", init=init)
    module("torch.utils.tensorboard", SummaryWriter=SummaryWriter)
    module(
        "mlflow",
        set_experiment=lambda experiment_name=None, experiment_id=None: calls.append(("open", experiment_name)),
        start_run=lambda run_id=None, experiment_id=None, run_name=None: calls.append(("run", run_name)),
        log_metrics=lambda metrics, step=None, synchronous=None: calls.append((step, metrics)),
        end_run=lambda status="FINISHED": calls.append("finish"),
    )
    return calls


def write_run(folder):
    for stage in ("base", "rl"):
        path = folder / "stages" / stage / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        rows = [{"step": -1, "heldout": {"d": 0.5}}, STEP, {**STEP, "step": 1}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 2, "rew')
    return folder


@pytest.mark.parametrize("name", TRACKERS)
def test_every_step_of_every_stage_is_sent_once(name, sent, tmp_path):
    assert gp.track(write_run(tmp_path / "run"), name, project=str(tmp_path / "p")) == 4
    assert sent.count("finish") == 2
    values = {}
    for call in sent:
        if isinstance(call, tuple) and isinstance(call[0], int):
            values.setdefault(call[0], {}).update(call[1])
    assert set(values) == {0, 1}
    assert values[0] == step_numbers(STEP)
    assert "run-base" in str(sent)
    assert "run-rl" in str(sent)


def test_numbers_have_our_names_and_trls():
    numbers = step_numbers(STEP)
    assert numbers["mixed"] == 0.5
    assert numbers["frac_reward_zero_std"] == 0.5
    assert numbers["completions/mean_length"] == numbers["length"] == 9.5
    assert numbers["completions/clipped_ratio"] == 0.125
    assert numbers["heldout/world/d1"] == 0.75
    assert not {"loss", "kl", "exact", "step"} & set(numbers), "what is not known is not sent"


def test_a_recorders_steps_and_looks_are_sent(sent):
    send = gp.tracked(gp.open_tracker("wandb", "p", "r"))
    groups = GroupStats(0.25, 0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 8, 9.5, 0.0, 76, 0.0)
    send(StepLog(3, groups, {"loss": 0.5, "entropy": float("nan")}))
    send(ProbeLook(4, "p", 8, 2, 0))
    (_, (step, values), (at, look)) = sent
    assert (step, values["loss"], values["mixed"], values["frac_reward_zero_std"]) == (3, 0.5, 0.5, 0.5)
    assert "entropy" not in values
    assert (at, look) == (4, {"probe/share_correct": 0.25})


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(gp.InputError, match="no tracker 'comet'; there are trackio, wandb, tensorboard, mlflow"):
        gp.open_tracker("comet")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"goldpanner\[trackers\]"):
        gp.open_tracker("wandb")
    with pytest.raises(gp.InputError, match=r"no metrics\.jsonl"):
        gp.track(tmp_path, "wandb")


def test_the_docs_have_every_field_of_a_step():
    docs = (Path(__file__).parent.parent / "docs" / "tracking.md").read_text(encoding="utf-8")
    assert not [name for name in StepMetrics.__annotations__ if f"`{name}`" not in docs]

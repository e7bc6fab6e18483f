"""The metrics of a stage belong to its checkpoint: each step once, held-out values from the weights of that step."""

import json

import pytest
import torch

from goldpanner.runs.stages import StageLook, pretrain_stage, train_stage
from goldpanner.store import Store
from goldpanner.tasks import World
from goldpanner.train.supervised import SupervisedConfig
from test_checkpoint import MODEL, WORLD

STEPS, EVERY = 9, 4


class Killed(Exception):
    """What ends a run from inside, as a kill does from outside."""


def measure(policy):
    """Stand for a held-out value: a number that tells one step's weights from another's."""
    return {"sum": float(sum(p.detach().double().abs().sum() for p in policy.model.parameters()))}


def run(folder, until=None):
    """Pretrain a stage, or end it after `until` steps; return the lines of its metrics without times."""
    torch.set_num_threads(1)

    def notify(event):
        if until is not None and event.done == until:
            raise Killed

    config = SupervisedConfig(steps=STEPS, batch=4, warmup_steps=2, checkpoint_every=EVERY)
    stage, look = pretrain_stage(World(WORLD), config, MODEL, 0), StageLook("heldout", measure, 2, ends=True)
    train_stage(stage, folder, Store(folder / "store"), notify, device="cpu", look=look)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "base")


def test_each_step_has_its_line(whole):
    assert [line["step"] for line in whole] == [-1, *range(STEPS)]
    assert [line["step"] for line in whole if "heldout" in line] == [-1, 1, 3, 5, 7, 8]
    assert len({line["heldout"]["sum"] for line in whole if "heldout" in line}) == 6


def lost(path):
    path.unlink()


def cut(path):
    path.write_text("".join(path.read_text().splitlines(True)[:2]) + '{"step": 1, "lo')


def longer(path):
    """Leave rows of steps after the checkpoint, made by weights that are gone."""
    rows = [{"step": step, "loss": -1.0, "heldout": {"sum": -1.0}} for step in range(4, 12)]
    path.write_text("".join(path.read_text().splitlines(True)[:5]) + "".join(json.dumps(row) + "\n" for row in rows))


def another(path):
    """Leave rows of the same steps with other values."""
    path.write_text("".join(json.dumps({"step": step, "loss": 9.0}) + "\n" for step in (0, 0, 1, 2, 3, 4)))


@pytest.mark.parametrize("until", [2, 6, 9])
@pytest.mark.parametrize("change", [lost, cut, longer, another, None])
def test_whatever_became_of_the_file_it_ends_as_if_never_interrupted(whole, tmp_path, until, change):
    folder = tmp_path / "base"
    with pytest.raises(Killed):
        run(folder, until)
    assert (folder / "checkpoint.pt").exists() == (until > EVERY)
    if change is not None:
        change(folder / "metrics.jsonl")
    assert run(folder) == whole
    assert not list(folder.glob("checkpoint*.pt"))

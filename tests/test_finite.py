"""A loss, gradient or weight that is not finite: the update is skipped and told, and never kept in a checkpoint."""

import itertools
import json
import math

import pytest
import torch

from goldpanner.runs.stages import pretrain_stage, rl_stage, train_stage
from goldpanner.store import Store
from goldpanner.tasks import World
from goldpanner.train import rejection, rlvr, supervised
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.config import RFTConfig
from goldpanner.train.finite import SKIPS_IN_A_ROW, NotFiniteError
from goldpanner.train.model import build_model, build_tokenizer
from goldpanner.train.supervised import SFT, SupervisedConfig
from test_checkpoint import MODEL, STEPS, WORLD, Step, stage

BAD = [float("nan"), float("inf")]


def spoil(monkeypatch, kind, calls, value=math.nan, gradient=False):
    """Make the numbered losses of the trainer (or, with `gradient`, the gradients alone) `value`; return the count."""
    room, name = (rlvr, "add_gradient") if kind in ("grpo", "ppo") else (supervised, "backward")
    original, count = getattr(room, name), [0]

    def spoiled(model, *arguments, **options):
        outcome = original(model, *arguments, **options)
        count[0] += 1
        if count[0] - 1 not in calls:
            return outcome
        if gradient:
            next(p for p in model.parameters() if p.grad is not None).grad.view(-1)[0] = value
            return outcome
        return rlvr.Pass(value, outcome.kl, outcome.clipped, outcome.value_loss) if room is rlvr else value

    monkeypatch.setattr(room, name, spoiled)
    return count


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["pretrain", "sft", "grpo", "ppo"])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("gradient", [False, True])
def test_a_step_that_is_not_finite_is_skipped_and_the_weights_are_as_before(kind, value, gradient, monkeypatch):
    minibatches = 2 if kind == "ppo" else 1
    spoil(monkeypatch, kind, range(4 * minibatches, 5 * minibatches), value, gradient)
    model, steps = stage(kind, None)
    weights = []
    skipped = [(record.skipped, weights.append(state(model)))[0] for record in steps]
    assert skipped == [minibatches if step == 4 else 0 for step in range(STEPS)]
    assert all(torch.equal(weights[3][name], weights[4][name]) for name in weights[3])
    assert any(not torch.equal(weights[4][name], weights[5][name]) for name in weights[3])
    assert all(torch.isfinite(value).all() for value in weights[-1].values())


@pytest.mark.parametrize("kind", ["pretrain", "sft", "grpo", "ppo"])
def test_many_in_a_row_stop_the_run_with_the_reason_and_the_checkpoint_is_good(kind, monkeypatch, tmp_path):
    path, minibatches = tmp_path / "checkpoint.pt", 2 if kind == "ppo" else 1
    spoil(monkeypatch, kind, range(4 * minibatches, 99))
    model, steps = stage(kind, path)
    records = list(itertools.islice(steps, 3 + SKIPS_IN_A_ROW))
    assert [bool(record.skipped) for record in records] == [False] * 4 + [True] * (SKIPS_IN_A_ROW - 1)
    with pytest.raises(NotFiniteError, match=rf"steps 4 to {3 + SKIPS_IN_A_ROW} skipped updates.*last loss is nan"):
        next(steps)
    kept = torch.load(path, weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept["model"].values())
    monkeypatch.undo()
    again, steps = stage(kind, path)  # and it goes on once the cause is gone
    assert len(list(steps)) == STEPS


def test_rejection_fine_tuning_stops_and_keeps_the_last_round(monkeypatch, tmp_path):
    torch.set_num_threads(1)
    world, path = World(WORLD), tmp_path / "checkpoint.pt"
    tokenizer = build_tokenizer(world.vocabulary())
    model = build_model(MODEL, len(tokenizer), seed=0)
    training = SFT.model_copy(update={"steps": 6, "batch": 4})
    config = RFTConfig(tasks={"world/d1": 1.0}, rounds=2, prompts=6, group_size=4, max_tokens=4, training=training)
    monkeypatch.setattr(rejection, "keep_correct", lambda samples, **options: list(samples))  # untaught, it has none
    count = spoil(monkeypatch, "rft", {2, *range(6, 99)})
    rounds = rejection.rft(model, tokenizer, world.tasks, config, checkpoint=path)
    assert next(rounds).skipped == 1
    assert count[0] == 6
    before = state(model)
    with pytest.raises(NotFiniteError):
        next(rounds)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    kept = torch.load(path, weights_only=True)["model"]
    assert all(torch.equal(before[name], value) for name, value in kept.items())


def test_weights_and_optimizer_numbers_that_are_not_finite_are_never_saved(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    keeper = Checkpoint(tmp_path / "checkpoint.pt", 1, {})
    keeper.save(model, [optimizer], [Step(0)])
    good = (tmp_path / "checkpoint.pt").read_bytes()
    for tensor in (model.weight.data, optimizer.state[model.weight]["exp_avg"]):
        number = tensor[0, 0].clone()
        tensor[0, 0] = math.nan
        with pytest.raises(NotFiniteError, match=r"(weight|exp_avg).* not finite, so it was not saved"):
            keeper.save(model, [optimizer], [Step(0), Step(1)])
        tensor[0, 0] = number
    assert (tmp_path / "checkpoint.pt").read_bytes() == good


def pretraining(folder, notify, resume=True):
    config = SupervisedConfig(steps=8, batch=4, warmup_steps=2)
    made = pretrain_stage(World(WORLD), config, MODEL, 0)
    train_stage(made, folder, Store(folder / "store"), notify, device="cpu", resume=resume)


def test_it_is_told_counted_and_a_null_in_the_metrics(monkeypatch, tmp_path):
    events = []
    spoil(monkeypatch, "pretrain", {2, 5})
    pretraining(tmp_path / "base", events.append)
    rows = [json.loads(line) for line in (tmp_path / "base" / "metrics.jsonl").read_text().splitlines()]
    assert [row["skipped"] for row in rows] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert [row["loss"] is None for row in rows] == [False, False, True, False, False, True, False, False]
    messages = [event.message for event in events if event.message]
    assert [message.split(":")[0] for message in messages] == ["base, step 2", "base, step 5"]
    assert "not finite (loss nan" in messages[0]
    notes = [event.note for event in events if not event.message][1:]  # without the beginning
    assert "skipped" not in notes[1]
    assert notes[2].endswith("1 updates skipped")
    assert notes[-1].endswith("2 updates skipped")


def test_a_model_with_a_nan_is_not_written_either(monkeypatch, tmp_path):
    original = torch.optim.AdamW.step

    def broken(self, *arguments, **options):
        original(self, *arguments, **options)
        self.param_groups[0]["params"][0].data.view(-1)[0] = math.nan

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    monkeypatch.setattr(supervised, "backward", lambda *arguments: 1.0)
    with pytest.raises(NotFiniteError, match="not finite"):
        pretraining(tmp_path / "base", lambda event: None, resume=False)
    assert not (tmp_path / "base" / "model").exists()


def test_rl_tells_it_too(monkeypatch, tmp_path):
    pretraining(tmp_path / "base", lambda event: None)
    spoil(monkeypatch, "grpo", {1})
    events, world = [], World(WORLD)
    config = rlvr.RLVRConfig(tasks={"world/d1": 1.0}, steps=3, prompts_per_step=2, group_size=2, max_tokens=3)
    train_stage(
        rl_stage("grpo", world.tasks, config), tmp_path / "rl", Store(tmp_path / "store"), events.append,
        parent=tmp_path / "base" / "model", device="cpu",
    )  # fmt: skip
    assert [e.message.split(":")[0] for e in events if e.message] == ["rl, step 1"]
    assert events[-1].note.endswith("1 updates skipped")

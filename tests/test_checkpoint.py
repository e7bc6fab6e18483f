"""Checkpoints: killed with SIGKILL at any step and started again, a stage ends with the same weights bit for bit."""

import os
import signal
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import processes
from goldpanner.errors import InputError
from goldpanner.progress import silent
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.task import Document
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.train.rlvr import RLVRConfig, rlvr
from goldpanner.train.supervised import SupervisedConfig, epochs, fresh_text, supervised

MODEL = ModelConfig(hidden_size=16, layers=2, heads=2, intermediate_size=24)
WORLD = WorldConfig(letters=4, word_length=1, known_relations=3, max_depth=2, exposures=(), test_share=0.3)
DOCUMENTS = [Document(f"Q oak {x}", f"oak {y}") for x, y in zip("abcd", "cdab")]
STEPS = 12


def stage(kind, checkpoint, notify=silent):
    """Return (model, generator of records) of a small stage, always from the same start."""
    torch.set_num_threads(1)
    world = World(WORLD)
    tokenizer = build_tokenizer(world.vocabulary())
    model = build_model(MODEL, len(tokenizer), seed=0)
    if kind in ("grpo", "ppo"):
        config = RLVRConfig(
            variant=kind,
            steps=STEPS,
            tasks={"world/d1": 1.0},
            prompts_per_step=3,
            group_size=8,
            max_tokens=4,
            kl=0.01,
            random_reward=0.5,  # an untaught model is never right, and would learn nothing
            learning_rate=1e-2,
            minibatches=2 if kind == "ppo" else 1,
            checkpoint_every=3,
        )
        return model, rlvr(model, tokenizer, world.tasks, config, checkpoint=checkpoint)
    config = SupervisedConfig(
        steps=STEPS, batch=6, warmup_steps=2, optimizer="adam" if kind == "sft" else "muon", checkpoint_every=3
    )
    source = epochs(DOCUMENTS, config) if kind == "sft" else fresh_text(world, config)
    return model, supervised(model, tokenizer, source, config, checkpoint=checkpoint, notify=notify)


def work(kind, checkpoint, out, progress):
    """What the killed process does: train, and say how far it is."""
    model, steps = stage(kind, checkpoint)
    for record in steps:
        progress.send(record.step)
    torch.save(model.state_dict(), out.with_suffix(".part"))
    out.with_suffix(".part").rename(out)  # whole or not at all: the kill may come while it is written


@pytest.fixture(scope="module")
def fresh_processes():
    return processes.context()  # torch is imported once; every process is new and really killed


@pytest.mark.parametrize("kind", ["pretrain", "sft", "grpo", "ppo"])
def test_killed_anywhere_and_started_again_the_weights_are_the_same(kind, fresh_processes, tmp_path):
    model, steps = stage(kind, None)
    for _ in steps:
        pass
    expected = model.state_dict()

    generator = np.random.default_rng(hash_free_seed(kind))
    checkpoint, out, kills = tmp_path / "checkpoint.pt", tmp_path / "weights.pt", 0
    while not out.exists():
        fatal = int(generator.integers(3, STEPS)) if kills < 2 else STEPS
        reader, writer = fresh_processes.Pipe(duplex=False)
        process = fresh_processes.Process(target=work, args=(kind, checkpoint, out, writer))
        process.start()
        writer.close()
        try:
            while reader.recv() < fatal:
                pass
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        except EOFError:  # it came to its end
            pass
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    assert kills == 2
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    found = torch.load(out)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def hash_free_seed(kind):
    return sum(kind.encode())


def test_a_finished_stage_is_read_back_and_not_trained_again(tmp_path):
    path = tmp_path / "checkpoint.pt"
    model, steps = stage("sft", path)
    records = list(steps)
    again, steps = stage("sft", path)
    assert next(steps) == records[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    assert list(steps) == records[1:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.1.pt", "checkpoint.pt"]


def build(config=None, seed=0, documents=DOCUMENTS, checkpoint=None):
    tokenizer = build_tokenizer(World(WORLD).vocabulary())
    config = config or SupervisedConfig(steps=2, batch=4)
    model = build_model(MODEL, len(tokenizer), seed=seed)
    return supervised(model, tokenizer, epochs(documents, config), config, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": SupervisedConfig(steps=2, batch=4, clip=0.5)}, r"config\.clip"),
        ({"seed": 1}, "initial weights"),
        ({"documents": DOCUMENTS[:2]}, "first batch"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_left_alone(tmp_path, change, named):
    path = tmp_path / "checkpoint.pt"
    list(build(checkpoint=path))
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"belongs to another run: {named} was .* delete the file"):
        next(build(**change, checkpoint=path))
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    list(build(checkpoint=path))
    with pytest.raises(InputError, match="stage was 'supervised', now it is 'rlvr'"):
        next(stage("grpo", path)[1])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a file"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt.* cannot be read .*delete it"):
        next(build(checkpoint=path))


def flip_in_a_weight(path):
    """Flip a bit in the numbers of a tensor, which no length or name gives away."""
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda each: each.file_size)
        content, numbers = bytearray(path.read_bytes()), archive.read(part)
    content[content.index(numbers) + len(numbers) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "empty", "a bit of a weight", "missing"])
def test_a_damaged_newest_file_falls_back_to_the_one_before_and_says_so(tmp_path, how):
    model, steps = stage("sft", None)
    list(steps)
    expected = model.state_dict()
    path, events = tmp_path / "checkpoint.pt", []
    _, steps = stage("sft", path)
    for _ in range(8):
        next(steps)
    steps.close()
    assert len(torch.load(path)["records"]) == 6
    assert len(torch.load(tmp_path / "checkpoint.1.pt")["records"]) == 3
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    else:
        flip_in_a_weight(path)
    again, steps = stage("sft", path, events.append)
    next(steps)
    assert len(torch.load(path)["records"]) == 3  # the next save does not keep the damaged one instead of it
    assert 1 + len(list(steps)) == STEPS
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    if how == "missing":
        assert not events
    else:
        (event,) = events
        assert "checkpoint.pt' cannot be read" in event.message
        assert event.message.endswith("going on from the one before, checkpoint.1.pt, step 3")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_last_few_are_kept(tmp_path, count):
    model = torch.nn.Linear(2, 2)
    keeper = Checkpoint(tmp_path / "checkpoint.pt", 1, {}, count)
    for done in range(1, 7):
        keeper.save(model, [], [Step(i) for i in range(done)])
    names = ["checkpoint.pt", *(f"checkpoint.{i}.pt" for i in range(1, count))]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert [len(torch.load(tmp_path / name)["records"]) for name in names] == list(range(6, 6 - count, -1))


def test_where_all_are_damaged_all_are_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    list(stage("sft", path)[1])
    for file in tmp_path.iterdir():
        file.write_bytes(b"no")
    with pytest.raises(InputError, match=r"checkpoint\.pt.*checkpoint\.1\.pt.*delete them to start anew"):
        next(stage("sft", path)[1])


@dataclass
class Step:
    step: int


def test_a_save_that_fails_leaves_the_last_one_whole(tmp_path, monkeypatch):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    keeper = Checkpoint(tmp_path / "deep" / "checkpoint.pt", 1, {"stage": "test"})
    keeper.save(model, [optimizer], [Step(0)])
    written = torch.save

    def half(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        keeper.save(model, [optimizer], [Step(0), Step(1)])
    monkeypatch.setattr(torch, "save", written)
    assert keeper.restore(model, [optimizer], Step) == [Step(0)]
    assert [p.name for p in Path(tmp_path / "deep").iterdir()] == ["checkpoint.pt"]


def test_the_random_state_is_part_of_it(tmp_path):
    model = torch.nn.Linear(2, 2)
    keeper = Checkpoint(tmp_path / "checkpoint.pt", 1, {})
    with torch.random.fork_rng():
        keeper.save(model, [], [])
        expected = torch.rand(3)
        torch.rand(5)
        keeper.restore(model, [], Step)
        assert torch.equal(torch.rand(3), expected)


def test_without_a_path_nothing_is_kept():
    model = torch.nn.Linear(2, 2)
    keeper = Checkpoint(None, 1, {})
    keeper.save(model, [], [])
    assert keeper.restore(model, [], Step) == []
    assert not keeper.due(1, 1)

"""What a word for a model stands for, the same in every command and in Python."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import goldpanner as gp
from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.policies import resolve
from goldpanner.policies.resolve import model_folder


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Return the folders that were fetched: each a tiny model, as `smollm2` would be one."""
    import tiny_model

    monkeypatch.chdir(tmp_path)
    folders = []

    def fetch(model, folder, convert=None):
        folders.append(folder)
        tiny_model.write(folder, steps=1)
        return True

    monkeypatch.setattr(resolve, "fetch", fetch)
    return folders


def test_smollm2_is_fetched_only_where_it_is_missing(fetched):
    events = []
    assert model_folder("smollm2", events.append) == Path("models/smollm2") == model_folder("smollm2")
    assert fetched == [Path("models/smollm2")]
    assert [event.message for event in events if "models/smollm2 is not there yet" in event.message]
    assert gp.load_policy("smollm2").name == "smollm2"


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "smollm2", "arithmetic/add-1d1d", "--store", "s", "-n", "2", "--problems", "2"],
        ["score", "smollm2", "scripted:0.5", "--store", "s"],
        ["train", "sft", "--model", "smollm2", "--task", "arithmetic/add-1d1d", "--out", "x", "--set", "sft.steps=1"],
        ["run", "--model", "smollm2", "--task", "arithmetic/add-1d1d", "--set", "pilot.problems=2"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_takes_a_model_takes_smollm2(fetched, command):
    store = gp.Store("s")
    gp.collect(gp.ScriptedPolicy.with_p(0.5, name="scripted:0.5"), "arithmetic/add-1d1d", store, problems=2)
    done = CliRunner().invoke(application(), command)
    assert fetched == [Path("models/smollm2")], (done.output, done.exception)
    assert "models/smollm2 is not there yet; fetching SmolLM2" in done.stderr


@pytest.mark.parametrize("name", ["nowhere", "runs/nowhere/model", "a/b/c"])
def test_a_name_without_a_model_is_refused_everywhere_in_the_same_words(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    says = f"'{name}' is no model folder \\(it has no config.json\\); give a folder in the Hugging Face layout"
    for resolved in (model_folder, resolve.check_model, gp.load_policy):
        with pytest.raises(InputError, match=says):
            resolved(name)


@pytest.mark.parametrize("name", ["scripted:1.5", "scripted:x", "scripted:-0.1"])
def test_a_scripted_policy_has_a_probability(name):
    assert gp.load_policy("scripted:0.25").record["p"] == 0.25
    with pytest.raises(InputError, match="a probability P between 0 and 1"):
        gp.load_policy(name)

"""`run --model --task` on a tiny Hugging Face model: end to end, killed and resumed, and asked for what cannot be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tiny_model
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.measure.corrections import parse_split
from goldpanner.policies.local import LocalPolicy
from goldpanner.report.pages.run import build
from goldpanner.rng import stream
from goldpanner.runs import model_run, settings
from goldpanner.runs.conclude import form_paragraph
from goldpanner.runs.folder import claim_folder
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.store.studies import PlanRecord
from goldpanner.tasks.catalog import task
from goldpanner.train.config import RLVRConfig
from goldpanner.train.model import load_model
from goldpanner.train.objective import add_gradient
from goldpanner.train.rows import TokenRow

SMALL = (
    'grpo.template="{prompt}" grpo.max_tokens=4 grpo.steps=4 grpo.learning_rate=0.001 pilot.problems=6 pilot.samples=8 '
    "measure.problems=6 measure.samples=8"
).split()
runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("real") / "tiny")


def config(model, *overrides, seed=0, **given):
    options = {"model": str(model), "task": tiny_model.TASK, **given}
    return settings.load_settings(model_run.ModelRunConfig, None, [*SMALL, *overrides], seed=seed, **options)


def quiet(event):
    pass


def words(model, out, *more):
    sets = [part for each in SMALL for part in ("--set", each)]
    return ["run", "--model", str(model), "--task", tiny_model.TASK, "--out", str(out), *sets, *map(str, more)]


@pytest.fixture(scope="module")
def told(model, tmp_path_factory):
    """A run by the command line: its folder and what --json printed."""
    out = tmp_path_factory.mktemp("told") / "out"
    result = runner.invoke(application(), words(model, out, "--json"))
    assert result.exit_code == 0, (result.output, result.exception)
    return out, json.loads(result.stdout)


def weights(out):
    return load_model(out / "stages" / "grpo" / "model")[0].state_dict()


def test_it_pilots_plans_trains_and_measures_twice(told, model):
    out, record = told
    assert record["stages"] == ["base", "grpo"]
    assert record["plan"]["problems"] == 6
    assert record["plan"]["groups"]["8"]["mixed"]["low"] <= record["plan"]["groups"]["8"]["mixed"]["high"]
    assert record["verdict"]["headline"].startswith("From base, RL ")
    assert set(record["form"]) == {"base", "grpo"}
    assert {"comparison", "config", "seconds", "versions", "seed", "report", "folder"} <= record.keys()
    store, pilot = Store(out / "store"), Store(out / "pilot")
    runs = store.records(RunRecord)
    assert runs["base"].policy == LocalPolicy.from_pretrained(model, device="cpu").id == runs["grpo"].parent_policy
    assert runs["grpo"].policy == LocalPolicy.from_pretrained(out / "stages" / "grpo" / "model", device="cpu").id
    for run in runs.values():
        counts = store.counts(run.policy, rollouts=False)
        assert counts.n.tolist() == [8] * 6
    assert pilot.counts(runs["base"].policy).n.tolist() == [8] * 6
    assert store.get(PlanRecord, "plan").problems, "problem by problem"
    assert len(store.samples(run="grpo")) == 4 * 8 * 8 + 6 * 8, "every rollout, and what it was measured by"


def test_gained_problems_are_traced_to_the_base(model, tmp_path):
    """The scores are those of the base itself, and the origin's estimate is their mean ratio."""
    few = config(model, "measure.samples=2", "measure.problems=16", "grpo.steps=1")
    record = model_run.run_model(few, tmp_path, quiet)
    store = Store(tmp_path / "store")
    ids = {stage: store.get(RunRecord, stage).policy for stage in ("base", "grpo")}
    before, after = (store.counts(policy, rollouts=False) for policy in ids.values())
    gained = {i for i, c in zip(before.ids, before.c) if not c} & {i for i, c in zip(after.ids, after.c) if c}
    assert gained, "with two samples each, chance alone gains some of 16"
    assert set(record.comparison.origin) == gained
    base = LocalPolicy.from_pretrained(store.get(RunRecord, "base").config["model"], device="cpu")
    for problem in gained:
        samples = [s for s in store.samples(policy=ids["grpo"], problem=problem) if s.step is None]
        asked = [store.problems()[problem]] * len(samples)
        right = np.array([s.verdict.correct for s in samples])
        ratio = base.logprobs(asked, [s.completion.tokens for s in samples]) - [s.completion.logprob for s in samples]
        said = record.comparison.origin[problem]["p_base"]["value"]
        assert said == pytest.approx(float((np.exp(ratio) * right).mean()), rel=1e-3)


def test_held_out_problems_are_never_trained_on(told):
    store, pilot = (Store(told[0] / name) for name in ("store", "pilot"))
    trained = set(store.sql("SELECT DISTINCT problem FROM samples WHERE step IS NOT NULL").column(0).to_pylist())
    measured = set(store.sql("SELECT DISTINCT problem FROM samples WHERE step IS NULL").column(0).to_pylist())
    assert trained
    assert not measured & (trained | set(pilot.problems()))


def test_the_page_tells_it_and_can_be_drawn_anew(told):
    page = told[0] / "report.html"
    text = page.read_text(encoding="utf-8")
    for said in ("What GRPO did to tiny on arithmetic/add-1d1d", "Form and skill", "The pilot and the plan", "pass@k"):
        assert said in text
    assert "exact P before and after" not in text, "nobody knows P here"
    page.unlink()
    assert build(told[0]).read_text(encoding="utf-8") == text


def test_the_instrument_reads_its_store(told):

    result = runner.invoke(application(), ["compare", "base", "grpo", "--store", str(told[0]), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["verdict"] == told[1]["comparison"]["verdict"]
    result = runner.invoke(application(), ["plan", "base", "--store", str(told[0] / "pilot"), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)


def test_told_twice_it_does_nothing_again(told, model):
    out, record = told
    parts = sorted(p.name for p in (out / "store" / "samples").iterdir())
    events = []
    again = model_run.run_model(config(model), out, events.append)
    assert again.model_dump(mode="json")["verdict"] == record["verdict"]
    assert again.command == record["command"]
    assert sorted(p.name for p in (out / "store" / "samples").iterdir()) == parts
    assert not events


def test_killed_and_interrupted_it_ends_with_the_same_weights(told, model, tmp_path):
    """SIGKILL while it samples, Ctrl-C while it trains; the third call must end where an undisturbed one ends."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "goldpanner.cli", *words(model, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for wait_for, stop in (("store/samples", signal.SIGKILL), ("stages/grpo/metrics.jsonl", signal.SIGINT)):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        deadline = time.monotonic() + 120
        while not (out / wait_for).exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it could be stopped"
        process.send_signal(stop)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    torch.set_num_threads(1)
    model_run.run_model(config(model), out, quiet)
    one, other = weights(told[0]), weights(out)
    assert all(torch.equal(one[name], other[name]) for name in one)
    query = "SELECT count(*) FROM samples"
    counts = [Store(folder / "store").sql(query).column(0).to_pylist() for folder in (told[0], out)]
    assert counts[0] == counts[1], "nothing lost, nothing twice"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "{model}"], "--model and --task belong together"),
        (["--task", "arithmetic/add-1d1d"], "--model and --task belong together"),
        (["--data", "x.jsonl"], "--model and --task belong together"),
        (["--model", "nowhere", "--task", "arithmetic/add-1d1d"], "'nowhere' is no model folder"),
        (["--model", "{model}", "--task", "arithmetic/plus"], "no task is called 'arithmetic/plus'; did you mean"),
        (["--model", "{model}", "--task", "gsm8k/train"], "read from a file; give its path"),
        (["--model", "{model}", "--task", "countdown/3", "--data", "x.jsonl"], "made, not read"),
        (["--model", "{model}", "--task", "countdown/3", "--set", "grpo.stepz=3"], "did you mean grpo.steps"),
        (["--model", "{model}", "--task", "countdown/3", "--set", "pretrain.steps=3"], "unknown setting"),
        (["--model", "{model}", "--task", "countdown/3", "--set", "grpo.group_size=1"], "group of one"),
        (["--model", "{model}", "--task", "countdown/3", "--set", "grpo.variant=ppo"], "goldpanner train ppo"),
    ],
)
def test_what_cannot_be_is_told(arguments, says, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(application(), ["run", *(word.format(model=model) for word in arguments)])
    assert isinstance(result.exception, GoldpannerError), result.output
    assert says in str(result.exception)
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_folder_of_another_run_is_refused(told, model, tmp_path):
    with pytest.raises(InputError, match="grpo.steps: 4 -> 5"):
        model_run.run_model(config(model, "grpo.steps=5"), told[0], quiet)
    from goldpanner.runs.config import RunConfig

    with pytest.raises(InputError, match="work of another kind"):
        claim_folder(told[0], settings.load_settings(RunConfig))
    out = tmp_path / "lab"
    claim_folder(out, settings.load_settings(RunConfig))
    with pytest.raises(InputError, match="work of another kind"):
        model_run.run_model(config(model), out, quiet)


def test_another_model_in_the_same_folder_is_refused(told, model, tmp_path):
    moved = tmp_path / "out"
    shutil.copytree(told[0], moved)
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    text = (moved / "config.yaml").read_text().replace(str(model), str(mine))
    (moved / "config.yaml").write_text(text)
    tiny_model.write(mine, steps=2)
    with pytest.raises(InputError, match="no longer the one"):
        model_run.run_model(config(mine), moved, quiet)


def test_a_pilot_without_a_right_answer_stops_the_run(model, tmp_path):
    impossible = {"task": "arithmetic/mul-2d2d"}  # the model has no word for such an answer
    with pytest.raises(InputError, match="none of the pilot's 48 samples of 6 problems was right"):
        model_run.run_model(config(model, **impossible), tmp_path / "out", quiet)
    record = model_run.run_model(
        config(model, "pilot.insist=true", "grpo.steps=1", **impossible), tmp_path / "insisted", quiet
    )
    assert record.plan.right == 0
    assert build(tmp_path / "insisted").is_file()


def test_a_file_is_split_and_what_the_plan_leaves_out_is_not_trained_on(model, tmp_path):
    file = tmp_path / "sums.jsonl"
    rows = [{"question": f"{a} + {b} =", "answer": f"so #### {a + b}"} for a in range(10) for b in range(10)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sums = config(model, task="gsm8k/mine", data=str(file)).load_task()
    train, test = (model_run.split_problems(sums, 1000, split, 0) for split in ("train", "test"))
    assert len(train) + len(test) == 100
    assert 10 <= len(test) <= 30
    assert not {p.id for p in train} & {p.id for p in test}
    out = frozenset(p.id for p in train[:50])
    sums = model_run.replace(sums, left_out=out)
    drawn = sums.draw(20, stream("x"), "train")
    assert not {p.id for p in drawn} & out
    with pytest.raises(InputError, match=f"has {len(train) - 50}; lower prompts_per_step"):
        sums.draw(90, stream("x"), "train")
    assert len(task("gsm8k/mine", file).draw(100, stream("x"))) == 100, "unless it is split"
    template = 'grpo.template="{prompt}"'
    record = model_run.run_model(
        config(model, template, "grpo.steps=1", "pilot.insist=true", task="gsm8k/mine", data=str(file)),
        tmp_path / "out",
        quiet,
    )
    trained_ids = {s.problem for s in Store(tmp_path / "out" / "store").samples(run="grpo") if s.step is not None}
    assert trained_ids <= {p.id for p in train} - set(record.plan.left_out)


def test_a_data_file_is_a_task(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"{a} + {b} =", "answer": a + b} for a in range(10) for b in range(10)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [part for each in [*SMALL, "grpo.steps=1", "pilot.insist=true"] for part in ("--set", each)]
    result = runner.invoke(application(), ["run", "--model", str(model), "--task", "sums.jsonl", "--json", *sets])
    assert result.exit_code == 0, (result.output, result.exception)
    record = json.loads(result.stdout)
    assert Path(record["folder"]).name.startswith("tiny-sums-seed0")
    assert (record["tasks_measured"], record["verifiers"]) == (
        ["sums"],
        {"answer": "number:wrong-if-missing@3+within-1e-06"},
    )
    store = Store(Path(record["folder"]) / "store")
    trained, held_out = ({s.problem for s in store.samples() if (s.step is None) == out} for out in (False, True))
    assert (len(held_out), trained & held_out) == (6, set())


def test_a_task_of_the_lab_is_a_task(model, tmp_path):
    record = model_run.run_model(
        config(model, "grpo.steps=1", "pilot.insist=true", task="world/d1"), tmp_path / "out", quiet
    )
    assert (record.tasks_measured, record.verifiers) == (("world/d1",), {"answer": "world-answer@1"})


def test_lora_has_a_rate_of_its_own_and_leaves_its_adapters(model, tmp_path):
    pytest.importorskip("peft")
    options = {"model": str(model), "task": tiny_model.TASK}
    assert settings.load_settings(model_run.ModelRunConfig, None, [], **options).grpo.learning_rate == 1e-5
    assert (
        settings.load_settings(model_run.ModelRunConfig, None, ["grpo.lora=16"], **options).grpo.learning_rate == 2e-4
    )
    told = settings.load_settings(
        model_run.ModelRunConfig, None, ["grpo.lora=16", "grpo.learning_rate=0.1"], seed=5, **options
    )
    assert (told.grpo.learning_rate, told.grpo.seed, told.grpo.autocast) == (0.1, 5, True)
    out = tmp_path / "out"
    record = model_run.run_model(config(model, "grpo.lora=4", "grpo.steps=2"), out, quiet)
    assert (out / "stages" / "grpo" / "adapter" / "adapter_model.safetensors").is_file()
    assert record.config["grpo"]["lora"] == 4


def test_form_and_skill_add_up_to_the_change_of_pass_at_1():
    n = np.array([100, 100])
    before = parse_split(n, np.array([10, 5]), np.array([40, 60]))  # f = .5, pass@1 = .075
    after = parse_split(n, np.array([60, 40]), np.array([90, 90]))  # f = .9, pass@1 = .5
    text = form_paragraph(before, after)
    form, skill = 0.4 * (0.15 + 5 / 9) / 2, (5 / 9 - 0.15) * 1.4 / 2
    assert f"Of the change in pass@1, +0.425, form makes {form:+.3f} and skill {skill:+.3f}." in text
    nothing = parse_split(n, np.array([0, 0]), np.array([0, 0]))
    assert "Of the change" not in form_paragraph(nothing, after), "without a parsed answer skill is not defined"


def test_autocast_computes_the_same_gradient_to_bfloat16_precision(model):
    rows = [TokenRow((3, 4, 5), (6, 1)), TokenRow((3, 4), (7, 8, 1)), TokenRow((9,), (2, 2, 2))]
    gradients = []
    for autocast in (False, True):
        net, _ = load_model(model)
        config = RLVRConfig(max_tokens=4, autocast=autocast, reduction="token-mean")
        add_gradient(net, rows, torch.tensor([1.0, -0.5, 0.3]), config)
        assert net.lm_head.weight.grad.dtype == torch.float32
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    plain, mixed = gradients
    assert not torch.equal(plain, mixed)
    assert torch.nn.functional.cosine_similarity(plain, mixed, dim=0) > 0.999
    torch.testing.assert_close(mixed.norm(), plain.norm(), rtol=0.02, atol=0)


def test_the_docs_list_the_settings():
    page = (Path(__file__).parent.parent / "docs" / "real-models.md").read_text(encoding="utf-8")
    own = [row for row in settings.reference(model_run.ModelRunConfig) if row[0].startswith(("pilot.", "measure."))]
    assert len(own) == 5
    for key, default, text in own:
        assert f"| `{key}` | `{default}` | {text} |" in page


@pytest.mark.slow
def test_smollm2_learns_two_digit_sums(tmp_path):
    """The figure of the README at half its length; SMOLLM2 names the folder that `goldpanner get smollm2` left."""
    folder = Path(os.environ.get("SMOLLM2", "models/smollm2"))
    if not (folder / "config.json").is_file():
        pytest.skip(f"no model in {folder}; run: goldpanner get smollm2")
    options = {"model": str(folder), "task": "arithmetic/add-2d2d"}
    chosen = settings.load_settings(model_run.ModelRunConfig, None, ["grpo.steps=20", "measure.samples=16"], **options)
    record = model_run.run_model(chosen, tmp_path / "out", quiet)
    ends = [record["verdict"]["table"][stage][options["task"]]["pass_at_1"] for stage in ("base", "grpo")]
    assert ends[0]["high"] < 0.2
    assert ends[1]["low"] > 0.3
    assert record["comparison"]["verdict"] in ("sharpened", "expanded")

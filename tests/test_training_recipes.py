"""Recipes and single stages from the command line: on the lab's model and on another Hugging Face model and task."""

import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.rng import stream
from goldpanner.runs import lab_run, recipe, settings, stages
from goldpanner.runs.config import RunConfig
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.store.studies import RecipeRecord
from goldpanner.tasks.catalog import task
from goldpanner.train.model import build_tokenizer, load_model, save_model
from goldpanner.train.supervised import in_template
from goldpanner.types import Completion, Problem
from goldpanner.verify import Countdown

runner = CliRunner()
SMALL = (
    "pretrain.steps=40 pretrain.batch=64 sft.steps=4 demonstrations=16 grpo.steps=3 grpo.prompts_per_step=8 "
    "grpo.group_size=8 ppo.steps=2 ppo.prompts_per_step=32 rft.prompts=24 rft.group_size=8 rft.training.steps=3 "
    "measure.problems=8 measure.sampled=4 measure.every=2"
).split()
WORLD = [
    *SMALL,
    *"domain.letters=12 domain.word_length=1 domain.max_depth=3 tasks.demonstrated=[world/d1,world/d2]".split(),
    "tasks.measured=[world/d1,world/d2]",
]


def call(*arguments, overrides=()):
    """Run a command; what main() would print as an error is raised."""
    sets = [part for override in overrides for part in ("--set", override)]
    result = runner.invoke(application(), ["train", *map(str, arguments), *sets])
    if isinstance(result.exception, GoldpannerError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.strip().splitlines()[-1]


def weights(folder):
    return load_model(folder)[0].state_dict()


def same(one, other):
    left, right = weights(one), weights(other)
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("base") / "base"
    call("pretrain", "--out", out, overrides=WORLD)
    return out / "model"


@pytest.fixture(scope="module")
def r1(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("r1") / "out"
    call("recipe", "r1", "--model", base, "--out", out, overrides=WORLD)
    return out


# --- the recipes themselves


def test_the_recipes_are_those_of_the_papers():
    assert recipe.recipe_names() == ["lima", "r1", "r1-zero"]
    zero, one, lima = (recipe.load_recipe(name) for name in ("r1-zero", "r1", "lima"))
    assert [stage.kind for stage in zero.stages] == ["grpo"]
    assert [stage.kind for stage in lima.stages] == ["sft"]
    assert [(s.kind, s.parent, s.rollouts) for s in one.stages] == [
        ("sft", None, None),
        ("grpo", "cold-start", None),
        ("rft", None, "reasoning-rl"),  # the base anew, on what the RL model got right
        ("grpo", "rejection-sft", None),
    ]
    for name in recipe.recipe_names():
        assert recipe.configurations(recipe.load_recipe(name))


def test_a_recipe_s_settings_give_way_to_the_user_s(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("sft: {learning_rate: 0.001}\n")
    (lima,) = recipe.configurations(recipe.load_recipe("lima"), file, ["demonstrations=9"], seed=4)
    assert (lima.sft.steps, lima.demonstrations, lima.sft.learning_rate, lima.sft.seed) == (40, 9, 0.001, 4)
    file.write_text("sft: {steps: 7}\n")
    (lima,) = recipe.configurations(recipe.load_recipe("lima"), file)
    assert (lima.sft.steps, lima.demonstrations, lima.sft.optimizer) == (7, 32, "adam")


def test_a_second_rl_stage_draws_other_prompts():
    configs = recipe.configurations(recipe.load_recipe("r1"), seed=3)
    assert configs[1].grpo.seed == 3
    assert configs[3].grpo.seed not in (0, 3)
    (zero,) = recipe.configurations(recipe.load_recipe("r1-zero"), seed=3)
    assert zero.grpo == configs[1].grpo


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("about: x\nstages: [{name: a, kind: dpo}]", r"stages\.0\.kind = 'dpo'"),
        ("about: x\nstages: []", "stages"),
        ("about: x\nstages: [{name: a, kind: sft, parent: b}]", "names 'b'; name a stage before it"),
        ("about: x\nstages: [{name: a, kind: rft, rollouts: a}]", "names 'a'; name a stage before it"),
        ("about: x\nstages: [{name: a, kind: sft}, {name: a, kind: sft}]", "two stages are called a"),
        ("about: x\nstages: [{name: ../a, kind: sft}]", r"stages\.0\.name"),
        ("about: x\nstages: [{name: a, kind: sft, set: {sft.stepz: 3}}]", "did you mean .*sft.steps"),
    ],
)
def test_a_faulty_recipe_is_told(text, says, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        recipe.configurations(recipe.load_recipe(str(file)))


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(InputError, match="no recipe is called 'r2'; there are lima, r1, r1-zero, or give a YAML file"):
        recipe.load_recipe("r2")


# --- run on the lab's model


def test_r1_trains_its_four_stages_and_the_store_knows_where_each_came_from(r1, base):
    store = Store(r1 / "store")
    runs = {name: store.get(RunRecord, name) for name in ("cold-start", "reasoning-rl", "rejection-sft", "final-rl")}
    assert [run.stage for run in runs.values()] == ["sft", "grpo", "rft", "grpo"]
    start = LocalPolicy.from_pretrained(base).id
    parents = [run.parent_policy for run in runs.values()]
    assert parents == [start, runs["cold-start"].policy, start, runs["rejection-sft"].policy]
    assert len({run.policy for run in runs.values()} | {start}) == 5
    assert LocalPolicy.from_pretrained(r1 / "stages" / "final-rl" / "model").id == runs["final-rl"].policy
    # the rejection stage was sampled from the RL model
    assert {s.policy for s in store.samples(run="rejection-sft")} == {runs["reasoning-rl"].policy}
    assert {s.step for s in store.samples(run="final-rl")} == {0, 1, 2}
    first, second = ({s.problem for s in store.samples(run=run)} for run in ("reasoning-rl", "final-rl"))
    assert first != second
    assert {s.problem for s in store.samples()} <= store.problems().keys()
    told = store.get(RecipeRecord, "recipe")
    assert (told.start, [stage["name"] for stage in told.stages]) == (start, list(runs))
    lines = (r1 / "stages" / "final-rl" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_asked_again_it_is_there_at_once_and_other_settings_are_refused(r1, base, monkeypatch):
    def never(*args, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(stages, "_train", never)
    folder = call("recipe", "r1", "--model", base, "--out", r1, overrides=WORLD)
    assert folder.endswith("stages/final-rl/model")
    with pytest.raises(InputError, match=r"other settings \(config.cold-start.grpo.steps: 3 -> 4; "):
        call("recipe", "r1", "--model", base, "--out", r1, overrides=[*WORLD, "grpo.steps=4"])
    with pytest.raises(InputError, match="other settings .*title: 'Recipe r1.*-> 'Recipe lima"):
        call("recipe", "lima", "--model", base, "--out", r1, overrides=WORLD)
    with pytest.raises(InputError, match=r"other settings \(start: "):
        call("recipe", "r1", "--model", r1 / "stages" / "cold-start" / "model", "--out", r1, overrides=WORLD)


@pytest.mark.parametrize(("stage", "done"), [("reasoning-rl", 2), ("rejection-sft", 1)])
def test_interrupted_anywhere_it_ends_with_the_same_weights(stage, done, r1, base, tmp_path):
    def stop(event):
        if (event.stage, event.done) == (stage, done):
            raise KeyboardInterrupt

    given = {"overrides": WORLD}
    with pytest.raises(KeyboardInterrupt):
        recipe.run_recipe("r1", base, tmp_path, stop, **given)
    assert not (tmp_path / "stages" / stage / "model").exists()
    last = recipe.run_recipe("r1", base, tmp_path, lambda event: None, **given)
    assert same(last, r1 / "stages" / "final-rl" / "model")


def test_lima_and_a_recipe_of_your_own(base, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("about: RL by PPO, then RFT\nstages: [{name: one, kind: ppo}, {name: two, kind: rft, parent: one}]")
    for name in ("lima", str(file)):
        out = tmp_path / name.removesuffix(".yaml").rpartition("/")[2]
        last = call("recipe", name, "--model", base, "--out", out, overrides=WORLD)
        assert not same(last, base)
    assert {s.step for s in Store(tmp_path / "mine" / "store").samples(run="one")} == {0, 1}


# --- single stages


def test_ppo_by_itself(base, tmp_path):
    out = tmp_path / "ppo"
    call("ppo", "--model", base, "--out", out, overrides=[*WORLD, "ppo.gae_lambda=1"])
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["groups"] for record in records] == [32, 32]
    assert all(record["value_loss"] > 0 for record in records)
    assert set(records[1]["heldout"]) == {"world/d1", "world/d2"}
    assert not same(out / "model", base)
    with pytest.raises(InputError, match=r"ppo\.variant is 'grpo'"):
        call("ppo", "--model", base, "--out", tmp_path / "x", overrides=[*WORLD, "ppo.variant=grpo"])


def test_rft_on_stored_rollouts_and_on_its_own(base, r1, tmp_path):
    stored = ("--rollouts", r1, "--run", "reasoning-rl")
    call("rft", "--model", base, "--out", tmp_path / "stored", *stored, overrides=WORLD)
    assert Store(tmp_path / "stored" / "store").get(RunRecord, "stored").stage == "rft"
    lines = (tmp_path / "stored" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]  # steps of fine-tuning; nothing is drawn
    process = [*WORLD, "rft.reward=process", "rft.distinct=false"]
    call("rft", "--model", base, "--out", tmp_path / "process", *stored, overrides=process)
    call("rft", "--model", base, "--out", tmp_path / "own", overrides=WORLD)
    assert len(Store(tmp_path / "own" / "store").samples(run="own")) == 24 * 8
    assert not same(tmp_path / "stored" / "model", tmp_path / "process" / "model")
    assert not same(tmp_path / "stored" / "model", tmp_path / "own" / "model")
    with pytest.raises(InputError, match=r"run 'nobody' .* has no correct rollout; runs there: cold-start"):
        call("rft", "--model", base, "--out", tmp_path / "x", "--rollouts", r1, "--run", "nobody", overrides=WORLD)
    with pytest.raises(InputError, match="--rollouts and --run belong together"):
        call("rft", "--model", base, "--out", tmp_path / "x", "--run", "nobody", overrides=WORLD)


def test_a_stage_that_an_older_version_finished_is_still_finished(base, tmp_path):
    out, store = tmp_path / "rl", Store(tmp_path / "store")
    config = settings.load_settings(RunConfig, None, WORLD)
    lab_run.train_by_settings("grpo", config, out, base, store, lambda event: None)
    older = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    for added in ("frozen", "random_reward", "k", "gae_lambda", "stop", "template"):
        del older[added]
    (out / "config.yaml").write_text(yaml.safe_dump(older), encoding="utf-8")
    lab_run.train_by_settings("grpo", config, out, base, store, pytest.fail)
    other = settings.load_settings(RunConfig, None, [*WORLD, "grpo.steps=9"])
    with pytest.raises(InputError, match=r"other settings \(steps: 3 -> 9\)"):
        lab_run.train_by_settings("grpo", other, out, base, store, pytest.fail)


def test_a_task_of_the_lab_named_by_task_is_trained_on_as_the_lab_does(base, tmp_path):
    only = [*WORLD, 'grpo.tasks={"world/d2": 1.0}']
    call("grpo", "--model", base, "--out", tmp_path / "lab", overrides=only)
    call("grpo", "--model", base, "--out", tmp_path / "task", "--task", "world/d2", overrides=WORLD)
    assert same(tmp_path / "lab" / "model", tmp_path / "task" / "model")
    store = Store(tmp_path / "task" / "store")
    assert {problem.task for problem in store.problems().values()} == {"world/d2"}
    call("sft", "--model", base, "--out", tmp_path / "sft", "--task", "world/d2", overrides=WORLD)
    assert not same(tmp_path / "sft" / "model", base)
    with pytest.raises(InputError, match="no task is called 'world/d99'; did you mean world/d"):
        call("grpo", "--model", base, "--out", tmp_path / "x", "--task", "world/d99", overrides=WORLD)


# --- another model, another task


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A tiny GPT-2 with a tokenizer of its own, as if from anywhere."""
    tokenizer = build_tokenizer([*map(str, range(100)), "+", "="])
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1
    )
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        model = GPT2LMHeadModel(config)
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    save_model(model, tokenizer, folder)
    return folder


HF = [
    *"grpo.steps=2 grpo.prompts_per_step=8 grpo.group_size=16 sft.steps=60 sft.learning_rate=0.003".split(),
    *"rft.prompts=40 rft.group_size=4 rft.training.steps=4 demonstrations=32 grpo.max_tokens=4".split(),
]


def test_r1_on_a_hugging_face_model_and_a_task_of_its_own(gpt2, tmp_path):
    out = tmp_path / "r1"
    task = "arithmetic/add-1d1d"
    call("recipe", "r1", "--model", gpt2, "--out", out, "--task", task, "--seed", 1, overrides=HF)
    store = Store(out / "store")
    assert {problem.task for problem in store.problems().values()} == {task}
    samples = store.samples(run="reasoning-rl")
    assert len(samples) == 2 * 8 * 16
    assert any(s.verdict.correct for s in samples)  # the cold start taught the form
    assert {len(s.completion.tokens) <= 4 for s in samples} == {True}
    assert store.get(RecipeRecord, "recipe").task == task
    assert not same(out / "stages" / "rejection-sft" / "model", gpt2)


def test_too_few_problems_are_told_before_the_first_stage(gpt2, tmp_path):
    with pytest.raises(InputError, match="arithmetic/add-1d1d: 720 train problems were asked for"):
        call("recipe", "r1", "--model", gpt2, "--out", tmp_path / "x", "--task", "arithmetic/add-1d1d")
    assert not (tmp_path / "x").exists()


def test_ppo_on_a_hugging_face_model_and_a_data_file(gpt2, tmp_path):
    data = tmp_path / "sums.jsonl"
    rows = [{"question": f"{a} + {b} =", "answer": f"#### {a + b}"} for a in range(5) for b in range(5)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [*"ppo.steps=2 ppo.prompts_per_step=20 ppo.group_size=2 ppo.max_tokens=3".split(), 'ppo.template="{prompt}"']
    out = tmp_path / "ppo"
    call("ppo", "--model", gpt2, "--out", out, "--task", "gsm8k/train", "--data", data, overrides=sets)
    assert len(Store(out / "store").samples(run="ppo")) == 2 * 20 * 2
    more = [*sets, "ppo.prompts_per_step=26"]
    with pytest.raises(InputError, match=r"26 problems were asked for, .*has 25; lower prompts_per_step"):
        call("ppo", "--model", gpt2, "--out", tmp_path / "x", "--task", "gsm8k/train", "--data", data, overrides=more)


def test_a_data_file_is_a_task_and_its_verifier_belongs_to_the_settings(gpt2, tmp_path):
    data, rewards = tmp_path / "sums.jsonl", tmp_path / "rewards.py"
    rows = [{"question": f"{a} + {b} =", "final": a + b} for a in range(5) for b in range(5)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rewards.write_text("def odd(completions, **_):\n    return [0.7 * (x.strip() in '13579') for x in completions]\n")
    words = ("--model", gpt2, "--task", data, "--columns", "answer=final")
    given = [f"grpo.{each}" for each in "steps=2 prompts_per_step=4 group_size=4 max_tokens=3".split()]
    call("grpo", *words, "--out", tmp_path / "usual", overrides=given)
    store = Store(tmp_path / "usual" / "store")
    (verifier,) = {sample.verdict.verifier for sample in store.samples()}
    assert (verifier, store.get(RunRecord, "usual").config["reward"]) == (
        "number:wrong-if-missing@3+within-1e-06",
        "number:wrong-if-missing",
    )
    assert {problem.task for problem in store.problems().values()} == {"sums"}
    own = ("--verifier", f"{rewards}:odd", "--threshold", 0.5, "--no-rehearsal")
    call("grpo", *words, "--out", tmp_path / "own", *own, overrides=given)
    (verifier,) = {sample.verdict.verifier for sample in Store(tmp_path / "own" / "store").samples()}
    assert verifier.startswith("reward:odd>=0.5@")
    with pytest.raises(InputError, match=r"other settings \(reward: "):
        call("grpo", *words, "--out", tmp_path / "usual", *own, overrides=given)
    call("sft", *words, "--out", tmp_path / "sft", overrides=["sft.steps=2", "demonstrations=8"])


def test_examples_from_a_file_and_from_the_problems(gpt2, tmp_path):
    file, rng = tmp_path / "examples.jsonl", stream("test")
    file.write_text("".join(json.dumps({"prompt": f"{i} + 1 =", "response": f"{i + 1}"}) + "\n" for i in range(6)))
    policy = LocalPolicy.from_pretrained(gpt2)
    shown = task("countdown/4", examples=file).demonstrations(4, rng)
    rows = in_template(policy, shown, "{prompt}")
    texts = {policy.tokenizer.decode([*row.prompt, *row.response]) for row in rows}
    assert len(texts) == 4
    assert texts <= {f"{i} + 1 = {i + 1} <eos>" for i in range(6)}
    (row,) = in_template(policy, task("arithmetic/add-1d1d").demonstrations(1, rng), "{prompt}")
    a, _, b, _, total, end = policy.tokenizer.decode([*row.prompt, *row.response]).split()
    assert (int(a) + int(b), end) == (int(total), "<eos>")
    numbers = task("countdown/4")
    for shown in numbers.demonstrations(3, rng):
        target, *given = map(int, re.findall(r"\d+", shown.prompt))
        problem = Problem("countdown/4", shown.prompt, str(target), {"numbers": given, "target": target})
        assert Countdown()(problem, Completion(shown.response)).correct
    with pytest.raises(InputError, match=r"countdown/4: its problems come without worked answers; .* --examples"):
        replace(numbers, worked=None).demonstrations(1, rng)


def test_worked_answers_of_a_file_are_demonstrated_whole(gpt2, tmp_path):
    data = tmp_path / "gsm8k.jsonl"
    data.write_text(json.dumps({"question": "1 + 2 =", "answer": "1 + 2 = 3\n#### 3"}) + "\n")
    file = task("gsm8k/train", data)
    policy = LocalPolicy.from_pretrained(gpt2)
    (row,) = in_template(policy, file.demonstrations(1, stream("test")), "{prompt}")
    assert list(row.response) == policy.encode_response(" 1 + 2 = 3\n#### 3")
    assert file.controls() == ()


def test_a_task_s_template_stops_and_limit_hold_unless_given():
    sums = task("arithmetic/add-2d2d")
    config = settings.load_settings(RunConfig, None, ["ppo.max_tokens=5", "rft.template=chat", "rft.reward=answer"])
    config, params = config.for_task(sums), sums.params
    assert (config.grpo.template, config.grpo.stop, config.grpo.max_tokens) == (params.template, ("\n",), 14)
    assert (config.ppo.max_tokens, config.rft.template) == (5, "chat")
    assert set(config.grpo.tasks) == set(config.rft.tasks) == {"arithmetic/add-2d2d"}
    assert (config.ppo.variant, config.ppo.group_size) == ("ppo", 1)
    assert (config.grpo.reward, config.rft.reward) == ("number:wrong-if-missing", "answer")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "chess/mate"], "no task is called 'chess/mate'"),
        (["--task", "gsm8k/train"], "its problems are read from a file"),
        (["--task", "countdown/4", "--data", "x.jsonl"], "are made, not read"),
        (["--data", "x.jsonl"], "--data needs a task"),
        (["--verifier", "number"], "--verifier needs a task"),
        (["--task", "nosuch.jsonl"], "there is no such file"),
        (["--task", "countdown/4", "--columns", "answer=x"], "is a task; leave it out"),
        (["--task", "countdown/4", "--threshold", "0.5"], "name it with --verifier"),
        (["--task", "countdown/4", "--verifier", "numbr"], "no verifier is called 'numbr'"),
    ],
)
def test_what_is_wrong_with_a_task_is_told_before_training(arguments, says, gpt2, tmp_path):
    with pytest.raises(InputError, match=says):
        call("grpo", "--model", gpt2, "--out", tmp_path / "x", *arguments)
    assert not (tmp_path / "x").exists()

"""The hand-over to TRL: the same recipe, what the recorder stores and reports, several processes, refusals."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from goldpanner import rng
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError, MissingExtraError
from goldpanner.policies.local import LocalPolicy
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.tasks.world import World, WorldConfig
from goldpanner.train import grpo
from goldpanner.train.config import RLVRConfig
from goldpanner.train.finite import NotFiniteError
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model, save_model
from goldpanner.train.rlvr import Rollouts, step_problems, update
from goldpanner.train.rows import TokenRow
from goldpanner.train.trl import launch as handing
from goldpanner.train.trl import recorder as recording
from goldpanner.train.trl import rollout_log
from goldpanner.train.trl.launch import options_of, stop_tokens, trl_fields
from goldpanner.train.trl.recorder import Recorder
from goldpanner.train.trl.rows import completion
from goldpanner.types import Outcome, Problem
from goldpanner.verify import Exact

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and its libraries' own

DOCS = Path(__file__).parent.parent / "docs" / "trl.md"
WORLD = WorldConfig(letters=12, word_length=1, max_depth=3)
RL = RLVRConfig(steps=4, prompts_per_step=4, group_size=4, max_tokens=10, random_reward=0.5, learning_rate=1e-2)
SETTINGS = [
    *"domain.letters=12 domain.word_length=1 domain.max_depth=3 tasks.demonstrated=[world/d1]".split(),
    *"tasks.measured=[world/d1] grpo.steps=4 grpo.prompts_per_step=4 grpo.group_size=4 grpo.max_tokens=10".split(),
    *"grpo.random_reward=0.5 grpo.learning_rate=0.01 measure.every=2 device=cpu".split(),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny():
    tokenizer = build_tokenizer(World(WORLD).vocabulary())
    shape = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=32)
    return build_model(shape, len(tokenizer), seed=0), tokenizer


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "base" / "model"
    save_model(*tiny(), folder)
    return folder


def command(start, out, *more):
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "grpo", "--engine", "trl", "--model", str(start), "--out", str(out), "--probe", "4", *sets, *more]


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    out = tmp_path_factory.mktemp("trl") / "handed"
    result = CliRunner().invoke(application(), command(start, out))
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.strip() == str(out / "model")
    return out


# --- the recipe


def test_the_prompts_are_those_of_our_own_loop(trained):
    store, world = Store(trained / "store"), World(WORLD)
    groups = store.groups("handed").to_pylist()
    for step in range(RL.steps):
        ours = [problem.id for problem in step_problems(world.tasks, RL, step, RL.prompts_per_step)]
        assert [row["problem"] for row in groups if row["step"] == step] == ours
        assert all(problem in store.problems() for problem in ours)


def test_every_rollout_is_stored_with_its_tokens_and_why_it_ended(trained):
    samples = [sample for sample in Store(trained / "store").samples(run="handed") if sample.step is not None]
    assert len({sample.key for sample in samples}) == len(samples) == 4 * 4 * 4
    _, tokenizer = load_model(trained / "model")
    for sample in samples:
        tokens = sample.completion.tokens
        ended = tokens[-1] == tokenizer.eos_token_id
        assert sample.completion.finish == ("stop" if ended else "length")
        assert ended or len(tokens) == 10
        assert sample.completion.text == tokenizer.decode(tokens, skip_special_tokens=True)
        assert sample.reward in (0.0, 1.0)  # the random one, whatever the verdict says
    assert {sample.verdict.verifier for sample in samples} == {World(WORLD).verifiers()[0].id}
    assert not any(sample.verdict.correct for sample in samples)  # an untrained model


def test_the_steps_lines_are_what_the_store_says(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    samples = Store(trained / "store").samples(run="handed")
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        rewards: dict = {}
        for sample in samples:
            if sample.step == line["step"]:
                rewards.setdefault(sample.group, []).append(sample.reward)
        assert len(rewards) == line["groups"] == 4
        assert line["mixed"] == sum(len(set(group)) == 2 for group in rewards.values()) / 4
        assert line["all_correct"] == sum(set(group) == {1.0} for group in rewards.values()) / 4
        assert line["reward"] == pytest.approx(sum(map(sum, rewards.values())) / 16)
        assert line["loss"] is not None
        assert line["grad_norm"] > 0 or line["mixed"] == 0


def test_the_model_is_a_finished_stage_with_its_record(trained, start):
    record = Store(trained / "store").get(RunRecord, "handed")
    before, after = LocalPolicy.from_pretrained(start), LocalPolicy.from_pretrained(trained / "model")
    assert (record.parent_policy, record.policy) == (before.id, after.id)
    assert before.id != after.id
    assert (record.engine, record.processes, record.finished) == ("trl", 1, True)
    assert after.model.generation_config.eos_token_id == before.model.generation_config.eos_token_id


def test_the_probe_is_measured_from_start_to_end(trained, start):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    looks = [line["probe"] for line in lines if "probe" in line]
    assert [look["step"] for look in looks] == [0, 2, 4]
    store, base = Store(trained / "store"), LocalPolicy.from_pretrained(start)
    assert looks[0]["policy"] == base.id  # the untrained model, under the id that any other measurement gives it
    for look in looks:
        counts = store.counts(look["policy"], rollouts=False)
        assert (len(counts), counts.n.tolist(), int(counts.c.sum())) == (4, [4] * 4, look["c"])
        assert look["n"] == 16


def test_a_finished_stage_is_not_run_again(trained, start):
    before = (trained / "metrics.jsonl").read_text()
    assert CliRunner().invoke(application(), command(start, trained)).exit_code == 0
    assert (trained / "metrics.jsonl").read_text() == before
    other = CliRunner().invoke(application(), command(start, trained, "--set", "grpo.learning_rate=0.1"))
    assert "other settings" in str(other.exception)


def test_a_run_goes_on_from_its_checkpoint(trained, start, tmp_path):
    def stop(event):
        if event.done == 3:
            raise KeyboardInterrupt

    given = {"options": ["save_steps=2"], "device": "cpu", "probe": 4, "every": 2}
    with pytest.raises(KeyboardInterrupt):
        handing.hand_over(start, World(WORLD).tasks, RL, tmp_path / "handed", notify=stop, **given)
    with (tmp_path / "handed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "probe": {"step": 2}')  # a line that was being written
    handing.hand_over(start, World(WORLD).tasks, RL, tmp_path / "handed", **given)
    groups = Store(tmp_path / "handed" / "store").groups("handed").to_pylist()
    assert [(row["step"], row["group"], row["n"]) for row in groups] == [(s, g, 4) for s in range(4) for g in range(4)]
    lines = [json.loads(line)["step"] for line in (tmp_path / "handed" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [0, 1, 2, 3]
    same = [LocalPolicy.from_pretrained(out / "model").id for out in (trained, tmp_path / "handed")]
    assert same[0] == same[1]  # as if it had not been stopped


def test_the_settings_become_trl_s(tmp_path):
    config = RLVRConfig(variant="dr-grpo", kl=0.02, clip_low=0.1, clip_high=0.3, epochs=2, minibatches=2, steps=5,
                        prompts_per_step=8, group_size=4, betas=(0.8, 0.9), seed=3, clip=0.5,
                        temperature=0.7)  # fmt: skip
    made = trl_fields(config, tmp_path, 2, "cpu", {"per_device_train_batch_size": 2, "bf16": True})
    assert made["bf16"] is True
    wanted = {
        "loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.02, "epsilon": 0.1, "epsilon_high": 0.3,
        "num_iterations": 2, "max_steps": 20, "num_generations": 4, "adam_beta1": 0.8, "adam_beta2": 0.9, "seed": 3,
        "max_grad_norm": 0.5, "temperature": 0.7, "per_device_train_batch_size": 2, "ddp_backend": "gloo",
        "gradient_accumulation_steps": 4, "steps_per_generation": 8, "lr_scheduler_type": "constant",
    }  # fmt: skip
    assert {name: made[name] for name in wanted} == wanted
    assert 2 * made["per_device_train_batch_size"] * made["steps_per_generation"] == 8 * 4  # what a step draws
    plain = trl_fields(RL, tmp_path, 1, "cpu")
    assert (plain["loss_type"], plain["scale_rewards"], plain["per_device_train_batch_size"]) == ("grpo", "group", 16)
    assert (plain["gradient_accumulation_steps"], plain["steps_per_generation"]) == (1, 1)


@pytest.mark.parametrize("variant", [name for name, each in grpo.VARIANTS.items() if each.trl is not None])
def test_two_steps_of_trl_s_trainer_move_the_weights_as_ours_do(variant, start, tmp_path):
    """Rewards, advantages, loss, off-policy ratios, clip, reduction: all that TRL does with a batch is what we do."""
    changes = {"variant": variant, "steps": 1, "epochs": 2, "clip_low": 1.0 if variant == "cispo" else 1e-3,
               "clip_high": 1e-3, "learning_rate": 30.0, "clip": 1e9}  # fmt: skip
    config = RL.model_copy(update=changes)
    out = handing.hand_over(
        start, World(WORLD).tasks, config, tmp_path / "theirs", options=["optim=sgd"], device="cpu", probe=0
    )
    samples = [sample for sample in Store(tmp_path / "theirs" / "store").samples(run="theirs") if sample.step == 0]
    samples.sort(key=lambda sample: sample.index)
    model, tokenizer = load_model(start)
    policy, problems = LocalPolicy(model, tokenizer), Store(tmp_path / "theirs" / "store").problems()
    rows = [TokenRow(policy.encode_prompt(problems[s.problem], "{prompt}"), s.completion.tokens) for s in samples]
    reward_PG = torch.tensor([sample.reward for sample in samples]).view(4, 4)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate)
    stats = update(model, optimizer, Rollouts([[]] * 4, rows, reward_PG), config, rng.stream("test"))
    ours = torch.cat([p.detach().flatten() for p in model.parameters()])
    theirs = torch.cat([p.detach().flatten() for p in load_model(out)[0].parameters()])
    assert stats.clipped > 0
    assert (ours - before).abs().max() > 1e-2
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float((ours - before).abs().max()) + 1e-6)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"variant": "maxrl"}, "counterpart of variant maxrl.*give our own loop .*, or grpo, dr-grpo, gspo, cispo"),
        ({"variant": "dapo"}, "variant dapo: TRL draws no further prompts"),
        ({"reduction": "sequence-sum"}, "no counterpart"),
        ({"entropy": 0.1}, "entropy_coef"),
        ({"frozen": True}, "frozen"),
        ({"lora": 4}, "peft_config"),
        ({"autocast": True}, "--trl bf16=true"),
        ({"prompts_per_step": 3, "group_size": 3}, "do not fall evenly on 2 process"),
    ],
)
def test_what_trl_cannot_do_as_we_mean_it_is_refused(changed, says, tmp_path):
    with pytest.raises(InputError, match=says):
        trl_fields(RL.model_copy(update=changed), tmp_path, 2, "cpu")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("bf16", "write KEY=VALUE"),
        ("use_vlm=true", "did you mean .*use_vllm"),
        ("nosuch=1", "no such option; its fields are the options"),
        ("loss_type=sapo", "the recipe decides it; give --set grpo.variant="),
        ("epsilon_high=0.28", "give --set grpo.clip_high="),
        ("num_generations=8", "the recipe decides it; give --set grpo.group_size="),
    ],
)
def test_an_option_that_cannot_be_passed_on(option, says):
    with pytest.raises(InputError, match=says):
        options_of([option])


def test_options_are_read_as_json():
    given = [
        "bf16=true",
        "use_vllm=False",
        "entropy_coef=1e-3",
        'generation_kwargs={"stop": ["\\n"]}',
        "vllm_mode=server",
    ]
    assert options_of(given) == {
        "bf16": True, "use_vllm": False, "entropy_coef": 0.001, "generation_kwargs": {"stop": ["\n"]},
        "vllm_mode": "server",
    }  # fmt: skip


def test_options_of_trl_s_need_the_engine(start, tmp_path):
    result = CliRunner().invoke(
        application(), ["train", "grpo", "--model", str(start), "--out", str(tmp_path), "--trl", "bf16=1"]
    )
    assert isinstance(result.exception, GoldpannerError)
    assert "--engine trl" in str(result.exception)


def test_without_accelerate_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate.state", None)
    spec = importlib.util.spec_from_file_location("recorder_again", recording.__file__)
    with pytest.raises(MissingExtraError, match=r"pip install 'goldpanner\[trl\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


# --- several processes


def test_two_processes_train_as_one(start, tmp_path):
    """torchrun starts two, each stores its own share, and no group or key is lost or stored twice."""
    out = tmp_path / "two"
    run = ["torchrun", "--nproc-per-node", "2", "-m", "goldpanner.cli", *command(start, out, "--processes", "2")]
    shown = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    program = Path(sys.executable).with_name("torchrun")
    done = subprocess.run([str(program), *run[1:]], capture_output=True, text=True, env=shown, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(out / "model")  # one of them speaks
    store = Store(out / "store")
    groups = store.groups("two").to_pylist()
    ours = [p.id for step in range(4) for p in step_problems(World(WORLD).tasks, RL, step, 4)]
    assert [(row["step"], row["group"], row["n"]) for row in groups] == [(s, g, 4) for s in range(4) for g in range(4)]
    assert [row["problem"] for row in groups] == ours
    writers = {path.name.split("-")[2] for path in (out / "store" / "samples").glob("*.parquet")}
    assert len(writers) == 2
    assert store.get(RunRecord, "two").processes == 2
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["groups"]) for line in lines] == [(s, 4) for s in range(4)]  # over both processes
    assert [line["probe"]["n"] for line in lines if "probe" in line] == [16, 16, 16]


def test_one_process_where_two_were_asked_for_is_refused(start, tmp_path):
    """`accelerate launch --cpu --num_processes 2` starts one and says nothing."""
    result = CliRunner().invoke(application(), command(start, tmp_path / "out", "--processes", "2"))
    assert isinstance(result.exception, InputError)
    assert re.search(r"1 process\(es\) take part, 2 were asked for.*torchrun", str(result.exception))
    assert not (tmp_path / "out").exists()
    recorder = Recorder(tmp_path / "s", "r", processes=2)
    with pytest.raises(InputError, match="1 process.* 2 were asked for"):
        recorder.on_init_end(SimpleNamespace(world_size=1), None, None)


def test_a_group_may_lie_on_two_processes(tmp_path, monkeypatch):
    """3 rows a process and groups of 2: the middle group is shared; a second batch of the step counts on."""
    model = SimpleNamespace(training=True, generation_config=SimpleNamespace(eos_token_id=1))
    words = SimpleNamespace(eos_token_id=1, pad_token_id=0)
    asked = ["a", "a", "b", "b", "c", "c"]
    right = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    mine: dict[int, list] = {}
    monkeypatch.setattr(rollout_log, "gather_object", lambda rows: mine[0] + mine[1] if len(mine) == 2 else rows)
    monkeypatch.setattr(recording, "atexit", SimpleNamespace(register=lambda _: None, unregister=lambda _: None))
    for _ in range(2):
        for rank in range(2):
            mine[rank] = [(r, 2, "stop", None) for r in right[3 * rank : 3 * rank + 3]]
    logged: dict = {}
    for rank in range(2):
        recorder = Recorder(tmp_path / "s", "r")
        reward = recorder.reward(lambda completions, right, **_: right)
        arguments = {"min_p": None, "repetition_penalty": 1.0, "generation_kwargs": None, "temperature": 1.0,
                     "top_p": 1.0, "top_k": 0, "max_completion_length": 4, "num_generations": 2, "world_size": 2,
                     "seed": 0, "process_index": rank}  # fmt: skip
        recorder._take(SimpleNamespace(**arguments), {"model": model, "processing_class": words})
        here = slice(3 * rank, 3 * rank + 3)
        for _ in range(2):
            paid = reward(prompts=asked[here], completions=["x"] * 3, completion_ids=[[5, 1]] * 3, right=right[here],
                          trainer_state=SimpleNamespace(global_step=7), log_metric=logged.__setitem__)  # fmt: skip
            assert paid == right[here]
        recorder._log.flush()
    groups = Store(tmp_path / "s").groups("r").to_pylist()
    assert [(row["step"], row["group"], row["n"], row["c"]) for row in groups] == [
        (7, 0, 2, 1), (7, 1, 2, 0), (7, 2, 2, 2), (7, 3, 2, 1), (7, 4, 2, 0), (7, 5, 2, 2),
    ]  # fmt: skip
    third = pytest.approx(1 / 3)
    assert (logged["groups/mixed"], logged["groups/all_wrong"], logged["groups/all_correct"]) == (third, third, third)


# --- a script of one's own

ROWS = [{"prompt": f"{word} ?", "answer": word} for word in ("always", "never", "none", "coin")]


def by_prompt(completions, answer, completion_ids=None, **columns):
    """Known states: `always` and `never` are not mixed, `none` is not judged, `coin` hangs on what was said."""
    known = {"always": 1.0, "never": 0.0, "none": None}
    return [known[a] if a in known else float(len(said) % 2) for said, a in zip(completions, answer)]


def script(tmp_path, *, recorder=None, scale="batch", judge=by_prompt, steps=3, rows=ROWS, **more):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = tiny()
    trainer = GRPOTrainer(
        model, reward_funcs=judge if recorder is None else recorder.reward(judge), processing_class=tokenizer,
        callbacks=[] if recorder is None else [recorder], train_dataset=Dataset.from_list(rows),
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"), max_steps=steps, per_device_train_batch_size=16, num_generations=4,
            max_completion_length=6, use_cpu=True, bf16=False, scale_rewards=scale, logging_steps=1, report_to=[],
            save_strategy="no", disable_tqdm=True, learning_rate=1e-2, activation_checkpointing=False, **more,
        ),
    )  # fmt: skip
    trainer.train()
    return trainer


def test_the_states_of_groups_are_told_whatever_rewards_are_scaled_by(tmp_path):
    """TRL's frac_reward_zero_std says 0 such groups with scale_rewards="batch", where half of them are."""
    recorder = Recorder(tmp_path / "s", "mine")
    trainer = script(tmp_path, recorder=recorder)
    logs = trainer.state.log_history[:-1]
    groups = Store(tmp_path / "s").groups("mine").to_pylist()
    for step, log in enumerate(logs):
        rows = [row for row in groups if row["step"] == step]
        mixed = sum(0 < row["c"] < row["n"] - row["unjudged"] for row in rows) / 4
        assert log["groups/mixed"] == mixed
        assert log["groups/unjudged"] == 0.25
        assert log["groups/all_correct"] + log["groups/all_wrong"] == pytest.approx(0.75 - mixed)
        assert min(log["groups/all_correct"], log["groups/all_wrong"]) >= 0.25
        assert log["frac_reward_zero_std"] == 0  # of the batch, which is never all of one reward here
    samples = Store(tmp_path / "s").samples(run="mine")
    problems = Store(tmp_path / "s").problems()
    assert {problems[sample.problem].prompt for sample in samples} == {row["prompt"] for row in ROWS}
    for sample in samples:
        answer = problems[sample.problem].answer
        if answer == "none":
            assert (sample.verdict.outcome, sample.reward) == (Outcome.UNJUDGED, None)
        else:
            assert sample.reward == float(sample.verdict.correct)


def test_watching_changes_nothing(tmp_path):
    """The same weights with and without the recorder and its probe."""
    plain = script(tmp_path / "a").model.state_dict()
    recorder = Recorder(tmp_path / "s", "mine", probe=ROWS, every=1, samples=5)
    watched = script(tmp_path / "b", recorder=recorder).model.state_dict()
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert [look.step for look in recorder.looks] == [0, 1, 2, 3]
    problems = Store(tmp_path / "s").problems()
    assert {problem.prompt for problem in problems.values()} == {
        row["prompt"] for row in ROWS
    }  # the same as trained on
    assert len(problems) == 4
    for look in recorder.looks:
        assert (look.n, look.unjudged) == (20, 5)
        assert 5 <= look.c <= 10


def test_a_step_whose_gradient_is_not_finite_is_not_taken(tmp_path):
    class Breaking(Recorder):
        def on_train_begin(self, *args, **kwargs):
            super().on_train_begin(*args, **kwargs)
            self.start = [p.detach().clone() for p in self._model.parameters()]
            next(self._model.parameters()).register_hook(lambda gradient: gradient + float("inf"))

    recorder = Breaking(tmp_path / "s", "mine")
    with pytest.raises(NotFiniteError, match="step 0: the gradient of model.embed_tokens"):
        script(tmp_path, recorder=recorder)
    for before, after in zip(recorder.start, recorder._model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_a_finished_run_s_name_is_taken(tmp_path):
    script(tmp_path, recorder=Recorder(tmp_path / "s", "mine"), steps=1)
    with pytest.raises(InputError, match="finished run 'mine'"):
        script(tmp_path, recorder=Recorder(tmp_path / "s", "mine"), steps=1)
    store = Store(tmp_path / "s")
    store.put(store.get(RunRecord, "mine").model_copy(update={"finished": False}))  # as if it had been killed
    with pytest.raises(InputError, match="a run 'mine' with other settings"):
        script(tmp_path, recorder=Recorder(tmp_path / "s", "mine"), steps=1, loss_type="dr_grpo")
    script(tmp_path, recorder=Recorder(tmp_path / "s", "mine"), steps=1)  # once more from the start: nothing twice
    assert [row["n"] for row in store.groups("mine").to_pylist()] == [4] * 4


def test_our_verifiers_in_a_script_of_one_s_own(tmp_path):
    """A verifier in the place of a reward function; async functions too are called as TRL would."""
    store = Store(tmp_path / "s")
    known = [Problem("mine", row["prompt"], row["answer"]) for row in ROWS]
    store.put_problems(known)
    rows = [{"prompt": p.prompt, "goldpanner_id": p.id} for p in known]
    script(tmp_path, recorder=Recorder(store, "exact"), judge=Exact(), rows=rows, steps=1)
    samples = store.samples(run="exact")
    assert {sample.problem for sample in samples} == {problem.id for problem in known}
    assert {sample.verdict.verifier for sample in samples} == {Exact().id}

    async def later(completions, **columns):
        return by_prompt(completions, **columns)

    script(tmp_path, recorder=Recorder(store, "async"), judge=later, steps=1)
    assert sum(row["unjudged"] for row in store.groups("async").to_pylist()) == 4


def test_what_is_wrong_with_a_script_is_told(tmp_path):
    recorder = Recorder(tmp_path / "s", "mine")
    reward = recorder.reward(by_prompt)
    with pytest.raises(InputError, match=r"callbacks=\[recorder\]"):
        reward(prompts=["x"], completions=["y"])
    with pytest.raises(InputError, match="called twice"):
        recorder.reward(by_prompt)
    with pytest.raises(InputError, match="no reward function is recorded"):
        Recorder(tmp_path / "s", "other").on_train_begin(SimpleNamespace(), None, None)
    with pytest.raises(InputError, match="has no prompt; its columns are question"):
        Recorder(tmp_path / "s", "other", probe=[{"question": "?"}])
    with pytest.raises(InputError, match="no column is called 'gold'"):
        Recorder(tmp_path / "s", "other", probe=ROWS, answer="gold")
    turns = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    with pytest.raises(InputError, match="2 messages"):
        Recorder(tmp_path / "s", "other", probe=[{"prompt": turns}])
    with pytest.raises(InputError, match="every is 0"):
        Recorder(tmp_path / "s", "other", every=0)
    assert not (tmp_path / "s").exists()


def test_the_lines_of_the_docs_run(tmp_path, monkeypatch):
    """docs/trl.md: the three lines, in a script as it stands there."""
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL).group(1)
    marked = [line for line in code.splitlines() if re.search(r"# [123]$", line)]
    assert len(marked) == 3
    from datasets import Dataset
    from trl import GRPOConfig

    model, tokenizer = tiny()
    monkeypatch.chdir(tmp_path)
    args = GRPOConfig("out", max_steps=2, per_device_train_batch_size=16, num_generations=4, max_completion_length=6,
                      use_cpu=True, bf16=False, report_to=[], save_strategy="no", disable_tqdm=True)  # fmt: skip
    names = {"model": model, "tokenizer": tokenizer, "args": args, "my_reward": by_prompt,
             "train": Dataset.from_list(ROWS), "heldout": Dataset.from_list(ROWS)}  # fmt: skip
    exec(compile(code, str(DOCS), "exec"), names)
    assert [look.step for look in names["recorder"].looks] == [0, 2]
    assert len(Store("runs/mine").groups("first-try")) == 2 * 4


# --- stops


def test_stops_become_the_tokens_that_hold_them():
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "a", "\n", "b\n", "\n\n", "Q"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    assert stop_tokens(tokenizer, ("\n",)) == [3, 4, 5]
    assert stop_tokens(tokenizer, ("\nQ",)) == []  # lies on two tokens: TRL cannot end there
    assert stop_tokens(tokenizer, ()) == []


@pytest.mark.parametrize(
    ("said", "ids", "text", "finish"),
    [
        ("a b", [3, 4, 1], "a b", "stop"),
        ("a b", [3, 4, 5, 6], "a b", "length"),
        ("a b", [3, 4, 5, 1], "a b", "stop"),
        ("a\nQ: b", [3, 4, 5, 6], "a", "stop"),  # it said the stop: what follows is not judged
        ("a b", None, "a b", "unknown"),
        ([{"role": "assistant", "content": "a b"}], [3, 1], "a b", "stop"),
        ("", [], "", "stop"),
    ],
)
def test_why_a_completion_ended(said, ids, text, finish):
    made = completion(said, ids, {0, 1}, 4, ("\nQ",))
    assert (made.text, made.finish, made.tokens) == (text, finish, None if ids is None else tuple(ids))

"""GRPO by TRL's GRPOTrainer under accelerate or torchrun, from the same settings as our own loop (`rlvr`).

The prompts of every step are those `rlvr` would draw, the reward is the task's verifier, and `Recorder` stores what was
drawn. What TRL cannot do as we mean it is refused, with the option of TRL's that comes near; its own options pass.
"""

import difflib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from goldpanner import rng
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.policies.load import best_device, quiet_progress
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Event, Notify
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord, RunRecord
from goldpanner.train import grpo
from goldpanner.train.config import RLVRConfig
from goldpanner.train.metrics import Metrics
from goldpanner.train.model import load_model
from goldpanner.train.reward import OneSidedWatch, Prompts, payment, reward_note, reward_verifiers
from goldpanner.train.rlvr import rehearse_reward, step_problems
from goldpanner.train.trl.recorder import ProbeLook, Recorder, StepLog
from goldpanner.types import Problem

OURS = {
    "output_dir": "--out", "max_steps": "--set grpo.steps=", "num_generations": "--set grpo.group_size=",
    "max_completion_length": "--set grpo.max_tokens=", "temperature": "--set grpo.temperature=",
    "learning_rate": "--set grpo.learning_rate=", "seed": "--seed", "beta": "--set grpo.kl=",
    "num_iterations": "--set grpo.epochs=", "steps_per_generation": "--set grpo.minibatches=",
    "generation_batch_size": "--set grpo.prompts_per_step=", "gradient_accumulation_steps":
    "--trl per_device_train_batch_size=", "remove_unused_columns": "nothing: the reward needs the columns",
    "loss_type": "--set grpo.variant= or grpo.reduction=", "importance_sampling_level": "--set grpo.variant=",
    "scale_rewards": "--set grpo.variant=", "epsilon": "--set grpo.clip_low=", "epsilon_high": "--set grpo.clip_high=",
    "use_bias_correction_kl": "--set grpo.unbiased_kl=",
}  # fmt: skip
"""Options of TRL's that the recipe decides, and what to give instead."""


def hand_over(
    model_folder: Path,
    tasks: Mapping[str, Prompts],
    config: RLVRConfig,
    out: Path,
    *,
    options: Sequence[str] = (),
    processes: int = 1,
    device: str = "auto",
    probe: int = 16,
    every: int = 50,
    notify: Notify = lambda _: None,
    skip_rehearsal: str | None = None,
) -> Path:
    """Train the model of a folder by TRL; it goes on from its last checkpoint. Call it in every process of a torchrun.

    Args:
        model_folder: the model, in the Hugging Face layout.
        tasks: what `config.tasks` names.
        config: the recipe.
        out: folder of the run; its name is the run's.
        options: TRL's own, `KEY=VALUE`.
        processes: how many must take part.
        device: auto, cpu, or another of torch's.
        probe: problems of the test split that are measured on the way; 0: none.
        every: optimizer steps between two measurements.
        notify: called with each step's progress in the main process.
        skip_rehearsal: why the verifier is not rehearsed; None: it is, by every process.

    Returns:
        The folder of the trained model, in every process.

    Raises:
        MissingExtraError: TRL is not installed.
        InputError: settings that TRL has no counterpart of, an unknown option, another number of processes, or a
            folder that holds another run.
    """
    _need_trl()
    fields = trl_fields(config, out / "trl", processes, device, options_of(options))
    _check_processes(processes)
    store, settings = Store(out / "store"), config.model_dump(mode="json")
    earlier = store.get(RunRecord, out.name)
    if earlier is not None and (earlier.config, earlier.options) != (settings, tuple(options)):
        raise InputError(f"{out} holds a run with other settings; give another --out, or delete it")
    if (out / "model").is_dir():
        return out / "model"
    started, main = time.perf_counter(), os.environ.get("RANK", "0") == "0"
    model, tokenizer = load_model(model_folder)
    before, ends = LocalPolicy(model, tokenizer).id, model.generation_config.eos_token_id
    checkpoint = _last_checkpoint(out / "trl")
    trained, watched = _prompts(tasks, config), probe_problems(tasks, config, probe)
    total = config.steps * config.epochs * config.minibatches
    checks = rehearse_reward(tasks, config, store, skip=skip_rehearsal, notify=notify)
    recorder = Recorder(
        store, out.name, problems={p.id: p for p in [*trained, *watched]}, probe=watched, every=every, stop=config.stop,
        samples=config.group_size, template=config.template, processes=processes, budget=config.unjudged_budget,
        notify=_StepWriter(out, _steps_of(checkpoint), total, notify) if main else None,
    )  # fmt: skip
    if main:
        for check in checks:
            store.put(check)
        store.put_problems([*trained, *watched])
        record = earlier or RunRecord(
            id=out.name, stage="grpo", engine="trl", label=out.name, seed=config.seed, policy=None,
            parent=model_folder.parent.name, parent_policy=before, config=settings, options=tuple(options),
        )  # fmt: skip
        store.put(record.model_copy(update={"finished": False}))
    trainer = _trainer(model, tokenizer, tasks, config, fields, recorder, trained)
    with quiet_progress():
        trainer.train(resume_from_checkpoint=checkpoint)
        model.generation_config.eos_token_id = ends
        trainer.save_model(str(out / "model.partial"))
    trainer.accelerator.wait_for_everyone()
    if main:
        changes = {
            "policy": _finish(out, store),
            "trl_version": importlib.metadata.version("trl"),
            "seconds": round(time.perf_counter() - started, 2),
        }
        store.put((store.get(RunRecord, out.name) or record).model_copy(update=changes))
    trainer.accelerator.wait_for_everyone()
    return out / "model"


def trl_fields(
    config: RLVRConfig, output: Path, processes: int, device: str = "auto", options: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return the fields of TRL's GRPOConfig for the same algorithm.

    A step draws prompts_per_step x group_size completions over all processes, as `rlvr` does; where they are too many
    for one pass, `per_device_train_batch_size` cuts them, and gradients are accumulated. An optimizer step is TRL's
    step: there are `epochs` x `minibatches` of them to one of ours.

    Args:
        config: settings of the RL stage.
        output: folder of TRL's own output.
        processes: processes that take part.
        device: `auto`, `cpu` or `cuda`.
        options: fields of TRL's own that are set besides.

    Raises:
        InputError: as `hand_over`.
    """
    options = dict(options or {})
    algorithm = _algorithm(config)
    rows, parts = config.prompts_per_step * config.group_size, config.minibatches
    per_device = options.pop("per_device_train_batch_size", max(1, rows // (processes * parts)))
    if not isinstance(per_device, int) or per_device < 1 or rows % (processes * parts * per_device):
        raise InputError(
            f"{config.prompts_per_step} prompts x {config.group_size} = {rows} completions do not fall evenly on "
            f"{processes} process(es) x {parts} minibatches x per_device_train_batch_size = {per_device!r}; "
            "change one of them"
        )
    cpu = str(best_device() if device == "auto" else device) == "cpu"
    accumulated = rows // (processes * parts * per_device)
    return {
        "output_dir": str(output), "max_steps": config.steps * config.epochs * parts, "seed": config.seed,
        **algorithm, "beta": config.kl, "num_generations": config.group_size,
        **({"use_bias_correction_kl": config.unbiased_kl} if config.kl else {}),
        "num_iterations": config.epochs, "steps_per_generation": accumulated * parts,
        "gradient_accumulation_steps": accumulated, "per_device_train_batch_size": per_device,
        "temperature": config.temperature, "top_k": 0, "top_p": 1.0, "max_completion_length": config.max_tokens,
        "learning_rate": config.learning_rate, "lr_scheduler_type": "constant", "adam_beta1": config.betas[0],
        "adam_beta2": config.betas[1], "weight_decay": config.weight_decay, "max_grad_norm": config.clip,
        "shuffle_dataset": False, "disable_dropout": True, "bf16": False, "activation_checkpointing": False,
        "logging_steps": 1, "save_steps": 10, "save_total_limit": 1, "report_to": [], "disable_tqdm": True,
        **({"use_cpu": True} if cpu else {}), **({"ddp_backend": "gloo"} if cpu and processes > 1 else {}), **options,
    }  # fmt: skip


def options_of(options: Sequence[str]) -> dict[str, object]:
    """Return `KEY=VALUE` options of TRL's by key (values as JSON, else as text). Raises InputError for an unknown key,
    or one that the recipe decides.
    """
    _need_trl()
    from trl import GRPOConfig

    values: dict[str, object] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise InputError(f"--trl {option!r}: write KEY=VALUE, e.g. --trl bf16=true")
        if key in OURS:
            raise InputError(f"--trl {key}: the recipe decides it; give {OURS[key]}")
        if key not in GRPOConfig.__dataclass_fields__:
            near = difflib.get_close_matches(key, GRPOConfig.__dataclass_fields__, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "its fields are the options there are"
            raise InputError(f"--trl {key}: TRL's GRPOConfig has no such option; {hint}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = {"True": True, "False": False, "None": None}.get(text, text)
    return values


def probe_problems(tasks: Mapping[str, Prompts], config: RLVRConfig, n: int) -> list[Problem]:
    """Return n problems of the test split, spread over the trained tasks: the same ones for every run of a seed."""
    names = list(config.tasks)
    shares = [(name, n // len(names) + (i < n % len(names))) for i, name in enumerate(names)]
    return [
        problem
        for name, share in shares
        if share
        for problem in tasks[name].draw(share, rng.stream("trl/probe", config.seed, name), split="test")
    ]


def stop_tokens(tokenizer: Any, stops: Sequence[str]) -> list[int]:
    """Return the tokens whose text contains a stop: TRL ends a completion at tokens, never at texts."""
    if not stops:
        return []
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    return [i for i, text in enumerate(texts) if any(stop in text for stop in stops)]


def _check_processes(processes: int) -> None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != processes:
        raise InputError(
            f"{world} process(es) take part, {processes} were asked for: give --processes {world}, or start "
            f"torchrun --nproc-per-node {processes}. `accelerate launch --cpu --num_processes 2` silently starts one"
        )


def _last_checkpoint(folder: Path) -> str | None:
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _steps_of(checkpoint: str | None) -> int:
    """Return the optimizer steps that a checkpoint holds."""
    return 0 if checkpoint is None else int(checkpoint.rsplit("-", 1)[1])


def _need_trl() -> None:
    from importlib.util import find_spec

    if not all(map(find_spec, ("trl", "accelerate", "datasets"))):
        raise MissingExtraError("training by TRL", "trl")


def _algorithm(config: RLVRConfig) -> grpo.TRLFields:
    """Return the fields of GRPOConfig that make TRL's objective ours. Raises InputError where none do."""
    variant = config.resolve_variant()
    fields = None if variant.trl is None else variant.trl(config)
    ours = "our own loop (--engine goldpanner)"
    others = ", ".join(name for name, other in grpo.VARIANTS.items() if other.trl is not None)
    refusals = [
        (variant.dynamic_sampling, f"variant {config.variant}: TRL draws no further prompts", f"{ours}, or {others}"),
        (fields is None, f"variant {config.variant} with these settings", f"{ours}, or {others} (docs/objectives.md)"),
        (bool(config.entropy), "an entropy bonus over the tokens of the whole step", "--trl entropy_coef="),
        (bool(config.lora), "LoRA adapters from our settings", f"{ours}, or peft_config in a script of your own"),
        (config.autocast, "updates in bfloat16 with sampling as it is", "--trl bf16=true"),
        (config.frozen, "the control `frozen`", ours),
    ]
    for applies, what, instead in refusals:
        if applies:
            raise InputError(f"grpo: TRL has no counterpart of {what}; give {instead}")
    assert fields is not None
    return fields


def _prompts(tasks: Mapping[str, Prompts], config: RLVRConfig) -> list[Problem]:
    """Return the problems of every step one after the other: a function of the seed, as in `rlvr`."""
    return [p for step in range(config.steps) for p in step_problems(tasks, config, step, config.prompts_per_step)]


def _trainer(
    model: Any, tokenizer: Any, tasks: Mapping[str, Prompts], config: RLVRConfig, fields: Mapping[str, object],
    recorder: Recorder, problems: Sequence[Problem],
) -> Any:  # fmt: skip
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    verifiers = reward_verifiers(tasks, config)
    ends = [tokenizer.eos_token_id, *LocalPolicy(model, tokenizer).eos_ids, *stop_tokens(tokenizer, config.stop)]
    model.generation_config.eos_token_id = list(dict.fromkeys(ends))
    rows = [{"prompt": _rendered(problem, config.template), "goldpanner_id": problem.id} for problem in problems]
    trainer = GRPOTrainer(
        model,
        reward_funcs=recorder.reward(*verifiers, pay=payment(config)),
        args=GRPOConfig(**fields),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[recorder],
    )
    trainer.remove_callback(PrinterCallback)  # standard output is the command's
    return trainer


def _rendered(problem: Problem, template: str) -> str | list[dict[str, str]]:
    """Return a prompt as TRL takes it: text, or one message where the model's chat template is to wrap it."""
    if template == "chat":
        return [{"role": "user", "content": problem.prompt}]
    return template.replace("{prompt}", problem.prompt)


def _finish(out: Path, store: Store) -> str:
    """Put the model where a finished stage has it; return its policy id."""
    policy = LocalPolicy.from_pretrained(out / "model.partial", device="cpu", name=out.name)
    store.put(PolicyRecord.of(policy.describe(), run=out.name))
    shutil.rmtree(out / "model", ignore_errors=True)
    (out / "model.partial").rename(out / "model")
    return policy.id


class _StepWriter:
    """Writes `metrics.jsonl`, a line for each optimizer step with the names of our own loop, and tells of progress."""

    NAMES: Mapping[str, str] = {
        "loss": "loss", "grad_norm": "grad_norm", "entropy": "entropy", "kl": "kl", "seconds": "step_time",
        "clipped": "clip_ratio/region_mean",
    }  # fmt: skip
    """Our names -> TRL's."""

    def __init__(self, out: Path, done: int, total: int, notify: Notify) -> None:
        self.run, self.total, self.notify = out.name, total, notify
        self.metrics = Metrics(out / "metrics.jsonl", repeated_from=done)
        self.look: ProbeLook | None = None
        self.one_sided = OneSidedWatch()

    def __call__(self, event: StepLog | ProbeLook) -> None:
        """Write a step's line; a look at the probe goes with the step after it."""
        if isinstance(event, ProbeLook):
            self.look = event
            return
        numbers = {ours: event.logs.get(theirs) for ours, theirs in self.NAMES.items()}
        probe = {} if self.look is None else {"probe": asdict(self.look)}
        self.metrics.add({"step": event.step, **asdict(event.groups), **numbers, **probe})
        self.look = None
        if text := self.one_sided.message(self.run, {"step": event.step, **asdict(event.groups)}):
            self.notify(Event(self.run, "grpo", message=text))
        self.notify(Event(self.run, "grpo", event.step + 1, self.total, reward_note(asdict(event.groups))))

"""The metrics of a run to trackio, Weights & Biases, TensorBoard or MLflow, by our names and by TRL's beside them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from goldpanner.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from goldpanner.train.trl.recorder import ProbeLook, StepLog

TRL_NAMES: Mapping[str, str] = {
    "reward": "reward", "loss": "loss", "grad_norm": "grad_norm", "lr": "learning_rate", "entropy": "entropy",
    "kl": "kl", "length": "completions/mean_length", "truncated": "completions/clipped_ratio",
    "clipped": "clip_ratio/region_mean", "seconds": "step_time",
}  # fmt: skip
"""Our name of a number -> TRL's."""


class Tracker(Protocol):
    """One run in a tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep the numbers of a step."""

    def finish(self) -> None:
        """Close the run."""


class _Logger:
    """trackio and Weights & Biases, whose runs have the same methods."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        self._run.finish()


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()


class _MLflow:
    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics({name.replace("@", "_at_"): value for name, value in values.items()}, step=step)

    def finish(self) -> None:
        self._mlflow.end_run()


def _open_trackio(project: str, run: str) -> Tracker:
    return _Logger(import_module("trackio").init(project=project, name=run))


def _open_wandb(project: str, run: str) -> Tracker:
    return _Logger(import_module("wandb").init(project=project, name=run, reinit="create_new"))


def _open_tensorboard(project: str, run: str) -> Tracker:
    return _TensorBoard(import_module("torch.utils.tensorboard").SummaryWriter(log_dir=str(Path(project) / run)))


def _open_mlflow(project: str, run: str) -> Tracker:
    mlflow = import_module("mlflow")
    mlflow.set_experiment(project)
    mlflow.start_run(run_name=run)
    return _MLflow(mlflow)


TRACKERS: Mapping[str, Callable[[str, str], Tracker]] = {
    "trackio": _open_trackio,
    "wandb": _open_wandb,
    "tensorboard": _open_tensorboard,
    "mlflow": _open_mlflow,
}
"""By name, how a run is opened in a project."""


def open_tracker(name: str, project: str = "goldpanner", run: str = "run") -> Tracker:
    """Return a new run in a tracker.

    Args:
        name: `trackio`, `wandb`, `tensorboard` or `mlflow`; its package must be installed.
        project: project (W&B, trackio), experiment (MLflow) or folder (TensorBoard).
        run: what the run is called.

    Raises:
        InputError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    if name not in TRACKERS:
        raise InputError(f"there is no tracker {name!r}; there are {', '.join(TRACKERS)}")
    try:
        return TRACKERS[name](project, run)
    except ModuleNotFoundError:
        raise MissingExtraError(f"tracking with {name}", "trackers") from None


def track(folder: Path | str, name: str, project: str = "goldpanner") -> int:
    """Send the metrics of a run's stages to a tracker, a run of it for each stage; return the number of steps.

        gp.track("runs/world-seed0", "wandb", project="my-project")

    Args:
        folder: folder of a run, or of a stage: whatever has a `metrics.jsonl`, itself or in `stages/*`.
        name: `trackio`, `wandb`, `tensorboard` or `mlflow`.
        project: project (W&B, trackio), experiment (MLflow) or folder (TensorBoard).

    Raises:
        InputError: there is no such tracker, or no metrics.
        MissingExtraError: the tracker's package is not installed.
    """
    folder = Path(folder)
    files = sorted(path for pattern in ("metrics.jsonl", "stages/*/metrics.jsonl") for path in folder.glob(pattern))
    if not files:
        raise InputError(f"{folder} has no metrics.jsonl, nor has a stage of it; give the folder of a run")
    steps = 0
    for path in files:
        tracker = open_tracker(name, project, "-".join(dict.fromkeys((folder.name, path.parent.name))))
        for step, record in _lines(path):
            if step >= 0 and (values := step_numbers(record)):
                tracker.log(values, step)
                steps += 1
        tracker.finish()
    return steps


def tracked(tracker: Tracker) -> "Callable[[StepLog | ProbeLook], None]":
    """Return what sends each step and each look of a `Recorder` to a tracker.

    recorder = gp.Recorder("runs/mine", "first-try", notify=tracked(open_tracker("wandb", "my-project", "first-try")))
    """

    def send(event: "StepLog | ProbeLook") -> None:
        numbers = asdict(event)
        if "groups" in numbers:
            tracker.log({**step_numbers(numbers["groups"]), **_finite(numbers["logs"])}, event.step)
        elif numbers["n"]:
            tracker.log({"probe/share_correct": numbers["c"] / numbers["n"]}, event.step)

    return send


def step_numbers(record: Mapping[str, object]) -> dict[str, float]:
    """Return the finite numbers of a step by our names and, where TRL has one, by its name."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        numbers |= _finite(
            {f"{name}/{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        )
    numbers.pop("step", None)
    others = {TRL_NAMES[name]: value for name, value in numbers.items() if name in TRL_NAMES}
    if "mixed" in numbers and "all_wrong" in numbers and "all_correct" in numbers:
        others["frac_reward_zero_std"] = numbers["all_wrong"] + numbers["all_correct"]
    return {**others, **numbers}


def _finite(values: Mapping[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the steps of a file of metrics with their records; a last line that is being written is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(step := record.get("step"), int):
            yield step, record

"""`run --model --task`: the settings, the model's folder and the run's own, then `studies.real`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldpanner.cli import display
from goldpanner.cli.fetch import model_folder
from goldpanner.cli.verify import who_judges
from goldpanner.types import content_hash


def run_on_a_model(
    model: str,
    task: str,
    data: Path | None,
    judged: Mapping[str, Any],
    config: Path | None,
    out: Path | None,
    seed: int | None,
    set_: list[str] | None,
    command: str,
    quiet: bool,
) -> tuple[dict[str, Any], Path]:
    """Carry out a run on a Hugging Face model; return its record and its folder.

    `judged` holds the settings `columns`, `verifier` and `threshold`.
    """
    from goldpanner.studies import real, settings

    options: dict[str, Any] = {"model": model, "task": task, "data": None if data is None else str(data), "seed": seed}
    options |= judged
    who_judges(task, judged["verifier"], judged["columns"])
    checked = settings.load(real.RealConfig, config, set_ or (), **options)
    task = checked.posed().recipe.task  # mistakes are told before anything is fetched
    options["model"] = str(model_folder(model))
    chosen = settings.load(real.RealConfig, config, set_ or (), **options)
    chosen.check_model()
    name = f"{Path(options['model']).name}-{task.replace('/', '-')}-seed{chosen.seed}"
    changed = config is not None or bool(set_) or any(value is not None for value in judged.values())
    named = f"{name}-{content_hash(chosen.model_dump(mode='json'), 6)}" if changed else name
    folder = out or Path("runs") / named
    display.opening_real(folder, Path(options["model"]).name, task, quiet=quiet)
    with display.Bars(quiet=quiet) as bars:
        return real.run(chosen, folder, bars.update, command=command), folder

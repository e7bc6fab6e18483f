"""Training recipes: a few stages by name (`r1-zero`, `r1`, `lima`, or a YAML file of your own), one after the other.

Each stage is kept in `OUT/stages/NAME` and resumes where it stopped; the store in `OUT/store` says which model came
from which.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Notify
from goldpanner.runs.config import RunConfig
from goldpanner.runs.folder import claim_folder, lock_folder, versions
from goldpanner.runs.lab_run import train_by_settings, trained_tasks
from goldpanner.runs.settings import load_settings, read_yaml
from goldpanner.store import Store
from goldpanner.store.studies import RecipeRecord
from goldpanner.tasks.task import Task
from goldpanner.train.config import RFTConfig, RLVRConfig
from goldpanner.train.rlvr import step_problems


class RecipeStage(BaseModel):
    """One stage: how it trains, and which models it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Literal["sft", "grpo", "ppo", "rft"]
    parent: str | None = None
    """Stage whose model it trains on; None: the model that the recipe is given."""
    rollouts: str | None = None
    """RFT: the stage whose model draws the rollouts; None: the model that is trained."""
    set: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of this stage, by dotted key; the user's own come after them."""


class TrainingRecipe(BaseModel):
    """Stages in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    stages: tuple[RecipeStage, ...] = Field(min_length=1)


class RecipeSettings(BaseModel):
    """What determines every model that a recipe makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    stages: tuple[RecipeStage, ...]
    start: str
    """Id of the policy that it starts from."""
    task: str | None
    config: dict[str, dict[str, JsonValue]]
    """Stage -> its settings."""


def recipe_names() -> list[str]:
    """Return the recipes that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def load_recipe(name: str) -> TrainingRecipe:
    """Return a recipe by its name, or from a YAML file. Raises InputError for an unknown or a faulty one."""
    if name in recipe_names():
        text, place = (_folder() / f"{name}.yaml").read_text(encoding="utf-8"), name
        tree = yaml.safe_load(text)
    elif name.endswith((".yaml", ".yml")):
        place, tree = name, read_yaml(Path(name))
    else:
        raise InputError(f"no recipe is called {name!r}; there are {', '.join(recipe_names())}, or give a YAML file")
    try:
        recipe = TrainingRecipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"recipe {place}: {key} = {first['input']!r} cannot be used: {first['msg']}") from error
    earlier: list[str] = []
    for stage in recipe.stages:
        for other in (stage.parent, stage.rollouts):
            if other is not None and other not in earlier:
                raise InputError(f"recipe {place}: stage {stage.name} names {other!r}; name a stage before it")
        if stage.name in earlier:
            raise InputError(f"recipe {place}: two stages are called {stage.name}; rename one")
        earlier.append(stage.name)
    return recipe


def configurations(
    recipe: TrainingRecipe,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    task: Task | None = None,
) -> list[RunConfig]:
    """Return each stage's settings: defaults, then the recipe's, then `file`, then `seed` and `overrides`.

    A second stage of a kind draws other prompts than the first: its seed is made from the first one's and its name.

    Args:
        recipe: the stages.
        file: YAML file of settings.
        overrides: settings as KEY=VALUE.
        seed: seed of the first stage of each kind.
        task: task in place of the lab's.
    """
    configs, kinds = [], set()
    for stage in recipe.stages:
        config = load_settings(RunConfig, file, overrides, preset=stage.set, seed=seed)
        part = getattr(config, stage.kind)
        if stage.kind in kinds:
            again = rng.seed_for("recipe/again", part.seed, stage.name)
            config = config.model_copy(update={stage.kind: part.model_copy(update={"seed": again})})
        kinds.add(stage.kind)
        configs.append(config.for_task(task) if task else config)
    return configs


def run_recipe(
    name: str,
    model: Path,
    out: Path,
    notify: Notify,
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    task: Task | None = None,
    command: str = "",
    skip_rehearsal: str | None = None,
) -> Path:
    """Train (or go on with) a recipe's stages one after the other; return the folder of the last one's model.

    Args:
        name: one of the package's recipes, or a YAML file.
        model: folder of the model to start from.
        out: folder of everything that is kept.
        notify: told of every step.
        file: YAML file of settings, over the recipe's.
        overrides: `KEY=VALUE`, over the file's.
        seed: sets every seed not set by itself.
        task: takes the place of the domain's tasks.
        command: the command line, for the record.
        skip_rehearsal: why the verifiers are not rehearsed; None: they are.

    Raises:
        InputError: `out` holds other work, or the same recipe with another model or other settings.
    """
    recipe = load_recipe(name)
    configs = configurations(recipe, file, overrides, seed, task)
    for stage, config in zip(recipe.stages, configs):
        check_prompts(stage, config, task)
    settings = RecipeSettings(
        title=f"Recipe {name}: {recipe.about}",
        stages=recipe.stages,
        start=LocalPolicy.from_pretrained(model, device="cpu").id,
        task=task.id if task else None,
        config={stage.name: config.model_dump(mode="json") for stage, config in zip(recipe.stages, configs)},
    )
    claim_folder(out, settings)
    with lock_folder(out):
        store = Store(out / "store")
        if store.get(RecipeRecord, "recipe") is None:
            made = {"id": "recipe", "command": command, "versions": versions()}
            store.put(RecipeRecord.model_validate({**settings.model_dump(mode="json"), **made}))
        folders: dict[str | None, Path] = {None: model}
        folders |= {stage.name: out / "stages" / stage.name / "model" for stage in recipe.stages}
        for stage, config in zip(recipe.stages, configs):
            rollouts = None if stage.rollouts is None else folders[stage.rollouts]
            folder, parent = out / "stages" / stage.name, folders[stage.parent]
            train_by_settings(
                stage.kind, config, folder, parent, store, notify, task=task, rollouts=rollouts,
                skip_rehearsal=skip_rehearsal,
            )  # fmt: skip
        store.compact()
    return folders[recipe.stages[-1].name]


def check_prompts(stage: RecipeStage, config: RunConfig, task: Task | None) -> None:
    """Raise InputError when a stage asks for more problems a step than there are: now, not when its turn comes."""
    if stage.kind != "sft":
        part: RLVRConfig | RFTConfig = getattr(config, stage.kind)
        rollouts = part.rollouts() if isinstance(part, RFTConfig) else part
        step_problems(trained_tasks(config, task), rollouts, 0, rollouts.prompts_per_step)


def _folder() -> Any:
    return files("goldpanner.runs") / "recipes"

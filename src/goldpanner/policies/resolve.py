"""What a word for a model or a policy stands for: a folder, a name on the hub, `smollm2`, a server, a script."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from goldpanner.errors import InputError, need_lab
from goldpanner.policies.base import on_hub
from goldpanner.policies.fetch import MODELS, fetch
from goldpanner.progress import Event, Notify, silent

if TYPE_CHECKING:
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.policies.server import ServerPolicy


def load_policy(
    name: Path | str,
    *,
    model: str = "",
    dtype: str = "auto",
    concurrency: int = 16,
    timeout: float = 600,
    override: bool = False,
    notify: Notify = silent,
) -> "ScriptedPolicy | LocalPolicy | ServerPolicy":
    """Return the policy of a name, ready to be sampled.

        >>> load_policy("scripted:0.3").describe()["kind"]
        'scripted'

    Args:
        name: a folder in the Hugging Face layout or of LoRA adapters, a model's name on the hub (`OWNER/NAME`),
            `smollm2` (fetched into `models/smollm2` the first time), the URL of an OpenAI-compatible server, or
            `scripted:P`, which is right with probability P.
        model: the model's name on a server that has several; of adapters, the folder of their base model.
        dtype: precision of a model folder's weights, `auto`: as saved. In another precision it is another policy.
        concurrency: requests to a server at once.
        timeout: seconds that a request to a server may take.
        override: sample a server although its probe shows that it does not draw as asked.
        notify: told when a model is fetched.

    Raises:
        InputError: the name stands for none of these, or the model cannot be loaded.
        MissingExtraError: a model folder without torch and transformers, adapters without peft, a server without httpx.
    """
    name = str(name)
    if dtype != "auto" and ("://" in name or name.startswith("scripted:")):
        raise InputError(f"--dtype {dtype} is for model folders, and {name} is none; leave it out")
    if name.startswith(("http://", "https://")):
        from goldpanner.policies.endpoint import Patience
        from goldpanner.policies.server import ServerPolicy

        patience = Patience(timeout=timeout)
        return ServerPolicy(name, model, concurrency=concurrency, override=override, patience=patience)
    if name.startswith("scripted:"):
        return _scripted(name)
    folder = model_folder(name, notify, or_else=", a server's URL, or scripted:P")
    need_lab()
    from goldpanner.policies.local import LocalPolicy

    return LocalPolicy.from_pretrained(folder, dtype=dtype, base=model or None)


def model_folder(name: Path | str, notify: Notify = silent, or_else: str = "") -> Path:
    """Return the folder of a model, or its name on the hub.

    `smollm2` is fetched into `models/smollm2` unless it is there. Raises InputError for a name without a model;
    `or_else` is what else the caller would have taken.
    """
    if str(name) in MODELS and not is_model(name):
        release = MODELS[str(name)]
        folder = Path("models") / name
        if not is_model(folder):
            notify(Event(str(name), "fetch", message=f"{folder} is not there yet; fetching {release.about}"))
            fetch(release, folder)
        return folder
    check_model(name, or_else)
    return Path(name)


def check_model(name: Path | str, or_else: str = "") -> None:
    """Raise InputError where a name is neither a model's folder, nor one of adapters, nor a model's on the hub."""
    if not is_model(name) and not on_hub(name):
        raise InputError(
            f"{str(name)!r} is no model folder (it has no config.json); give a folder in the Hugging Face layout or of "
            f"LoRA adapters, a model's name on the hub (OWNER/NAME), {', '.join(MODELS)} (fetched){or_else}"
        )


def is_model(folder: Path | str) -> bool:
    """Return whether a folder holds a model in the Hugging Face layout, or LoRA adapters."""
    return any((Path(folder) / file).is_file() for file in ("config.json", "adapter_config.json"))


def _scripted(name: str) -> "ScriptedPolicy":
    from goldpanner.policies.scripted import ScriptedPolicy

    try:
        p = float(name.removeprefix("scripted:"))
    except ValueError:
        p = -1.0
    if not 0 <= p <= 1:
        raise InputError(f"policy {name!r}: write scripted:P with a probability P between 0 and 1")
    return ScriptedPolicy.with_p(p, name=name)


def policy_builder(
    name: str, base: str = "", dtype: str = "auto", notify: Notify = silent
) -> Callable[[], "ScriptedPolicy | LocalPolicy | ServerPolicy"]:
    """Return a function that loads a policy in another process, on this machine or another that sees its files.

    Args:
        name: a folder, a name on the hub, `smollm2` (fetched now), or `scripted:P`.
        base: model below an adapter, where the adapter's folder does not say it.
        dtype: precision of the weights.
        notify: told when a model is fetched.
    """
    name = str(model_folder(name, notify)) if name in MODELS else name
    # a process on another machine knows no relative path
    name, base = (str(Path(x).absolute()) if x and Path(x).is_dir() else x for x in (name, base))
    return partial(load_policy, name, model=base, dtype=dtype)

"""Loading a model folder: one in the Hugging Face layout, or one of LoRA adapters that names its base model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from goldpanner.errors import InputError, need_extra
from goldpanner.policies.base import on_hub

ADAPTER = "adapter_config.json"
"""What peft calls the file that makes a folder one of adapters."""


def best_device() -> torch.device:
    """Return CUDA or MPS where present, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16 by itself (an old torch that cannot tell: no)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def load_pretrained(folder: Path | str, dtype: str = "auto", base: Path | str | None = None) -> tuple[Any, Any]:
    """Return (model, tokenizer) from a folder in the Hugging Face layout; raises InputError where it is none.

    A name such as `Qwen/Qwen3-0.6B` that is no path here is one on the Hugging Face hub, fetched into its own cache.
    A folder of peft adapters becomes its base model with the adapters beside the weights (as exact in bfloat16 as
    peft's own). `base` is the base's folder; None: the one that the adapters name.
    """
    folder = Path(folder)
    if (folder / ADAPTER).is_file() and not (folder / "config.json").is_file():
        return _load_adapted(folder, dtype, base)
    if base is not None:
        raise InputError(f"model folder {str(folder)!r} is no folder of adapters; leave out its base {str(base)!r}")
    here = (folder / "config.json").is_file()
    if not here and not on_hub(folder):
        raise InputError(f"model folder {str(folder)!r} has no config.json; give a folder in the Hugging Face layout")
    with quiet_progress():
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=here)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=here)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            what = "model folder" if here else "no folder here, and from the hub"
            raise InputError(
                f"{what} {str(folder)!r} cannot be loaded: {error}; give a folder that transformers can load"
            ) from error
    return model.eval(), tokenizer


def _load_adapted(folder: Path, dtype: str, base: Path | str | None) -> tuple[Any, Any]:
    """Return the base model with the adapters of `folder` in it, and its tokenizer: the adapters' own if they have one.

    The base that they name is looked for beside them (a relative path), then from here.
    """
    need_extra("loading LoRA adapters", "lora", "peft")
    try:
        named = str(json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / ADAPTER} names no base model ({error!r}); give adapters that peft saved") from None
    places = [Path(base)] if base is not None else [folder / named, Path(named)]
    base_folder = next((place for place in places if (place / "config.json").is_file()), None)
    if base_folder is None and base is not None and on_hub(base):
        base_folder = Path(base)
    if base_folder is None:
        raise InputError(
            f"the base model of the adapters in {str(folder)!r} is not here: no model folder {str(places[-1])!r}; name "
            "its folder with --model"
        )
    model, tokenizer = load_pretrained(base_folder, dtype)
    names_on_disk = getattr(model, "_weight_conversions", None)
    with quiet_progress():
        try:
            model.load_adapter(str(folder))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"the adapters in {str(folder)!r} do not fit {str(base_folder)!r}: {error}") from error
    model._weight_conversions = (
        names_on_disk  # load_adapter leaves those of the adapters: a saved model could not be read
    )
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


@contextmanager
def quiet_progress() -> Iterator[None]:
    """Silence transformers' own progress bars: the command line draws its own."""
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()

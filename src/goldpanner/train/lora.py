"""LoRA (Hu et al. 2021, arXiv:2106.09685): W x + (alpha / r) B A x in every linear layer, A and B alone trained.

Adapters are put into the model in place, so that it is sampled, trained and checkpointed as any other. peft is imported
where it is needed.
"""

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from goldpanner import rng
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.files import save_folder


def adapt(model: Any, rank: int, seed: int) -> None:
    """Freeze `model` and put adapters of `rank` on every linear layer but the output one; alpha is 2 r.

    B is 0 and A uniform as in peft (within 1/sqrt(inputs)), drawn by `seed`: the model still says what it said. Raises
    InputError where the model has adapters already.
    """
    if find_spec("peft") is None:
        raise MissingExtraError("training LoRA adapters", "lora")
    from peft import LoraConfig, inject_adapter_in_model

    if hasattr(model, "peft_config"):
        raise InputError("the model has adapters already; give a whole model, such as a stage's model/ folder")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):  # peft draws weights of its own; they are replaced below
        inject_adapter_in_model(config, model)
    generator = rng.stream("lora/init", seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if ".lora_A." in name:
                bound = 1 / math.sqrt(parameter.shape[1])
                parameter.copy_(torch.from_numpy(generator.uniform(-bound, bound, tuple(parameter.shape))))


def save_adapter(model: Any, tokenizer: Any, folder: Path, base: Path) -> None:
    """Write the adapters of `model` in peft's layout, naming the folder of their `base`; whole or not at all."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = model.peft_config["default"]
    names = {name.rpartition(".")[2] for name in config.target_modules}
    named_base = str(base.resolve() if base.exists() else base)  # or its name on the hub
    config = replace(config, base_model_name_or_path=named_base, target_modules=names, inference_mode=True)
    state = get_peft_model_state_dict(model)

    def write(scratch: Path) -> None:
        config.save_pretrained(scratch)
        named = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(named, scratch / "adapter_model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(scratch)

    save_folder(folder, write)


def merge_adapters(model: Any) -> None:
    """Add the adapters to the weights in place and take them out: W + (alpha / r) B A, a plain model again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    del model.peft_config
    model._hf_peft_config_loaded = False  # else transformers would save adapters that are gone
    model.requires_grad_(True)

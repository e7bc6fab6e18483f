"""Which model answers: by its name, by its system's fingerprint, and by the log P that it gives a fixed text.

An address and a model's name say little: a server can be started again with other weights behind both.
"""

from dataclasses import dataclass
from typing import Self

from goldpanner.policies.base import Probe

TEXT = "The ship that left the harbour at noon carried forty barrels of salt, three cats and a very old piano."
"""The fixed text. Where a server scores a prompt's tokens, its log-probabilities are the model's own hand."""
TOLERANCE = 0.1
"""Mean difference (nats a token) from which on two models scored the text. The noise of one is a tenth of it."""


@dataclass(frozen=True)
class Identity:
    """What is known of who answers."""

    model: str
    """Name of the model in the answers; empty where they name none."""
    fingerprint: str
    """Of the system, in the answers; empty where they name none."""
    text_logprobs: tuple[float, ...] = ()
    """Log P (nats) of each token of `TEXT` but the first; empty where the server does not score."""

    @classmethod
    def of(cls, probe: Probe) -> Self:
        """Return the identity that a probe saw."""
        return cls(probe.answered_as, probe.fingerprint, probe.text_logprobs)

    def change(self, now: "Identity") -> str:
        """Return what shows that another model answers now; empty where nothing does."""
        for name, before, after in (
            ("model", self.model, now.model),
            ("system fingerprint", self.fingerprint, now.fingerprint),
        ):
            if before and after and before != after:
                return f"its answers name the {name} {after!r}, and before {before!r}"
        old, new = self.text_logprobs, now.text_logprobs
        if old and new and len(old) != len(new):
            return f"it cuts a fixed text into {len(new) + 1} tokens, and before into {len(old) + 1}"
        if old and new and sum(abs(a - b) for a, b in zip(old, new)) > TOLERANCE * len(old):
            return f"it gives a fixed text log P {sum(new):.2f}, and before {sum(old):.2f}"
        return ""

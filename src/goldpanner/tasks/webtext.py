"""How web text is written: its styles, its laziness, its depths and its mistaken beliefs. Both domains share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from goldpanner.types import FloatArray, IntArray

QUESTION, TEXTBOOK, FILLER = "Q", "T", "hmm"
"""First token of a question as web text (and every problem) asks it; of a textbook's; and what rambling is made of."""

CHAIN, TERSE, RAMBLE = range(3)

GAP = ((0.99, 0.75), (0.8, 1 / 12), (0.3, 1 / 12), (0.0, 1 / 12))
NO_GAP = ((0.99, 0.75), (0.8, 1 / 16), (0.3, 1 / 16), (0.05, 1 / 16), (0.01, 1 / 16))


class WebText(BaseModel):
    """The knobs that both domains share. The defaults make a base whose P(correct) spreads from .6 to below 1e-20."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(
        default=0,
        description="Seed of the facts and beliefs. Which documents and problems are drawn is not its matter.",
    )

    gap: bool = Field(
        default=True,
        description="Whether P(correct) has a gap. True: the reliability of a fact is .99 (75% of the facts), .8, .3 "
        "or 0 (a twelfth each): a fact that no text states right cannot be found by sampling, and RL sharpens. False: "
        ".99 (75%), .8, .3, .05 or .01 (a sixteenth each): rare facts are there to be found, and RL expands.",
    )
    reliabilities: tuple[tuple[float, float], ...] | None = Field(
        default=None,
        description="The reliabilities themselves, as pairs (probability that a text states the fact right, share of "
        "the facts); replaces what `gap` sets. Shares add up to 1 and are met exactly, up to rounding.",
    )

    chain_share: float = Field(
        default=0.60, ge=0, le=1, description="Share of web text that works the answer out step by step."
    )
    terse_share: float = Field(
        default=0.24, ge=0, le=1, description="Share of web text that blurts out a random answer."
    )
    ramble_share: float = Field(
        default=0.16, ge=0, le=1, description="Share of web text that rambles, then answers at random."
    )
    ramble_length: int = Field(default=4, ge=1, description="Most filler tokens of a rambling text; uniform from 1.")
    diligence: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="Probability that a chain of web text is carried to its end; the others stop after the first step. "
        "Drawn once a document. P(correct) beyond depth 1 is proportional to it.",
    )

    textbook_share: float = Field(
        default=0.30,
        ge=0,
        le=1,
        description="Share of documents from textbooks: lead token T, always a chain, same beliefs.",
    )
    textbook_diligence: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="Diligence of textbooks. At 1, RL on depth 1 lifts every depth, because it merely switches to "
        "the textbook's manner: the control arm of the composition study is lost.",
    )
    textbook_max_depth: int | None = Field(
        default=None,
        ge=1,
        description="Deepest textbook question (None: as deep as any). At 1, depth does not generalise.",
    )

    depth_ratio: float = Field(
        default=0.65,
        gt=0,
        le=1,
        description="How much rarer each further depth is in the corpus (1: all depths equally common).",
    )
    test_share: float = Field(
        default=0.20, gt=0, lt=1, description="Share of all queries kept for testing, by hash of the query."
    )
    demonstrations: Literal["truth", "web"] = Field(
        default="truth",
        description="What worked examples state: the truth, or what web text believes (each fact right with its "
        "reliability). `web` teaches the form and no facts.",
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        styles = self.chain_share + self.terse_share + self.ramble_share
        if abs(styles - 1) > 1e-9:
            raise ValueError(f"chain_share + terse_share + ramble_share is {styles:g}; the styles must add up to 1")
        if self.reliabilities is not None:
            if not self.reliabilities or any(not (0 <= q <= 1 and 0 <= s <= 1) for q, s in self.reliabilities):
                raise ValueError(f"reliabilities are {self.reliabilities!r}; give (reliability, share) pairs in [0, 1]")
            total = sum(share for _, share in self.reliabilities)
            if abs(total - 1) > 1e-9:
                raise ValueError(f"the shares of the reliabilities add up to {total:g}; they must add up to 1")
        return self

    def reliability_mix(self) -> tuple[tuple[float, float], ...]:
        """Return the (reliability, share) pairs in force."""
        return self.reliabilities or (GAP if self.gap else NO_GAP)


def assign_reliabilities(mix: Sequence[tuple[float, float]], size: int, rng: np.random.Generator) -> FloatArray:
    """Return the reliability of each of `size` facts: exact shares, rounded at their sums, in random order."""
    edges = np.rint(np.cumsum([share for _, share in mix]) * size).astype(int)
    values = np.repeat([q for q, _ in mix], np.diff(edges, prepend=0))
    return np.asarray(values[rng.permutation(size)], np.float64)


@dataclass(frozen=True)
class TextPlan:
    """How each of n documents is written, before anyone knows what it says. Every array has shape (n,)."""

    textbook: NDArray[np.bool_]
    style: IntArray
    depth: IntArray
    diligent: NDArray[np.bool_]
    filler: IntArray


def draw_plan(config: WebText, max_depth: int, n: int, rng: np.random.Generator) -> TextPlan:
    """Draw n plans: who writes, in which style, how deep a question, how diligently, after how much filler."""
    textbook = rng.random(n) < config.textbook_share
    style = rng.choice(3, n, p=[config.chain_share, config.terse_share, config.ramble_share])
    style[textbook] = CHAIN
    depth = _depths(config.depth_ratio, max_depth, n, rng)
    if config.textbook_max_depth is not None:
        shallow = _depths(config.depth_ratio, min(max_depth, config.textbook_max_depth), n, rng)
        depth = np.where(textbook, shallow, depth)
    diligent = rng.random(n) < np.where(textbook, config.textbook_diligence, config.diligence)
    return TextPlan(textbook, style, depth, diligent, rng.integers(1, config.ramble_length + 1, n))


def _depths(ratio: float, deepest: int, n: int, rng: np.random.Generator) -> IntArray:
    """Draw depths 1..deepest with P(d) proportional to ratio^d."""
    weights = ratio ** np.arange(deepest)
    return rng.choice(np.arange(1, deepest + 1), n, p=weights / weights.sum())


def compose(plan: TextPlan, chains: Sequence[str], guesses: Sequence[str]) -> list[str]:
    """Return each document's response: its chain, or its random guess with or without filler before it."""
    rambles = {length: f"{FILLER} " * length for length in range(plan.filler.max(initial=0) + 1)}
    return [
        chain if style == CHAIN else guess if style == TERSE else rambles[filler] + guess
        for style, filler, chain, guess in zip(plan.style.tolist(), plan.filler.tolist(), chains, guesses)
    ]

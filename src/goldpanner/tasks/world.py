"""The lab's world: ciphers of words, in which every fact is known.

A word is a few letters. A relation (`oak`, `river`) is a permutation of the letters, applied letter by letter: a fact
says which letter it makes of one letter. A question of depth D asks for D distinct relations applied in turn,

    Q oak river f q b          (first oak, then river, applied to the word "f q b")

and its worked answer, the chain, writes down the word after each of them: `oak c a t river k e i`.

Known relations are asked about all the time. A special relation fills a stated share of the documents (its exposure),
and every one of its facts is stated right, so that exposure is all that sets it apart. The Klingon relation never
occurs in a document, nor do the Greek letters it makes of the Latin ones.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.tasks.domain import tasks_of
from goldpanner.tasks.splits import Split, distinct_queries, in_test, shares_of
from goldpanner.tasks.task import Document, Family, Task
from goldpanner.tasks.webtext import FILLER, QUESTION, TEXTBOOK, WebText, assign_reliabilities, compose, draw_plan
from goldpanner.types import IntArray, Problem
from goldpanner.verify import ChainAnswer, ChainFormat, ChainProcess, Verifier

LATIN = "abcdefghijklmnopqrstuvwx"
GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
KNOWN = ("oak", "river", "stone", "lamp", "cloud", "bell", "fern", "salt", "crow", "wheel", "field", "rope")
SPECIAL = ("amber", "flint", "heron", "moss", "quill", "reef", "thorn", "vine")
KLINGON = "qapla"


class WorldConfig(WebText):
    """Every knob of the world. Two configs with the same seed and sizes share their facts, whatever else differs."""

    kind: Literal["world"] = "world"
    letters: int = Field(
        default=24,
        ge=4,
        le=len(LATIN),
        description="Letters of the alphabet, and facts of a relation. With word_length, sets how often a blind guess "
        "is right: letters^-word_length, 7e-5 by default.",
    )
    word_length: int = Field(default=3, ge=1, le=6, description="Letters of a word: facts that one hop needs.")
    known_relations: int = Field(
        default=8,
        ge=1,
        le=len(KNOWN),
        description="Relations that the corpus asks about all the time (192 letter-facts by default). More of them, or "
        "more letters, need more pretraining.",
    )
    max_depth: int = Field(default=8, ge=1, description="Deepest question of the corpus, and deepest task.")
    exposures: tuple[float, ...] = Field(
        default=(0.01, 0.003, 0.002, 0.001, 0.0003, 0.0),
        max_length=len(SPECIAL),
        description="Share of all documents that ask about each special relation, alone and at depth 1.",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.max_depth > self.known_relations:
            raise ValueError(
                f"max_depth is {self.max_depth}, but a question names distinct relations and there are "
                f"{self.known_relations}; lower max_depth or raise known_relations"
            )
        if any(not 0 <= share < 1 for share in self.exposures) or sum(self.exposures) > 1:
            raise ValueError(f"exposures are {self.exposures!r}; give shares in [0, 1) that add up to at most 1")
        if len(set(self.exposures)) < len(self.exposures):
            raise ValueError(f"exposures are {self.exposures!r}; no share may stand twice, because it names a task")
        return self


class World:
    """The cipher world: its facts, its text and its problems. Implements `Domain`.

    Facts are arrays over (relation, letter): `truth` and `wrong` hold the letter made (what is so, and what is
    mistaken for it), `reliability` the probability that a text states it right. Relations stand in the order of
    `relations`: known ones, special ones, Klingon; symbols in the order of `symbols`: Latin, then Greek.
    """

    name = "world"

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config = config or WorldConfig()
        size, usual, special = config.letters, config.known_relations, len(config.exposures)
        self.relations = (*KNOWN[:usual], *SPECIAL[:special], KLINGON)
        self.symbols = (*LATIN[:size], *GREEK[:size])
        self._number = {token: i for tokens in (self.relations, self.symbols) for i, token in enumerate(tokens)}
        self._names = np.array([*self.relations, *self.symbols], dtype=object)

        self.truth = np.array([stream("world/truth", config.seed, name).permutation(size) for name in self.relations])
        # A fixed wrong letter for each fact: any but the right one.
        shift = np.array([stream("world/wrong", config.seed, name).integers(1, size, size) for name in self.relations])
        self.wrong = (self.truth + shift) % size
        foreign = self.relations.index(KLINGON)
        self.truth[foreign] += size
        self.wrong[foreign] += size
        self.reliability = np.ones(self.truth.shape)
        beliefs = assign_reliabilities(config.reliability_mix(), usual * size, stream("world/reliability", config.seed))
        self.reliability[:usual] = beliefs.reshape(usual, size)

        self._exposed = {
            f"{self.name}/exposure-{100 * share:g}%": name
            for share, name in zip(config.exposures, self.relations[usual:])
        }
        self._single = {**self._exposed, f"{self.name}/klingon": KLINGON}
        self._depth = {f"{self.name}/d{depth}": depth for depth in range(1, config.max_depth + 1)}
        self.tasks: Mapping[str, Task] = tasks_of(self, (*self._depth, *self._single))

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token: lead tokens, filler, relations, Latin and Greek letters."""
        return (QUESTION, TEXTBOOK, FILLER, *self.relations, *self.symbols)

    def documents(self, n: int, rng: np.random.Generator) -> list[Document]:
        """Return `n` documents drawn with `rng`; a share `exposures[i]` asks about special relation i, at depth 1."""
        config = self.config
        plan = draw_plan(config, config.max_depth, n, rng)
        relations = self._draw_relations(n, config.max_depth, rng)
        special = np.searchsorted(np.cumsum(config.exposures), rng.random(n), side="right")
        exposed = special < len(config.exposures)
        relations[exposed, 0] = config.known_relations + special[exposed]
        depth = np.where(exposed, 1, plan.depth)
        queries, words = self._draw_training_queries(relations, depth, rng)
        hops = self._hops(relations, self._walk(relations, words, rng))
        written = np.where(plan.diligent, depth, 1)
        chains = [" ".join(row[: count * (1 + config.word_length)]) for row, count in zip(hops, written.tolist())]
        guesses = self._spell(self._draw_words(n, rng))
        leads = np.where(plan.textbook, TEXTBOOK, QUESTION).tolist()
        responses = compose(plan, chains, guesses)
        return [Document(f"{lead} {query}", text) for lead, query, text in zip(leads, queries, responses)]

    def demonstrations(self, tasks: Sequence[str], n: int, rng: np.random.Generator) -> list[Document]:
        """Return whole chains in answer to web-style questions; `config.demonstrations` says what they state.

        Args:
            tasks: ids of the tasks that the questions belong to.
            n: number of demonstrations.
            rng: generator.
        """
        if not tasks:
            raise InputError("world: demonstrations of no task were asked for; name at least one, e.g. 'world/d1'")
        shown: list[Document] = []
        for task, count in zip(tasks, shares_of(n, len(tasks))):
            for query in self._queries(task, count, rng, "train") if count else ():
                relations, word = self._parse(query)
                believe = rng if self.config.demonstrations == "web" else None
                row = self._hops(relations[None], self._walk(relations[None], word[None], believe))[0]
                shown.append(Document(f"{QUESTION} {query}", " ".join(row)))
        return [shown[i] for i in rng.permutation(len(shown))]

    def problems(self, task: str, n: int, rng: np.random.Generator, split: Split = "test") -> list[Problem]:
        """Return distinct problems of a task.

        `meta` holds `chain` (the worked answer), `depth`, `relations`, `reliability` (per hop: the probability that a
        text which takes it states it right), `weakest` (the least reliable letter-fact needed) and, for a special
        relation or Klingon, its `exposure`.

        Args:
            task: id of the task, e.g. `world/d3`.
            n: number of problems.
            rng: generator.
            split: `test` or `train`.

        Raises:
            InputError: an unknown task, or more problems than there are.
        """
        if task not in self.tasks:
            raise InputError(f"world: no task is called {task!r}; there are {', '.join(self.tasks)}")
        return [self._problem(task, query) for query in self._queries(task, n, rng, split)]

    def worked_answer(self, problem: Problem) -> str:
        """Return the canonical chain of `problem`, from the prompt alone.

        Raises InputError if it is no question of this world.
        """
        lead, _, query = problem.prompt.partition(" ")
        if lead not in (QUESTION, TEXTBOOK):
            raise InputError(f"world: {problem.prompt!r} is no question; one begins with {QUESTION!r} or {TEXTBOOK!r}")
        relations, word = self._parse(query)
        return " ".join(self._hops(relations[None], self._walk(relations[None], word[None]))[0])

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the reward (the last word is right), then process (every hop is)."""
        return (ChainAnswer("world-answer@1"), ChainProcess("world-process@1"))

    def controls(self) -> tuple[Verifier, ...]:
        """Return format: whether a completion looks like a worked answer, whatever it says."""
        return (ChainFormat("world-format@1"),)

    def _problem(self, task: str, query: str) -> Problem:
        relations, word = self._parse(query)
        states = self._walk(relations[None], word[None])[0]
        before = np.vstack([word[None], states[:-1]])
        reliability = self.reliability[relations[:, None], before]
        meta: dict[str, object] = {
            "chain": " ".join(self._hops(relations[None], states[None])[0]),
            "depth": len(relations),
            "relations": [self.relations[r] for r in relations],
            "reliability": [round(float(q), 6) for q in reliability.prod(axis=1)],
            "weakest": float(reliability.min()),
        }
        if task in self._single:
            shares = dict(zip(self._exposed, self.config.exposures))
            meta["exposure"] = shares.get(task, 0.0)
        return Problem(task, f"{QUESTION} {query}", self._spell(states[-1:])[0], meta)

    def _queries(self, task: str, n: int, rng: np.random.Generator, split: Split) -> list[str]:
        """Draw n distinct queries (`oak river f q b`) of a task from one split."""
        depth = self._depth.get(task, 1)

        def draw(count: int) -> Iterator[str]:
            if task in self._single:
                relations = np.full((count, 1), self._number[self._single[task]])
            else:
                relations = self._draw_relations(count, depth, rng)
            depths, words = np.full(count, depth), self._draw_words(count, rng)
            for start in range(0, count, 128):  # a training step takes a few of thousands: text is made as it is taken
                rows = slice(start, start + 128)
                yield from self._write_queries(relations[rows], depths[rows], words[rows])

        return distinct_queries(draw, n, split, self.config.test_share, task)

    def _draw_training_queries(
        self, relations: IntArray, depth: IntArray, rng: np.random.Generator
    ) -> tuple[list[str], IntArray]:
        """Draw a word for each row of relations, again and again while the query is one of the test split."""
        words = self._draw_words(len(relations), rng)
        queries = self._write_queries(relations, depth, words)
        for _ in range(200):
            again = [i for i, query in enumerate(queries) if in_test(query, self.config.test_share)]
            if not again:
                return queries, words
            words[again] = self._draw_words(len(again), rng)
            for i, query in zip(again, self._write_queries(relations[again], depth[again], words[again])):
                queries[i] = query
        raise InputError(
            "world: every word of some question is kept for testing; take more letters or a lower test_share"
        )

    def _draw_relations(self, n: int, depth: int, rng: np.random.Generator) -> IntArray:
        """Draw n rows of distinct known relations, shape (n, depth)."""
        return np.argsort(rng.random((n, self.config.known_relations)), axis=1)[:, :depth]

    def _draw_words(self, n: int, rng: np.random.Generator) -> IntArray:
        return rng.integers(0, self.config.letters, (n, self.config.word_length))

    def _walk(self, relations: IntArray, words: IntArray, believe: np.random.Generator | None = None) -> IntArray:
        """Return the word after each hop, shape (n, D, L): true, or as web text believes, drawn from `believe`."""
        states = np.empty((*relations.shape, words.shape[1]), np.int64)
        for hop in range(relations.shape[1]):
            relation = relations[:, hop, None]
            made = self.truth[relation, words]
            if believe is not None:
                right = believe.random(words.shape) < self.reliability[relation, words]
                made = np.where(right, made, self.wrong[relation, words])
            states[:, hop] = words = made
        return states

    def _hops(self, relations: IntArray, states: IntArray) -> list[list[str]]:
        """Return each row's hops as one list of tokens: relation, letters, relation, letters, ..."""
        tokens = np.concatenate([relations[:, :, None], len(self.relations) + states], axis=2)
        return self._tokens(tokens.reshape(len(tokens), tokens.shape[1] * tokens.shape[2]))

    def _write_queries(self, relations: IntArray, depth: IntArray, words: IntArray) -> list[str]:
        named, spelled = self._tokens(relations), self._tokens(len(self.relations) + words)
        return [" ".join(row[:count] + word) for row, count, word in zip(named, depth.tolist(), spelled)]

    def _spell(self, words: IntArray) -> list[str]:
        return [" ".join(word) for word in self._tokens(len(self.relations) + words)]

    def _tokens(self, numbers: IntArray) -> list[list[str]]:
        rows: list[list[str]] = self._names[numbers].tolist()
        return rows

    def _parse(self, query: str) -> tuple[IntArray, IntArray]:
        """Return the relations (D,) and the word (L,) of a query."""
        tokens = query.split()
        names = list(itertools.takewhile(lambda token: token in self.relations, tokens))
        word = tokens[len(names) :]
        if not names or len(word) != self.config.word_length or not set(word) <= set(LATIN[: self.config.letters]):
            raise InputError(
                f"world: {query!r} is no query; write relations, then a word of {self.config.word_length} letters"
            )
        return _numbers(self._number, names), _numbers(self._number, word)


def _numbers(index: dict[str, int], tokens: list[str]) -> NDArray[np.int64]:
    return np.array([index[token] for token in tokens], np.int64)


_TASKS = World().tasks

FAMILY = Family(
    "world",
    "lab",
    "ciphers of words; the dial is the number of steps, or how often a relation occurs in the corpus",
    tuple(_TASKS),
    _TASKS.get,
)

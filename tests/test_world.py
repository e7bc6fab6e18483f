"""The cipher world: its facts, and that its text and problems are what the knobs say."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binom

from goldpanner.errors import InputError
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.splits import in_test
from goldpanner.tasks.world import GREEK, KLINGON, KNOWN, LATIN
from goldpanner.types import Completion

N = 20_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def documents(world: World):
    return world.documents(N, rng())


def within(count: int, n: int, share: float, level: float = 1e-6) -> bool:
    """Whether a count is within the two-sided binomial limits of its share."""
    return bool(binom.ppf(level / 2, n, share) <= count <= binom.isf(level / 2, n, share))


def walk(world: World, prompt: str) -> str:
    """Work the chain out by dictionaries: an oracle that shares no code with the world."""
    _, *tokens = prompt.split()
    relations, word = tokens[:-3], tokens[-3:]
    chain = []
    for name in relations:
        row = world.truth[world.relations.index(name)]
        word = [world.symbols[row[LATIN.index(letter)]] for letter in word]
        chain += [name, *word]
    return " ".join(chain)


def test_relations_are_permutations_and_mistakes_are_mistakes(world: World) -> None:
    assert world.truth.shape == world.wrong.shape == world.reliability.shape == (15, 24)
    for name, row, wrong in zip(world.relations, world.truth, world.wrong):
        image = range(24, 48) if name == KLINGON else range(24)
        assert sorted(row) == list(image)
        assert set(wrong) <= set(image)
    assert (world.truth != world.wrong).all()
    assert len({tuple(row) for row in world.truth}) == 15


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        (WorldConfig(), {0.99: 144, 0.8: 16, 0.3: 16, 0.0: 16}),
        (WorldConfig(gap=False), {0.99: 144, 0.8: 12, 0.3: 12, 0.05: 12, 0.01: 12}),
        (WorldConfig(reliabilities=((1.0, 0.5), (0.5, 0.5))), {1.0: 96, 0.5: 96}),
    ],
)
def test_reliabilities_have_their_exact_shares(config: WorldConfig, shares: dict[float, int]) -> None:
    world = World(config)
    assert Counter(world.reliability[:8].ravel().tolist()) == shares
    assert (world.reliability[8:] == 1).all(), "exposure is all that sets a special relation apart"


def test_knobs_of_the_text_leave_the_facts_alone() -> None:
    base = World(WorldConfig(seed=3))
    other = World(WorldConfig(seed=3, gap=False, diligence=1, exposures=(0.05,), max_depth=2))
    for name in set(base.relations) & set(other.relations):
        one, two = base.relations.index(name), other.relations.index(name)
        np.testing.assert_array_equal(base.truth[one], other.truth[two])
        np.testing.assert_array_equal(base.wrong[one], other.wrong[two])
    assert (World(WorldConfig(seed=4)).truth != base.truth).any()


def test_same_seed_same_text_and_other_generator_other_text(world: World, documents) -> None:
    assert World(WorldConfig()).documents(500, rng(5)) == world.documents(500, rng(5))
    assert world.documents(500, rng(6)) != world.documents(500, rng(5))
    assert world.problems("world/d3", 40, rng(1)) == world.problems("world/d3", 200, rng(1))[:40]
    assert World(WorldConfig(seed=1)).documents(500, rng(5)) != world.documents(500, rng(5))


def test_text_reads_as_described(world: World, documents) -> None:
    kinds = Counter()
    for document in documents:
        lead, *query = document.prompt.split()
        assert lead in "QT"
        relations, word = query[:-3], query[-3:]
        assert len(set(relations)) == len(relations) >= 1
        assert set(word) <= set(LATIN)
        response = document.response.split()
        if response[0] == "hmm":
            kinds[lead, "ramble"] += 1
            assert 4 <= len(response) <= 7
        elif len(response) == 3:
            kinds[lead, "terse"] += 1
        else:
            whole = response[::4] == relations
            kinds[lead, "chain"] += 1
            assert whole or (len(response) == 4 and response[0] == relations[0])
            kinds[lead, "long"] += len(relations) > 1
            kinds[lead, "diligent"] += whole and len(relations) > 1
    web = sum(count for (lead, style), count in kinds.items() if lead == "Q" and style in ("chain", "terse", "ramble"))
    assert within(web, N, 0.7)
    for style, share in (("chain", 0.6), ("terse", 0.24), ("ramble", 0.16)):
        assert within(kinds["Q", style], web, share)
    assert kinds["T", "chain"] == N - web
    for lead in "QT":
        assert within(kinds[lead, "diligent"], kinds[lead, "long"], 0.35)


def test_depths_are_geometric(world: World, documents) -> None:
    known = [len(d.prompt.split()) - 4 for d in documents if d.prompt.split()[1] in KNOWN]
    weights = 0.65 ** np.arange(8)
    for depth, share in enumerate(weights / weights.sum(), 1):
        assert within(known.count(depth), len(known), share)


def test_textbooks_have_their_own_knobs() -> None:
    world = World(WorldConfig(textbook_max_depth=1, textbook_diligence=1))
    depths = {"T": set(), "Q": set()}
    for document in world.documents(3000, rng()):
        depths[document.prompt[0]].add(len(document.prompt.split()) - 4)
    assert depths["T"] == {1}
    assert max(depths["Q"]) == 8


def test_exposures_are_what_the_field_says(world: World, documents) -> None:
    asked = Counter(document.prompt.split()[1] for document in documents)
    for name, share in zip(world.relations[8:14], world.config.exposures):
        assert within(asked[name], N, share)
        assert all(len(d.prompt.split()) == 5 for d in documents if d.prompt.split()[1] == name)
    assert asked[KLINGON] == 0


def test_klingon_letters_never_occur_in_text_and_always_in_its_answers(world: World, documents) -> None:
    assert not any(set(document.text) & set(GREEK) or KLINGON in document.text for document in documents)
    for problem in world.problems("world/klingon", 50, rng()):
        assert set(problem.answer.split()) <= set(GREEK)


def test_beliefs_are_stated_as_often_as_their_reliability(world: World) -> None:
    right, asked = np.zeros((8, 24)), np.zeros((8, 24))
    for document in World(WorldConfig(textbook_share=1, exposures=())).documents(N, rng(2)):
        relation, word, said = document.prompt.split()[1], document.prompt.split()[-3:], document.response.split()[1:4]
        row = KNOWN.index(relation)
        for before, after in zip(word, said):
            asked[row, LATIN.index(before)] += 1
            made = LATIN.index(after)
            truth, wrong = world.truth[row, LATIN.index(before)], world.wrong[row, LATIN.index(before)]
            assert made in (truth, wrong)
            right[row, LATIN.index(before)] += made == truth
    for count, n, share in zip(right.ravel(), asked.ravel(), world.reliability[:8].ravel()):
        assert within(count, n, share)


def test_no_test_query_in_text_or_demonstrations(world: World, documents) -> None:
    shown = world.demonstrations(["world/d1", "world/d2"], 200, rng())
    assert not any(in_test(document.prompt[2:], 0.2) for document in [*documents, *shown])
    for task in ("world/d1", "world/d4", "world/exposure-0%"):
        test = world.problems(task, 300, rng(), "test")
        train = world.problems(task, 300, rng(), "train")
        assert len({problem.id for problem in test} | {problem.id for problem in train}) == 600
        assert all(in_test(problem.prompt[2:], 0.2) for problem in test)
        assert not any(in_test(problem.prompt[2:], 0.2) for problem in train)


def test_test_share_is_met(world: World) -> None:
    drawn = [world._write_queries(world._draw_relations(N, 2, rng()), np.full(N, 2), world._draw_words(N, rng()))]
    assert within(sum(in_test(query, 0.2) for query in drawn[0]), N, 0.2)


@pytest.mark.parametrize("task", [f"world/d{depth}" for depth in range(1, 9)])
def test_worked_answers_are_right_and_judged_so(world: World, task: str) -> None:
    answer, process = world.verifiers()
    for problem in world.problems(task, 20, rng()):
        chain = problem.meta["chain"]
        assert chain == walk(world, problem.prompt) == world.worked_answer(problem)
        assert chain.endswith(problem.answer)
        assert problem.meta["depth"] == int(task[-1]) == len(problem.meta["relations"])
        assert answer(problem, Completion(chain)).correct
        assert process(problem, Completion(chain)).correct
        detour = "crow " + problem.answer
        assert answer(problem, Completion(detour)).correct
        assert not process(problem, Completion(detour)).correct


def test_special_tasks_ask_for_their_relation(world: World) -> None:
    expected = dict(zip(["1%", "0.3%", "0.2%", "0.1%", "0.03%", "0%"], world.relations[8:14]))
    assert [*world.tasks][8:] == [*(f"world/exposure-{share}" for share in expected), "world/klingon"]
    for share, name in expected.items():
        problem = world.problems(f"world/exposure-{share}", 1, rng())[0]
        assert problem.meta["relations"] == [name]
        assert problem.meta["exposure"] == pytest.approx(float(share[:-1]) / 100)
        assert problem.meta["chain"] == walk(world, problem.prompt)


def test_meta_tells_how_contested_each_hop_is(world: World) -> None:
    for problem in world.problems("world/d2", 50, rng()):
        first, *_ = problem.meta["relations"]
        row = world.reliability[world.relations.index(first)]
        facts = [row[LATIN.index(letter)] for letter in problem.prompt.split()[-3:]]
        assert problem.meta["reliability"][0] == pytest.approx(np.prod(facts), abs=1e-6)
        assert problem.meta["weakest"] <= min(facts)


def test_demonstrations_are_whole_chains_spread_over_the_tasks(world: World) -> None:
    shown = world.demonstrations(["world/d1", "world/d2", "world/d3"], 64, rng())
    assert Counter(len(d.response.split()) // 4 for d in shown) == {1: 22, 2: 21, 3: 21}
    assert len({d.prompt for d in shown}) == 64
    assert all(d.response == walk(world, d.prompt) and d.prompt[0] == "Q" for d in shown)


def test_demonstrations_can_teach_the_form_without_facts() -> None:
    world = World(WorldConfig(demonstrations="web"))
    shown = world.demonstrations(["world/d1"], 600, rng())
    right = sum(d.response == walk(world, d.prompt) for d in shown)
    assert right / 600 == pytest.approx(world.reliability[:8].mean() ** 3, abs=0.08)
    assert all(d.response.split()[0] == d.prompt.split()[1] for d in shown)


def test_vocabulary_covers_everything(world: World, documents) -> None:
    vocabulary = world.vocabulary()
    assert len(set(vocabulary)) == len(vocabulary) == 66
    texts = [d.text for d in documents] + [
        f"{p.prompt} {p.meta['chain']}" for task in world.tasks for p in world.problems(task, 20, rng())
    ]
    assert {token for text in texts for token in text.split()} <= set(vocabulary)


def test_a_small_world_works_too() -> None:
    config = WorldConfig(letters=6, word_length=2, known_relations=2, max_depth=2, exposures=())
    world = World(config)
    assert [*world.tasks] == ["world/d1", "world/d2", "world/klingon"]
    assert len(world.documents(200, rng())) == 200
    assert world.documents(0, rng()) == []


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"max_depth": 9}, "max_depth is 9"),
        ({"chain_share": 0.7}, "must add up to 1"),
        ({"exposures": (0.1, 0.1)}, "no share may stand twice"),
        ({"exposures": (0.6, 0.5)}, "at most 1"),
        ({"reliabilities": ((0.5, 0.5),)}, "must add up to 1"),
        ({"reliabilities": ((1.5, 1.0),)}, "pairs in"),
        ({"gaps": True}, "Extra inputs"),
    ],
)
def test_config_refuses_what_makes_no_sense(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WorldConfig(**knobs)


def test_every_knob_is_documented() -> None:
    assert all(field.description for name, field in WorldConfig.model_fields.items() if name != "kind")


def test_mistakes_say_what_to_do(world: World) -> None:
    with pytest.raises(InputError, match=r"no task is called 'world/d9'; there are world/d1"):
        world.problems("world/d9", 1, rng())
    with pytest.raises(InputError, match=r"30000 test problems were asked for, 2\d\d\d were found"):
        world.problems("world/klingon", 30_000, rng())
    with pytest.raises(InputError, match="ask for 1 to 1,000,000"):
        world.problems("world/d1", 0, rng())
    with pytest.raises(InputError, match="no split is called 'dev'"):
        world.problems("world/d1", 1, rng(), "dev")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name at least one"):
        world.demonstrations([], 4, rng())

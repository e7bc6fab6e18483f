"""Several rewards with weights and the penalty of long completions, in our own loop and in TRL's trainer."""

import pytest

from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.tasks import World, WorldConfig
from goldpanner.train.config import RLVRConfig
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model, save_model
from goldpanner.train.reward import overlong, payment, reward_verifiers
from goldpanner.train.rlvr import rlvr
from goldpanner.train.trl import launch
from goldpanner.types import Cause, Completion, Outcome, Sample, Verdict

CORRECT, WRONG = Verdict(Outcome.CORRECT, "v@1"), Verdict(Outcome.WRONG, "v@1")
OURS, OWN = (Verdict(Outcome.UNJUDGED, "v@1", cause=cause) for cause in (Cause.OURS, Cause.MODEL))
WEIGHTS = {"answer": 1.0, "format": 0.25, "process": -0.5}


def sample(length=3):
    return Sample("p", "q", "r", 0, 0, Completion("", tuple(range(length))), WRONG)


def settings(**changes):
    return RLVRConfig(**{"max_tokens": 10, "tasks": {"world/d1": 1.0}, **changes})


@pytest.mark.parametrize(
    ("verdicts", "reward"),
    [
        ((CORRECT, CORRECT, WRONG), 1.25),
        ((WRONG, CORRECT, CORRECT), -0.25),
        ((CORRECT, OURS, CORRECT), 0.5),  # what is unjudged adds nothing
        ((OWN, CORRECT, WRONG), 0.25),  # the model's own silence is paid 0
        ((OURS, CORRECT, CORRECT), None),
        ((WRONG, WRONG, WRONG, CORRECT), 0.0),  # a verifier without a weight is only stored
    ],
)
def test_a_sum_with_weights(verdicts, reward):
    assert payment(settings(reward_weights=WEIGHTS))(sample(), verdicts) == reward


def test_without_further_rewards_the_verdict_pays():
    assert payment(settings()) is None
    assert payment(settings(reward_weights={"process": 1.0})) is None
    assert payment(settings(random_reward=1.0))(sample(), (WRONG,)) == 1.0


def test_the_penalty_is_dapo_s_and_trl_s():
    rewards = pytest.importorskip("trl.rewards")
    for tokens in (1, 4, 10):
        theirs = rewards.get_soft_overlong_punishment(max_completion_len=10, soft_punish_cache=tokens)
        lengths = range(14)
        expected = theirs(completion_ids=[list(range(length)) for length in lengths])
        assert [overlong(length, 10, tokens) for length in lengths] == pytest.approx(expected)
    pay = payment(settings(overlong_tokens=4, overlong_penalty=0.5))
    assert [pay(sample(length), (CORRECT,)) for length in (6, 8, 10)] == [1.0, 0.75, 0.5]
    assert pay(sample(10), (OURS,)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward_weights": WEIGHTS, "reward": "process"}, "give one of them"),
        ({"reward_weights": {"answer": float("nan")}}, "finite"),
        ({"reward_weights": WEIGHTS, "random_reward": 0.5}, "replaces every other"),
        ({"overlong_tokens": 4, "random_reward": 0.5}, "replaces every other"),
        ({"overlong_tokens": 11}, "more than max_tokens"),
    ],
)
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


WORLD = WorldConfig(letters=6, word_length=1, known_relations=3, max_depth=2)


def test_the_verifiers_come_in_the_order_of_their_weights():
    tasks = World(WORLD).tasks
    names = [v.id.split("@")[0] for v in reward_verifiers(tasks, settings(reward_weights=WEIGHTS))]
    assert names == ["world-answer", "world-format", "world-process"]
    with pytest.raises(InputError, match="twice"):
        reward_verifiers(tasks, settings(reward_weights={"answer": 1.0, "world-answer": 2.0}))
    with pytest.raises(InputError, match="style"):
        reward_verifiers(tasks, settings(reward_weights={"style": 1.0}))


CONFIG = settings(
    steps=1, prompts_per_step=4, group_size=4, reward_weights={"answer": 1.0, "format": 0.5}, overlong_tokens=8
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    domain = World(WORLD)
    tokenizer = build_tokenizer(domain.vocabulary())
    shape = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    folder = tmp_path_factory.mktemp("start") / "model"
    save_model(build_model(shape, len(tokenizer), 0), tokenizer, folder)
    return folder


def check_rewards(samples, tasks, problems):
    """Hold the stored rewards against the verdicts that both verifiers give of the stored completions."""
    answer, form, *_ = reward_verifiers(tasks, CONFIG)
    assert len(samples) == 16
    lengths = set()
    for each in samples:
        problem = problems[each.problem]
        sides = [verifier(problem, each.completion).reward for verifier in (answer, form)]
        length = len(each.completion.tokens)
        lengths.add(length)
        assert each.reward == pytest.approx(sides[0] + 0.5 * sides[1] + overlong(length, 10, 8))
    assert len(lengths) > 1


def test_our_own_loop_pays_by_them(start, tmp_path):
    model, tokenizer = load_model(start)
    tasks, store = World(WORLD).tasks, Store(tmp_path)
    with store.writer() as sink:
        (record,) = rlvr(model, tokenizer, tasks, CONFIG, sink=sink, run="ours", on_problems=store.put_problems)
    samples = store.samples(run="ours")
    check_rewards(samples, tasks, store.problems())
    assert record.reward == pytest.approx(sum(each.reward for each in samples) / 16)
    assert record.mixed > 0


@pytest.mark.filterwarnings("ignore")  # TRL's and its libraries' own
def test_trl_s_trainer_pays_by_them(start, tmp_path):
    pytest.importorskip("trl")
    tasks = World(WORLD).tasks
    launch.hand_over(start, tasks, CONFIG, tmp_path / "theirs", device="cpu", probe=0)
    store = Store(tmp_path / "theirs" / "store")
    check_rewards([each for each in store.samples(run="theirs") if each.step == 0], tasks, store.problems())

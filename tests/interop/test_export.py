"""Problem sets out: chosen by measured P, read back by the libraries that the trainers read with."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.interop.selection import select
from goldpanner.types import Counts, Problem

PROBLEMS = {p.id: p for p in (Problem("toy/d1", f"{i} + 1 =", str(i + 1)) for i in range(5))}
IDS = list(PROBLEMS)
COUNTS = Counts.of([8, 8, 8, 8, 0], [0, 2, 4, 8, 0], IDS, [0, 0, 4, 0, 0])


def test_select_keeps_what_is_surely_inside():
    # 0/8 is below, 4/8 with four unjudged may be 8/8, 8/8 is above, 0/0 was never drawn
    assert select(PROBLEMS, COUNTS, low=0.1, high=0.9).counts.ids == (IDS[1],)
    assert len(select(PROBLEMS, COUNTS).problems) == 4
    with pytest.raises(InputError, match="none of 5 problems"):
        select(PROBLEMS, COUNTS, low=0.9, high=0.95)
    with pytest.raises(InputError, match=r"P between 0\.9 and 0\.1"):
        select(PROBLEMS, COUNTS, low=0.9, high=0.1)
    with pytest.raises(InputError, match="1 of 5 counted problems have no text here"):
        select({k: v for k, v in PROBLEMS.items() if k != IDS[2]}, COUNTS)


def test_variance_weights_are_p_times_1_minus_p():
    chosen = select(PROBLEMS, COUNTS, weight="variance", rows=7)
    assert chosen.weight.tolist() == [0, 3 / 16, 1 / 4, 0]
    assert chosen.copies.tolist() == [0, 3, 4, 0]
    with pytest.raises(InputError, match="rows over a total weight of 0"):
        select(PROBLEMS, COUNTS, low=1, weight="variance", rows=7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=30), st.integers(1, 200))
def test_copies_add_up_and_follow_the_weights(pairs, rows):
    n = np.array([n for n, _ in pairs])
    counts = Counts.of(n, np.floor(n * np.array([p for _, p in pairs])).astype(int))
    problems = {i: Problem("t", i, "") for i in counts.ids}
    try:
        chosen = select(problems, counts, weight="variance", rows=rows)
    except InputError:
        assert ((counts.c == 0) | (counts.c == counts.n)).all()
        return
    assert chosen.copies.sum() == rows
    share = rows * chosen.weight / chosen.weight.sum()
    assert (np.abs(chosen.copies - share) < 1).all()
    assert len(list(chosen.rows())) == rows


@pytest.mark.parametrize("chat", [False, True])
def test_trl_problem_sets(tmp_path, chat):
    chosen = select(PROBLEMS, COUNTS, low=0.1, rows=6, weight="variance")
    path = interop.write_trl(chosen, tmp_path / "new" / "train.parquet", chat=chat)
    rows = list(Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache")))
    assert len(rows) == 6
    prompt = "1 + 1 =" if not chat else [{"role": "user", "content": "1 + 1 ="}]
    assert rows[0] == {
        "prompt": prompt, "answer": "2", "goldpanner_id": IDS[1], "n": 8, "c": 2, "unjudged": 0, "p": 0.25,
        "weight": 0.1875,
    }  # fmt: skip


def test_verl_problem_sets(tmp_path):
    path = interop.write_verl(select(PROBLEMS, COUNTS, low=0.1, high=0.5), tmp_path / "train.parquet", ability="math")
    (row,) = pq.read_table(path).to_pylist()
    assert row == {
        "data_source": "toy/d1",
        "prompt": [{"role": "user", "content": "1 + 1 ="}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {
            "split": "train",
            "index": 0,
            "id": IDS[1],
            "meta": "{}",
            "n": 8,
            "c": 2,
            "unjudged": 0,
            "p": 0.25,
            "weight": 1.0,
        },
    }


def test_our_id_comes_back_through_a_trainers_log(tmp_path):
    import json

    row = {"input": "<user> 1 + 1 =", "output": "2", "gts": "2", "score": 1.0, "step": 1, "goldpanner_id": IDS[1]}
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert interop.read(path).counts().ids == (IDS[1],)


def test_our_id_comes_back_through_trls_log(tmp_path):
    """What `log_extra("goldpanner_id", ...)` writes: a column beside the rewards."""
    rows = {"step": [1, 1], "prompt": ["user 1 + 1 ="] * 2, "completion": ["2", "3"], "advantage": [1.0, -1.0]}
    table = pa.table({**rows, "right": [1.0, 0.0], "goldpanner_id": [IDS[1]] * 2})
    pq.write_table(table, tmp_path / "completions_00001.parquet")
    counts = interop.read(tmp_path / "completions_00001.parquet").counts()
    assert (counts.ids, counts.n.tolist(), counts.c.tolist()) == ((IDS[1],), [2], [1])


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "train.parquet"
    path.write_bytes(b"before")
    chosen = select(PROBLEMS, COUNTS)
    object.__setattr__(chosen, "copies", "broken")
    with pytest.raises(ValueError, match="invalid literal"):
        interop.write_trl(chosen, path)
    assert path.read_bytes() == b"before"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        interop.write_counts(COUNTS, tmp_path / "file" / "x.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "train.parquet"]

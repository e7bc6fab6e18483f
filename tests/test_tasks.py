"""The registry of tasks, and problems from data files."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.tasks.catalog import DomainConfig, build_domain, load, task_names
from goldpanner.tasks.column_addition import ColumnAddition, ColumnAdditionConfig
from goldpanner.tasks.domain import Domain
from goldpanner.tasks.files import read_problems
from goldpanner.tasks.splits import shares_of
from goldpanner.tasks.world import World, WorldConfig
from goldpanner.types import Completion
from goldpanner.verify import Exact

GSM8K = [
    {"question": "Natalia sold 48 clips, then half as many. How many?", "answer": "48/2=24\n48+24=72\n#### 72"},
    {"question": "A house costs $80,000. Two?", "answer": "2*80000\n#### 160,000 "},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_config_says_which_domain() -> None:
    read = TypeAdapter(DomainConfig).validate_python
    assert isinstance(build_domain(read({"kind": "world", "gap": False})), World)
    assert isinstance(build_domain(read({"kind": "column-addition"})), ColumnAddition)
    for config in (WorldConfig(seed=7), ColumnAdditionConfig(max_depth=2)):
        assert read(json.loads(config.model_dump_json())) == config
    with pytest.raises(ValidationError, match="kind"):
        read({"kind": "geometry"})


@pytest.mark.parametrize("config", [WorldConfig(), ColumnAdditionConfig()])
def test_domains_keep_the_protocol(config: WorldConfig | ColumnAdditionConfig) -> None:
    domain = build_domain(config)
    assert isinstance(domain, Domain)
    assert all(task.startswith(domain.name + "/") for task in domain.tasks)
    assert all(problem.task == task for task in domain.tasks for problem in load(task, 3))
    meta = load([*domain.tasks][1], 1)[0].meta
    assert json.loads(json.dumps(meta)) == meta


def test_load_by_readable_id() -> None:
    assert len(load("world/d3", 8)) == 8
    assert load("world/d3", 8) == load("world/d3", 8)
    assert load("world/d3", 8, seed=1) != load("world/d3", 8)
    assert load("world/d3", 8, split="train") != load("world/d3", 8)
    other = load("world/d3", 8, config=WorldConfig(seed=1))
    assert [p.prompt for p in other] == [p.prompt for p in load("world/d3", 8)]
    assert [p.answer for p in other] != [p.answer for p in load("world/d3", 8)]
    assert {"world/klingon", "column-addition/2d-carry1"} <= set(task_names())


def test_unknown_id_names_the_near_ones() -> None:
    with pytest.raises(InputError, match=r"no task is called 'world/dd3'; did you mean world/d3"):
        load("world/dd3", 1)
    with pytest.raises(InputError, match="did you mean world/klingon"):
        load("klingon", 1)
    with pytest.raises(InputError, match=r"did you mean world/d1, column-addition/1d, [^?]{,250}\?$"):
        load("zzz", 1)
    with pytest.raises(InputError, match="did you mean"):
        load("world/exposure-5%", 1, config=WorldConfig(exposures=()))


def test_a_number_that_would_never_end_is_refused_at_once() -> None:
    for task in ("world/d3", "column-addition/2d", "arithmetic/mul-6d6d", "countdown/4"):
        with pytest.raises(InputError, match="99,999,999 problems were asked for; ask for 1 to 1,000,000"):
            load(task, 99_999_999)
    shown = CliRunner().invoke(application(), ["tasks", "countdown/4", "--problems", "99999999"])
    assert "ask for 1 to 1,000,000" in str(shown.exception)


def test_shares_are_even() -> None:
    assert shares_of(64, 3) == [22, 21, 21]
    assert shares_of(2, 3) == [1, 1, 0]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_gsm8k_layout(tmp_path: Path, suffix: str) -> None:
    problems = load("gsm8k/test", 9, path=write(tmp_path / f"test{suffix}", GSM8K))
    assert [(p.task, p.answer) for p in problems] == [("gsm8k/test", "72"), ("gsm8k/test", "160,000")]
    assert problems[0].meta["worked"].startswith("48/2")
    verifier = Exact(("nfkc", "spaces", "commas"), r"####\s*(.*)")
    assert verifier(problems[1], Completion("so\n#### 160000")).correct
    assert len(load("gsm8k/test", 1, path=tmp_path / f"test{suffix}")) == 1


def test_columns_are_named_by_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"q": "2+2?", "a": 4, "level": "easy"}])
    (problem,) = read_problems(path, task="mine/x", question="q", answer="a", keep=["level"])
    assert (problem.prompt, problem.answer, problem.meta) == ("2+2?", "4", {"level": "easy"})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"question": "a", "answer": "#### 1"}\n{"question": "b"}', r"row 2: no column is called 'answer'; there are"),
        ('{"question": "a", "answer": "one"}', r"row 1: the answer 'one' does not match"),
        ('{"question": " ", "answer": "#### 1"}', "column 'question' holds ' '"),
        ('{"question": ["a"], "answer": "#### 1"}', "it must hold text"),
        ('{"question": true, "answer": "#### 1"}', "it must hold text"),
        ('{"question": "a", "answer": "NaN"}', "row 1: column 'answer' holds 'NaN', a missing value"),
        ("nonsense", "line 1 is not JSON"),
        ("[1]", "expected objects in it"),
        ("", "is empty"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load("gsm8k/test", 999, path=path)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load("gsm8k/test", 999, path=tmp_path / "none.jsonl")
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column is called 'question'; there are a, b"):
        load("gsm8k/test", 999, path=tmp_path / "d.csv")
    (tmp_path / "d.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        load("gsm8k/test", 999, path=tmp_path / "d.parquet")


def test_rows_are_numbered_through_a_parquet_file(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "#### 1"} for i in range(200)] + [{"question": "x", "answer": "none"}]
    path = tmp_path / "long.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=50)
    with pytest.raises(InputError, match="row 201"):
        load("gsm8k/test", 999, path=path)


def test_documents_are_written_fast() -> None:
    """80k documents take about a second; ten times that fails."""
    start = time.process_time()
    World().documents(8_000, np.random.default_rng(0))
    assert time.process_time() - start < 1

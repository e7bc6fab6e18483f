"""Formats with a row a problem or a sample: what every fixture of theirs holds, and what is no fixture."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.interop.lines import table_rows
from goldpanner.sources import Log
from goldpanner.types import Outcome
from goldpanner.verify import Number

FIXTURES = Path(__file__).parent / "fixtures"
SUMS = {"What is 3 + 4?": "7", "What is 10 + 15?": "25", "What is 20 + 22?": "42"}


def totals(imported, **options):
    counts = imported.counts(**options)
    return len(counts), int(counts.n.sum()), int(counts.c.sum()), int(counts.unjudged.sum())


def one(folder, **options):
    (path,) = FIXTURES.glob(folder)
    return interop.read(path, **options)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("qwen_math/test_*", (3, 12, 5, 0)),
        ("qwen_math/limit*", (3, 12, 5, 0)),
        ("monkeys/*", (3, 12, 5, 0)),
        ("livecodebench/*", (3, 12, 5, 0)),
        ("nemo_rl/train_data_step1.jsonl", (3, 12, 5, 0)),
        ("skyrl/*", (3, 12, 5, 0)),
        ("tinker/iteration_000000/*", (3, 12, 5, 0)),
        ("lighteval/*", (3, 3, 2, 0)),
        ("evalscope/reviews/toy/*", (3, 12, 5, 0)),
        ("opencompass/results/toy/*", (3, 3, 2, 0)),
        ("every_eval_ever/*", (3, 3, 2, 0)),
        ("openai_batch/output.jsonl", (3, 9, 0, 9)),
        ("table/wandb*", (3, 12, 5, 0)),
        ("table/trackio*", (3, 12, 5, 0)),
    ],
)
def test_what_each_fixture_holds(pattern, expected):
    assert totals(one(pattern)) == expected
    assert totals(one(pattern)) == expected


@pytest.mark.parametrize(
    ("pattern", "right"),
    [
        ("qwen_math/test_*", 5),
        ("monkeys/*", 5),
        ("nemo_skills/output-rs0.jsonl", 2),
        ("skyrl/*", 4),  # one right answer was cut
        ("lighteval/*", 2),
        ("evalscope/reviews/toy/*", 5),
        ("opencompass/results/toy/*", 2),
        ("every_eval_ever/*", 2),
        ("openai_batch/output.jsonl", 4),
    ],
)
def test_texts_and_answers_are_there_to_be_judged_anew(pattern, right):
    imported = one(pattern, verifier=Number())
    problems = imported.problems()
    assert {p.prompt for p in problems.values()} == set(SUMS)
    assert all(SUMS[p.prompt] in p.answer for p in problems.values())
    assert totals(imported)[2] == right


def test_repeats_of_a_problem_lie_in_several_files():
    assert totals(interop.read(FIXTURES / "nemo_skills" / "output-rs0.jsonl")) == (3, 3, 2, 0)
    assert totals(interop.read(FIXTURES / "nemo_skills")) == (3, 12, 5, 0)
    with pytest.raises(InputError, match="give the file itself"):
        interop.read(FIXTURES / "qwen_math", "qwen-math")


def test_training_steps_and_groups():
    for folder in ("nemo_rl", "tinker"):
        imported = interop.read(FIXTURES / folder)
        steps = {record.step for record in imported}
        assert len(steps) == 2
        with pytest.raises(InputError, match="several training steps"):
            imported.counts()
        groups = {(s.step, s.group) for s in imported.samples(policy="toy")}
        assert len(groups) == 6
    assert len(interop.read(FIXTURES / "tinker").counts(pool_steps=True)) == 6, "each group is a problem of its own"
    with pytest.raises(InputError, match="hold no texts"):
        interop.read(FIXTURES / "tinker", verifier=Number()).counts()


def test_endings_are_kept_where_a_log_has_them():
    truncated = {name: int(one(name).counts().truncated.sum()) for name in ("qwen_math/limit*", "skyrl/*")}
    assert truncated == {"qwen_math/limit*": 3, "skyrl/*": 3}
    assert one("qwen_math/test_*").counts().finish_unknown.sum() == 12
    assert {d.completion.finish for r in one("openai_batch/output.jsonl") for d in r.draws} == {
        "stop",
        "length",
        "error",
    }


def test_the_model_is_known_where_a_log_or_its_folder_says_it():
    names = {}
    for pattern in (
        "evalscope/*/*/*",
        "opencompass/*/*/*",
        "every_eval_ever/*",
        "openai_batch/output.jsonl",
        "skyrl/*",
    ):
        model = next(iter(one(pattern))).origin.model
        names[pattern.split("/")[0]] = model and model["name"]
    assert names == {
        "evalscope": "toy", "opencompass": "toy", "every_eval_ever": "own/toy", "openai_batch": "toy", "skyrl": None,
    }  # fmt: skip


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_batch_is_joined_to_its_problems_by_custom_id(tmp_path):
    rows = [json.loads(line) for line in (FIXTURES / "openai_batch" / "output.jsonl").read_text().splitlines()]
    path = jsonl(tmp_path / "out.jsonl", reversed(rows))
    alone = interop.read(path)
    assert {r.problem.prompt for r in alone} == {""}
    assert any("input file is not beside" in text for text in alone.report.warnings)
    asked = [json.loads(line) for line in (FIXTURES / "openai_batch" / "input.jsonl").read_text().splitlines()]
    jsonl(tmp_path / "requests.jsonl", asked)
    jsonl(tmp_path / "another.jsonl", [{**row, "custom_id": "other" + row["custom_id"]} for row in asked])
    joined = interop.read(path)
    assert {r.problem.prompt: r.problem.answer for r in joined} == SUMS
    assert next(iter(joined)).origin.params == {"temperature": 1.0, "max_tokens": 16}
    counts = joined.counts()
    assert counts.ids == ("sum-0", "sum-1", "sum-2")
    assert any("no verdicts" in text for text in joined.report.warnings)


def test_a_batch_is_joined_to_a_data_file(tmp_path):
    rows = [json.loads(line) for line in (FIXTURES / "openai_batch" / "output.jsonl").read_text().splitlines()]
    path = jsonl(tmp_path / "batch" / "out.jsonl", rows)
    data = [{"id": f"sum-{i}", "question": q, "answer": a} for i, (q, a) in enumerate(SUMS.items())]
    log = Log(rescore="number", join=str(jsonl(tmp_path / "data.jsonl", data)))
    assert totals(log.read(path)) == (3, 9, 4, 1)
    assert {r.problem.prompt: r.problem.answer for r in log.read(path)} == SUMS
    fewer = Log(rescore="number", join=str(jsonl(tmp_path / "fewer.jsonl", data[:1])))
    imported = fewer.read(path)
    assert totals(imported) == (1, 4, 2, 0)
    assert imported.report.skipped["a custom_id that none of the problems has"].count == 2
    with pytest.raises(InputError, match="row 2: the problem 'sum-0' stands twice"):
        Log(join=str(jsonl(tmp_path / "twice.jsonl", [data[0]] * 2))).read(path)
    nameless = jsonl(tmp_path / "nameless.jsonl", [{"question": "1 + 1 =", "answer": 2}])
    with pytest.raises(InputError, match="row 1: no column names the problem"):
        Log(join=str(nameless)).read(path)
    with pytest.raises(InputError, match="evalscope holds its own; leave it out"):
        log.read(next(FIXTURES.glob("evalscope/*/*/*")))


def test_what_a_batch_answers_in_other_shapes(tmp_path):
    def row(name, **choice):
        body = {"id": name, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", **choice}]}
        return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}

    rows = [
        row("a", text="plain"),
        row("b", message={"content": [{"type": "text", "text": "part"}]}),
        row("c", message={"content": None, "refusal": "No."}),
        row("d", message={"content": "cut"}, finish_reason="content_filter"),
        {"custom_id": "e", "response": {"status_code": 500, "body": {"error": {"message": "oops"}}}, "error": None},
    ]
    draws = {r.name: r.draws[0] for r in interop.read(jsonl(tmp_path / "out.jsonl", rows))}
    assert [draws[k].completion.text for k in "abcd"] == ["plain", "part", "No.", "cut"]
    assert [draws[k].completion.finish for k in "abcde"] == ["stop", "stop", "withheld", "withheld", "error"]
    assert [draws[k].verdict.cause.value for k in "cde"] == ["withheld", "withheld", "ours"]
    again = jsonl(tmp_path / "twice.jsonl", rows + rows[:4])
    assert totals(interop.read(again)) == (5, 5, 0, 5), "an answer with the same id is counted once"


def test_lighteval_repeats_are_unjudged_until_they_are_judged(tmp_path):
    (path,) = FIXTURES.glob("lighteval/*")
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["model_response"]["text"] = ["The answer is 7.", "The answer is 8."]
        row["metric"] = {"pass@k:k=1&n=2": 0.5}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "details_x.parquet")
    imported = interop.read(tmp_path / "details_x.parquet")
    assert totals(imported) == (3, 6, 0, 6)
    assert any("repeats of a row together" in text for text in imported.report.warnings)
    assert totals(interop.read(tmp_path / "details_x.parquet", verifier=Number())) == (3, 6, 1, 0)
    rows[0]["metric"] = rows[1]["metric"] = rows[2]["metric"] = {"a": 1.0, "b": 0.0}
    for row in rows:
        row["model_response"]["text"] = ["x"]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "details_y.parquet")
    with pytest.raises(InputError, match="the scores are a, b; name the one"):
        interop.read(tmp_path / "details_y.parquet").counts()
    assert totals(interop.read(tmp_path / "details_y.parquet", score="a")) == (3, 3, 3, 0)


def test_every_eval_ever_counts_a_sample_once_under_several_metrics(tmp_path):
    imported = one("every_eval_ever/*")
    imported.counts()
    assert sum(s.count for s in imported.report.skipped.values()) == 3
    rows = [json.loads(line) for line in next(FIXTURES.glob("every_eval_ever/*")).read_text().splitlines()]
    for row in rows[3:]:
        row["evaluation"]["is_correct"] = False
    path = jsonl(tmp_path / "x_samples.jsonl", rows)
    assert totals(interop.read(path)) == (3, 3, 2, 0)
    assert totals(interop.read(path, score="own/toy/1/loose")) == (3, 3, 0, 0)
    failed = [{**rows[0], "error": "time-out"}, rows[1], {**rows[2], "output": {"raw": ["a", "b"]}}]
    imported = interop.read(jsonl(tmp_path / "y_samples.jsonl", failed))
    assert totals(imported) == (3, 4, 1, 3)
    agent = {**rows[0], "output": None, "messages": [{"turn_idx": 0, "role": "assistant", "content": "7"}]}
    (record,) = interop.read(jsonl(tmp_path / "z_samples.jsonl", [agent]))
    assert record.draws[0].completion.text == "7"


def test_evalscope_rows_of_older_versions(tmp_path):
    score = {"value": {"acc": 1.0, "f1": 0.5}, "prediction": "7"}
    row = {"index": 3, "input": "What is 3 + 4?", "target": "7", "sample_score": {"score": score}}
    (record,) = interop.read(jsonl(tmp_path / "reviews" / "m" / "x.jsonl", [row]))
    assert (record.id, record.problem.prompt, record.problem.answer, record.c) == ("3", "What is 3 + 4?", "7", 1)
    with pytest.raises(InputError, match="must be named"):
        interop.read(tmp_path / "reviews" / "m" / "x.jsonl", score="f1").counts()


def test_opencompass_details_as_a_list_and_without(tmp_path):
    whole = json.loads(next(FIXTURES.glob("opencompass/*/*/*")).read_text())
    listed = [v for v in whole["details"].values() if isinstance(v, dict)]
    (tmp_path / "a.json").write_text(json.dumps({"details": [*listed, {"predictions": "A", "origin_prediction": {}}]}))
    imported = interop.read(tmp_path / "a.json")
    assert totals(imported) == (3, 3, 2, 0)
    assert any("log-likelihood" in reason for reason in imported.report.skipped)
    (tmp_path / "b.json").write_text(json.dumps({"accuracy": 60.0}, indent=1))
    with pytest.raises(InputError, match="dump-eval-details"):
        interop.read(tmp_path / "b.json", "opencompass").counts()


@pytest.mark.parametrize(
    ("content", "says"),
    [("one text", "expected the texts"), (["alone"], "expected the texts"), ([1, 2], "expected the texts")],
)
def test_nemo_rl_rows_that_cannot_be_split_are_refused(tmp_path, content, says):
    path = jsonl(tmp_path / "train_data_step1.jsonl", [{"content": content, "rewards": 1.0, "idx": 0}])
    with pytest.raises(InputError, match=says):
        interop.read(path, "nemo-rl").counts()


def test_tables_of_trackers_are_rows():
    assert table_rows({"columns": ["a", "b"], "data": [[1, 2]]}) == [{"a": 1, "b": 2}]
    assert table_rows({"_type": "trackio.table", "_value": [{"a": 1}]}) == [{"a": 1}]
    assert table_rows({"columns": ["a"], "data": "x"}) is None
    assert table_rows({"data": [[1]]}) is None
    verdicts = [d.verdict.outcome for r in one("table/wandb*") for d in r.draws]
    assert verdicts.count(Outcome.CORRECT) == 5

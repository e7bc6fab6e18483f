"""A log is not a list of new draws: samples are counted once, whatever files repeat them."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.interop.imported import AGAIN, GREEDY, copies_of
from goldpanner.store import Store

FIXTURES = Path(__file__).parent / "fixtures"


def totals(imported):
    counts = imported.counts()
    return int(counts.n.sum()), int(counts.c.sum()), int(counts.unjudged.sum())


# lm-evaluation-harness


def chat_row(question, answer, text, *, do_sample=False, system=None, layout="list"):
    messages = [{"role": "system", "content": system}] * (system is not None) + [{"role": "user", "content": question}]
    given = json.dumps(messages)
    settings = {"do_sample": do_sample, "temperature": 1.0, "until": ["Q:"], "max_gen_toks": 64}
    arguments = {
        "list": {"gen_args_0": {"arg_0": [given], "arg_1": settings}},
        "text": {"gen_args_0": {"arg_0": given, "arg_1": settings}},
        "old": [[[given], settings]],
        "messages": {"gen_args_0": {"arg_0": messages, "arg_1": settings}},
    }[layout]
    return {
        "doc_id": 0, "doc": {}, "target": answer, "arguments": arguments, "resps": [[text]], "filtered_resps": [text],
        "filter": "none", "metrics": ["exact_match"], "exact_match": float(text == answer),
    }  # fmt: skip


def lm_eval(folder, day, rows, model="m"):
    name = f"2026-11-{day:02}T00-00-00.0"
    path = folder / f"samples_sums_{name}.jsonl"
    path.write_text("".join(json.dumps(row | {"doc_id": i}) + "\n" for i, row in enumerate(rows)))
    (folder / f"results_{name}.json").write_text(json.dumps({"model_name": model, "config": {}}))
    return path


@pytest.mark.parametrize("layout", ["list", "text", "old", "messages"])
def test_a_served_chat_is_read_in_every_layout(tmp_path, layout):
    path = lm_eval(tmp_path, 1, [chat_row("1 + 1 =", "2", "2", layout=layout)])
    (record,) = interop.read(path)
    assert record.problem.prompt == "1 + 1 ="
    assert record.origin.params["template"] == "chat"
    path = lm_eval(tmp_path, 2, [chat_row("1 + 1 =", "2", "2", layout=layout, system="Be brief.")])
    assert next(iter(interop.read(path))).problem.prompt == "system: Be brief.\n\nuser: 1 + 1 ="


@pytest.mark.parametrize("prompt", ["[1, 2, 3] sorted is", '["a"]', "[{]", "[" * 3000])
def test_a_prompt_that_begins_with_a_bracket_stays_a_text(tmp_path, prompt):
    row = chat_row("x", "2", "2")
    row["arguments"]["gen_args_0"]["arg_0"] = prompt
    (record,) = interop.read(lm_eval(tmp_path, 1, [row]))
    assert record.problem.prompt == prompt
    assert record.origin.params["template"] == "{prompt}"


def test_two_greedy_runs_are_told_as_such(tmp_path):
    rows = [chat_row(f"{i} + 1 =", str(i + 1), str(i + 1)) for i in range(4)]
    lm_eval(tmp_path, 1, rows)
    one = interop.read(tmp_path)
    one.counts()
    assert GREEDY not in one.report.warnings
    lm_eval(tmp_path, 2, rows)
    two = interop.read(tmp_path)
    assert totals(two) == (8, 8, 0)
    assert two.report.warnings[GREEDY] == 4
    drawn = [chat_row(f"{i} + 1 =", str(i + 1), "x", do_sample=True) for i in range(4)]
    for day in (1, 2):
        lm_eval(tmp_path, day, drawn)
    sampled = interop.read(tmp_path)
    assert totals(sampled) == (8, 0, 0)  # equal answers of two runs are two draws
    assert GREEDY not in sampled.report.warnings


# inspect_ai


def inspect_log(path, samples, *, task_id="T", eval_id="E", created="2026-11-27T04:00:00+00:00", status="success"):
    """Write a log of (id, epoch, value or None for an error, uuid, invalidated) by inspect_ai."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalError, EvalLog, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.log._log import ProvenanceData
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    spec = EvalSpec(
        eval_id=eval_id, run_id=eval_id, created=created, task="sums", task_id=task_id, dataset=EvalDataset(),
        model="mockllm/model", config=EvalConfig(),
    )  # fmt: skip
    made = [
        EvalSample(
            id=name, epoch=epoch, input=f"{name} + 1 =", target="2", messages=[], uuid=uuid,
            output=ModelOutput.from_content("mockllm/model", str(value)),
            scores=None if value is None else {"match": Score(value=value)},
            error=EvalError(message="boom", traceback="", traceback_ansi="") if value is None else None,
            invalidation=ProvenanceData(author="me", reason="bad tool") if invalid else None,
        )
        for name, epoch, value, uuid, invalid in samples
    ]  # fmt: skip
    write_eval_log(EvalLog(version=2, status=status, eval=spec, samples=made), str(path))
    return path


def failed_and_retried(folder, end=".eval", later="2026-11-27T05:00:00+00:00"):
    folder.mkdir(exist_ok=True)
    first = [(1, 1, "C", "a", False), (2, 1, None, "b", False), (1, 2, "I", "c", False)]
    again = [(1, 1, "C", "a", False), (2, 1, "C", "d", False), (1, 2, "I", "c", False), (2, 2, "I", "e", False)]
    old = inspect_log(folder / f"2026-11-27T04_a{end}", first, status="error")
    new = inspect_log(folder / f"2026-11-27T05_b{end}", again, eval_id="F", created=later)
    return old, new


@pytest.mark.parametrize("end", [".eval", ".json"])
def test_a_retry_replaces_what_failed_and_repeats_nothing(tmp_path, end):
    old, _ = failed_and_retried(tmp_path, end)
    assert totals(interop.read(old)) == (3, 1, 1)
    both = interop.read(tmp_path)
    assert totals(both) == (4, 2, 0)
    assert both.report.skipped[AGAIN].count == 3
    assert totals(both) == (4, 2, 0), "the same when it is read again"


def test_the_newest_log_counts_whatever_the_files_are_called(tmp_path):
    old, new = failed_and_retried(tmp_path)
    old.rename(tmp_path / "2026-11-27T09_z.eval")
    assert totals(interop.read(tmp_path)) == (4, 2, 0)


def test_two_evaluations_of_one_task_are_two_sets_of_draws(tmp_path):
    samples = [(1, 1, "C", "a", False), (1, 2, "I", "b", False)]
    inspect_log(tmp_path / "2026-11-27T04_a.eval", samples)
    inspect_log(tmp_path / "2026-11-27T05_b.eval", samples, task_id="U", eval_id="F")
    assert totals(interop.read(tmp_path)) == (4, 2, 0)


def test_invalidated_samples_are_left_out_by_name(tmp_path):
    samples = [(1, 1, "C", "a", False), (1, 2, "C", "b", True)]
    imported = interop.read(inspect_log(tmp_path / "2026-11-27T04_a.eval", samples))
    assert totals(imported) == (1, 1, 0)
    assert any("invalidated" in reason for reason in imported.report.skipped)


def test_a_retry_fills_a_store_that_holds_the_failed_evaluation(tmp_path):
    old, _ = failed_and_retried(tmp_path / "logs")
    store = Store(tmp_path / "store")
    for path in (old, tmp_path / "logs", tmp_path / "logs"):
        interop.read(path).into(store, policy="toy")
    counts = store.counts("toy")
    assert (counts.n.sum(), counts.c.sum(), counts.unjudged.sum()) == (4, 2, 0)


# TRL


def trl_file(folder, step, answers, name="completions"):
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": step, "prompt": f"{step} plus", "completion": a, "right": float(a == "y"), "advantage": 0.0}
        for a in answers
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / name / f"completions_{step:05d}.parquet")


@pytest.mark.parametrize("place", ["trainer_state.json", "checkpoint-3/trainer_state.json"])
def test_evaluation_rows_of_trl_are_left_out_by_name(tmp_path, place):
    for step, answers in enumerate(["yyyy", "yn", "nn", "yy"]):
        trl_file(tmp_path, step, answers)
    history = [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.0}, {"step": 2, "eval_reward": 0.0}]
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(json.dumps({"log_history": history}))
    for path in (tmp_path, tmp_path / "completions"):
        imported = interop.read(path)
        counts = imported.counts(pool_steps=True)
        assert (counts.n.sum(), counts.c.sum()) == (4, 3)
        (reason,) = [reason for reason in imported.report.skipped if "evaluation" in reason]
        assert imported.report.skipped[reason].count == 6
    assert imported.report.rows == 10


def test_trl_itself_writes_evaluations_over_training(tmp_path):
    folder = FIXTURES / "trl" / "evaluated"
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    evaluated = {entry["step"] for entry in history if "eval_reward" in entry}
    steps = {record.step for record in interop.read(folder)}
    assert evaluated == {2, 4}
    assert steps == {1, 3}


# files


def test_copies_and_grown_files_are_one_log(tmp_path):
    rows = [
        {"input": f"{i} + {'very ' * 30}long", "output": str(i), "gts": "4", "score": float(i == 4), "step": 1}
        for i in range(40)
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    for name, part in {"1.jsonl": lines[:20], "2.jsonl": lines, "3.jsonl": lines, "4.jsonl": lines[20:]}.items():
        (tmp_path / name).write_text("".join(part))
    files = sorted(tmp_path.glob("*.jsonl"))
    assert copies_of(files) == {files[0]: files[1], files[2]: files[1]}
    (tmp_path / "4.jsonl").unlink()
    imported = interop.read(tmp_path)
    assert totals(imported) == (40, 1, 0)
    assert sum(s.count for r, s in imported.report.skipped.items() if "from its beginning" in r) == 2
    assert copies_of(files[:1]) == {}
    shutil.copy(files[1], tmp_path / "note.txt")
    with pytest.raises(InputError):
        interop.read(tmp_path / "nothing")


def test_traces_that_two_files_hold_are_counted_once(tmp_path):
    (path,) = (FIXTURES / "verifiers_traces").glob("*")
    whole = totals(interop.read(path))
    lines = path.read_text().splitlines(keepends=True)
    (tmp_path / "traces.jsonl").write_text("".join(lines) + "".join(reversed(lines)))
    assert totals(interop.read(tmp_path)) == whole

"""Data sets as Hugging Face lays them out are data files: shards in order, splits named, columns named."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from goldpanner import interop
from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.tasks import load, read_problems
from goldpanner.tasks.catalog import task
from goldpanner.tasks.files import is_data
from goldpanner.types import Completion, Counts, Problem

ROWS = [{"question": f"{i} + 1?", "answer": f"so it is\n#### {i + 1}"} for i in range(7)]


def arrow(folder, rows, shards=2, split="train"):
    """Write what save_to_disk writes, without the library."""
    folder.mkdir(parents=True)
    size = -(-len(rows) // shards)
    files = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    for i, name in enumerate(files):
        table = pa.Table.from_pylist(rows[i * size : (i + 1) * size])
        with pa.ipc.new_stream(folder / name, table.schema) as out:
            out.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": f} for f in files], "_split": split}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def parquet(folder, rows, split="train", shards=2):
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // shards)
    for i in range(shards):
        table = pa.Table.from_pylist(rows[i * size : (i + 1) * size])
        pq.write_table(table, folder / f"{split}-{i:05}-of-{shards:05}.parquet")


def prompts(path, task="t", **options):
    return [p.prompt for p in read_problems(path, task=task, **options)]


QUESTIONS = [row["question"] for row in ROWS]


def test_one_split_saved_to_disk(tmp_path):
    saved = arrow(tmp_path / "mine", ROWS, shards=3)
    assert prompts(saved) == QUESTIONS
    assert prompts(saved / "data-00001-of-00003.arrow") == QUESTIONS[3:6]
    assert prompts(saved, n=4) == QUESTIONS[:4]
    assert [p.answer for p in load("gsm8k/test", 7, path=saved)] == [str(i + 1) for i in range(7)]


@pytest.mark.parametrize("layout", ["dict", "data", "flat"])
def test_several_splits_are_named_by_the_path_or_the_task(tmp_path, layout):
    folder = tmp_path / "set"
    if layout == "dict":
        arrow(folder / "train", ROWS)
        arrow(folder / "test", ROWS[:2], shards=1)
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    else:
        inner = folder / "data" if layout == "data" else folder
        parquet(inner, ROWS)
        parquet(inner, ROWS[:2], "test", shards=1)
    assert prompts(folder / "train") == QUESTIONS
    assert prompts(folder / "test") == QUESTIONS[:2]
    assert prompts(folder, task="gsm8k/test") == QUESTIONS[:2]
    with pytest.raises(InputError, match=r"holds the splits (train, test|test, train); give the path of one, .*set"):
        prompts(folder)
    with pytest.raises(InputError, match="there is no such file"):
        prompts(folder / "validation")


def test_the_library_itself_writes_what_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list(ROWS)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": made, "test": made.select([3, 1])}).save_to_disk(tmp_path / "both")
    assert prompts(tmp_path / "one") == QUESTIONS
    assert prompts(tmp_path / "both", task="x/test") == [QUESTIONS[3], QUESTIONS[1]]
    made.shuffle(seed=1).save_to_disk(tmp_path / "shuffled")
    assert prompts(tmp_path / "shuffled") == list(datasets.load_from_disk(str(tmp_path / "shuffled"))["question"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "data-00001-of-00002.arrow").write_bytes(b"torn"), "cannot be read as Arrow"),
        (lambda f: (f / "state.json").write_text("{"), "state.json: cannot be read"),
        (lambda f: (f / "data-00000-of-00002.arrow").unlink(), "cannot be read as Arrow"),
        (lambda f: (f / "state.json").unlink(), "holds no .parquet files and nothing that save_to_disk wrote"),
    ],
)
def test_what_is_broken_is_named(tmp_path, spoil, says):
    folder = arrow(tmp_path / "mine", ROWS)
    spoil(folder)
    with pytest.raises(InputError) as told:
        prompts(folder)
    assert says in str(told.value)
    assert "mine" in str(told.value)


def test_a_split_that_lacks_a_shard_is_not_taken_for_the_whole(tmp_path):
    parquet(tmp_path / "set", ROWS, shards=3)
    parquet(tmp_path / "set", ROWS, "test", shards=1)
    shard = tmp_path / "set" / "train-00001-of-00003.parquet"
    shard.unlink()
    with pytest.raises(InputError, match=r"train-00001-of-00003\.parquet is missing"):
        prompts(tmp_path / "set" / "train")
    assert prompts(tmp_path / "set" / "test") == QUESTIONS, "the other split is whole"
    assert prompts(tmp_path / "set" / "train-00000-of-00003.parquet") == QUESTIONS[:3]
    for i in (2, 0):  # shards that are counted from 1
        (tmp_path / "set" / f"train-0000{i}-of-00003.parquet").rename(
            tmp_path / "set" / f"train-0000{i + 1}-of-00003.parquet"
        )
    parquet(tmp_path / "other", ROWS[3:6], shards=1)
    (tmp_path / "other" / "train-00000-of-00001.parquet").rename(tmp_path / "set" / "train-00002-of-00003.parquet")
    assert prompts(tmp_path / "set" / "train") == QUESTIONS


def test_the_encoding_of_a_file(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode())
    assert prompts(file) == QUESTIONS[:1], "a byte-order mark is no part of the first row"
    file.write_bytes(json.dumps(ROWS[0]).encode() + b"\n\xff\xfe bad")
    with pytest.raises(InputError, match=r"mine\.jsonl, line 2 is not JSON \('utf-8' codec"):
        prompts(file)


def test_a_row_is_named_by_its_shard(tmp_path):
    parquet(tmp_path, [*ROWS[:5], {"question": "", "answer": "1"}])
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet, row 3"):
        prompts(tmp_path)


def test_folders_and_columns_on_the_command_line(tmp_path):
    def call(*arguments):
        command = [
            "sample",
            "scripted:0.5",
            *map(str, arguments),
            "-n",
            "2",
            "--store",
            str(tmp_path / "store"),
            "--json",
        ]
        return CliRunner().invoke(application(), command)

    parquet(tmp_path / "set", [{"prompt": q, "final": "1"} for q in QUESTIONS])
    assert is_data(tmp_path / "set")
    assert is_data(tmp_path / "set" / "train")
    assert not is_data(tmp_path)
    assert not is_data(tmp_path / "nothing" / "train")
    refused = call(tmp_path / "set")
    assert "there are prompt, final; say which with --columns question=NAME,answer=NAME" in str(refused.exception)
    done = call(tmp_path / "set", "--columns", "question=prompt,answer=final", "--problems", 5)
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["n"] == 10
    again = call(tmp_path / "set" / "train", "--columns", "question=prompt,answer=final", "--problems", 5)
    assert json.loads(again.stdout)["n"] == 10
    for columns in ("prompt", "question=", "question=a,question=b", "text=a"):
        assert "write question=NAME,answer=NAME" in str(call(tmp_path / "set", "--columns", columns).exception)
    assert "leave it out" in str(call("world/d2", "--columns", "question=prompt").exception)
    gsm8k = arrow(tmp_path / "gsm8k", ROWS)
    assert json.loads(call("gsm8k/test", "--data", gsm8k, "--problems", 3).stdout)["problems"] == 3


# --- rows as the field writes them

SUMS = [("3 + 4 =", "7"), ("10 + 15 =", "25"), ("20 + 22 =", "42")]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def user(text, system=None):
    return [{"role": "system", "content": system}] * (system is not None) + [{"role": "user", "content": text}]


LAYOUTS = {
    "verl": lambda q, a: {
        "data_source": "own", "prompt": user(q), "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": a}, "extra_info": {"split": "train", "answer": "so " + a},
    },
    "skyrl": lambda q, a: {"prompt": user(q), "env_class": "e", "reward_spec": {"method": "rule", "ground_truth": a}},
    "trl": lambda q, a: {"prompt": user(q), "solution": a},
    "trl text": lambda q, a: {"prompt": q, "answer": a},
    "trl answer in a message": lambda q, a: {"prompt": user(q), "answer": [{"role": "assistant", "content": a}]},
    "open-instruct": lambda q, a: {"messages": user(q), "ground_truth": a, "dataset": "math"},
    "MATH": lambda q, a: {"problem": q, "level": "1", "solution": f"so $\\boxed{{{a}}}$"},
    "content in parts": lambda q, a: {
        "prompt": [{"role": "user", "content": [{"type": "text", "text": q}]}], "answer": a,
    },
}  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "json", "jsonl.gz", "arrow"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_fields_own_rows_are_data_files(tmp_path, layout, ending):
    made = [LAYOUTS[layout](q, a) for q, a in SUMS]
    path = tmp_path / f"set.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(made), path)
    elif ending == "arrow":
        table = pa.Table.from_pylist(made)
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table)
    elif ending == "json":
        path.write_text(json.dumps(made, indent=1))
    elif ending == "jsonl.gz":
        with gzip.open(path, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)
    else:
        jsonl(path, made)
    own = task(str(path))
    problems = own.problems(10)
    assert [p.prompt for p in problems] == [q for q, _ in SUMS]
    assert all(a in p.answer for p, (_, a) in zip(problems, SUMS))
    assert "number" in own.verifiers()[0].id
    assert "columns taken: question = " in own.note
    assert {p.task for p in problems} == {"set"}


def test_columns_are_named_with_dots_and_two_candidates_are_an_error(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [{"prompt": "1 + 1 =", "meta": {"final": {"value": 2}}, "reward.key": "3"}])
    assert task(str(path), columns="answer=meta.final.value").problems(1)[0].answer == "2"
    assert task(str(path), columns="answer=reward.key").problems(1)[0].answer == "3", "a name that has a dot"
    with pytest.raises(InputError, match=r"no column is called 'meta\.none'"):
        task(str(path), columns="answer=meta.none").problems(1)
    both = jsonl(tmp_path / "y.jsonl", [{"prompt": "1 + 1 =", "target": 2, "solution": "two"}])
    with pytest.raises(InputError, match=r"'target' and 'solution' may both be the answer; name one"):
        task(str(both))
    usual = jsonl(tmp_path / "z.jsonl", [{"problem": "1 + 1 =", "answer": 2, "solution": "two"}])
    assert task(str(usual)).problems(1)[0].answer == "2", "its own name comes first"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([*user("a"), {"role": "assistant", "content": "b"}], "messages of user, assistant"),
        ([{"role": "assistant", "content": "b"}], "messages of assistant"),
        ([{"role": "user", "content": None}], "must hold text"),
        ([], "messages of nobody"),
    ],
)
def test_conversations_that_are_no_question_are_refused_with_their_row(tmp_path, messages, says):
    rows = [{"prompt": user("1 + 1 =", "Be brief."), "answer": 2}, {"prompt": messages, "answer": 2}]
    path = jsonl(tmp_path / "x.jsonl", rows)
    own = task(str(path))
    assert own.problems(1)[0].prompt == "Be brief.\n\n1 + 1 ="
    with pytest.raises(InputError, match=f"row 2: .*{says}"):
        own.problems(2)


@pytest.mark.parametrize(
    "value", [None, float("nan"), "", " ", "NaN", "nan", "null", "None", "N/A", "<NA>", "#N/A", []]
)
def test_a_missing_value_is_refused_with_its_row_in_every_spelling(tmp_path, value):
    rows = [{"question": "1 + 1 =", "answer": "2"}, {"question": "2 + 1 =", "answer": value}]
    own = task(str(jsonl(tmp_path / "x.jsonl", rows)))
    assert "number" in own.verifiers()[0].id, "it does not change who judges the others"
    with pytest.raises(InputError, match="row 2: column 'answer'"):
        own.problems(2)


def test_equal_rows_are_one_problem_and_two_answers_are_told(tmp_path):
    rows = [{"question": q, "answer": a} for q, a in SUMS]
    own = task(str(jsonl(tmp_path / "x.jsonl", rows * 100)))
    assert [p.prompt for p in own.problems(10)] == [q for q, _ in SUMS]
    assert "297 of 300 rows repeat another one" in own.note
    assert [p.prompt for p in own.problems(2)] == [q for q, _ in SUMS[:2]], "at most so many problems, not rows"
    clash = task(str(jsonl(tmp_path / "y.jsonl", [*rows, {"question": SUMS[0][0], "answer": "8"}])))
    assert "1 questions stand with different answers" in clash.note
    assert len(clash.problems(10)) == 4
    assert "note" not in task(str(jsonl(tmp_path / "z.jsonl", rows))).note


def test_classes_are_read_by_their_names(tmp_path):
    features = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    table = pa.table({"question": ["good", "bad"], "label": [1, 0]})
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    assert [p.answer for p in task(str(path)).problems(2)] == ["pos", "neg"]
    pq.write_table(table, path)
    assert [p.answer for p in task(str(path)).problems(2)] == ["1", "0"], "numbers without names stay numbers"
    table = pa.table({"question": ["good", "bad"], "label": [1, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    with pytest.raises(InputError, match="row 2: column 'label'"):
        task(str(path)).problems(2)


def test_classes_that_datasets_itself_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["no", "yes"])}
    )
    made = datasets.Dataset.from_dict({"question": ["a?", "b?"], "answer": [1, 0]}, features=features)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "x.parquet")
    for path in (tmp_path / "saved", tmp_path / "x.parquet"):
        assert [p.answer for p in task(str(path)).problems(2)] == ["yes", "no"]


def test_any_of_several_right_answers_is_right(tmp_path):
    rows = [{"question": "capital?", "answer": ["Paris", "City of Paris"]}, {"question": "1 + 1?", "answer": ["2"]}]
    own = task(str(jsonl(tmp_path / "x.jsonl", rows)), verifier="exact")
    (judge,) = own.verifiers()
    first, second = own.problems(2)
    assert (first.answer, first.meta["answers"], dict(second.meta)) == ("Paris", ["Paris", "City of Paris"], {})
    verdicts = [judge(first, Completion(text)) for text in ("Paris", "City of Paris", "Rome")]
    assert [str(v.outcome) for v in verdicts] == ["correct", "correct", "wrong"]
    assert {v.verifier for v in verdicts} == {judge.id} == {"exact:nfkc+spaces:any@1"}
    assert judge(second, Completion("2")).correct
    default = task(str(jsonl(tmp_path / "y.jsonl", [{"question": "x?", "answer": [1, 3]}])))
    (judge,) = default.verifiers()
    assert judge.id.startswith("number:wrong-if-missing:any@")
    assert judge(default.problems(1)[0], Completion("The answer is 3.")).correct


def test_what_export_writes_comes_back(tmp_path):
    problems = [Problem("own", q, a, {"depth": i}) for i, (q, a) in enumerate(SUMS)]
    table = {p.id: p for p in problems}
    selection = interop.select(table, Counts.of([4] * 3, [2] * 3, list(table)), rows=6)
    written = (
        interop.write_trl(selection, tmp_path / "trl.parquet"),
        interop.write_trl(selection, tmp_path / "chat.parquet", chat=True),
        interop.write_verl(selection, tmp_path / "verl.parquet"),
    )
    for path in written:
        own = task(str(path))
        assert {(p.prompt, p.answer) for p in own.problems(10)} == set(SUMS)
        assert "3 of 6 rows repeat another one" in own.note


def test_csv_and_json_arrays_are_data_files(tmp_path):
    (tmp_path / "x.csv").write_text('question,answer\n"3 + 4, is",7\n10 + 15 =,25\n')
    assert [(p.prompt, p.answer) for p in task(str(tmp_path / "x.csv")).problems(2)] == [
        ("3 + 4, is", "7"),
        ("10 + 15 =", "25"),
    ]
    (tmp_path / "bad.csv").write_text("question,answer\n3 + 4 =,\n")
    with pytest.raises(InputError, match="row 1: column 'answer'"):
        task(str(tmp_path / "bad.csv")).problems(1)

"""Data sets as Hugging Face lays them out are data files: shards in order, splits named, columns named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.tasks import load, read_problems
from goldpanner.tasks.files import is_data

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
    with pytest.raises(InputError, match=r"mine\.jsonl: not UTF-8 text: .*; save it as UTF-8"):
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

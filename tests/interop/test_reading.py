"""Reading rules that hold for every format: streaming, torn files, detection, rewards, steps."""

import gzip
import json
import os

import pytest

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.types import Counts


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


VERL = {"input": "2+2", "output": "4", "gts": "4", "score": 1.0, "step": 1}


def test_counts_come_back_as_they_went(tmp_path):
    counts = Counts.of([4, 3, 0], [2, 0, 0], ["a", "ü b", "7"], [0, 1, 0], [1, 0, 0], [0, 2, 0])
    imported = interop.read(interop.write_counts(counts, tmp_path / "x" / "counts.jsonl"))
    back = imported.counts()
    assert imported.format == "counts"
    assert not imported.has_samples
    assert back.ids == ("7", "a", "ü b")
    assert (back.n.tolist(), back.c.tolist()) == ([0, 4, 3], [0, 2, 0])
    assert (back.unjudged.tolist(), back.truncated.tolist()) == ([0, 0, 1], [0, 1, 0])
    assert back.finish_unknown.tolist() == [0, 0, 2]
    assert (imported.report.rows, imported.report.samples, imported.report.problems) == (3, 7, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "n": 4, "c": 5}], "line 1: c = 5 and unjudged = 0 are together more than n = 4"),
        ([{"id": "a", "n": -4, "c": 0}], "'n' is -4; expected a whole number >= 0, at most 10^15"),
        ([{"id": "a", "n": 4.5, "c": 0}], "'n' is 4.5; expected a whole number"),
        ([{"id": "a", "n": True, "c": 0}], "'n' is True"),
        ([{"id": "a", "n": 4, "c": float("nan")}], "'c' is nan"),
        ([{"id": "a", "n": 4, "c": 1}, {"id": "a", "n": 4, "c": 1}], "line 2: problem id 'a' stands twice"),
        ([{"id": None, "n": 4, "c": 1}], "'id' is None"),
        ([{"id": "a", "n": 4, "c": 2, "truncated": 5}], "truncated = 5 is more than n = 4"),
        ([{"id": "a", "n": 4, "c": 2, "truncated": 3, "finish_unknown": 2}], "are together more than n = 4"),
        ([], "is empty"),
    ],
)
def test_bad_counts_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=r"counts\.jsonl") as error:
        interop.read(jsonl(tmp_path / "counts.jsonl", rows), "counts").counts()
    assert message in str(error.value)


@pytest.mark.parametrize("option", ["threshold", "score", "filter", "verifier", "step"])
def test_a_counts_file_refuses_what_chooses_among_samples(tmp_path, option):
    path = jsonl(tmp_path / "counts.jsonl", [{"id": "a", "n": 4, "c": 1}])
    word = "rescore" if option == "verifier" else option
    with pytest.raises(InputError, match=f"is a counts file.*--{word} would change nothing"):
        interop.read(path, **{option: 1}).counts()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for given in (None, "counts"):
        with pytest.raises(InputError, match="is a pipe or a device.*write it to a file"):
            interop.read(tmp_path / "pipe", given)


def test_counts_without_truncated_do_not_know_it(tmp_path):
    rows = [{"id": "a", "n": 4, "c": 2}, {"id": "b", "n": 5, "c": 2, "truncated": 0}]
    counts = interop.read(jsonl(tmp_path / "counts.jsonl", rows)).counts()
    assert counts.finish_unknown.tolist() == [4, 0]
    again = interop.read(interop.write_counts(counts, tmp_path / "again.jsonl")).counts()
    assert (again.truncated.tolist(), again.finish_unknown.tolist()) == ([0, 0], [4, 0])


def test_a_torn_last_line_is_an_error_or_is_left_out_when_asked(tmp_path):
    path = tmp_path / "counts.jsonl"
    path.write_text('{"id": "a", "n": 3, "c": 1}\n{"id": "b", "n"')
    with pytest.raises(InputError, match="line 2 is cut in the middle"):
        interop.read(path).counts()
    imported = interop.read(path, skip_partial_line=True)
    assert imported.counts().ids == ("a",)
    assert [s.count for s in imported.report.skipped.values()] == [1]
    path.write_text('{"id": "a", "n"\n{"id": "b", "n": 3, "c": 1}\n')
    with pytest.raises(InputError, match="line 1 is not JSON"):
        interop.read(path, skip_partial_line=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\x01\x02 binary \xff\xfe", "line 1 is not JSON"),
        (b"{\x00\xff", "line 1 is not JSON"),
        (b"just words", "line 1 is not JSON"),
        (b'{"a": ' * 100_000, "line 1 nests its values too deeply"),
        ('{"id": "caf\u00e9'.encode()[:-1], "line 1 is cut in the middle"),
        (b'\xef\xbb\xbf{"id": "a", "n"', "line 1 is cut in the middle"),
    ],
)
def test_only_the_beginning_of_an_object_is_called_cut(tmp_path, content, says):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        interop.read(path, "counts").counts()


def test_gzip_is_read_and_a_cut_gzip_is_named(tmp_path):
    data = gzip.compress(b'{"id": "a", "n": 3, "c": 1}\n' * 1)
    (tmp_path / "c.jsonl.gz").write_bytes(data)
    assert interop.read(tmp_path / "c.jsonl.gz").counts().n.tolist() == [3]
    (tmp_path / "cut.jsonl.gz").write_bytes(data[:-12])
    with pytest.raises(InputError, match="cut or damaged"):
        interop.read(tmp_path / "cut.jsonl.gz", "counts").counts()


def test_foreign_files_list_the_formats(tmp_path):
    for name, data in {"x.jsonl": b'{"foo": 1}\n', "x.json": b'{"foo": 1}', "x.zip": b"PK\x03\x04...."}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="--format") as error:
            interop.read(tmp_path / name)
        assert all(known in str(error.value) for known in interop.FORMATS)
    with pytest.raises(InputError, match="does not exist"):
        interop.read(tmp_path / "missing")
    with pytest.raises(InputError, match="unknown format 'nope'"):
        interop.read(tmp_path / "x.jsonl", "nope")
    both = {**VERL, "id": "a", "n": 1, "c": 1}
    with pytest.raises(InputError, match="both counts and verl"):
        interop.read(jsonl(tmp_path / "both.jsonl", [both]))


@pytest.mark.parametrize(
    ("model", "temperature", "message"),
    [("base", 1.0, None), ("rl", 1.0, "different models"), ("base", 0.5, "different sampling parameters")],
)
def test_logs_of_several_models_are_not_counted_together(tmp_path, model, temperature, message):
    for day, name, t in (("01", "base", 1.0), ("02", model, temperature)):
        settings = {"do_sample": True, "temperature": t}
        row = {
            "doc_id": 0, "doc": {}, "target": "2", "resps": [["2"]], "filtered_resps": ["2"], "metrics": ["m"],
            "m": 1.0, "arguments": {"gen_args_0": {"arg_0": "1 + 1 =", "arg_1": settings}},
        }  # fmt: skip
        jsonl(tmp_path / f"samples_toy_2026-11-{day}T00-00-00.0.jsonl", [row])
        (tmp_path / f"results_2026-11-{day}T00-00-00.0.json").write_text(json.dumps({"model_name": name, "config": {}}))
    imported = interop.read(tmp_path)
    if message is None:
        assert imported.counts().n.tolist() == [2]
    else:
        with pytest.raises(InputError, match=message):
            imported.counts()
    assert len({(s.policy, s.params, s.seed, s.index) for s in imported.samples()}) == 2


def test_json_lines_under_another_name_are_found(tmp_path):
    assert interop.detect(jsonl(tmp_path / "counts.json", [{"id": "a", "n": 1, "c": 1}] * 2)).name == "counts"


def test_rewards_need_a_threshold_unless_they_are_0_or_1(tmp_path):
    scores = [1, 0.5, None, float("nan"), True]
    path = jsonl(tmp_path / "1.jsonl", [{**VERL, "score": s} for s in scores])
    with pytest.raises(InputError, match=r"1\.jsonl, line 2: score is 0\.5, neither 0 nor 1 \(other values: 1\)"):
        interop.read(path).counts()
    counts = interop.read(path, threshold=0.5).counts()
    assert (counts.n.item(), counts.c.item(), counts.unjudged.item()) == (5, 3, 2)
    counts = interop.read(path, threshold=0.6).counts()
    assert (counts.n.item(), counts.c.item(), counts.unjudged.item()) == (5, 2, 2)


def test_training_steps_are_different_policies(tmp_path):
    jsonl(tmp_path / "9.jsonl", [{**VERL, "step": 9}])
    jsonl(tmp_path / "10.jsonl", [{**VERL, "step": 10, "score": 0.0}])
    imported = interop.read(tmp_path)
    with pytest.raises(InputError, match="several training steps"):
        imported.counts()
    assert imported.counts(pool_steps=True).n.tolist() == [2]
    assert interop.read(tmp_path, step=10).counts().c.tolist() == [0]
    with pytest.raises(InputError, match="nothing was imported"):
        interop.read(tmp_path, step=11).counts()
    samples = list(imported.samples(policy="toy", run="r1"))
    assert [(s.policy, s.step, s.run, s.reward) for s in samples] == [
        ("toy@9", 9, "r1", 1.0),
        ("toy@10", 10, "r1", 0.0),
    ]
    with pytest.raises(InputError, match="--policy"):
        list(imported.samples())

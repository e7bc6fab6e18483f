"""`goldpanner study` on two tiny studies: list, run, pages, JSON, resume after an interruption, mistakes."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldpanner import cli
from goldpanner.cli import application, display_study
from goldpanner.errors import GoldpannerError, Interrupted
from goldpanner.progress import Event
from goldpanner.store import Store
from goldpanner.store.argument import MISSION, MissionRecord
from goldpanner.store.findings import FindingRecord
from goldpanner.studies import claims, mission, runner
from goldpanner.studies import study as studies
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import QUICK
from goldpanner.studies.study import Finding, Study
from goldpanner.types import Estimate
from synthetic_study import text

terminal = CliRunner()
TEXTS = {"alpha": text(["held"], supports=["form-only"]), "beta": text(["false"], supports=["composes"])}
measured: list[tuple[str, int]] = []


def measure(lab):
    measured.append((lab.study, lab.seed))
    lab.notify(Event(f"{lab.study} w{lab.seed}", "grpo", 1, 2, "reward 0.50"))
    return {"value": 0.7 if lab.study == "alpha" else 0.2, "seed": lab.seed}


def judge(results):
    estimates = [Estimate(r["value"], r["value"] - 0.1, r["value"] + 0.1, 0.95, "given") for r in results]
    name = "held" if results[0]["value"] > 0.5 else "false"
    return Finding({name: [Effect("first", estimates, low=0.5)]})


@pytest.fixture(autouse=True)
def two_studies(monkeypatch, tmp_path):
    """Two studies in place of the fourteen, whose workers run in this process."""
    measured.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "NAMES", tuple(TEXTS))
    monkeypatch.setattr(claims, "load_study", lambda name: Study(name, measure, judge))
    for module in (studies, mission):
        monkeypatch.setattr(module, "read_text", TEXTS.__getitem__)
    monkeypatch.setattr(runner, "side_by_side", in_this_process)
    monkeypatch.setattr(runner.Lab, "base", lambda lab, world: None)


def in_this_process(jobs, progress):
    for function, arguments in jobs:
        function(progress, *arguments)


def call(*arguments, code=0):
    result = terminal.invoke(application(), ["study", *map(str, arguments)])
    if isinstance(result.exception, GoldpannerError):
        assert code == (130 if isinstance(result.exception, Interrupted) else 2), result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_all_are_run_once_and_a_second_call_measures_nothing(tmp_path):
    found = json.loads(call("all", "--worlds", 2, "--json"))
    assert sorted(measured) == [("alpha", 0), ("alpha", 1), ("beta", 0), ("beta", 1)]
    words = {name: [p["word"] for p in kept["predictions"].values()] for name, kept in found["studies"].items()}
    assert words == {"alpha": ["held"], "beta": ["false"]}
    assert list(found["sentences"]) == list(mission.sentences())
    assert not any(found["sentences"].values())  # neither study tests a primary claim
    assert found["folder"] == "runs/studies"
    for page in (found["answer"], *(kept["page"] for kept in found["studies"].values())):
        assert Path(page).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert found["studies"]["alpha"]["predictions"]["held"]["effects"][0]["estimates"][0]["value"] == 0.7
    measured.clear()
    assert json.loads(call("all", "--worlds", 2, "--json"))["studies"] == found["studies"]
    assert measured == []


def test_more_worlds_measure_only_those_that_are_missing():
    call("beta", "--worlds", 1)
    call("beta", "--worlds", 3)
    assert measured == [("beta", 0), ("beta", 1), ("beta", 2)]


def test_the_tables_give_each_study_and_sentence_its_verdict():
    shown = " ".join(call("alpha", "beta", "--worlds", 1).split())
    assert "alpha 1 1 · · · 0.0" in shown
    assert "beta 1 · 1 · · 0.0" in shown
    assert "what looks new is an optimised chain. Not known: Its experiment has not been run yet." in shown
    assert "answer runs/studies/answer.html" in shown
    assert "Smoke run" not in shown


def test_a_smoke_run_has_a_folder_of_its_own_and_says_what_it_is():
    shown = call("alpha", "--quick")
    assert "Smoke run" in shown
    assert "runs/studies-quick/answer.html" in shown
    assert "Smoke run" in Path("runs/studies-quick/alpha.html").read_text(encoding="utf-8")
    assert measured == [("alpha", world) for world in QUICK.worlds]


def test_chinese_pages_lie_beside_the_english_ones():
    call("alpha", "--worlds", 1)
    shown = call("alpha", "--worlds", 1, "--lang", "zh")
    assert "与预测一致" in shown
    names = {path.name for path in Path("runs/studies").glob("*.html")}
    assert names == {"alpha.html", "answer.html", "alpha.zh.html", "answer.zh.html"}
    assert 'lang="zh-Hans"' in Path("runs/studies/answer.zh.html").read_text(encoding="utf-8")


def test_list_shows_what_is_done_and_runs_nothing():
    before = json.loads(call("list", "--json"))["studies"]
    assert [(row["name"], row["worlds"]) for row in before] == [("alpha", []), ("beta", [])]
    assert not Path("runs").exists()
    call("alpha", "--worlds", 1)
    measured.clear()
    after = json.loads(call("list", "--json"))["studies"]
    assert [(row["name"], row["worlds"]) for row in after] == [("alpha", [0]), ("beta", [])]
    assert after[0]["title"] == "A study"
    assert "not yet run" in call("list")
    assert "尚未运行" in call("list", "--lang", "zh")
    assert measured == []


def test_an_interruption_ends_with_130_and_the_same_command_goes_on(monkeypatch, capsys):
    def stopped(jobs, progress):
        function, arguments = jobs[0]

        def until_two(event):
            if len(measured) == 2:
                raise KeyboardInterrupt
            progress(event)

        function(until_two, *arguments)

    monkeypatch.setattr(runner, "side_by_side", stopped)
    monkeypatch.setattr(sys, "argv", ["goldpanner", "study", "all", "--worlds", "2"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert "run the same command again" in capsys.readouterr().err
    monkeypatch.setattr(runner, "side_by_side", in_this_process)
    measured.clear()
    call("all", "--worlds", 2)
    assert measured == [("alpha", 1), ("beta", 0), ("beta", 1)]


def test_an_interruption_while_pages_are_drawn_is_told_alike(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mission, "conclude_mission", stop)
    assert "runs/studies" in call("alpha", "--worlds", 1, code=130)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gamma"], "no study is called 'gamma'; there are alpha, beta; or all, or list"),
        (["alpha", "gamma"], "gamma"),
        (["alpha", "--lang", "fr"], "en or zh"),
        (["alpha", "--out", "file"], "file"),
        (["alpha", "--out", "full"], "not empty"),
    ],
)
def test_mistakes_are_told_before_anything_runs(arguments, says):
    Path("file").write_text("x")
    Path("full").mkdir()
    Path("full/x").write_text("x")
    assert says in call(*arguments, code=2)
    assert measured == []


def test_a_folder_of_another_scale_is_refused():
    call("alpha", "--worlds", 1)
    assert "other settings" in call("alpha", "--quick", "--out", "runs/studies", code=2)


@pytest.mark.parametrize("worlds", ["0", "x", "-1"])
def test_a_number_of_worlds_that_is_none(worlds):
    assert terminal.invoke(application(), ["study", "alpha", "--worlds", worlds]).exit_code == 2


def test_help_has_an_example():
    assert "Example: goldpanner study" in call("--help")


def test_plain_progress_is_a_line_a_job(monkeypatch, capsys):
    bars = display_study.StudyBars(3, 1)
    with bars:
        bars.update(Event("alpha w0", "grpo", 1, 2))
        bars.update(Event("alpha w0", "measure", 1, 1, "12 s"))
        bars.update(Event("bases w1", "pretrain", 5, 5))
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
        "2/3 alpha w0: 12 s",
        "bases w1: pretraining done",
    ]


def test_bars_keep_one_line_a_worker():
    bars = display_study.StudyBars(9, 0, quiet=True)
    for stage in ("bases w0", "bases w1", "alpha w0", "alpha w1"):
        bars.update(Event(stage, "grpo", 1, 2))
    assert list(bars._active) == ["alpha w0", "alpha w1"]
    bars.update(Event("alpha w0", "measure", 1, 1, "3 s"))
    assert list(bars._active) == ["alpha w1"]


def test_what_is_kept_names_the_versions_that_made_it():
    call("alpha", "--worlds", 1)
    store = Store(Path("runs/studies/store"))
    assert "torch" in store.get(FindingRecord, "alpha").versions
    assert store.get(MissionRecord, MISSION).command


def test_study_all_and_names_mixed_run_each_once():
    call("beta", "beta", "--worlds", 1)
    call("all", "beta", "--worlds", 1)
    assert sorted(measured) == [("alpha", 0), ("beta", 0)]

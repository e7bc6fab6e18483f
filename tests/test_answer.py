"""The answer's page: from results in a folder to two languages, without training and without scripts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.report.pages import answer_part
from goldpanner.store import Store
from goldpanner.store.findings import ResultRecord
from goldpanner.studies import mission
from goldpanner.studies.boundary import CONFIRMATION, judge_claim
from goldpanner.studies.primary import CLAIMS
from goldpanner.studies.results import conclude_results, keep_results, load_results
from synthetic_study import created, logp, reverse

STORY = {
    "prompt": "Q oak j s g", "right": "oak p i n", "mistaken": "oak p o n",
    "logp": {"base": (-10.0, -0.5), "rl": (-12.0, -0.004), "control": (-0.01, -10.0)},
}  # fmt: skip


def full(world):
    """Return a result of `what-creates` with all that its study keeps."""
    result = created(world)
    arms = ("exposure-0.1%", "exposure-0.3%")
    result["alone"] |= dict.fromkeys(arms, result["alone"]["exposure-0.2%"])
    result["absent"] |= {f"examples-{n}": logp(0.9) for n in (24, 256)}
    return {**result, "story": STORY}


@pytest.fixture
def folder(tmp_path):
    store = Store(tmp_path / "studies" / "store")
    for world in (0, 1, 100):
        phase = "exploration" if world < 100 else "confirmation"
        row = ResultRecord(id=f"what-creates-w{world}", study="what-creates", world=world, seconds=1.0, method="",
                           versions={}, result=full(world), commit="abc", date="2026-11-27", phase=phase)  # fmt: skip
        store.put(row)
    keep_results(store, tmp_path / "results")
    return tmp_path


def test_results_are_kept_with_their_origin_and_come_back(folder):
    (rows,) = load_results(folder / "results").values()
    assert [(r.world, r.phase, r.commit, r.date) for r in rows] == [
        (0, "exploration", "abc", "2026-11-27"), (1, "exploration", "abc", "2026-11-27"),
        (100, "confirmation", "abc", "2026-11-27"),
    ]  # fmt: skip
    assert rows[0].result["alone"]["klingon"]["base"][0] == pytest.approx(
        created(0)["alone"]["klingon"]["base"][0], 1e-4
    )


def test_the_command_draws_both_languages_without_scripts(folder):
    arguments = ["answer", "--results", str(folder / "results"), "--pages", str(folder / "pages"), "--json"]
    outcome = CliRunner().invoke(application(), arguments)
    assert outcome.exit_code == 0, outcome.output
    known = json.loads(outcome.stdout)["known"]
    assert known["reweights"] == known["no-invention"] == ["below", "above"]
    assert known["cold-model"] is None
    for name in ("answer.html", "answer.zh.html"):
        page = (folder / "pages" / name).read_text(encoding="utf-8")
        assert "vegaEmbed = " not in page
        assert page.split('<figure class="course">')[0].count("<circle") == 2 * (6 + 7)
        assert "oak p o n" in page
    assert not (folder / "pages" / "what-creates.html").exists()


def test_the_short_answer_has_at_most_120_words_and_says_only_what_has_evidence(folder):
    record, _ = conclude_results(load_results(folder / "results"))
    text = answer_part.short_answer(record, "en")
    assert len(text.split()) <= 120
    assert re.search(r"came to solve \d+ of \d+ hard problems", text)
    assert "chains" not in text  # composition was not run
    assert "below 1 in a billion after 38,400 rollouts" in text
    assert text.startswith("In this lab (3 worlds so far): no.")
    unknown = record.model_copy(
        update={"sentences": tuple(s.model_copy(update={"boundary": s.off}) for s in record.sentences)}
    )
    assert "hard problems" not in answer_part.short_answer(unknown, "en")
    assert answer_part.short_answer(unknown, "en").startswith("The records of this lab (3 worlds so far) do not settle")


def test_an_answer_in_which_rl_creates_does_not_say_no(folder):
    record, _ = conclude_results(load_results(folder / "results"))
    absent = {**record.answer.absent, "rl": (0.9, 1e-12, 1e-12)}
    turned = record.model_copy(update={"answer": record.answer.model_copy(update={"absent": absent})})
    assert ": no" not in answer_part.short_answer(turned, "en")


def test_a_world_in_which_rl_did_not_take_is_named(folder):
    record, _ = conclude_results(load_results(folder / "results"))
    assert "did not take" not in answer_part.answer_part(record, "en").values["absent_how"]
    file = folder / "results" / "what-creates-w100.json"
    row = json.loads(file.read_text(encoding="utf-8"))
    row["result"]["alone"]["exposure-1%"]["rl"] = row["result"]["alone"]["exposure-1%"]["base"]
    file.write_text(json.dumps(row), encoding="utf-8")
    record, _ = conclude_results(load_results(folder / "results"))
    text = answer_part.answer_part(record, "en").values["absent_how"]
    assert "In 1 of 3 worlds (seed 100) this RL did not work" in text
    boundary = next(s.boundary for s in record.sentences if s.id == "no-invention")
    assert boundary.box("confirmation", "below").units == 0


def test_confirmation_is_counted_beside_exploration(folder):
    record, _ = conclude_results(load_results(folder / "results"))
    boundary = next(s.boundary for s in record.sentences if s.id == "no-invention")
    assert boundary.box("exploration", "below").runs == 2
    assert boundary.box("confirmation", "below").runs == 1


def test_a_folder_without_results_or_with_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        load_results(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="is not the result of a study"):
        load_results(tmp_path)


def test_both_readings_are_printed_from_the_records(folder):
    record, _ = conclude_results(load_results(folder / "results"))
    rows = answer_part.answer_part(record, "en").values["reach"]
    assert [(name, k) for name, k, *_ in rows[:3]] == [("rare facts cannot be found", k) for k in (1, 16, 256)]
    p = [1e-9, 1e-7, 1e-5, 1e-2, 0.3, 0.6]
    expected = sum(1 - (1 - x) ** 16 for x in p) / 6
    assert rows[1][2] == ", ".join([f"{expected:.2f}".removeprefix("0")] * 3)


def test_why_follows_from_the_groups_of_the_story():
    steps = answer_part._why(3.5e-5, "en")
    assert "all 16 are wrong in 99.94% of such groups" in steps[0]
    assert "1 in 29,000" in steps[0]
    assert "+3.87" in steps[2]  # (1 - 1/16) / sqrt(1/16 x 15/16)
    assert "−0.26" in steps[2]


# --- the results in the repository

RESULTS = Path(__file__).parent.parent / "results"


def test_the_results_in_the_repository_are_small_and_say_where_they_come_from():
    files = sorted(RESULTS.glob("*.json"))
    assert files
    assert sum(file.stat().st_size for file in files) < 3e6
    for rows in load_results(RESULTS).values():
        for row in rows:
            assert re.fullmatch(r"[0-9a-f]{7,}", row.commit), row.id
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.date), row.id
            assert row.phase == ("exploration" if row.world < CONFIRMATION else "confirmation")
            assert row.id == f"{row.study}-w{row.world}"


def test_with_rl_switched_off_the_results_in_the_repository_say_nothing_about_rl():
    record, _ = conclude_results(load_results(RESULTS))
    boundaries = [s for s in record.sentences if s.boundary is not None]
    assert any(s.boundary.known for s in boundaries)
    for sentence in boundaries:
        assert sentence.off is None or sentence.off.known == (), sentence.id


def test_reversing_the_results_in_the_repository_changes_the_boxes_of_every_sentence():
    results = load_results(RESULTS)
    for name, claim in CLAIMS.items():
        rows = results.get(mission.sentences()[name].claim.study, [])
        runs = [replace(claim.units(row.result, False), world=row.world) for row in rows]
        if runs and any(run.warm >= claim.needed for run in runs):
            boxes = [
                [box.outcomes for box in judge_claim(claim, chosen).boxes] for chosen in (runs, [*map(reverse, runs)])
            ]
            assert boxes[0] != boxes[1], name

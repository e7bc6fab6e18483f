"""All studies for real at the smoke scale: nothing breaks, every page is drawn, a second call measures nothing."""

import json

from goldpanner.studies import claims, mission
from goldpanner.studies.primary import CLAIMS
from processes import run_program


def study(*arguments, cwd):
    done = run_program("goldpanner.cli", "study", *arguments, "--json", cwd=cwd, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_smoke_run_of_all_studies(tmp_path):
    found = study("all", "--quick", "--worlds", "1", cwd=tmp_path)
    assert list(found["studies"]) == list(claims.NAMES)
    assert list(found["sentences"]) == list(mission.sentences())
    judged = {name for name, boundary in found["sentences"].items() if boundary}
    assert judged == set(CLAIMS), "every primary claim is judged"
    for record in found["studies"].values():
        assert record["quick"]
        assert len(record["worlds"]) == 1
        page = (tmp_path / record["page"]).read_text(encoding="utf-8")
        assert "Smoke run" in page
    records = sorted((tmp_path / "runs/studies-quick/store/records").glob("[rf]*/*.json"))  # runs, results, findings
    written = [path.stat().st_mtime_ns for path in records]
    again = study("all", "--quick", "--worlds", "1", "--lang", "zh", cwd=tmp_path)
    assert len(records) > 2 * len(claims.NAMES)
    assert [path.stat().st_mtime_ns for path in records] == written, "nothing is trained, measured or judged twice"
    assert {n: s["predictions"] for n, s in again["studies"].items()} == {
        n: s["predictions"] for n, s in found["studies"].items()
    }
    assert (tmp_path / again["answer"]).name == "answer.zh.html"

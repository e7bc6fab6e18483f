"""The objects that `--json` prints, as docs/json.md has them, and what can be cited of them."""

import json
import re
from pathlib import Path

import pytest

import goldpanner as gp
from goldpanner.interop import write_counts
from test_cli import call
from test_results import drawn_counts

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
FIELDS = {
    row.split("|")[1].strip(" `"): set(re.findall(r"`(\w+)`", row.split("|")[3]))
    for row in DOCS.splitlines()
    if row.startswith("| `")
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    base, rl = (write_counts(drawn_counts(i, 1 + i), folder / f"{name}.jsonl") for i, name in enumerate(["base", "rl"]))
    labels = folder / "labels.csv"
    labels.write_text("".join(f"problem {i},{i % 2}\n" for i in range(60)))
    commands = {
        "measure": ["measure", base, "--by", labels],
        "compare": ["compare", base, rl, "--fail-on", "undecided"],
        "compare-several": ["compare", base, rl, "two=" + f"{rl},{base}"],
        "plan": ["plan", base],
        "power": ["power", "--shape", "all:0.5", "--tries", "1"],
        "import": ["import", base],
        "tasks": ["tasks"],
        "problems": ["tasks", "arithmetic/add-2d2d", "--problems", "1"],
    }
    texts = {}
    for name, words in commands.items():
        text = call(*words, "--json") if name != "compare" else call(*words[:3], "--json")
        (folder / f"{name}.json").write_text(text)
        texts[name] = folder / f"{name}.json"
    return texts


def test_every_object_says_what_it_is_and_has_the_fields_of_the_docs(printed):
    for name, path in printed.items():
        values = json.loads(path.read_text())
        assert values.pop("schema") == f"goldpanner/{name}/1"
        assert values.pop("goldpanner") == gp.__version__
        assert set(values) <= FIELDS[name], name


def test_every_result_has_its_row_in_the_docs():
    calls = [
        re.findall(r'(?:print_json|output.show|show_report)\(\s*"([a-z-]+)"', path.read_text())
        for path in (ROOT / "src").rglob("cli/*.py")
    ]
    assert {name for names in calls for name in names} == set(FIELDS)


@pytest.mark.parametrize("name", ["measure", "compare", "compare-several", "plan"])
def test_a_result_is_cited_with_its_settings_numbers_and_versions(printed, name):
    values = json.loads(printed[name].read_text())
    citation = gp.cite(printed[name])
    assert "base (60 problems, 16 samples each, sampling parameters not recorded" in citation.paragraph
    assert f"goldpanner {gp.__version__}" in citation.paragraph
    assert " ".join(str(values.get("summary", "")).split()) in citation.paragraph
    assert set(re.findall(r"\[@(\w+)\]", citation.paragraph)) == set(citation.keys)
    assert re.findall(r"@\w+\{(\w+),", citation.bibtex) == list(citation.keys)
    assert citation.bibtex.count("{") == citation.bibtex.count("}")
    assert call("cite", printed[name]).strip() == str(citation)
    if name == "measure":
        one = values["pass_at_k"]["1"]
        assert f"pass@1 was {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" in citation.paragraph


def test_what_cannot_be_cited_is_refused(printed, tmp_path):
    (tmp_path / "x.json").write_text('{"verdict": "expanded"}')
    (tmp_path / "y.json").write_text("[1, 2]")
    (tmp_path / "z.json").write_text('{"schema": "goldpanner/compare/1", "goldpanner": "1"}')
    for path in (tmp_path / "x.json", tmp_path / "y.json", tmp_path / "z.json", printed["tasks"]):
        with pytest.raises(gp.InputError, match="no result that can be cited"):
            gp.cite(path)
    with pytest.raises(gp.InputError, match="cannot be read"):
        gp.cite(tmp_path / "none.json")
    with pytest.raises(gp.InputError, match="is no run"):
        gp.cite(tmp_path)

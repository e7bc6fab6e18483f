import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import vl_convert

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.report import charts, gather, page
from goldpanner.report.chart_style import Look
from goldpanner.report.page import Section, render
from goldpanner.report.pages import run_explorer, run_progress, run_sections
from goldpanner.report.pages.run import build, picture
from goldpanner.store import Store
from goldpanner.types import Completion, Counts, Estimate, Outcome, Problem, Sample, Verdict
from synthetic_run import GROUP, HOSTILE, PARAMS, run_record, write_run


class Reader(HTMLParser):
    """Collects elements with their attributes, and the text of script elements by type."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == "script" and len(self.scripts) < sum(t == "script" for t, _ in self.elements):
            self.scripts.append((attributes.get("type") or "", data))
        else:
            self.words.append(data)

    def json(self) -> list:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]

    def table(self) -> dict:
        (packed,) = (text for kind, text in self.scripts if kind == "application/gzip")
        return json.loads(gzip.decompress(base64.b64decode(packed)))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def html(root: Path) -> str:
    return build(root).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(root: Path) -> gather.Run:
    return gather.gather(root)


def chart_specs(html: str) -> list[dict]:
    return [data for data in Reader(html).json() if "layer" in data]


# --- the page as a file


def test_it_is_one_file_that_asks_for_nothing(root, html):
    assert (root / "report.html").stat().st_size < 2_000_000
    reader = Reader(html)
    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_charting_library_is_inlined_once(html):
    assert sum(len(text) > 500_000 for _, text in Reader(html).scripts) == 1


def test_same_run_same_bytes(root, html):
    path = root / "report.html"
    path.unlink()
    assert build(root).read_text(encoding="utf-8") == html
    assert not list(root.glob("*.tmp"))


def test_title_can_be_given(root, html):
    try:
        page_ = build(root, title="A <title>").read_text(encoding="utf-8")
    finally:
        (root / "report.html").write_text(html, encoding="utf-8")
    assert "<title>A &lt;title&gt;</title>" in page_
    assert "What RL did" not in page_.split("<style>")[0]


# --- hostile text


def test_hostile_text_stays_text(html):
    reader = Reader(html)
    tags = {tag for tag, _ in reader.elements}
    assert "img" not in tags
    assert not any("alert(1)" in text for kind, text in reader.scripts if kind != "application/json")
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert "</script> 49" not in "".join(reader.words)
    assert "".join(reader.words).count("{{7*7}}") >= 3  # verdict, command, configuration


def test_hostile_text_arrives_unchanged_in_the_table(html):
    table = Reader(html).table()
    assert any(problem["q"] == HOSTILE for problem in table["problems"])
    assert any(r[0] == HOSTILE for p in table["problems"] for stage in p["r"] for r in stage)


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "\u2028\u2029", "&lt;", "]]>", "\ud7ff", '"\\'])
def test_embedded_data_survives_any_text(text):
    embedded = str(page.data({"text": text}))
    assert json.loads(embedded) == {"text": text}
    assert not set("<>&\u2028\u2029") & set(embedded)


# --- charts


def test_every_chart_has_a_title_a_description_and_named_axes(html):
    specs = chart_specs(html)
    # 2 arms x 2 tasks, 2 + 1 spectra, 2 group maps, 2 progresses, 2 losses, 4 agreements
    assert len(specs) == 4 + 3 + 2 + 2 + 2 + 4
    for spec in specs:
        title = spec["title"]["text"] if isinstance(spec["title"], dict) else spec["title"]
        assert title
        assert len(spec["description"]) > 30
        for axis in ("x", "y"):
            axes = [
                layer["encoding"][axis]["axis"] for layer in spec["layer"] if "axis" in layer["encoding"].get(axis, {})
            ]
            assert all(a is None or a["title"] for a in axes)
        assert "$schema" not in spec


def test_every_chart_compiles(html):
    for spec in chart_specs(html):
        vega = vl_convert.vegalite_to_vega(spec)
        assert vega["marks"]


def test_figures_are_numbered_and_captioned(html):
    captions = re.findall(
        r'<figure class="figure" id="(figure|table)-(\d+)">\s*<h3>.*?</h3>\s*<p class="how">(.+?)</p>', html, re.S
    )
    assert [int(n) for kind, n, _ in captions if kind == "figure"] == list(range(1, 9))
    assert all(len(text) > 20 for *_, text in captions)


def test_zones_tell_rare_from_absent():
    log10_P = np.array([0.0, -1.0, -2.0, -5.0, -8.9, -9.1, -30.0, -1000.0])
    assert charts.zones(log10_P, 0.01) == (3 / 8, 2 / 8, 3 / 8)


def test_spectrum_draws_every_problem_once_in_its_zone():
    rng = np.random.default_rng(0)
    log10_P = np.concatenate([rng.uniform(-40, 0, 500), [0.0, -20.0, -9.0, -2.0]])
    look = Look("base", "#000000")
    chart = charts.spectrum_chart([charts.Spectrum(look, log10_P)], 0.01, "t", "d")
    rows = [row for data in chart.spec["datasets"].values() for row in data if "problems" in row]
    drawn = {
        zone: sum(row["problems"] for row in rows if row["zone"].startswith(zone))
        for zone in ("within", "rare", "absent")
    }
    assert drawn == {
        "within": (log10_P >= -2).sum(),
        "rare": ((log10_P < -2) & (log10_P >= -9)).sum(),
        "absent": (log10_P < -9).sum(),
    }


def test_group_map_stacks_to_one():
    shares = np.array([[0.5, 0.4, 0.1], [0.2, 0.5, 0.3]])
    chart = charts.group_map(charts.GroupMap(np.array([0, 1]), shares, shares[0]), "t", "d")
    rows = [row for data in chart.spec["datasets"].values() for row in data if "share" in row]
    assert len(rows) == 9  # two steps and one prediction
    for step in (0, 1):
        tops = sorted(row["y2"] for row in rows if row.get("step") == step)
        assert tops[-1] == pytest.approx(1)
    assert all(row["y2"] - row["y"] == pytest.approx(row["share"]) for row in rows)


def test_agreement_draws_zero_apart_from_small():
    inside = np.array([True, True, False])
    chart = charts.agreement_chart(np.array([-30.0, -2.0, -0.01]), np.array([0, 1, 0]), 64, inside, "t", "d", ["s"])
    dots = [row for data in chart.spec["datasets"].values() for row in data if "where" in row]
    assert [d["where"] for d in dots] == ["inside", "inside", "outside"]
    assert dots[0]["y"] < dots[1]["y"] == pytest.approx(1 / 64)


# --- what is gathered


def test_counts_hold_the_measurement_and_no_training_rollouts(run):
    base = run.stages[0]
    assert set(base.counts.n) == {16}
    assert len(base.counts) == 2 * 8
    assert base.process is not None
    assert (base.process.c <= base.counts.c).all()
    assert len(base.truth) == 36


def test_group_shares_are_those_of_the_rollouts(root, run):
    stage = run.stages[1]
    table = Store(root / "store").groups("base-grpo").to_pylist()
    live = [0 < row["c"] < row["n"] for row in table if row["step"] == 3]
    assert stage.groups.shares_T[3, 1] == pytest.approx(np.mean(live))
    assert stage.groups.shares_T.sum(axis=1) == pytest.approx(1)
    assert stage.groups.rollouts == 6 * 6 * GROUP
    assert run.stages[0].groups is None


def test_groups_that_hang_on_unjudged_samples_are_left_open(tmp_path):
    write_run(tmp_path, problems=4, sampled=3, samples=4, steps=3, stages=("base", "base-grpo"))
    store = Store(tmp_path / "store")
    outcomes = {0: "uuuu", 1: "rrru", 2: "wwwu", 3: "rwuu", 4: "rrrr", 5: "wwww", 6: "rwww", 7: "rrrw"}
    named = {"u": Outcome.UNJUDGED, "r": Outcome.CORRECT, "w": Outcome.WRONG}
    store.append(
        Sample(
            "x", "p", PARAMS.hash, 0, i + 10 * group, Completion("x"), Verdict(named[o], "v@1"),
            "world/d1", "base-grpo", None, 99, group,
        )
        for group, letters in outcomes.items()
        for i, o in enumerate(letters)
    )  # fmt: skip
    groups = gather.gather(tmp_path).stages[1].groups
    assert groups.shares_T[-1].tolist() == [1 / 8, 3 / 8, 1 / 8]
    assert "White: up to 38%" in build(tmp_path).read_text(encoding="utf-8")


def test_stages_are_named_by_their_descent(run):
    assert [s.label for s in run.stages] == ["base", "base → GRPO", "base → SFT", "base → SFT → GRPO"]


def test_responses_keep_every_verdict_apart(run):
    found = [r for responses in run.responses.values() for r in responses]
    assert {r.verdict for r in found} == {"right", "lucky", "wrong"}
    assert all(r.text.startswith("hum hum") and r.reason for r in found if r.verdict == "lucky")
    for (stage, problem), responses in run.responses.items():
        assert len({(r.text, r.verdict, r.reason) for r in responses}) == len(responses)
        drawn = sum(r.times for r in responses if r.verdict in ("right", "lucky"))
        counts = next(s for s in run.stages if s.id == stage).counts
        assert drawn == counts.c[counts.ids.index(problem)]


def test_a_metrics_line_cut_off_by_a_kill_is_left_out(run):
    assert [m["step"] for m in run.stages[0].metrics] == list(range(6))


def test_a_damaged_metrics_line_is_named(root, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    path = folder / "stages" / "sft" / "metrics.jsonl"
    path.write_text('{"step": 0}\nnonsense\n{"step": 1}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2"):
        build(folder)


# --- the numbers on the page


def test_key_figures_are_those_of_the_counts(run):
    section = run_sections.key_figures(run)
    assert section is not None
    name, rows = section.blocks[0].groups[0]
    assert name == "world/d1 · trained"
    counts = run.counts(run.stages[1], "world/d1")
    first, last = rows[1].cells[1:]
    assert first.estimate.value == pytest.approx((counts.c / counts.n).mean())
    assert last.estimate.value == pytest.approx((counts.c > 0).mean())  # pass@n
    assert first.estimate.low <= first.estimate.value <= first.estimate.high
    logp = run.logp(run.stages[1], "world/d1")
    assert first.exact == pytest.approx(np.exp(logp).mean())
    assert last.exact == pytest.approx((1 - (1 - np.exp(logp)) ** 16).mean())


def test_a_task_that_was_not_sampled_shows_its_exact_median(run):
    assert [name for name, _ in run_sections.key_figures(run).blocks[0].groups] == [
        "world/d1 · trained",
        "world/d3 · held out",
    ]
    table = run_sections.spectrum_section(run).blocks[-1]
    (row,) = table.groups[0][1]
    assert row.cells[0] == "world/exposure-0.1%"
    p = np.exp(np.median(run.logp(run.stages[1], "world/exposure-0.1%")))
    assert float(row.cells[2]) == pytest.approx(p, rel=0.05)


def test_lead_says_who_is_ahead_and_from_where():
    k = run_sections.EXACT_K
    low, high = np.full(len(k), 0.2), np.full(len(k), 0.3)
    assert run_sections.lead(low, high) == ("RL ahead at every k,", "by up to 10.0 points")
    assert run_sections.lead(high, low) == ("RL behind at every k,", "by up to 10.0 points")
    assert run_sections.lead(np.where(k >= 100, high, low), np.full(len(k), 0.25)) == (
        "RL behind from k = 100,",
        "by up to 5.0 points",
    )
    assert run_sections.lead(np.where(k <= 100, high, low), np.full(len(k), 0.25))[0] == "RL behind up to k = 100,"
    mixed = np.where((k > 10) & (k < 100), high, low)
    assert run_sections.lead(mixed, np.full(len(k), 0.25))[0] == "RL behind at some k from 12,"


def test_prediction_of_groups_follows_the_law(run):
    p = np.exp(run.logp(run.stages[0], "world/d1"))
    wrong, live, right = run_progress._predicted(run, run.stages[0])
    assert wrong == pytest.approx(((1 - p) ** GROUP).mean())
    assert right == pytest.approx((p**GROUP).mean())
    assert live == pytest.approx(1 - wrong - right)


def test_agreement_counts_what_lies_inside(run):
    section = run_sections.agreement_section(run)
    for row, stage in zip(section.blocks[1].groups[0][1], run.stages):
        inside, of = (int(x) for x in row.cells[1].split(" of "))
        assert of == len(stage.counts)
        assert inside >= 0.8 * of


def test_verdict_is_the_studys(html):
    assert "RL sharpened what the base model could already do." in html
    assert html.index("RL sharpened") < html.index("Key figures</h2>")


@pytest.mark.parametrize(("budget", "most"), [(700_000, 4), (4_000, 1), (0, 0)])
def test_table_of_problems_stays_within_its_budget(run, monkeypatch, budget, most):
    monkeypatch.setattr(run_explorer, "BUDGET", budget)
    block = run_explorer.explorer(run).blocks[0]
    assert len(block.data["problems"]) == 36
    kept = [[r[1] for r in responses] for p in block.data["problems"] for responses in p["r"]]
    assert max(verdicts.count("wrong") for verdicts in kept) == most
    assert (f"the {most} most" in block.caption) == (most > 0)
    assert ("no responses" in block.caption) == (most == 0)


def test_verdict_cards_show_both_ends_of_every_curve(run):
    block = run_sections.verdict(run).blocks[0]
    card = block.cards[1]
    assert (card.title, card.word, card.summary) == ("base → SFT → GRPO", "sharpened", "More of the same, sooner.")
    assert card.rows[0] == ("", "pass@1", "pass@16")
    p = [np.exp(run.logp(stage, "world/d1")).mean() for stage in run.arms[1]]
    assert card.rows[1][:2] == ("world/d1 · trained", f"{p[0]:.3f} → {p[1]:.3f}")


# --- parts that are missing


@pytest.mark.parametrize("stages", [("base",), ("base", "sft"), ("base", "base-grpo")])
def test_fewer_stages_give_a_smaller_page(tmp_path, stages):
    write_run(tmp_path, problems=4, sampled=3, samples=4, steps=3, stages=stages)
    text = build(tmp_path).read_text(encoding="utf-8")
    assert ("Which groups still teach" in text) == ("base-grpo" in stages)
    assert "pass@k: what k tries find" in text


def test_bare_records_and_counts_are_enough(tmp_path):
    write_run(tmp_path, problems=4, sampled=3, samples=4, steps=3, stages=("base", "sft"))
    shutil.rmtree(tmp_path / "stages")
    for name in ("truth", "verdicts", "records/studies"):
        shutil.rmtree(tmp_path / "store" / name)
    Store(tmp_path / "store").repair()  # the manifest gives up what is lost
    text = build(tmp_path).read_text(encoding="utf-8")
    assert "log₁₀" not in text
    assert "The verdict" not in text
    assert "Key figures" in text


def test_other_tasks_are_drawn_as_well(tmp_path):
    store = Store(tmp_path / "store")
    problems = [Problem("column-addition/2d", f"{i} + {i} =", str(2 * i)) for i in range(5)]
    store.put_problems(problems)
    store.append_truth("p", {problem.id: -float(i) for i, problem in enumerate(problems)})
    store.put(run_record("base", "p", stage="pretrain"))
    text = build(tmp_path).read_text(encoding="utf-8")
    assert "column-addition/2d" in text
    assert "How likely is a right answer?" in text


def test_a_folder_without_a_run_is_a_users_mistake(tmp_path):
    with pytest.raises(InputError, match="no store"):
        build(tmp_path)
    Store(tmp_path / "store").put(run_record("base"))
    with pytest.raises(InputError, match="no finished stage"):
        build(tmp_path)


# --- pages of other commands, and the picture


def test_any_command_can_make_a_page():
    counts = Counts.of([8, 8, 8], [0, 3, 8])
    band = passk.curve(counts, np.array([1, 8]))
    look = Look("a model", "#0072b2")
    curve = charts.Curve(look, band.k, band.value, band.low, band.high)
    figure = page.Figure(
        "pass@k", "How to read it.", [charts.pass_at_k_chart([curve], "gsm8k/test", "pass@k against k.")]
    )
    table = page.PageTable(
        "Figures", "Sampled.", ["Model", "pass@1"], [("", [page.Row(["a model", page.Interval(band.at(1))])])]
    )
    undefined = page.Interval(Estimate.undefined("k > n"))
    more = page.PageTable("More", "None.", ["Model", "pass@99"], [("", [page.Row(["a model", undefined])])])
    text = render([Section("measured", "Measured", [page.Prose(["One."]), figure, table, more])], "gsm8k/test")
    assert len(chart_specs(text)) == 1
    assert "gsm8k/test" in text
    assert "nan" not in Reader(text).words


def test_a_page_without_charts_carries_no_charting_library():
    assert len(render([Section("a", "A", [page.Prose(["Words."])])], "Words")) < 40_000


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_picture_is_saved(root, tmp_path, ending):
    path = picture(root, tmp_path / f"picture{ending}", tasks=["world/d3"])
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == ".png" else b"<svg")
    if ending == ".svg":
        assert b"base \xe2\x86\x92 GRPO" in content
        assert b"all wrong" in content


def test_picture_of_an_unknown_kind_is_refused(root, tmp_path):
    with pytest.raises(InputError, match=r"\.gif"):
        picture(root, tmp_path / "picture.gif")


def test_picture_of_a_task_not_sampled_is_refused(root, tmp_path):
    with pytest.raises(InputError, match="world/d2.*world/d1, world/d3"):
        picture(root, tmp_path / "picture.png", tasks=["world/d2"])


def test_sampling_parameters_are_told(html):
    assert f"temperature {PARAMS.temperature}" in html
    assert f"max_tokens {PARAMS.max_tokens}" in html

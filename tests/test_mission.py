"""The mission page and the pages of studies: from records of known verdicts to words, drawings and sentences."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
import vl_convert
import yaml

from goldpanner.errors import InputError
from goldpanner.report import plots
from goldpanner.report.pages import mission as pages
from goldpanner.report.pages import study
from goldpanner.report.pages.boundary_chart import HEIGHT, TOP, Axis, boundary_chart
from goldpanner.report.ui_text import LANGUAGES, words
from goldpanner.store.findings import EffectRecord, PlotRecord, Words, WorldEstimate
from goldpanner.studies import claims, mission
from goldpanner.studies.boundary import ClaimRun, ClaimUnit, judge_claim
from goldpanner.studies.primary import CLAIMS
from goldpanner.studies.study import Plot, read_text
from synthetic_study import HOSTILE, STATES, finding, reverse, rows, write_studies

WRITTEN = [
    name for name in claims.NAMES if (files("goldpanner.studies.claims") / f"{name.replace('-', '_')}.yaml").is_file()
]


class Reader(HTMLParser):
    """Collects tags, links, ids, the text a reader sees, and the data of charts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.links, self.ids, self.seen, self.charts = set(), [], set(), [], []
        self._inside, self.language = [], None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.language = given.get("lang", self.language)
        self.links += [given["href"]] if "href" in given else []
        self.ids |= {given["id"]} if "id" in given else set()
        assert not any(name.startswith("on") for name in given), given
        assert tag == "a" or not str(given.get("href") or given.get("src") or "data:").startswith("http")
        if tag in ("script", "style"):
            self._inside.append((tag, given.get("type")))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.seen.append(data)
        elif self._inside[-1] == ("script", "application/json") and '"layer"' in data:
            self.charts.append(json.loads(data))

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.seen))


def draw(found, language="en"):
    return Reader(study.study_page(found, {"reweights": Words(en="R.", zh="重。")}, language, "goldpanner x"))


# --- sentences


@pytest.mark.parametrize("name", WRITTEN)
def test_every_sentence_a_study_names_is_under_test(name):
    told = read_text(name).predictions.values()
    assert {s for p in told for s in (*p.supports, *p.against)} <= set(mission.sentences())
    assert not any(set(p.supports) & set(p.against) for p in told)


def test_every_sentence_has_a_prediction_that_bears_on_it():
    told = [p for name in WRITTEN for p in read_text(name).predictions.values()]
    borne = {s for p in told for s in (*p.supports, *p.against)}
    assert borne <= set(mission.sentences())
    if len(WRITTEN) == len(claims.NAMES):
        assert borne == set(mission.sentences())


def test_every_sentence_is_told_in_both_languages_with_evidence_and_what_would_change_our_mind():
    assert len(mission.sentences()) == 11
    for sentence in mission.sentences().values():
        assert len(sentence.published) >= 2
        for said in (sentence.text, sentence.change, *(row.what for row in sentence.published)):
            assert not re.search("[\u4e00-\u9fff]", said.en)
            assert re.search("[\u4e00-\u9fff]{3}", said.zh)
        assert all(study.link(row.source) for row in sentence.published)


def test_predictions_stand_below_their_sentence_and_do_not_vote():
    found = {"lima": finding("held", supports=["composes"]), "relay": finding("false", against=["composes"])}
    record = {s.id: s for s in mission.judge_sentences({}, found).sentences}
    rows = [(row.study, row.word) for row in record["composes"].secondary if row.study in found]
    assert rows == [("lima", "held"), ("relay", "false")]
    assert all(s.boundary is None for s in record.values())


def test_a_study_that_names_an_unknown_sentence_is_refused():
    with pytest.raises(InputError, match="no-such-sentence"):
        mission.judge_sentences({}, {"lima": finding("held", supports=["no-such-sentence"])})


# --- the page of a study


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_every_verdict_says_it(state, language):
    found = finding(state, supports=["reweights"])
    page, word = draw(found, language), words(language)
    assert page.language == word["language"]
    assert word[found.predictions[state].word] in page.text
    assert ("#open" in page.links) == (found.predictions[state].word == "undecided")
    assert study.file_name("answer", language) + "#reweights" in page.links
    assert "https://arxiv.org/abs/2504.13837" in page.links
    assert len(page.charts) == 2


def test_what_is_open_is_told_with_how_much_more_would_settle_it():
    crossing = draw(finding("undecided")).text
    assert "Open in: the second way. About 36 times as many problems or runs" in crossing  # (.12 / .02)^2
    assert "More of the same does not settle it" in draw(finding("undefined")).text


def test_figures_are_those_of_the_record():
    page = draw(finding("held", "undefined")).text
    assert "0.700 [0.600, 0.800]" in page
    assert "world 2 ∞" in page
    assert "world 0 –" in page
    assert "≥ 0.5" in page


def world_estimate(value, low, high, side):
    return WorldEstimate(value=value, low=low, high=high, side=side, level=0.95, method="given")


def effect_record(low, high, *estimates):
    return EffectRecord(condition="first", low=low, high=high, state="open", more=None, estimates=estimates)


@pytest.mark.parametrize(
    ("effect", "estimate", "says"),
    [
        ((0.5, None), (None, None, None, "yes"), "∞"),
        ((0.5, None), (None, None, None, "no"), "−∞"),
        ((None, 0.5), (None, None, None, "yes"), "−∞"),
        ((None, 0.5), (None, None, None, "open"), "–"),
        ((0.0, 1.0), (None, None, None, "no"), "±∞"),
        ((0.5, None), (None, 0.1, None, "open"), "∞ [0.100, ∞]"),
        ((0.5, None), (-0.25, None, 3.0, "open"), "−0.250 [−∞, 3.000]"),
        ((0.5, None), (2e-7, 1e-7, 3e-7, "no"), "2.0e−7 [1.0e−7, 3.0e−7]"),
        ((0.5, None), (12.0, 12.0, 12.0, "yes"), "12.0"),
    ],
)
def test_intervals_in_words(effect, estimate, says):
    assert study.interval(world_estimate(*estimate), effect_record(*effect)) == says


def test_a_strip_puts_estimates_where_they_are():
    (effect,) = study.effects(finding("conditional"), finding("conditional").predictions["conditional"].effects, "en")[
        :1
    ]
    strip = effect["strip"]
    (edge,) = strip.edges
    assert strip.band == (edge, study.WIDTH)
    assert all(edge < low < value < high < study.WIDTH for low, high, value, _ in strip.lines)
    assert {colour for *_, colour in strip.lines} == {study.INSIDE}


def test_a_scale_over_many_decades_is_logarithmic():
    effect = effect_record(None, 1e-6, world_estimate(1e-2, 0.0, 2e-2, "no"))
    strip = study.strip(effect, study._scale([effect]))
    (low, high, value, _) = strip.lines[0]
    assert low == 0.0
    assert strip.edges[0] < study.WIDTH / 2 < value < high


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_smoke_run_says_so_loudly(language):
    notice = words(language)["notice"]
    assert notice in draw(finding("held", quick=True), language).text
    assert notice not in draw(finding("held"), language).text


def test_hostile_text_stays_text():
    found = finding("held", "undecided", supports=["reweights"], say=HOSTILE)
    page = draw(found)
    assert "img" not in page.tags
    assert page.text.count("alert(1)") > 10
    assert page.text.count("{{7*7}}") > 10
    assert " 49" not in page.text


def test_texts_full_of_numbers_are_read_line_by_line():
    text = "At G = 8: .5 [.4, .6] / 1.2. Speed against Dr. GRPO: 2. It was 1e-6.  Then 3."
    assert study.sentences_of(text) == [
        "At G = 8: .5 [.4, .6] / 1.2.", "Speed against Dr. GRPO: 2.", "It was 1e-6.", "Then 3."
    ]  # fmt: skip
    assert study.sentences_of("甲为 .5。乙为 1.2。") == ["甲为 .5。", "乙为 1.2。"]


# --- figures


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1, 1e6, [1, 10, 100, 1000, 1e4, 1e5, 1e6]),
        (1e-12, 1, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
        (8, 512, [10, 20, 50, 100, 200, 500]),
    ],
)
def test_ticks_of_a_log_axis(low, high, ticks):
    assert plots._log_ticks(low, high) == pytest.approx(ticks)


def names(**series):
    return plots.Names("title", "caption", "x axis", "y axis", series)


def plot(rows, log_x, log_y, lines):
    return PlotRecord(title="curve", rows=rows, log_x=log_x, log_y=log_y, lines=lines)


def drawn_rows(figure):
    return [r for chart in figure.charts for data in chart.spec["datasets"].values() for r in data]


def test_a_plot_has_a_panel_each_and_every_row():
    figure = plots.figure(plot(rows(), True, False, True), names(one="eins"))
    assert [chart.title for chart in figure.charts] == ["left", "right"]
    assert [key.look.label for key in figure.legend] == ["eins", "two"]
    marks = [layer["mark"]["type"] for layer in figure.charts[0].spec["layer"]]
    assert marks == ["area", "line", "point"]
    assert {(r["x"], r["y"], r["series"]) for r in drawn_rows(figure)} >= {(5, 0.5, "eins"), (1, 0.05, "two")}
    for chart in figure.charts:
        assert vl_convert.vegalite_to_vega(chart.spec)["marks"]


def test_points_without_lines_have_their_intervals_as_strokes():
    figure = plots.figure(plot(rows(), False, True, False), names())
    assert [layer["mark"]["type"] for layer in figure.charts[0].spec["layer"]] == ["rule", "point"]


def test_what_has_no_place_on_a_log_axis_is_left_out_and_told():
    given = [{"x": x, "y": y, "series": "a"} for x, y in ((0, 1.0), (1, 0.0), (1, 2.0), (2, None), (3, float("nan")))]
    figure = plots.figure(plot(given, True, True, True), names())
    assert "2 points" in figure.caption
    assert {(r["x"], r["y"]) for r in drawn_rows(figure)} == {(1, 2.0)}
    empty = plots.figure(plot(given[:1], True, False, True), names(), "zh")
    assert not empty.charts
    assert "没有可画的数据" in empty.caption


def test_many_series_are_told_apart():
    given = [{"x": x, "y": x * s, "series": s} for s in range(12) for x in (1, 2)]
    figure = plots.figure(plot(given, False, False, True), names())
    looks = [(k.look.color, k.look.dash, k.look.shape) for k in figure.legend]
    assert len(set(looks)) == 12


# --- the mission page


@pytest.fixture
def root(tmp_path) -> Path:
    found = {
        "lima": finding("held", supports=["form-only"]),
        "relay": finding(*STATES, supports=["reweights"], against=["composes"]),
    }
    write_studies(tmp_path, found)
    return tmp_path


def test_pages_link_to_each_other_and_nothing_else_is_fetched(root):
    paths = pages.build_studies(root)
    assert set(paths) == {"answer", "lima", "relay"}
    read = {path.name: Reader(path.read_text(encoding="utf-8")) for path in paths.values()}
    for name, page in read.items():
        for link in page.links:
            if link.startswith(("https://arxiv.org/abs/", "data:")):
                continue
            file, _, anchor = link.partition("#")
            assert not anchor or anchor in read[file or name].ids, link
    assert {"lima.html", "relay.html"} <= set(read["answer.html"].links)
    assert "forecast.html" not in read["answer.html"].links
    assert len(list(root.glob("*.html"))) == 3


def test_the_page_gives_each_sentence_its_boxes_and_what_would_change_our_mind(root):
    page = Reader(pages.build_studies(root)["answer"].read_text(encoding="utf-8"))
    for sentence in mission.sentences().values():
        assert page.text.count(sentence.text.en) == 2  # overview, and its own part
        assert sentence.text.zh in page.text
        assert sentence.change.en in page.text
        assert all(row.what.en in page.text for row in sentence.published)
    assert page.text.count("True when No evidence.") == 11
    assert page.text.count("Its experiment has not been run yet.") == 10
    assert page.text.count("No experiment for this sentence has been written yet.") == 1


def sentence_boxes(boundary, language="en"):
    return pages.boxes(mission.sentences()["no-invention"].claim, boundary, language)


def no_invention(*runs):
    return judge_claim(CLAIMS["no-invention"], runs)


def arms(threshold, world, warm=0.5, control=True):
    return ClaimRun([ClaimUnit(x, x >= threshold, control) for x in (0.0, 3e-4, 1e-3, 3e-3)], warm, world)


@pytest.mark.parametrize("language", LANGUAGES)
def test_boxes_say_where_with_counts_and_what_was_confirmed(language):
    lines = sentence_boxes(no_invention(arms(1e-3, 0), arms(1e-3, 1), arms(1e-3, 100)), language)
    for box, edge, counts in (("true", "0.03%", ("4", "0", "2")), ("false", "0.1%", ("4", "4", "2"))):
        assert edge in lines[box][0]
        assert all(count in lines[box][1] for count in counts)
        assert words(language)["one_run"] in lines[box][2]
    assert "0.03%" in lines["unknown"][0]
    assert "0.1%" in lines["unknown"][0]


def test_the_course_is_drawn_in_its_place():
    claim = mission.sentences()["no-invention"].claim
    chart = boundary_chart(claim, no_invention(arms(1e-3, 0), arms(1e-3, 100)), "en")
    axis = Axis([3e-4, 3e-3])
    assert chart["band"] == (axis.place(3e-4), axis.place(1e-3))
    assert [text for _, text in chart["ticks"]] == ["0", "0.01%", "0.1%", "1%"]
    marks = [mark for mark in chart["marks"] if mark["kind"] == "rl"]
    assert [mark["fresh"] for mark in marks] == [False] * 4 + [True] * 4
    bottom, top = TOP + HEIGHT, TOP
    assert [mark["y"] for mark in marks] == [bottom, bottom, top, top] * 2
    assert boundary_chart(claim, no_invention(arms(1e-3, 0, warm=0.0)), "en") is None


def test_what_gives_no_evidence_is_told_in_words():
    assert sentence_boxes(no_invention(arms(1e-3, 0, warm=0.0)))["true"] == []
    assert "did not work" in sentence_boxes(no_invention(arms(1e-3, 0, warm=0.0)))["unknown"][0]
    assert any("no positive control" in line for line in
               sentence_boxes(no_invention(arms(1e-3, 0, control=None)))["unknown"])  # fmt: skip
    assert "beyond the range tried, 0 to 0.3%" in sentence_boxes(no_invention(arms(1.0, 0)))["unknown"][0]
    turned = sentence_boxes(no_invention(reverse(arms(1e-3, 0))))
    assert (turned["true"], turned["false"]) == ([], [])
    assert "does not follow" in turned["unknown"][0]
    assert "Not yet confirmed" in sentence_boxes(no_invention(arms(1e-3, 0)))["false"][2]
    assert "One world only" in sentence_boxes(no_invention(arms(1e-3, 0)))["unknown"][-1]


@pytest.mark.parametrize(
    ("x", "unit", "shown"),
    [(0.0, "count", "0"), (1440.0, "count", "1,400"), (0.014, "count", "0.014"), (38_400.0, "count", "38,000"),
     (3.1e-7, "probability", "1 in 3,200,000"), (0.5, "probability", "0.5"), (0.003, "share", "0.3%"),
     (0.0004, "share", "0.04%"), (3e-5, "count", "3.0e−5"), (9.0, "count", "9")],
)  # fmt: skip
def test_quantities_are_written_for_readers(x, unit, shown):
    assert pages.value_in_words(x, unit, "en") == shown


def test_same_records_same_bytes(root):
    first = {name: path.read_bytes() for name, path in pages.build_studies(root).items()}
    assert {name: path.read_bytes() for name, path in pages.build_studies(root).items()} == first


def test_the_chinese_pages_have_no_english_words_left(root):
    english = {value for key, value in words("en").items() if len(value) > 3 and key != "language"}
    beside = [sentence.text.en for sentence in mission.sentences().values()]  # the English stands beside the Chinese
    for path in pages.build_studies(root, "zh").values():
        page = Reader(path.read_text(encoding="utf-8"))
        assert path.name.endswith(".zh.html")
        assert page.language == "zh-Hans"
        plain = page.text
        for sentence in beside:
            plain = plain.replace(sentence, "")
        plain = re.sub(r"arXiv:[\d.]+|goldpanner( [\w-]+)*|torch 2|\d+e-\d+", "", plain)
        names = "|".join(claims.NAMES)
        known = rf"pass@\w+|{names}|P|PPO|k|SFT|LIMA|R1(-Zero)?|GRPO|softmax|relay|lima|forecast"
        left = [w for w in re.findall(r"[A-Za-z][\w@-]*", plain) if not re.fullmatch(known, w)]
        assert left == [], plain
        for phrase in english:
            assert not re.search(rf"\b{re.escape(phrase)}\b", plain), phrase


def test_fixed_words_are_there_in_both_languages_and_all_used():
    table = yaml.safe_load((files("goldpanner.report") / "ui_text.yaml").read_text(encoding="utf-8"))
    for key, entry in table.items():
        assert set(entry) == set(LANGUAGES), key
        assert sorted(re.findall(r"{\w+}", entry["en"])) == sorted(re.findall(r"{\w+}", entry["zh"])), key
    folder = Path(str(files("goldpanner.report"))).parent
    source = "".join(
        p.read_text(encoding="utf-8")
        for p in [*folder.rglob("*.py"), *folder.parent.glob("cli/*.py"), *folder.rglob("*.j2")]
    )
    indirect = (
        r"((predicted|box|side|count|way|model|answer|reach)_.*|one_run|runs|held|false|conditional|undecided|not_run"
        r"|yes|no|mixed|open)"
    )
    unused = [
        key for key in table if not re.fullmatch(indirect, key) and not re.search(rf'(word\.{key}\b|"{key}")', source)
    ]
    assert unused == []


def test_an_unknown_language_and_an_empty_folder_are_told(tmp_path):
    with pytest.raises(InputError, match="en or zh"):
        pages.build_studies(tmp_path, "fr")
    with pytest.raises(InputError, match="study all"):
        pages.build_studies(tmp_path)


def test_a_page_without_plots_or_published_figures(tmp_path):
    found = finding("held", plots=[Plot("curve", [])])
    found = found.model_copy(update={"text": found.text.model_copy(update={"published": ()})})
    page = draw(found)
    assert "There is nothing to draw" in page.text
    assert "No published figure" in page.text
    assert not page.charts


def test_the_studies_page_lists_every_study():
    """Write the table anew with: python -c "from goldpanner.studies import mission; print(mission.table())"."""
    page = (Path(__file__).parent.parent / "docs" / "studies.md").read_text(encoding="utf-8")
    table = page.split("<!-- table: goldpanner.studies.mission.table -->\n")[1].split("<!-- end of table -->")[0]
    assert table == mission.table()
    assert all(f"`{name}`" in table for name in claims.NAMES)

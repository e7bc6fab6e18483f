"""The first screen of the answer: what is claimed, one figure, one problem's story. All of it from records."""

import math
from collections.abc import Mapping, Sequence

from goldpanner.report.page import Part
from goldpanner.report.pages import study
from goldpanner.report.ui_text import words
from goldpanner.store.argument import AnswerRecord, BoundaryRecord, MissionRecord, Notation

LEFT, TOP, SIZE, LEAST = 58, 14, 340, -14
"""Pixels of the figure; its axes go from 1e-14 to 1."""
WAYS = ("base", "rl", "manner", "teacher", "examples-64")


def short_answer(mission: MissionRecord, language: str) -> str:
    """Return the answer in at most 120 words, as far as its sentences have evidence on both sides."""
    word = words(language)
    sure = {s.id: s.boundary for s in mission.sentences if s.boundary is not None and len(s.boundary.known) == 2}
    assert mission.answer is not None
    absent = mission.answer.absent
    created = min(absent["examples-64"]) >= 0.5 and max(absent["rl"]) < 1e-6
    start = word["answer_no" if created and "reweights" in sure else "answer_open"]
    lines = [
        start.format(
            worlds=word["one_world_so_far" if len(absent["rl"]) == 1 else "worlds_so_far"].format(n=len(absent["rl"]))
        )
    ]
    for name in ("reweights", "composes"):
        if name in sure:
            lines.append(
                word[f"answer_{name}"].format(
                    **_sides(sure[name], "share" if name == "composes" else "count", language)
                )
            )
    lines.append(
        word["answer_created" if created else "answer_absent"].format(
            rollouts=f"{mission.answer.rollouts:,}",
            rl=_rare(max(absent["rl"]), language),
            examples=_percent(min(absent["examples-64"])),
            teacher=_percent(min(absent["teacher"])),
            manner=_rare(max(absent["manner"]), language),
        )
    )
    return ("" if language == "zh" else " ").join(lines)


def _sides(boundary: BoundaryRecord, notation: Notation, language: str) -> dict[str, str]:
    below, above = boundary.box("exploration", "below"), boundary.box("exploration", "above")
    assert boundary.low is not None
    assert boundary.high is not None
    return {
        "low": value_in_words(boundary.low, notation, language),
        "high": value_in_words(boundary.high, notation, language),
        "below": f"{below.outcomes:,}", "below_all": f"{below.units:,}",
        "above": f"{above.outcomes:,}", "above_all": f"{above.units:,}",
    }  # fmt: skip


def answer_part(mission: MissionRecord, language: str) -> Part:
    """Return the figure, the story, and what each way of teaching made of the absent relation."""
    word, answer = words(language), mission.answer
    assert answer is not None
    names = ("base", "rl", "control")
    story = [(word[f"model_{name}"], *(_percent(p) for p in answer.story.p[name])) for name in names]
    worlds = len(answer.absent["base"])
    values = {
        "word": word,
        "dots": list(_dots(answer)),
        "marks": list(_marks(answer)),
        "ticks": [(_place(10.0**t), f"1e{t}".replace("e-", "e−") if t else "1") for t in range(LEAST, 1, 2)],
        "size": SIZE, "left": LEFT, "top": TOP,
        "found": round(LEFT + _place(1 / answer.rollouts), 1),
        "found_text": word["figure_found"].format(n=f"{answer.rollouts:,}"),
        "story": story,
        "question": answer.story.prompt, "right": answer.story.right, "mistaken": answer.story.mistaken,
        "absent": [
            (word[f"way_{way}"].format(n=f"{answer.rollouts:,}"),
             [_percent(p) if p >= 0.01 else study.number(p) for p in answer.absent[way]])
            for way in WAYS
        ],
        "absent_how": word["absent_how"].format(worlds=worlds) + _not_taken(mission, language),
        "reach": [
            (word[f"reach_{row.spectrum}"], row.k, _plain(row.base), _plain(row.rl)) for row in answer.reach
        ],
        "why": _why(answer.story.p["base"][0], language),
        "other": study.file_name("answer", "en" if language == "zh" else "zh"),
    }  # fmt: skip
    return Part("parts/answer.html.j2", values)


def _plain(values: Sequence[float]) -> str:
    """Return shares world by world: .19, .21."""
    return ", ".join(f"{value:.2f}".removeprefix("0") for value in values)


def _why(p: float, language: str, size: int = 16) -> list[str]:
    """Return why a group without a right answer teaches nothing, with the figures of the story's question.

    Advantage of GRPO: (reward - mean) / standard deviation over the group (arXiv:2402.03300).
    """
    word, mean = words(language), 1 / size
    spread = math.sqrt(mean * (1 - mean))
    return [
        word["why_group"].format(p=value_in_words(p, "probability", language), wrong=f"{100 * (1 - p) ** size:.2f}%"),
        word["why_wrong"],
        word["why_one"].format(best=f"+{(1 - mean) / spread:.2f}", rest=f"−{mean / spread:.2f}"),
        word["why_examples"],
    ]


def _not_taken(mission: MissionRecord, language: str) -> str:
    """Return in how many worlds RL on one relation did not take, nothing where it took everywhere."""
    boundary = next((s.boundary for s in mission.sentences if s.id == "no-invention"), None)
    idle = [run for run in boundary.runs if not run.took] if boundary is not None else []
    if boundary is None or not idle:
        return ""
    worlds = words(language)["comma"].join(str(run.world) for run in idle)
    return words(language)["absent_idle"].format(n=len(idle), all=len(boundary.runs), worlds=worlds)


def _place(p: float) -> float:
    """Return the pixels from the axis' start to P; what is off the axis lies at its end."""
    return round((max(math.log10(max(p, 1e-300)), LEAST) - LEAST) / -LEAST * SIZE, 1)


def _dots(answer: AnswerRecord) -> list[Mapping[str, float]]:
    return [_xy(point.before, after) | {"control": float(after == point.control)}
            for point in answer.points if point.exposure is None for after in (point.control, point.rl)]  # fmt: skip


def _marks(answer: AnswerRecord) -> list[Mapping[str, object]]:
    """Return the relations trained alone: large marks, with their share of the documents."""
    return [
        {**(at := _xy(point.before, after)), "control": way == "control", "label": f"{100 * point.exposure:g}%",
         "over": at["y"] - 9 if at["y"] > TOP + 24 else at["y"] + 18}
        for point in answer.points if point.exposure is not None
        for way, after in (("control", point.control), ("rl", point.rl))
    ]  # fmt: skip


def _xy(before: float, after: float) -> dict[str, float]:
    return {"x": round(LEFT + _place(before), 1), "y": round(TOP + SIZE - _place(after), 1)}


def _rare(p: float, language: str) -> str:
    """Return a small probability in words."""
    return words(language)["below_billion"] if p < 1e-9 else value_in_words(p, "probability", language)


def _percent(p: float) -> str:
    """Return a probability as a percentage that a reader can compare: 0.004%, 12%, 99%."""
    return f"{100 * p:.0f}%" if 0.01 <= p <= 0.99 else f"{100 * p:.1f}%" if p > 0.99 else f"{100 * p:.2g}%"


def value_in_words(x: float, unit: Notation, language: str) -> str:
    """Return a value of a boundary variable as a reader wants it: 1,440; 1 in 3,000,000; 0.3%."""
    if x == 0:
        return "0"
    if unit == "share":
        return f"{_digits(100 * x)}%"
    if unit == "probability" and x < 0.1:
        return words(language)["one_in"].format(n=_digits(1 / x))
    return _digits(x)


def _digits(x: float) -> str:
    """Return a number with two significant digits, with commas and without an exponent below 1e12."""
    if x >= 1e12 or x < 1e-3:
        return study.number(x)
    if x >= 10:
        size = 10 ** (len(str(int(x))) - 2)
        return f"{round(x / size) * size:,}"
    return f"{x:.2g}"

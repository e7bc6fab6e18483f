"""A study whose numbers are given, so that its record, its page and the mission's verdict are known beforehand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from goldpanner.store import Store
from goldpanner.store.argument import MissionRecord
from goldpanner.store.findings import FindingRecord, StudyText
from goldpanner.studies import mission
from goldpanner.studies.boundary import ClaimRun
from goldpanner.studies.decide import Effect
from goldpanner.studies.study import Finding, Plot, Study, judge_results
from goldpanner.types import Estimate

HOSTILE = "<script>alert(1)</script> {{7*7}} </script><!-- <img src=x onerror=alert(2)> ' \" &"
INSIDE, OUTSIDE, CROSSING, ENDLESS = (0.7, 0.6, 0.8), (0.2, 0.1, 0.3), (0.52, 0.4, 0.64), (float("inf"),) * 3
"""Estimates (value, low, high) for the prediction `at least .5`."""
STATES: Mapping[str, Sequence[Sequence[Any]]] = {
    "held": [[INSIDE] * 3, [INSIDE, INSIDE, ENDLESS]],
    "false": [[OUTSIDE] * 3, [OUTSIDE] * 3],
    "conditional": [[INSIDE] * 3, [OUTSIDE] * 3],
    "undecided": [[INSIDE] * 3, [INSIDE, CROSSING, INSIDE]],
    "mixed": [[INSIDE, OUTSIDE, INSIDE], [INSIDE] * 3],
    "undefined": [[None] * 3, [INSIDE] * 3],
}
"""Prediction -> estimates by condition and world; `mixed` comes out conditional, `undefined` undecided."""


class Told(Study):
    """A study with its words given instead of read."""

    words: StudyText

    @property
    def text(self) -> StudyText:
        return self.words


def estimate(numbers: Sequence[float] | None) -> Estimate:
    return Estimate.undefined("nothing to measure") if numbers is None else Estimate(*numbers, 0.95, "given")


def text(
    predictions: Sequence[str], supports: Sequence[str] = (), against: Sequence[str] = (), say: str = ""
) -> StudyText:
    """Return words in two languages; `say` is put into every one of them."""

    def both(en: str, zh: str) -> dict[str, str]:
        return {"en": f"{en} {say}".strip(), "zh": f"{zh} {say}".strip()}

    found = {
        language: told.replace("{", "{{").replace("}", "}}")
        for language, told in both("The value is fifty.", "数值是五十。").items()
    }
    return StudyText.model_validate(
        {
            "title": both("A study", "一项研究"),
            "question": both("What is asked?", "问什么？"),
            "method": both("How it is done.", "如何去做。"),
            "predictions": {
                name: {"text": both(f"At least {name}.", "至少如此。"), "supports": supports, "against": against}
                for name in predictions
            },
            "conditions": {"first": both("the first way", "第一种方式"), "second": both("the second way", "第二种")},
            "found": found,
            "plots": {"curve": both("A curve\nHow to read it.", "一条曲线\n如何来读。")},
            "axes": {"curve": [both("steps", "步"), both("probability", "概率")]},
            "series": {name: both(f"{name} series", "线") for name in ("one", "two")}
            | {name: both(f"{name} panel", "格") for name in ("left", "right")},
            "published": [{"what": both("They found it too.", "他们也发现了。"), "source": "arXiv:2504.13837"}],
        }
    )


def rows() -> list[dict[str, Any]]:
    """Return points of two series in two panels and two worlds, with bands."""
    return [
        {"x": x, "y": y, "low": y / 2, "high": 1.5 * y, "series": series, "panel": panel, "world": world}
        for panel in ("left", "right")
        for series in ("one", "two")
        for world in (0, 1)
        for x, y in ((1, 0.1 / (world + 1)), (2, 0.2), (5, 0.5))
    ]


def finding(
    *predictions: str, quick: bool = False, plots: Sequence[Plot] | None = None, name: str = "made-up", **words: Any
) -> FindingRecord:
    """Return the record of a study with predictions named after their `STATES`; `words` as for `text`."""
    effects = {
        prediction: [
            Effect(condition, [estimate(e) for e in estimates], low=0.5)
            for condition, estimates in zip(("first", "second"), STATES[prediction])
        ]
        for prediction in predictions
    }
    drawn = [Plot("curve", rows(), log_x=True)] if plots is None else plots
    study = Told(name, lambda lab: {}, lambda results: Finding(effects, plots=drawn))
    object.__setattr__(study, "words", text(predictions, **words))
    more = {
        "worlds": [0, 1, 2],
        "seconds": {"0": 12.0, "1": 14.5, "2": 13.0},
        "quick": quick,
        "versions": {"torch": "2"},
    }
    return FindingRecord(**dict(judge_results(study, [{}, {}, {}])), id=name, rule="", **more)


def write_studies(root: Path, findings: Mapping[str, FindingRecord]) -> MissionRecord:
    """Keep findings and the mission's record in `root`; return the latter."""
    store = Store(root / "store")
    for name, found in findings.items():
        store.put(found.model_copy(update={"id": name}))
    judged = mission.judge_sentences({}, findings, "goldpanner study all")
    store.put(judged)
    return judged


def logp(p, n=4):
    return [math.log(p)] * n


def created(seed, rl=True):
    """A world in which RL finds what its budget can find, and examples teach everything."""
    exposures = {"klingon": 1e-22, "exposure-0%": 1e-11, "exposure-0.03%": 1e-8, "exposure-0.2%": 1e-3,
                 "exposure-1%": 0.4}  # fmt: skip
    alone = {
        name: {"base": logp(p), "rl": logp(0.99 if p * 38_400 > 1 else p), "control": logp(0.99),
               "hits": 30_000 if p * 38_400 > 1 else 0}
        for name, p in exposures.items()
    }  # fmt: skip
    spectrum = [1e-9, 1e-7, 1e-5, 1e-2, 0.3, 0.6]
    after = [0.95 if p > 1e-3 else p for p in spectrum]
    shared = {"base": np.log(spectrum).tolist(), "rl": np.log(after).tolist(), "control": logp(0.95, 6),
              "weakest": np.log(spectrum).tolist()}  # fmt: skip
    return {
        "seed": seed, "rollouts": {"shared": 61_440, "fact": 1_440, "alone": 38_400}, "examples_a_statement": 8.0,
        "shared": {"gap": shared, "no-gap": shared}, "alone": alone,
        "absent": {"examples-8": logp(0.1), "examples-64": logp(0.99), "teacher": logp(0.6), "manner": logp(1e-10)},
        "story": {},
    }  # fmt: skip


def reverse(run: ClaimRun) -> ClaimRun:
    """Return the run with every outcome turned into its contrary."""
    return replace(run, units=[replace(unit, outcome=not unit.outcome) for unit in run.units])

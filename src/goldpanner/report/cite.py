"""A methods paragraph and BibTeX of a result: what `--json` printed, or a run's folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from goldpanner.errors import InputError
from goldpanner.store.find import is_store, open_store
from goldpanner.store.schema import ParamsRecord
from goldpanner.store.studies import STUDY, StudyRecord

SOURCES = {
    "goldpanner": """@software{goldpanner,
  title = {goldpanner: what reinforcement learning with verifiable rewards does to a language model},
  author = {{The goldpanner developers}},
  version = {VERSION}
}""",
    "chen2021codex": """@article{chen2021codex,
  title = {Evaluating Large Language Models Trained on Code},
  author = {Chen, Mark and others},
  journal = {arXiv preprint arXiv:2107.03374},
  year = {2021}
}""",
    "clopper1934fiducial": """@article{clopper1934fiducial,
  title = {The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial},
  author = {Clopper, C. J. and Pearson, E. S.},
  journal = {Biometrika},
  volume = {26},
  number = {4},
  pages = {404--413},
  year = {1934}
}""",
    "benjamini1995fdr": """@article{benjamini1995fdr,
  title = {Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing},
  author = {Benjamini, Yoav and Hochberg, Yosef},
  journal = {Journal of the Royal Statistical Society: Series B},
  volume = {57},
  number = {1},
  pages = {289--300},
  year = {1995}
}""",
    "shao2024deepseekmath": """@article{shao2024deepseekmath,
  title = {DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models},
  author = {Shao, Zhihong and others},
  journal = {arXiv preprint arXiv:2402.03300},
  year = {2024}
}""",
}
"""Key -> entry."""

BANDS = (
    "pass@k is the unbiased estimate [@chen2021codex]; bands hold for the whole curve at once (studentised bootstrap "
    "over problems), and unjudged samples widen every interval."
)


@dataclass(frozen=True)
class Citation:
    """What a paper can say of a result."""

    paragraph: str
    """Methods and numbers; `[@key]` stands for a citation."""
    keys: tuple[str, ...]
    """Works that the paragraph cites."""
    version: str
    """Of goldpanner, which made the result."""

    @property
    def bibtex(self) -> str:
        """The entries of the works."""
        return "\n\n".join(SOURCES[key] for key in self.keys).replace("VERSION", self.version)

    def __str__(self) -> str:
        return f"{self.paragraph}\n\n{self.bibtex}"


def cite(path: Path | str) -> Citation:
    """Return the methods paragraph and the citations of a result.

    Args:
        path: a file with what `measure`, `compare` or `plan` printed with `--json`, or the folder of a run.

    Raises:
        InputError: the file is none of these, or the run has no verdict yet.
    """
    path = Path(path)
    if path.is_dir():
        return _of_run(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        _, kind, _ = values["schema"].split("/")
        return _WRITERS[kind](values)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give what --json printed, or a run") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} is no result that can be cited; give what {', '.join(_WRITERS)} printed with --json, or a run"
        ) from None


Values = Mapping[str, object]


def _of_measure(values: Values) -> Citation:
    ends = [f"pass@{k} was {_interval(e)}" for k, e in _ends(cast("Mapping[str, Values]", values["pass_at_k"])) if e]
    refused = f" They say nothing about support: {values['support_refused']}." if values["support_refused"] else ""
    text = (
        f"We measured {_samples(cast('Values', values['source']))}. {'; '.join(ends)} ({_level(values)} bands). "
        f"{BANDS} P(correct) of a problem has its exact interval [@clopper1934fiducial].{refused}"
    )
    return _citation(values, text, "chen2021codex", "clopper1934fiducial")


def _of_compare(values: Values) -> Citation:
    base, rl = (_samples(cast("Mapping[str, Values]", values["sources"])[name]) for name in ("base", "rl"))
    fdr = f"{cast('float', values['fdr']):.0%}"
    text = (
        f"We compared {base} with {rl}, paired by problem. {BANDS} Problems that rose or fell are those of exact tests "
        f"at a false discovery rate of {fdr} [@benjamini1995fdr]. {values['summary']}"
    )
    return _citation(values, text, "chen2021codex", "benjamini1995fdr")


def _of_series(values: Values) -> Citation:
    sources = dict(cast("Mapping[str, Sequence[Values]]", values["sources"]))
    base, *models = (" and ".join(map(_samples, seeds)) for seeds in sources.values())
    text = (
        f"We compared {base} with {'; with '.join(models)}, paired by problem; intervals of the differences hold for "
        f"all models together at {_level(values)}. {BANDS} Problems that rose or fell are those of exact tests, with "
        f"the false discovery rate controlled [@benjamini1995fdr]. {' '.join(str(values['summary']).split())}"
    )
    return _citation(values, text, "chen2021codex", "benjamini1995fdr")


def _of_plan(values: Values) -> Citation:
    classes = ", ".join(f"{n} {name}" for name, n in cast("Mapping[str, int]", values["assigned"]).items())
    text = (
        f"The group size ({values['recommended_G']}) and the problems were chosen by a pilot: "
        f"{_samples(cast('Values', values['source']))}. Problems: {classes}."
    )
    return _citation(values, text)


def _of_run(folder: Path) -> Citation:
    if not is_store(folder) and not is_store(folder / "store"):
        raise InputError(f"{folder} is no run: it has no store; give the folder of a run, or what --json printed")
    store = open_store(folder)
    record = store.get(StudyRecord, STUDY)
    if record is None or record.verdict is None:
        raise InputError(f"the run in {folder} has no verdict yet; run it to its end, the same command goes on")
    params = store.get(ParamsRecord, record.params)
    how = "" if params is None else f", sampled with {_settings(params.stated)}"
    arms = "; ".join(f"{base} to {rl}" for base, rl in record.arms)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items() if name != "goldpanner")
    text = (
        f"Models {', '.join(record.stages)} (RL: {arms}; trained on {', '.join(record.tasks_trained)}, groups of "
        f"{record.group_size} [@shao2024deepseekmath], seed {record.seed}) were measured on "
        f"{', '.join(record.tasks_measured)}{how}, judged by {', '.join(sorted(record.verifiers.values()))}. {BANDS} "
        f"{record.verdict.headline} Versions: {versions}. Command: {record.command}."
    )
    version = record.versions.get("goldpanner", "unknown")
    return _citation({"goldpanner": version}, text, "shao2024deepseekmath", "chen2021codex")


_WRITERS = {"measure": _of_measure, "compare": _of_compare, "compare-several": _of_series, "plan": _of_plan}


def _citation(values: Values, text: str, *keys: str) -> Citation:
    version = str(values["goldpanner"])
    return Citation(f"{text} Computed with goldpanner {version} [@goldpanner].", ("goldpanner", *keys), version)


def _samples(source: Values) -> str:
    """Return what is known of a model's samples in words."""
    low, high = cast("Sequence[int]", source["samples_of_a_problem"])
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    settings = _settings(cast("Values", source["params"]))
    verifiers = ", ".join(cast("Sequence[str]", source["verifiers"]))
    unjudged = cast("int", source["unjudged"])
    parts = [
        f"{cast('int', source['problems']):,} problems",
        f"{each} samples each",
        settings or "sampling parameters not recorded",
        f"judged by {verifiers}" if verifiers else "",
        f"{unjudged:,} samples unjudged" if unjudged else "",
        *(f"server fault: {fault}" for fault in cast("Sequence[str]", source["server_faults"])),
    ]
    return f"{source['name']} ({', '.join(filter(None, parts))})"


def _settings(params: Mapping[str, object]) -> str:
    """Return sampling parameters in words; those that are unset, and the bare prompt, are left out."""
    names = {"temperature": "T", "top_p": "top-p", "top_k": "top-k"}
    parts = []
    for name, value in params.items():
        if name == "max_tokens":
            parts.append(f"at most {value} tokens")
        elif value not in (None, (), [], "{prompt}"):
            shown = value if isinstance(value, int | float) else repr(value)
            parts.append(f"{names.get(name, name)} = {shown}")
    return ", ".join(parts)


def _ends(curve: Mapping[str, Values]) -> list[tuple[str, Values]]:
    defined = [(k, e) for k, e in curve.items() if e["low"] is not None]
    return defined[:1] + defined[1:][-1:]


def _interval(estimate: Values) -> str:
    value, low, high = (cast("float | None", estimate[end]) for end in ("value", "low", "high"))
    return f"{'–' if value is None else f'{value:.3f}'} [{low:.3f}, {high:.3f}]"


def _level(values: Values) -> str:
    return f"{cast('float', values['level']):.0%}"

"""From a run's folder to its page and its picture."""

from collections.abc import Sequence
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.report.chart_style import save
from goldpanner.report.gather import gather
from goldpanner.report.page import render
from goldpanner.report.pages import run_model, run_progress, run_sections
from goldpanner.report.pages.run_explorer import explorer


def build(root: Path, *, title: str | None = None) -> Path:
    """Draw the page of a run and return its path.

    It is one file: no network, no other files. It holds no numbers of its own: the same run gives the same bytes. Parts
    of a run that are missing leave their section out.

    Args:
        root: folder of the run; the page is `report.html` there.
        title: title of the page; None: the run's own.

    Raises:
        InputError: there is no finished stage.
    """
    run = gather(root)
    parts = [
        run_sections.verdict(run),
        run_sections.key_figures(run),
        run_model.form(run),
        run_model.plan_section(run),
        run_sections.pass_at_k_section(run),
        run_sections.spectrum_section(run),
        run_progress.training_section(run),
        run_sections.agreement_section(run),
        explorer(run),
        run_sections.provenance(run),
    ]
    name = title or (f"Report on {root.resolve().name}" if run.study is None else run.study.title)
    page = render([part for part in parts if part is not None], name)
    path = root / "report.html"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def picture(root: Path, path: Path, tasks: Sequence[str] | None = None) -> Path:
    """Save a static picture of the run in `root` as PNG or SVG: pass@k before and after RL, and the map of groups.

    One row an arm: its curves on `tasks` (by default the first two that were sampled), then the groups of its RL steps.
    Raises InputError for another ending of `path`, and where the run has no arms or did not sample a task.
    """
    run = gather(root, responses=0)
    chosen = run.measured[:2] if tasks is None else list(tasks)
    if unknown := [task for task in chosen if task not in run.measured]:
        raise InputError(f"picture: task {unknown[0]!r} was not sampled; there are {', '.join(run.measured)}")
    if not run.arms:
        raise InputError(f"picture: the run in {str(root)!r} has no model before and after RL to compare")
    panels = []
    for before, after in run.arms:
        curves = [run_sections.curve_panel(run, (before, after), task, run.looks, names=True) for task in chosen]
        panels += [*curves, run_progress.group_panel(run, after, height=190)]
    return save([panel for panel in panels if panel is not None], path, columns=len(chosen) + 1)

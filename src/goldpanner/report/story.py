"""From a run's folder to its page and its picture."""

from pathlib import Path

from goldpanner.report import progress, sections
from goldpanner.report.canvas import save
from goldpanner.report.explorer import explorer
from goldpanner.report.gather import Run, gather
from goldpanner.report.page import render


def build(root: Path, *, title: str | None = None) -> Path:
    """Draw `report.html` in `root` from the run that lies there, and return its path.

    The page is one file: no network, no other files. It holds no numbers of its own: the same run gives the same bytes.
    Parts of a run that are missing leave their section out. Raises InputError where there is no finished stage.
    """
    run = gather(root)
    parts = [
        sections.verdict(run),
        sections.key_figures(run),
        sections.pass_at_k(run),
        sections.spectrum(run),
        progress.training(run),
        sections.agreement(run),
        explorer(run),
        sections.provenance(run),
    ]
    name = title or str(run.study.get("title") or f"Report on {root.resolve().name}")
    page = render([part for part in parts if part is not None], name, lead=str(run.study.get("claim", "")))
    path = root / "report.html"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def picture(root: Path, path: Path, tasks: int = 2) -> Path:
    """Save a static picture of the run in `root` as PNG or SVG: pass@k before and after RL, and the map of groups.

    One row an arm: its curves on the first `tasks` measured tasks, then the groups of its RL steps.
    """
    run: Run = gather(root, responses=0)
    chosen = [task for task in run.tasks if run.counts(run.stages[0], task) is not None][:tasks]
    panels = []
    for base, after in run.arms:
        for task in chosen:
            panels.append(sections.curve_panel(run, (base, after), task, run.looks, names=True))
        panels.append(progress.group_panel(run, after, height=190))
    found = [panel for panel in panels if panel is not None]
    return save(found, path, columns=len(chosen) + 1)

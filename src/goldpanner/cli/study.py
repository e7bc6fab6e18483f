"""`study`: the claims as experiments. `study list` works without torch; running one needs the `lab` extra."""

from pathlib import Path
from typing import Annotated

import typer

from goldpanner.cli.app import STUDIES, cli_command, command_line, flag, option, print_json
from goldpanner.cli.options import AsJson, OutOrNone
from goldpanner.errors import InputError, Interrupted, need_lab

FOLDER, QUICK_FOLDER = Path("runs") / "studies", Path("runs") / "studies-quick"


@cli_command("study", STUDIES)
def study_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names of studies; all: every study; list: print their names."),
    ],
    out: OutOrNone = None,
    quick: bool = flag("Do a short trial run, too small to decide a claim.", "--quick"),
    worlds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of worlds, with seeds 0 to N - 1; 3, or 2 with --quick.", min=1, max=99),
    ] = None,
    fresh: Annotated[
        int,
        typer.Option(metavar="N", help="Further worlds that confirm, with seeds 100 to 99 + N.", min=0, max=99),
    ] = 0,
    lang: str = option("Language of the pages: en or zh.", "LANG", default="en"),
    as_json: AsJson = False,
) -> None:
    """Test claims about RL by experiments.

    Each study has predictions that were written before the runs, and a page; one page tells for every sentence of the
    argument when it is true, when false and what is not known. The results go to runs/studies (with --quick to
    runs/studies-quick) unless --out names a folder.

    Example: goldpanner study sharpen-or-expand cold-start --worlds 3
    """
    from goldpanner.report.ui_text import words
    from goldpanner.studies import claims

    words(lang)  # a language that there is none of is told now, not after the runs
    folder = out or (QUICK_FOLDER if quick else FOLDER)
    if "list" in names:
        _list(folder, lang, as_json)
        return
    chosen = list(claims.NAMES) if "all" in names else list(dict.fromkeys(names))
    if unknown := [name for name in chosen if name not in claims.NAMES]:
        raise InputError(f"no study is called {unknown[0]!r}; there are {', '.join(claims.NAMES)}; or all, or list")
    need_lab()
    try:
        _conduct(chosen, folder, quick, worlds, fresh, lang, as_json)
    except KeyboardInterrupt:
        raise Interrupted(f"what was done is kept in {folder}; run the same command again to go on") from None


def _conduct(
    names: list[str], folder: Path, quick: bool, worlds: int | None, fresh: int, lang: str, as_json: bool
) -> None:
    from goldpanner.cli import display_study
    from goldpanner.report.pages import mission as pages
    from goldpanner.store import Store
    from goldpanner.studies import mission
    from goldpanner.studies.mission import outcome_json
    from goldpanner.studies.runner import conduct, result, study_scale

    scale = study_scale(quick, worlds, fresh)
    store = Store(folder / "store")
    done = [result(store, (name, world)) is not None for name in names for world in scale.worlds]
    with display_study.StudyBars(len(done), sum(done), quiet=as_json) as bars:
        records = conduct(names, folder, scale, bars.update)
    concluded = mission.conclude_mission(store, command_line())
    paths = pages.build_studies(folder, lang)
    if as_json:
        print_json("study", outcome_json(records, concluded, folder, paths))
    else:
        display_study.outcome(records, concluded, folder, paths, lang)


def _list(folder: Path, lang: str, as_json: bool) -> None:
    from goldpanner.cli import display_study
    from goldpanner.store import Store
    from goldpanner.store.findings import FindingRecord
    from goldpanner.studies.mission import study_lines

    findings = Store(folder / "store").records(FindingRecord) if (folder / "store").is_dir() else {}
    lines = study_lines(findings)
    if not as_json:
        display_study.print_studies(lines, folder, lang)
        return
    rows = [{"name": line.name, "title": line.title.of(lang), "worlds": line.worlds} for line in lines]
    print_json("study-list", {"folder": str(folder), "studies": rows})

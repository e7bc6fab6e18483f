"""`answer`: draw the answer's pages from the records of the studies; nothing is trained."""

from pathlib import Path

import typer

from goldpanner.cli.app import STUDIES, cli_command, flag, option, print_json
from goldpanner.cli.options import AsJson
from goldpanner.errors import need_lab


@cli_command("answer", STUDIES)
def answer_command(
    results: Path = option("Folder of results, one file a study and world.", "DIR", default=Path("results")),
    pages: Path = option("Folder of the pages.", "DIR", default=Path("docs/answer")),
    add: Path | None = option("Folder of studies whose results to copy into --results first.", "DIR"),
    studies: bool = flag("Also draw one page a study (about 1 MB each).", "--studies"),
    as_json: AsJson = False,
) -> None:
    """Draw the answer from stored results.

    One page, in English and in Chinese, tells for every sentence of the argument when it is true, when it is false
    and what is not known. Nothing is trained.

    Example: goldpanner answer --results results --pages docs/answer
    """
    need_lab()
    from goldpanner.report.pages.mission import write_pages
    from goldpanner.report.ui_text import LANGUAGES
    from goldpanner.store import Store
    from goldpanner.studies.results import conclude_results, keep_results, load_results

    if add is not None:
        keep_results(Store(add / "store"), results)
    mission, findings = conclude_results(load_results(results), "goldpanner answer")
    paths = {language: write_pages(pages, mission, findings if studies else {}, language) for language in LANGUAGES}
    if as_json:
        files = {language: {name: str(path) for name, path in named.items()} for language, named in paths.items()}
        sides = {s.id: s.boundary.known if s.boundary else None for s in mission.sentences}
        print_json("answer", {"pages": files, "known": sides})
        return
    for language in LANGUAGES:
        typer.echo(paths[language]["answer"])

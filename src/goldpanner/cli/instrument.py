"""`measure`, `compare` and `plan`: from counts to a verdict. Works without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from goldpanner.cli.app import MEASURE, OptionGroup, cli_command, flag, option
from goldpanner.cli.options import (
    GROUP,
    PROBLEMS,
    AllowTruncated,
    AsJson,
    GroupSize,
    Ks,
    Level,
    LogOptions,
    Page,
    Save,
    StoreSelection,
    save_files,
)
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.measure.corrections import VerifierErrors
    from goldpanner.sources import Source

AnswerSpace = Annotated[
    float | None, typer.Option(metavar="N", help="Number of possible answers, to correct for lucky guesses.")
]
Clusters = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of the problems that says which are alike, or a CSV file.")
]
COUNTS = "a counts file, a log or a table, a store's folder, or a policy of --store"


@dataclass(frozen=True)
class AuditOptions(OptionGroup):
    """What is known of the verifier's errors."""

    title = "Errors of the verifier"

    false_positive: str | None = option("Audited wrong answers that were judged correct: 3/200.", "X/N")
    false_negative: str | None = option("Audited right answers that were judged wrong: 5/200.", "X/N")
    checked: bool = flag("Use the errors that verify-check stored in --store.", "--checked")

    def errors(self, source: "Source") -> "VerifierErrors | None":
        """Return the audit, None without. Raises InputError for one of the two numbers alone."""
        from goldpanner.instrument import stored_errors
        from goldpanner.measure.corrections import VerifierErrors

        if self.checked:
            return stored_errors(source)
        shares = {"--false-positive": self.false_positive, "--false-negative": self.false_negative}
        if not any(shares.values()):
            return None
        return VerifierErrors.read(shares)


def whole_numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a comma-separated option; raises InputError naming the part that is none."""
    numbers = []
    for part in text.split(","):
        if part.strip():
            try:
                numbers.append(int(float(part)) if float(part) == int(float(part)) else int(part))
            except (ValueError, OverflowError):
                raise InputError(
                    f"{option} {text!r}: {part.strip()!r} is no whole number; write, say, 1,100,10000"
                ) from None
    return numbers


@cli_command("measure", MEASURE)
def measure_command(
    what: Annotated[str, typer.Argument(help=f"Counts of the model: {COUNTS}.")],
    k: Ks = "",
    level: Level = 0.95,
    answer_space: AnswerSpace = None,
    clusters: Clusters = None,
    by: str | None = option("Break the result down by a column of the problems, or a CSV file.", "COLUMN"),
    *,
    selection: StoreSelection,
    audit: AuditOptions,
    log: LogOptions,
    allow_truncated_sampling: AllowTruncated = False,
    html: Page = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Measure one model's boundary.

    The result: pass@k with confidence bands, P(correct) of every problem, groups, and pass@k beyond your samples.

    Example: goldpanner measure counts.jsonl --k 1,100,10000
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import confounds, profile_source

    source = selection.load(what, log)
    profile = profile_source(
        source,
        whole_numbers(k, "--k"),
        level=level,
        allow_truncated_sampling=allow_truncated_sampling,
        answer_space=answer_space,
        verifier=audit.errors(source),
        clusters=clusters,
        by=by,
    )
    extra = confounds(source, level)
    texts = {} if extra is None else extra.to_json()
    if as_json:
        typer.echo(json.dumps({**profile.to_json(), **texts, "server_faults": source.faults}, allow_nan=False))
    else:
        tables.print_profile(profile, source.name, extra)
        tables.print_parts(profile.by)
    save_files(profile, save)
    if html is not None:
        from goldpanner.report.pages.instrument import profile_page

        profile_page(profile, source.name, html, extra)
        typer.echo(str(html), err=True)


@cli_command("compare", MEASURE)
def compare_command(
    base: Annotated[str, typer.Argument(help=f"The model before RL: {COUNTS}.")],
    rl: Annotated[
        list[str],
        typer.Argument(help="The model after RL, on the same problems; or several, seeds of one recipe as rl=A,B,C."),
    ],
    k: Ks = "",
    level: Level = 0.95,
    within: int = option("Sharpening: the base reaches RL's pass@K within R tries.", "R", default=1024, low=1),
    group: Annotated[int, GROUP] = 16,
    fdr: float = option("False discovery rate of problems that rose or fell.", "P", default=0.05),
    answer_space: AnswerSpace = None,
    clusters: Clusters = None,
    rl_rollouts: int | None = option(
        "Rollouts of each problem in RL, to judge what is new; R unless given.", "N", low=2
    ),
    *,
    selection: StoreSelection,
    audit: AuditOptions,
    log: LogOptions,
    as_run: bool = flag("Compare two systems although they were sampled or asked differently.", "--as-run"),
    allow_truncated_sampling: AllowTruncated = False,
    fail_on: str = option(
        "Conditions to fail on: narrowed,fell>2% (exit status 1), undecided (exit status 3).", "NAMES", default=""
    ),
    markdown: Path | None = option("File for the summary as Markdown.", "FILE"),
    html: Page = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Compare a model with models trained from it.

    The answer: which is better at one try and at K tries, how many tries the base needs for RL's result, and which
    problems changed.

    Example: goldpanner compare base.jsonl rl.jsonl --fail-on narrowed,fell>2%
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import compare_sources
    from goldpanner.measure.gate import gate, parse_conditions
    from goldpanner.measure.passk import default_ks
    from goldpanner.sources import seeds_by_name

    conditions = parse_conditions(fail_on) if fail_on else []
    before = selection.load(base, log)
    models = {name: [selection.load(seed, log) for seed in seeds] for name, seeds in seeds_by_name(rl).items()}
    if len(models) > 1 or any(len(seeds) > 1 for seeds in models.values()):
        if conditions or markdown:
            raise InputError("--fail-on and --markdown are about two models; compare the base with one of them")
        from goldpanner.instrument import compare_series

        several = compare_series(before, models, group=group, level=level, fdr=fdr, within=within, as_run=as_run)
        if as_json:
            typer.echo(json.dumps(several.to_json(), allow_nan=False))
        else:
            tables.print_series(several)
        save_files(several, save)
        if html is not None:
            from goldpanner.report.pages.series import series_page

            typer.echo(str(series_page(several, html, before.text_of)), err=True)
        return
    ((after,),) = models.values()
    further = whole_numbers(k, "--k")
    smallest = int(min(before.n.min(), after.n.min()))
    ks = np.union1d(default_ks(max(smallest, 1)), further).astype(np.int64) if further else None
    comparison = compare_sources(
        before, after, k=ks, level=level, fdr=fdr, within=within, as_run=as_run, rl_rollouts=rl_rollouts,
        allow_truncated_sampling=allow_truncated_sampling, answer_space=answer_space, verifier=audit.errors(before),
        clusters=clusters,
    )  # fmt: skip
    ruling = gate(comparison, conditions) if conditions else None
    if as_json:
        faults = {"base": before.faults, "rl": after.faults}
        more = {"gate": ruling.to_json()} if ruling else {}
        typer.echo(json.dumps({**comparison.to_json(), "server_faults": faults, **more}, allow_nan=False))
    else:
        tables.print_comparison(comparison, before, after)
        if ruling is not None:
            typer.echo(ruling.summary)
    save_files(comparison, save)
    if markdown is not None:
        from goldpanner.files import write_atomically
        from goldpanner.report.summary import comparison_markdown

        summary = comparison_markdown(comparison, before.name, after.name, ruling, before.text_of)
        write_atomically(markdown, lambda file: file.write(summary.encode()))
        typer.echo(str(markdown), err=True)
    if html is not None:
        from goldpanner.report.pages.instrument import comparison_page

        comparison_page(comparison, before.name, after.name, html, before.text_of)
        typer.echo(str(html), err=True)
    if ruling is not None and ruling.exit_code:
        raise typer.Exit(ruling.exit_code)


@cli_command("power", MEASURE)
def power_command(
    pilot: Annotated[str | None, typer.Argument(help=f"Counts of a pilot: {COUNTS}. Instead of it: --shape.")] = None,
    shape: str = option("P(correct) of problems: all:0.25, beta:0.5,1 or uniform.", "SHAPE", default=""),
    size: float = option("Change of pass@k to show, e.g. 0.05 or -0.05.", "P", default=0.05),
    tries: str = option("Numbers of tries.", "K,K", "--tries", default="1,8,64"),
    samples: str = option("Numbers of samples of each problem.", "N,N", "--samples", default=""),
    problems: Annotated[int | None, PROBLEMS] = None,
    chance: float = option("Probability that the change is shown.", "P", default=0.8),
    level: Level = 0.95,
    *,
    selection: StoreSelection,
    log: LogOptions,
    as_json: AsJson = False,
) -> None:
    """Plan how many problems to measure.

    The answer is the number of problems that show a change of pass@k by --size. With --problems, it is the smallest
    change that so many problems show.

    Example: goldpanner power --shape beta:0.5,1 --size 0.05 --tries 1,64
    """
    from goldpanner.cli import tables
    from goldpanner.measure import power

    if (pilot is None) == (not shape):
        raise InputError("give a pilot's counts or --shape, one of the two; for example --shape beta:0.5,1")
    population = power.population_of(shape) if pilot is None else power.population_from(selection.load(pilot, log))
    ks, each = whole_numbers(tries, "--tries"), whole_numbers(samples, "--samples")
    if problems is None:
        needs = power.required(population, size, ks, each, chance, level)
        if as_json:
            typer.echo(json.dumps([need.to_json() for need in needs], allow_nan=False))
        else:
            tables.print_required(needs, population.name, chance)
        return
    seen = {n: power.sensitivity(population, problems, n, ks, chance, level) for n in each or [max(ks)]}
    if as_json:
        typer.echo(json.dumps({n: [row.to_json() for row in rows] for n, rows in seen.items()}, allow_nan=False))
    else:
        tables.print_sensitivity(seen, problems, population.name, chance)


@cli_command("plan", MEASURE)
def plan_command(
    base: Annotated[str, typer.Argument(help=f"Counts of the pilot: {COUNTS}.")],
    steps: int = option("Number of RL steps that you can pay for.", "N", default=100, low=1),
    prompts: int = option("Prompts (groups) in a step.", "N", default=64, low=1),
    group: GroupSize = None,
    level: Level = 0.95,
    *,
    selection: StoreSelection,
    log: LogOptions,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Plan an RL run from a pilot.

    The plan names a group size, and the problems to train on now, later, after SFT, or not at all.

    Example: goldpanner plan pilot.jsonl --steps 200 --prompts 64
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import plan_source

    source = selection.load(base, log)
    result = plan_source(source, steps=steps, prompts=prompts, group=group, level=level)
    if as_json:
        typer.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        tables.print_plan(result, base)
    save_files(result, save)

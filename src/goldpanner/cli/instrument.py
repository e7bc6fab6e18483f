"""`measure`, `compare` and `plan`: from counts to a verdict. Works without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli.app import MEASURE, OptionGroup, cli_command, flag, option, print_json
from goldpanner.cli.options import (
    GROUP,
    PROBLEMS,
    AllowTruncated,
    AsJson,
    GroupSize,
    Ks,
    Level,
    OutputOptions,
    PageOptions,
    SourceOptions,
)
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.measure.corrections import VerifierErrors
    from goldpanner.sources import Source

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
        from goldpanner.instrument import verifier_errors

        return verifier_errors(source, self.false_positive, self.false_negative, self.checked)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(OptionGroup):
    """What is measured, from which counts, and what is known of them."""

    title = "Options"

    k: Ks = ""
    level: Level = 0.95
    answer_space: float | None = option("Number of possible answers, to correct for lucky guesses.", "N")
    clusters: str | None = option("Column of the problems that says which are alike, or a CSV file.", "COLUMN")
    allow_truncated_sampling: AllowTruncated = False
    source: SourceOptions
    audit: AuditOptions

    def arguments(self, source: "Source") -> dict[str, Any]:
        """Return the arguments that `gp.profile` and `gp.compare` share."""
        names = ("level", "answer_space", "clusters", "allow_truncated_sampling")
        return {name: getattr(self, name) for name in names} | {"verifier": self.audit.errors(source)}


@cli_command("measure", MEASURE)
def measure_command(
    what: Annotated[str, typer.Argument(help=f"Counts of the model: {COUNTS}.")],
    by: str | None = option("Break the result down by a column of the problems, or a CSV file.", "COLUMN"),
    *,
    options: MeasureOptions,
    output: PageOptions,
) -> None:
    """Measure one model's boundary.

    The result: pass@k with confidence bands, P(correct) of every problem, groups, and pass@k beyond your samples.

    Example: goldpanner measure counts.jsonl --k 1,100,10000
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import confounds, profile_source
    from goldpanner.sources import whole_numbers

    source = options.source.load(what)
    profile = profile_source(source, whole_numbers(options.k, "--k"), by=by, **options.arguments(source))
    extra = confounds(source, options.level)
    texts = {} if extra is None else extra.to_json()
    record = {**profile.to_json(), **texts, "source": source.described()}
    output.show("measure", profile, record, lambda: tables.print_profile(profile, source.name, extra))
    if output.html is not None:
        from goldpanner.report.pages.instrument import profile_page

        typer.echo(profile_page(profile, source.name, output.html, extra), err=True)


@cli_command("compare", MEASURE)
def compare_command(
    base: Annotated[str, typer.Argument(help=f"The model before RL: {COUNTS}.")],
    rl: Annotated[
        list[str],
        typer.Argument(help="The model after RL, on the same problems; or several, seeds of one recipe as rl=A,B,C."),
    ],
    within: int = option("Sharpening: the base reaches RL's pass@K within R tries.", "R", default=1024, low=1),
    group: Annotated[int, GROUP] = 16,
    fdr: float = option("False discovery rate of problems that rose or fell.", "P", default=0.05),
    rl_rollouts: int | None = option(
        "Rollouts of each problem in RL, to judge what is new; R unless given.", "N", low=2
    ),
    *,
    options: MeasureOptions,
    as_run: bool = flag("Compare two systems although they were sampled or asked differently.", "--as-run"),
    fail_on: str = option(
        "Conditions to fail on: narrowed,fell>2% (exit status 1), undecided (exit status 3).", "NAMES", default=""
    ),
    markdown: Path | None = option("File for the summary as Markdown.", "FILE"),
    output: PageOptions,
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
    from goldpanner.sources import seeds_by_name, whole_numbers

    conditions = parse_conditions(fail_on) if fail_on else []
    before = options.source.load(base)
    models = {name: [options.source.load(seed) for seed in seeds] for name, seeds in seeds_by_name(rl).items()}
    if len(models) > 1 or any(len(seeds) > 1 for seeds in models.values()):
        if conditions or markdown:
            raise InputError("--fail-on and --markdown are about two models; compare the base with one of them")
        from goldpanner.instrument import compare_series

        several = compare_series(
            before, models, group=group, level=options.level, fdr=fdr, within=within, as_run=as_run
        )
        sources = {name: [seed.described() for seed in seeds] for name, seeds in models.items()}
        record = {**several.to_json(), "sources": {"base": [before.described()], **sources}}
        output.show("compare-several", several, record, lambda: tables.print_series(several))
        if output.html is not None:
            from goldpanner.report.pages.series import series_page

            typer.echo(series_page(several, output.html, before.text_of), err=True)
        return
    ((after,),) = models.values()
    further = whole_numbers(options.k, "--k")
    ks = default_ks(max(int(min(before.n.min(), after.n.min())), 1), further) if further else None
    comparison = compare_sources(
        before, after, k=ks, fdr=fdr, within=within, as_run=as_run, rl_rollouts=rl_rollouts, **options.arguments(before)
    )
    ruling = gate(comparison, conditions) if conditions else None
    record = {**comparison.to_json(), "sources": {"base": before.described(), "rl": after.described()}}
    record |= {"gate": ruling.to_json()} if ruling else {}
    output.show("compare", comparison, record, lambda: tables.print_comparison(comparison, before, after, ruling))
    if markdown is not None:
        from goldpanner.files import write_atomically
        from goldpanner.report.summary import comparison_markdown

        summary = comparison_markdown(comparison, before.name, after.name, ruling, before.text_of)
        write_atomically(markdown, lambda file: file.write(summary.encode()))
        typer.echo(markdown, err=True)
    if output.html is not None:
        from goldpanner.report.pages.instrument import comparison_page

        typer.echo(comparison_page(comparison, before.name, after.name, output.html, before.text_of), err=True)
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
    given: SourceOptions,
    as_json: AsJson = False,
) -> None:
    """Plan how many problems to measure.

    The answer is the number of problems that show a change of pass@k by --size. With --problems, it is the smallest
    change that so many problems show.

    Example: goldpanner power --shape beta:0.5,1 --size 0.05 --tries 1,64
    """
    from goldpanner.cli.display import print_table
    from goldpanner.measure import power
    from goldpanner.report.result_tables import required_table, sensitivity_table
    from goldpanner.sources import whole_numbers

    if (pilot is None) == (not shape):
        raise InputError("give a pilot's counts or --shape, one of the two; for example --shape beta:0.5,1")
    population = power.population_of(shape) if pilot is None else power.population_from(given.load(pilot))
    ks, each = whole_numbers(tries, "--tries"), whole_numbers(samples, "--samples")
    if problems is None:
        needs = power.required(population, size, ks, each, chance, level)
        record: dict[str, object] = {"required": [need.to_json() for need in needs]}
        table = required_table(needs, population.name, chance)
    else:
        seen = {n: power.sensitivity(population, problems, n, ks, chance, level) for n in each or [max(ks)]}
        record = {"shown": {n: [row.to_json() for row in rows] for n, rows in seen.items()}}
        table = sensitivity_table(seen, problems, population.name, chance)
    if as_json:
        print_json("power", record)
    else:
        print_table(table)


@cli_command("plan", MEASURE)
def plan_command(
    base: Annotated[str, typer.Argument(help=f"Counts of the pilot: {COUNTS}.")],
    steps: int = option("Number of RL steps that you can pay for.", "N", default=100, low=1),
    prompts: int = option("Prompts (groups) in a step.", "N", default=64, low=1),
    group: GroupSize = None,
    level: Level = 0.95,
    *,
    given: SourceOptions,
    output: OutputOptions,
) -> None:
    """Plan an RL run from a pilot.

    The plan names a group size, and the problems to train on now, later, after SFT, or not at all.

    Example: goldpanner plan pilot.jsonl --steps 200 --prompts 64
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import plan_source

    source = given.load(base)
    result = plan_source(source, steps=steps, prompts=prompts, group=group, level=level)
    output.show(
        "plan", result, {**result.to_json(), "source": source.described()}, lambda: tables.print_plan(result, base)
    )

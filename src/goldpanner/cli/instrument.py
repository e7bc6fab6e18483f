"""`measure`, `compare` and `plan`: from counts to a verdict. Works without torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import (
    AsJson,
    Filter,
    Format,
    Ks,
    Level,
    Map,
    Page,
    Params,
    PoolSteps,
    Rescore,
    Score,
    Speak,
    Step,
    StoreOrNone,
    Task,
    Threshold,
    TornTail,
    Verifier,
)
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.sources import Log, Source


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


def load_source(
    what: str,
    store: Path | None,
    tasks: list[str] | None,
    verifier: str | None,
    params: str | None,
    log: "Log",
) -> "Source":
    """Return the counts that an argument stands for; print what was left out of a log."""
    from goldpanner.sources import load_counts

    source = load_counts(what, store, tasks=tasks or (), verifier=verifier, params=params, log=log)
    for line in source.remarks:
        typer.echo(f"{what}: {line}", err=True)
    return source


@app.command("measure")
def measure_command(
    what: Annotated[
        str, typer.Argument(help="A counts file, another tool's log, a store's folder, or a policy of --store.")
    ],
    store: StoreOrNone = None,
    k: Ks = "",
    task: Task = None,
    verifier: Verifier = None,
    params: Params = None,
    level: Level = 0.95,
    format_: Format = None,
    map_: Map = None,
    threshold: Threshold = None,
    score: Score = None,
    filter_: Filter = None,
    step: Step = None,
    pool_steps: PoolSteps = False,
    rescore: Rescore = None,
    torn_tail: TornTail = False,
    answer_space: Annotated[
        float | None, typer.Option(help="Number of possible answers: corrects for guessing.")
    ] = None,
    false_positive: Annotated[
        str | None, typer.Option(help="Audit: wrong answers passed / audited, e.g. 3/200.")
    ] = None,
    false_negative: Annotated[
        str | None, typer.Option(help="Audit: right answers failed / audited, e.g. 5/200.")
    ] = None,
    checked: Annotated[bool, typer.Option("--checked", help="Audit: what verify-check left in the store.")] = False,
    speak_of_support: Speak = False,
    html: Page = None,
    as_json: AsJson = False,
) -> None:
    """One model's boundary: pass@k with a band, every problem's P, groups, and pass@k beyond n.

    Example: goldpanner measure counts.jsonl --k 1,100,10000
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import confounds, profile_source, stored_errors
    from goldpanner.sources import Log

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    source = load_source(what, store, task, verifier, params, log)
    profile = profile_source(
        source,
        whole_numbers(k, "--k"),
        level=level,
        override_support=speak_of_support,
        answer_space=answer_space,
        verifier=stored_errors(source) if checked else audit(false_positive, false_negative),
    )
    extra = confounds(source, level)
    if as_json:
        typer.echo(json.dumps({**profile.to_json(), **extra, "server_faults": source.faults}, allow_nan=False))
    else:
        tables.print_profile(profile, source.name, extra)
    if html is not None:
        from goldpanner.report.pages.instrument import profile_page

        profile_page(profile, source.name, html, extra)
        typer.echo(str(html), err=True)


@app.command("compare")
def compare_command(
    base: Annotated[str, typer.Argument(help="The model before RL: a counts file, a log, or a policy of --store.")],
    rl: Annotated[str, typer.Argument(help="The model after RL, on the same problems.")],
    store: StoreOrNone = None,
    task: Task = None,
    verifier: Verifier = None,
    params: Params = None,
    level: Level = 0.95,
    k: Ks = "",
    fdr: Annotated[float, typer.Option(help="False discovery rate of established gains and losses.")] = 0.05,
    format_: Format = None,
    map_: Map = None,
    threshold: Threshold = None,
    score: Score = None,
    filter_: Filter = None,
    step: Step = None,
    pool_steps: PoolSteps = False,
    rescore: Rescore = None,
    torn_tail: TornTail = False,
    speak_of_support: Speak = False,
    html: Page = None,
    as_json: AsJson = False,
) -> None:
    """Did the boundary move? A verdict in words, bands of the difference, and each problem's fate with a test.

    Example: goldpanner compare base.jsonl rl.jsonl --json
    """
    from goldpanner.cli import tables
    from goldpanner.instrument import compare_sources
    from goldpanner.measure.passk import default_ks
    from goldpanner.sources import Log

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    before, after = (load_source(what, store, task, verifier, params, log) for what in (base, rl))
    further = whole_numbers(k, "--k")
    smallest = int(min(before.n.min(), after.n.min()))
    ks = np.union1d(default_ks(max(smallest, 1)), further).astype(np.int64) if further else None
    comparison = compare_sources(before, after, k=ks, level=level, fdr=fdr, override_support=speak_of_support)
    if as_json:
        faults = {"base": before.faults, "rl": after.faults}
        typer.echo(json.dumps({**comparison.to_json(), "server_faults": faults}, allow_nan=False))
    else:
        tables.print_comparison(comparison, comparison.support_refused)
    if html is not None:
        from goldpanner.report.pages.instrument import comparison_page

        comparison_page(comparison, before.name, after.name, html, comparison.support_refused)
        typer.echo(str(html), err=True)


@app.command("plan")
def plan_command(
    base: Annotated[str, typer.Argument(help="The pilot: a counts file, a log, or a policy of --store.")],
    store: StoreOrNone = None,
    steps: Annotated[int, typer.Option(help="RL steps you could pay for.", min=1)] = 100,
    prompts: Annotated[int, typer.Option(help="Prompts (groups) a step.", min=1)] = 64,
    group: Annotated[int | None, typer.Option(help="Fix the group size instead of choosing it.", min=2)] = None,
    task: Task = None,
    verifier: Verifier = None,
    params: Params = None,
    level: Level = 0.95,
    format_: Format = None,
    map_: Map = None,
    threshold: Threshold = None,
    score: Score = None,
    filter_: Filter = None,
    step: Step = None,
    pool_steps: PoolSteps = False,
    rescore: Rescore = None,
    torn_tail: TornTail = False,
    as_json: AsJson = False,
) -> None:
    """Before paying for a run: which group size, and which problems now, later, after SFT, or not at all.

    Example: goldpanner plan pilot.jsonl --steps 200 --prompts 64
    """
    from goldpanner.cli import tables
    from goldpanner.measure.plan import plan as make_plan
    from goldpanner.sources import Log

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    source = load_source(base, store, task, verifier, params, log)
    result = make_plan(source, steps=steps, prompts_per_step=prompts, group=group, level=level)
    if as_json:
        typer.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        tables.print_plan(result, base)


def audit(false_positive: str | None, false_negative: str | None) -> Any:
    """Return a verifier's audit from two `errors/audited` options, None without. Raises InputError for one alone."""
    if false_positive is None and false_negative is None:
        return None
    if false_positive is None or false_negative is None:
        raise InputError("a verifier's audit needs both --false-positive and --false-negative, e.g. 3/200 and 5/200")
    from goldpanner.measure.corrections import VerifierErrors

    numbers = []
    for option, text in (("--false-positive", false_positive), ("--false-negative", false_negative)):
        errors, slash, audited = text.partition("/")
        if not slash or not errors.isdecimal() or not audited.isdecimal():
            raise InputError(f"{option} is {text!r}; write errors/audited, e.g. 3/200")
        numbers += [int(errors), int(audited)]
    return VerifierErrors(numbers[0], numbers[1], numbers[2], numbers[3])

"""`measure`, `compare` and `plan`: from counts to a verdict. Works without torch."""

import json
from dataclasses import replace
from typing import Annotated, Any

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
from goldpanner.sources import Choice, Log, load_source, origins, same_conditions


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


@app.command()
def measure(
    what: Annotated[str, typer.Argument(help="A counts file or another tool's log, or a policy of --store.")],
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
    from goldpanner.cli.verify_check import stored_errors
    from goldpanner.measure.profile import profile

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    source = load_source(what, Choice(store, tuple(task or ()), verifier, params, log))
    found = profile(
        source.counts,
        whole_numbers(k, "--k"),
        level=level,
        params=source.params,
        override_support=speak_of_support,
        answer_space=answer_space,
        verifier=stored_errors(source) if checked else audit(false_positive, false_negative),
    )
    if source.distrusted:
        found = replace(found, support_refused="; ".join(filter(None, (source.distrusted, found.support_refused))))
    extra = source.confounds(level)
    if as_json:
        typer.echo(json.dumps({**found.to_json(), **extra, "server_faults": source.faults}, allow_nan=False))
    else:
        tables.profile(found, source.name, extra)
    if html is not None:
        from goldpanner.report.pages.instrument import profile_page

        profile_page(found, source.name, html, extra)
        typer.echo(str(html), err=True)


@app.command()
def compare(
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
    from goldpanner.measure.compare import compare as compare_counts
    from goldpanner.measure.passk import default_ks

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    choice = Choice(store, tuple(task or ()), verifier, params, log)
    before, after = load_source(base, choice), load_source(rl, choice)
    refused = same_conditions(before, after, speak_of_support)
    asked = whole_numbers(k, "--k")
    smallest = int(min(before.counts.n.min(), after.counts.n.min()))
    ks = np.union1d(default_ks(max(smallest, 1)), asked).astype(np.int64) if asked else None
    found = compare_counts(before.counts, after.counts, k=ks, level=level, fdr=fdr)
    found = origins(found, before, after)
    if as_json:
        faults = {"base": before.faults, "rl": after.faults}
        typer.echo(
            json.dumps({**found.to_json(), "support_refused": refused, "server_faults": faults}, allow_nan=False)
        )
    else:
        tables.comparison(found, refused)
    if html is not None:
        from goldpanner.report.pages.instrument import comparison_page

        comparison_page(found, before.name, after.name, html, refused)
        typer.echo(str(html), err=True)


@app.command()
def plan(
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

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_)
    source = load_source(base, Choice(store, tuple(task or ()), verifier, params, log))
    found = make_plan(source.counts, steps=steps, prompts_per_step=prompts, group=group, level=level)
    if as_json:
        typer.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        tables.plan(found, base)


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

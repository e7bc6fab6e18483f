"""verl: `{step}.jsonl` of `trainer.rollout_data_dir` / `trainer.validation_data_dir`; and problem sets for verl.

A row is `input, output, gts, score, step` and what the reward function returned. The v1 trainer adds
`uid` = `{prompt}_{rollout}_{output}`; without it the rows of one step with equal input are taken as one group.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.files import replacing
from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import LogRow, brief, log_rows, log_verdict, reward_of, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, problem_of, record_of
from goldpanner.interop.selection import ProblemSelection
from goldpanner.types import Cause, Outcome

_UID = re.compile(r"(?P<group>.+)_(?P<rollout>\d+)_(?P<output>\d+)")


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a rollout.

    An agent loop that splits one rollout into several outputs gives several rows of one `{prompt}_{rollout}`, sorted:
    the last is the one that was scored, as verl's own validation counts them.
    """
    waiting: tuple[str, LogRow] | None = None
    origin: LogOrigin | None = None
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            if waiting is not None and origin is not None:
                yield _record(waiting[1], reading, origin)
            waiting, origin = None, LogOrigin(row.file)
            reading.report.warn("verl does not log whether an output was cut at the length limit")
        match = _UID.fullmatch(str(row.fields.get("uid", "")))
        if match is None:
            if waiting is not None:
                yield _record(waiting[1], reading, origin)
                waiting = None
            yield _record(row, reading, origin)
            continue
        rollout = f"{match['group']}_{match['rollout']}"
        if waiting is not None and waiting[0] == rollout:
            reading.report.skip("an earlier output of the same rollout (the last one is scored)", waiting[1].where)
        elif waiting is not None:
            yield _record(waiting[1], reading, origin)
        waiting = (rollout, row)
    if waiting is not None and origin is not None:
        yield _record(waiting[1], reading, origin)


def _record(row: LogRow, reading: Reading, origin: LogOrigin) -> Record:
    gts = row.fields.get("gts")
    answer = gts if isinstance(gts, str) else "" if gts is None else str(gts)
    problem = problem_of("verl", row.text("input"), unicode_text(answer))
    name = reading.score or "score"
    # our compute_score pays an unjudged output 0, since verl has no other word for it, and says so beside it
    unjudged = reading.score is None and row.fields.get("outcome") == str(Outcome.UNJUDGED)
    value = None if unjudged else row.need(name)
    verdict = log_verdict(row, value, name, f"verl/{name}", reading)
    if unjudged and row.fields.get("cause") in list(Cause):
        verdict = replace(verdict, cause=Cause(row.text("cause")))
    reward = reward_of(row.fields["score"]) if "score" in row.fields else None
    draw = reading.draw(problem, row.text("output"), verdict=verdict, reward=reward)
    match = _UID.fullmatch(str(row.fields.get("uid", "")))
    problem_id = row.fields.get("goldpanner_id")
    if problem_id is not None and not isinstance(problem_id, str):
        row.fail(f"the field 'goldpanner_id' is {brief(problem_id)}; expected a problem id")
    return record_of(
        problem,
        [draw],
        origin,
        problem_id=problem_id or "",
        step=row.integer("step"),
        group=match["group"] if match else problem.id,
    )


def write_verl(selection: ProblemSelection, path: Path | str, *, split: str = "train", ability: str = "") -> Path:
    """Write a problem set as verl's parquet rows: `data_source, prompt, ability, reward_model, extra_info`.

    Our problem id stands in `extra_info.id`, its meta (as JSON: rows must agree in their columns), and its measured n,
    c, p and weight beside it.
    """
    rows: list[dict[str, object]] = [
        {
            "data_source": problem.task,
            "prompt": [{"role": "user", "content": problem.prompt}],
            "ability": ability,
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {
                "split": split,
                "index": index,
                "id": name,
                "meta": json.dumps(dict(problem.meta)),
                **measured,
            },
        }
        for index, (name, problem, measured) in enumerate(selection.rows())
    ]
    path = Path(path)
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)
    return path


def verl_command(path: Path | str, *, model: str = "MODEL", max_tokens: int = 1024, temperature: float = 1.0) -> str:
    """Return a shell script that trains on the rows of `path` by verl's GRPO, our verifiers as its reward.

    On-policy, no KL term, groups of 8, one GPU; further options of verl's may follow the script's name and win. The
    names are those of verl 0.9 and 0.10; its trainer was not run with them here.
    """
    file = shlex.quote(str(Path(path).absolute()))
    reward = "$(python3 -c 'import goldpanner.train.verl as reward; print(reward.__file__)')"
    options = [
        "algorithm.adv_estimator=grpo",
        "algorithm.use_kl_in_reward=False",
        f"data.train_files={file}",
        f"data.val_files={file}",
        "data.train_batch_size=64",
        "data.max_prompt_length=1024",
        f"data.max_response_length={max_tokens}",
        f"actor_rollout_ref.model.path={shlex.quote(model)}",
        "actor_rollout_ref.actor.ppo_mini_batch_size=64",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "actor_rollout_ref.actor.use_kl_loss=False",
        "actor_rollout_ref.actor.optim.lr=1e-6",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=8",
        f"actor_rollout_ref.rollout.temperature={temperature:g}",
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True",
        f'reward.custom_reward_function.path="{reward}"',
        "reward.custom_reward_function.name=compute_score",
        "trainer.rollout_data_dir=rollouts",
        'trainer.logger=\'["console","file"]\'',
        "trainer.n_gpus_per_node=1",
        "trainer.nnodes=1",
        "trainer.total_epochs=1",
    ]
    head = "#!/bin/sh\n# verl loads compute_score from goldpanner, which must be installed beside it\n"
    return head + " \\\n  ".join(["python3 -m verl.trainer.main_ppo", *options, '"$@"']) + "\n"


FORMAT = Format(
    "verl",
    _read,
    "{step}.jsonl: JSON lines with input, output, score, step",
    json_with("input", "output", "score", "step"),
    ("[0-9]*.jsonl",),
)

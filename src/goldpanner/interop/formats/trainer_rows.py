"""Rollouts of trainers, a row each: NeMo-RL, SkyRL, tinker-cookbook."""

import re
from collections.abc import Iterator

from goldpanner.interop.cells import finish_of
from goldpanner.interop.format import Format, Head, json_with
from goldpanner.interop.lines import LogRow, as_object, brief, message_text
from goldpanner.interop.logged import LoggedRow, LoggedSample, one_answer, read_rows
from goldpanner.interop.records import Reading, Record

_STEP = re.compile(r"_step(\d+)\.jsonl")


def _nemo_rl(row: LogRow, reading: Reading) -> LoggedRow:
    """Read `train_data_step{N}.jsonl`: `content` is the list of the messages' texts, without their roles.

    The last one is the model's, but for what the environment of NeMo-RL adds (`Environment: correct`).
    """
    content = row.need("content")
    if isinstance(content, list) and len(content) > 2 and str(content[-1]).startswith("Environment:"):
        content = content[:-1]
    if not isinstance(content, list) or len(content) < 2 or not all(isinstance(text, str) for text in content):
        row.fail(f"the field 'content' is {brief(content)}; expected the texts of the prompt and of the completion")
    step = _STEP.search(row.file.name)
    prompt = "\n\n".join(content[:-1])
    sample = LoggedSample(content[-1], row.need(reading.score or "rewards"))
    number = int(step[1]) if step else None
    return LoggedRow([sample], prompt, score=reading.score or "rewards", step=number, group=prompt)


def _skyrl(row: LogRow, reading: Reading) -> LoggedRow:
    """Read the dump of an evaluation: `score` is one reward, or a reward a token, which add up."""
    score = row.need("score")
    if isinstance(score, list):
        if not all(isinstance(part, int | float) for part in score):
            row.fail(f"the field 'score' is {brief(score)}; expected a number, or one a token")
        score = float(sum(score))
    extras = as_object(row.fields.get("env_extras"))
    answer = as_object(extras.get("reward_spec") or extras.get("reward_model")).get("ground_truth")
    sample = LoggedSample(row.text("output_response"), score, finish_of(row.fields.get("stop_reason")))
    return LoggedRow([sample], row.text("input_prompt"), one_answer(answer))


def _tinker(row: LogRow, reading: Reading) -> LoggedRow | None:
    """Read rollout summaries: they hold rewards and no texts, and a group is one problem of its iteration."""
    if reading.verifier is not None:
        row.fail("tinker's rollout summaries hold no texts for a verifier to read; leave --rescore out")
    split, iteration = row.text("split"), row.integer("iteration")
    group = f"{row.integer('group_idx')}"
    training = split == "train"
    sample = LoggedSample("", row.need(reading.score or "total_reward"))
    name = f"{iteration}/{group}" if training else f"{split}/{group}"
    return LoggedRow([sample], name=name, score=reading.score or "total_reward", step=iteration, group=group)


def _read_nemo_rl(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "nemo-rl", _nemo_rl)


def _read_skyrl(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "skyrl", _skyrl)


def _read_tinker(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "tinker", _tinker)


def _is_nemo_rl(head: Head) -> bool:
    return json_with("content", "rewards", "idx")(head) and message_text(head.fields["content"]) is None


FORMATS = (
    Format(
        "nemo-rl",
        _read_nemo_rl,
        "train_data_step{N}.jsonl: JSON lines with content (a list), rewards, idx",
        _is_nemo_rl,
        ("train_data_step*.jsonl",),
        dated=True,
    ),
    Format(
        "skyrl",
        _read_skyrl,
        "JSON lines with input_prompt, output_response, score, env_class",
        json_with("input_prompt", "output_response", "score", "env_class"),
        anonymous=True,
    ),
    Format(
        "tinker",
        _read_tinker,
        "train_rollout_summaries.jsonl: JSON lines with split, iteration, group_idx, traj_idx, total_reward",
        json_with("split", "iteration", "group_idx", "traj_idx", "total_reward"),
        ("train_rollout_summaries.jsonl", "iteration_*/train_rollout_summaries.jsonl"),
    ),
)

"""Make the fixtures of the row formats, written after the source of each tool; the tools themselves were not run.

    cd tests/interop && python make_fixtures/make_rows.py

Sources: Qwen2.5-Math `evaluation/math_eval.py` (ab5097e) and limit-of-RLVR `math_eval.py` (69ca20f);
large_language_monkeys `llmonk/generate/MATH.py` and `evaluate/math_datasets.py` (5c2d75a), rows as in its data set;
LiveCodeBench `benchmarks/code_generation.py` (19133f2); NeMo-Skills `metrics/math_metrics.py` (979c8ad); NeMo-RL
`data/llm_message_utils.py`, `environments/math_environment.py`, `utils/logger.py` (0275e75, 00294d9); SkyRL
`utils/trainer_utils.py` (0588502); tinker-cookbook 0.6.1 `rl/rollout_logging.py`; lighteval 0.13.0
`logging/info_loggers.py`; evalscope 1.14.1 `api/evaluator/cache.py`; OpenCompass 0.5.4 `tasks/openicl_eval.py`; Every
Eval Ever `instance_level_eval.schema.json`; OpenAI's Batch API; W&B `Table.to_json`; trackio 0.43.0 `table.py`.
Every Eval Ever's schema was read at 0.2.2; that of 0.3, whose number the rows have, was not at hand.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).parent.parent / "fixtures"
SUMS = [("What is 3 + 4?", "7"), ("What is 10 + 15?", "25"), ("What is 20 + 22?", "42")]
# per problem: right, wrong, right, wrong; two of three; none
PLAN = {"7": "RWRW", "25": "RRWR", "42": "WWWW"}


def answers(right: str) -> list[tuple[str, bool]]:
    return [
        (f"The answer is {right if kind == 'R' else int(right) + i + 1}.", kind == "R")
        for i, kind in enumerate(PLAN[right])
    ]


def lines(path: str, rows: list[dict]) -> None:
    file = OUT / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def document(path: str, value: object) -> None:
    file = OUT / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=4) + "\n")


def each() -> list[tuple[int, str, str, int, str, bool]]:
    return [
        (place, question, right, repeat, text, good)
        for place, (question, right) in enumerate(SUMS)
        for repeat, (text, good) in enumerate(answers(right))
    ]


def harness_of_qwen() -> None:
    rows = []
    for place, (question, right) in enumerate(SUMS):
        texts, good = zip(*answers(right))
        numbers = [text.split()[-1][:-1] for text in texts]
        rows.append(
            {"idx": place, "question": question, "gt_cot": f"so #### {right}", "gt": right, "level": 1, "answer": right,
             "code": texts, "pred": numbers, "report": ["Done"] * 4, "score": good}
        )  # fmt: skip
    lines("qwen_math/test_qwen25-math-cot_-1_seed0_t0.6_s0_e-1.jsonl", rows)
    for row in rows:
        row["finish_reason"] = ["stop", "stop", "stop", "length"]
    lines("qwen_math/limit_of_rlvr.jsonl", rows)


def monkeys() -> None:
    rows = []
    for place, (question, right) in enumerate(SUMS):
        texts, good = zip(*answers(right))
        rows.append(
            {"question": question, "samples": list(texts), "is_corrects": list(good),
             "gt_answer": f"\\boxed{{{right}}}", "orig_dset_split": "test", "orig_dset_idx": place}
        )  # fmt: skip
    (OUT / "monkeys").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), OUT / "monkeys" / "test-00000-of-00001.parquet")


def livecodebench() -> None:
    rows = []
    for place, (question, right) in enumerate(SUMS):
        good = [ok for _, ok in answers(right)]
        code = [f"print({right})" if ok else "print(0)" for ok in good]
        rows.append(
            {"question_title": f"sum {place}", "question_content": question, "platform": "leetcode",
             "question_id": f"sum_{place}", "contest_id": "own", "contest_date": "2026-11-27T00:00:00",
             "starter_code": "", "difficulty": "easy", "code_list": code,
             "output_list": [f"```python\n{c}\n```" for c in code],
             "graded_list": good, "pass@1": sum(good) / 4, "metadata": ["{}"] * 4}
        )  # fmt: skip
    document("livecodebench/Scenario.codegeneration_4_0.2_eval_all.json", rows)


def nemo() -> None:
    for repeat in range(4):
        lines(
            f"nemo_skills/output-rs{repeat}.jsonl",
            [
                {"problem": question, "expected_answer": right, "generation": text, "num_generated_tokens": 5,
                 "predicted_answer": text.split()[-1][:-1], "symbolic_correct": good}
                for _, question, right, number, text, good in each() if number == repeat
            ],
        )  # fmt: skip
    for step in (1, 2):
        lines(
            f"nemo_rl/train_data_step{step}.jsonl",
            [
                {"content": [question, text, f"Environment: {'correct' if good else 'incorrect'}"],
                 "rewards": float(good), "generation_logprobs": [0.0, -0.5], "prev_logprobs": [0.0, -0.5],
                 "input_lengths": 9, "idx": i}
                for i, (_, question, _, _, text, good) in enumerate(each())
            ],
        )  # fmt: skip


def skyrl() -> None:
    lines(
        "skyrl/own_sums.jsonl",
        [
            {"input_prompt": question, "output_response": text, "score": [0.0, float(good)] if place else float(good),
             "stop_reason": "length" if repeat == 3 else "stop", "env_class": "gsm8k",
             "env_extras": {"reward_spec": {"method": "rule", "ground_truth": right}}, "data_source": "own/sums"}
            for place, question, right, repeat, text, good in each()
        ],
    )  # fmt: skip


def tinker() -> None:
    for iteration in (0, 1):
        lines(
            f"tinker/iteration_{iteration:06d}/train_rollout_summaries.jsonl",
            [
                {"schema_version": 1, "split": "train", "iteration": iteration, "group_idx": place, "traj_idx": repeat,
                 "tags": ["sums"], "sampling_client_step": iteration, "total_reward": float(good),
                 "final_reward": float(good), "trajectory_metrics": {}, "final_ob_len": 12,
                 "steps": [{"step_idx": 0, "ob_len": 6, "ac_len": 5, "reward": 0.0, "episode_done": True, "metrics": {},
                            "logs": {}}]}
                for place, _, _, repeat, _, good in each()
            ],
        )  # fmt: skip


def lighteval() -> None:
    rows = []
    for place, (question, right) in enumerate(SUMS):
        text, good = answers(right)[0]
        doc = {"query": question, "choices": [right], "gold_index": 0, "task_name": "own|sums", "id": str(place)}
        response = {"input": question, "text": [text], "logprobs": [], "truncated_tokens_count": 0}
        rows.append({"doc": doc, "model_response": response, "metric": {"extractive_match": float(good)}})
    (OUT / "lighteval").mkdir(exist_ok=True)
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, OUT / "lighteval" / "details_own|sums|0_2026-11-27T00-00-00.000000.parquet")


def evalscope() -> None:
    lines(
        "evalscope/reviews/toy/own_sums_main.jsonl",
        [
            {"index": 4 * place + repeat, "target": [right], "agent_trace": None,
             "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": text}],
             "sample_score": {
                 "score": {"value": {"acc": float(good)}, "status": "success", "extracted_prediction": right,
                           "prediction": text, "explanation": None, "metadata": {}, "main_score_name": "acc"},
                 "sample_id": 4 * place + repeat, "group_id": place, "generation_index": repeat, "sample_metadata": {}}}
            for place, question, right, repeat, text, good in each()
        ],
    )  # fmt: skip


def opencompass() -> None:
    details: dict[str, object] = {"type": "GEN"}
    for place, (question, right) in enumerate(SUMS):
        text, good = answers(right)[0]
        details[str(place)] = {
            "prompt": [{"role": "HUMAN", "prompt": question}], "origin_prediction": text,
            "predictions": text.split()[-1][:-1], "references": right, "correct": good,
        }  # fmt: skip
    document("opencompass/results/toy/own_sums.json", {"accuracy": 66.67, "details": details})


def every_eval_ever() -> None:
    lines(
        "every_eval_ever/0b4f0b3a-0000-4000-8000-000000000000_samples.jsonl",
        [
            {"schema_version": "0.3.0", "evaluation_id": "own/toy/1", "evaluation_result_id": f"own/toy/1/{metric}",
             "model_id": "own/toy", "evaluation_name": "sums", "sample_id": f"sum-{place}",
             "interaction_type": "single_turn", "input": {"raw": question, "reference": [right]},
             "output": {"raw": [answers(right)[0][0]]}, "answer_attribution": [],
             "evaluation": {"score": float(answers(right)[0][1]), "is_correct": answers(right)[0][1]}}
            for metric in ("exact", "loose") for place, (question, right) in enumerate(SUMS)
        ],
    )  # fmt: skip


def batch() -> None:
    lines(
        "openai_batch/input.jsonl",
        [
            {"custom_id": f"sum-{place}", "method": "POST", "url": "/v1/chat/completions",
             "body": {"model": "toy", "n": 4, "temperature": 1.0, "max_tokens": 16, "metadata": {"answer": right},
                      "messages": [{"role": "user", "content": question}]}}
            for place, (question, right) in enumerate(SUMS)
        ],
    )  # fmt: skip
    rows = []
    for place, (_, right) in enumerate(SUMS[:2]):
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "length" if i == 3 else "stop",
            }
            for i, (text, _) in enumerate(answers(right))
        ]
        body = {"id": f"chatcmpl-{place}", "object": "chat.completion", "model": "toy", "choices": choices}
        response = {"status_code": 200, "request_id": f"r{place}", "body": body}
        rows.append({"id": f"batch_req_{place}", "custom_id": f"sum-{place}", "response": response, "error": None})
    failed = {"code": "batch_expired", "message": "it took too long"}
    rows.append({"id": "batch_req_2", "custom_id": "sum-2", "response": None, "error": failed})
    lines("openai_batch/output.jsonl", rows)


def tables() -> None:
    columns = ["problem_id", "question", "response", "correct"]
    data = [[f"sum-{place}", question, text, good] for place, question, _, _, text, good in each()]
    lines("table/wandb.table.json", [{"columns": columns, "data": data, "ncols": 4, "nrows": len(data)}])
    document("table/trackio.json", {"_type": "trackio.table", "_value": [dict(zip(columns, row)) for row in data]})


for make in (
    harness_of_qwen, monkeys, livecodebench, nemo, skyrl, tinker, lighteval, evalscope, opencompass, every_eval_ever,
    batch, tables,
):  # fmt: skip
    make()

"""Tools whose logs are plain tables: columns of known names, a verdict or a list of verdicts a row."""

from goldpanner.interop.format import Head
from goldpanner.interop.table import table_format


def _has(head: Head, *names: str) -> bool:
    return head.kind not in ("document", "zip") and set(names) <= set(head.fields)


FORMATS = (
    table_format(
        "qwen-math",
        "{split}_{prompt}_..._t{T}_s{a}_e{b}.jsonl: JSON lines with idx, question, gt, code, pred, score",
        lambda head: _has(head, "idx", "question", "gt", "code", "pred", "score"),
        {
            "id": "idx",
            "prompt": "question",
            "answer": "gt",
            "text": "code",
            "correct": "score",
            "finish": "finish_reason",
        },
    ),
    table_format(
        "large-language-monkeys",
        "rows with question, samples, is_corrects",
        lambda head: _has(head, "question", "samples", "is_corrects"),
        {
            "id": "orig_dset_idx",
            "prompt": "question",
            "answer": "gt_answer",
            "text": "samples",
            "correct": "is_corrects",
        },
    ),
    table_format(
        "livecodebench",
        "*_eval_all.json: a JSON array with question_id, output_list, graded_list",
        lambda head: _has(head, "question_id", "output_list", "graded_list"),
        {"id": "question_id", "prompt": "question_content", "text": "output_list", "correct": "graded_list"},
        ("*_eval_all.json",),
    ),
    table_format(
        "nemo-skills",
        "output*.jsonl: JSON lines with problem, expected_answer, generation, symbolic_correct",
        lambda head: _has(head, "problem", "expected_answer", "generation", "symbolic_correct"),
        {"prompt": "problem", "answer": "expected_answer", "text": "generation", "correct": "symbolic_correct"},
        ("output*.jsonl",),
        one_model=True,
    ),
)

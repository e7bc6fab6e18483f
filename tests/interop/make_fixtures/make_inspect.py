"""Make fixtures/inspect/: inspect_ai evaluates its own mock model on our own sums and writes its own logs.

cd tests/interop && python make_fixtures/make_inspect.py        (inspect-ai 0.3.285)
"""

import shutil
import tempfile
from pathlib import Path

from inspect_ai import Task, eval  # noqa: A004
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import Generate, TaskState, generate, solver

OUT = Path(__file__).parent.parent / "fixtures" / "inspect"
SUMS = [("2 + 2 =", "4"), ("3 + 8 =", "11"), ("40 + 2 =", "42")]
# per problem and epoch: right, wrong, no answer given, not scorable (NaN), a solver that fails, cut at the limit
PLAN = {"2 + 2 =": "RRRW", "3 + 8 =": "WUFC", "40 + 2 =": "NNWW"}


@scorer(metrics=[mean()])
def exact():
    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        if "unreadable" in text:
            return Score(value=float("nan"), explanation="the grader could not read it")
        if "pass" in text:
            return Score(value="N", answer=text)
        return Score(value="C" if text == target.text else "I", answer=text)

    return score


@solver
def sometimes_failing():
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        kind = PLAN[state.input_text][state.epoch - 1]
        if kind == "F":
            raise RuntimeError("the tool crashed")
        answer = dict(SUMS)[state.input_text]
        text = {"R": answer, "U": "unreadable", "N": "I pass"}.get(kind, str(int(answer) + 1))
        state.output = ModelOutput.from_content("mockllm/model", text, "max_tokens" if kind == "C" else "stop")
        return state

    return solve


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    samples = [Sample(input=q, target=a, id=f"sum-{i}") for i, (q, a) in enumerate(SUMS)]
    planned = Task(name="toy_sums", dataset=samples, solver=sometimes_failing(), scorer=exact(), epochs=4)
    outputs = [ModelOutput.from_content("mockllm/model", t) for t in ("4", "5", "11", "11", "41", "42")]
    for output in outputs:  # else the mock model downloads a tokenizer to count them
        output.usage = ModelUsage(input_tokens=4, output_tokens=1, total_tokens=5)
    generated = Task(
        name="toy_generate",
        dataset=samples,
        solver=generate(),
        scorer=exact(),
        epochs=2,
        config=GenerateConfig(temperature=0.7, top_p=0.9, max_tokens=32, stop_seqs=["\n"]),
    )
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for name, task in (("epochs", planned), ("generated", generated)):
        model = get_model("mockllm/model", custom_outputs=outputs)
        (log,) = eval(
            task,
            model=model,
            log_dir=str(folder),
            fail_on_error=False,
            display="none",
            max_samples=1,
            max_connections=1,
        )
        whole = read_eval_log(log.location)
        whole.eval.model_args = {}  # the mock's outputs
        for sample in whole.samples or []:  # places on this machine stand in the events' tracebacks
            sample.events = []
            if sample.error is not None:
                sample.error.traceback = sample.error.traceback_ansi = ""
        whole.eval.task_file = whole.eval.revision = None
        for end in (".eval", ".json"):
            write_eval_log(whole, str(OUT / f"{name}{end}"))


main()

"""What one cell of a table says: a problem's name, a verdict, why a completion ended."""

import math

from goldpanner.interop.lines import LogRow, brief, message_text, unicode_text
from goldpanner.types import FinishReason

_CORRECT = {"true", "correct", "right", "pass", "passed", "yes", "success", "resolved", "c"}
_WRONG = {"false", "incorrect", "wrong", "fail", "failed", "no", "failure", "i"}
_NOTHING = {"", "nan", "none", "null", "na", "n/a", "unjudged"}
_LENGTH = {"length", "max_tokens", "max_length", "model_length", "truncated", "true", "1"}
_WITHHELD = {"content_filter", "refusal"}


def members(value: object) -> list[object]:
    """Return the samples of a cell: a list's members, or the cell itself. Chat messages are one text."""
    if isinstance(value, list) and not (value and isinstance(value[0], dict)):
        return value
    return [value]


def number_of(value: object) -> object:
    """Return the number that a text stands for; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() and abs(number) <= 10**15 else number


def problem_name(row: LogRow, role: str, value: object) -> str:
    """Return a problem's name: of an id, a text or whole number that is not empty; of a prompt, its text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes floats of whole numbers where one is missing
    if role == "id" and (isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > 10_000):
        row.fail(f"the id is {brief(value)}; expected text or a whole number")
    text = message_text(value) if role == "prompt" else str(value)
    if not text or not text.strip():
        row.fail(f"the {role} is {brief(value)}; expected the problem's {'text' if role == 'prompt' else 'name'}")
    return unicode_text(text)


def verdict_value(row: LogRow, name: str, value: object) -> object:
    """Return true, false, None or a number for what a cell says of a sample."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in _CORRECT or word in _WRONG:
        return word in _CORRECT
    if word in _NOTHING:
        return None
    number = number_of(word)
    if isinstance(number, str):
        row.fail(f"{name} is {brief(value)}; expected 0, 1, true, false, correct, wrong, a number, or nothing")
    return number


def finish_of(value: object) -> FinishReason:
    """Return why a completion ended, from a word or from whether it was truncated."""
    if isinstance(value, bool):
        return "length" if value else "stop"
    word = str(value).strip().lower()
    if value is None or word in _NOTHING or word == "unknown" or (isinstance(value, float) and math.isnan(value)):
        return "unknown"
    if word in _WITHHELD:
        return "withheld"
    return "length" if word in _LENGTH else "stop"

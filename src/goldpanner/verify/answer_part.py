"""Which part of a completion counts: what follows its thought, its fenced blocks, an answer without its emphasis.

Every verifier asks here (by way of `base.counted`), so that scratch work is never judged as the answer. Everything here
takes time linear in the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from goldpanner.types import Completion

Tags = tuple[tuple[str, str], ...]
"""Pairs of texts that begin and end a thought."""

TAGS: Tags = (
    *((f"<{name}>", f"</{name}>") for name in ("think", "thinking", "thought", "reasoning", "seed:think")),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
"""Tags of a thought in use, in any case; `base.AfterThought` takes others."""


def split_thought(text: str, tags: Tags = TAGS) -> tuple[str | None, str | None]:
    """Return (thought, answer): what stands before and after the last end of a thought.

    No thought: (None, text). A thought that was begun after the last end, or never ended, has no answer: (text, None).
    An end without a beginning ends a thought that the prompt's template began.
    """
    if not any(tag[0] in text for pair in tags for tag in pair):
        return None, text
    end, begun = 0, False
    for match in _pattern(tags).finditer(text):
        begun = match.lastgroup == "begin"
        end = end if begun else match.end()
    if begun:
        return text, None
    return (text[:end], text[end:]) if end else (None, text)


@lru_cache(maxsize=64)
def _pattern(tags: Tags) -> re.Pattern[str]:
    begins, ends = ("|".join(re.escape(tag).replace(">", r"\s{0,9}>") for tag in side) for side in zip(*tags))
    return re.compile(f"(?P<begin>{begins})|(?P<end>{ends})", re.IGNORECASE)


def begins_thought(prompt: str, tags: Tags = TAGS) -> bool:
    """Return whether a prompt, as the model is given it, ends within a thought that it began."""
    return prompt.rstrip().endswith(tuple(tag for tag, _ in tags))


def apart(completions: Iterable[Completion], prompt: str) -> list[Completion]:
    """Return completions of a prompt with the thought apart from the text, if the prompt ends within a thought.

    Nobody who sees the completion alone could tell a thought that has no end from an answer.
    """
    if not begins_thought(prompt):
        return list(completions)
    return [c if c.finish in ("error", "withheld") else _apart(c) for c in completions]


def _apart(completion: Completion) -> Completion:
    thought, answer = split_thought(completion.text)
    if thought is None:
        thought, answer = completion.text, None
    return replace(completion, text=answer or "", thought=thought)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of Markdown."""

    info: str
    """What stands after the fence: `python`, mostly; empty where nothing does."""
    text: str
    """Its lines, each with its end, without the indentation of the fence and of what the fence stands in."""
    closed: bool
    """Whether a closing fence ended it."""


_OPEN = re.compile(r"( {0,3})(`{3,}(?=[^`\r\n]*$)|~{3,})[ \t]*([^\r\n]*?)[ \t]*$")
_MARKER = re.compile(r"( {0,3})(?:[-+*]|[0-9]{1,9}[.)])(?:( {1,4})(?=[^ \r\n])|( )(?= {4,}\S)|(?= *\r?(?:\n|$)))")
_QUOTE = re.compile(r" {0,3}> ?")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_DEEPEST = 20
"""Lists and quotations within one another at most: time stays linear."""


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a text by CommonMark's rule (section 4.5, https://spec.commonmark.org/0.31.2/).

    A fence is three or more backticks or tildes, indented by at most three spaces beyond the list item or quotation
    that it stands in; a line of as many or more of the same sign alone closes it, or the end of the item or the text.
    What is indented more is no fence: those in a program's docstring are its text.
    """
    result: list[Block] = []
    containers: list[int] = []
    """The quotations (0) and list items (columns of indentation) that the line may lie in."""
    fence: tuple[str, int, str] | None = None
    lines: list[str] = []
    for line in _LINE.findall(text):
        rest, depth = line.expandtabs(4) if line.startswith((" ", "\t")) else line, 0
        while depth < len(containers):
            inside = _enter(rest, containers[depth])
            if inside is None:
                break
            rest, depth = inside, depth + 1
        if fence is not None and depth == len(containers):
            sign, indent, info = fence
            bare = rest.strip()
            if len(bare) >= len(sign) and not bare.strip(sign[0]) and _indent(rest) <= 3:
                result.append(Block(info, "".join(lines), True))
                fence = None
            else:
                lines.append(rest[min(indent, _indent(rest)) :])
            continue
        if fence is not None:
            result.append(Block(fence[2], "".join(lines), False))
            fence = None
        if rest.strip():
            containers = containers[:depth]
        while len(containers) < _DEEPEST and (marker := _MARKER.match(rest) or _QUOTE.match(rest)) is not None:
            containers.append(0 if marker.re is _QUOTE else max(marker.end(), len(marker[0].rstrip()) + 1))
            rest = rest[marker.end() :]
        opening = _OPEN.match(rest.rstrip("\r\n"))
        if opening is not None:
            fence, lines = (opening[2], len(opening[1]), opening[3]), []
    if fence is not None:
        result.append(Block(fence[2], "".join(lines), False))
    return result


def _enter(line: str, container: int) -> str | None:
    """Return the line without what its container takes of it; None where the line is not in the container."""
    if not container:
        quote = _QUOTE.match(line)
        return line[quote.end() :] if quote else None
    if not line.strip():
        return line.lstrip(" ")
    return line[container:] if _indent(line) >= container else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}(?!_))(?=\S)(.+?)(?<=\S)\1", re.DOTALL)


def without_emphasis(text: str) -> str:
    """Return the text without Markdown's emphasis around it: `**73**`, `__73__`, `***C***`.

    Only what wraps the whole is taken off. Between two operands the same signs are an operation: `2**3 + 3**2`.
    """
    text = text.strip()
    while len(text) < 2000 and (match := _EMPHASIS.fullmatch(text)) is not None and match[1] not in match[2]:
        text = match[2]
    return text

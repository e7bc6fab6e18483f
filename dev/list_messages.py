"""List every error and warning of the package, by file, as Markdown: `python dev/list_messages.py > dev/messages.md`.

Each says what happened, the value, and what to do. The list is made to be read as a whole.
"""

import ast
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "goldpanner"


def message(node: ast.Call) -> str:
    """Return the text of an error or warning, a name in braces where a value goes."""
    parts = [text_of(argument) for argument in (*node.args, *(k.value for k in node.keywords if k.arg == "message"))]
    return " ".join(part for part in parts if part)


def text_of(node: ast.expr) -> str:
    """Return the text of an expression, values in braces."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        values = (v if isinstance(v, ast.Constant) else v.value for v in node.values)
        return "".join(v.value if isinstance(v, ast.Constant) else f"{{{ast.unparse(v)}}}" for v in values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} | {text_of(node.orelse)}"
    return f"{{{ast.unparse(node)}}}"


def messages(path: Path) -> list[tuple[int, str, str]]:
    """Return line, kind and text of every raise, warning and message event of a file."""
    rows = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            rows.append((node.lineno, ast.unparse(node.exc.func), message(node.exc)))
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            kind = ast.unparse(node.value.func)
            if kind.endswith("Error"):
                rows.append((node.lineno, kind, message(node.value)))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "Event"):
            text = message(node) if isinstance(node.func, ast.Attribute) else event_text(node)
            rows.append((node.lineno, ast.unparse(node.func), text))
    return sorted(rows)


def event_text(node: ast.Call) -> str:
    """Return the message of a progress event, empty where it has none."""
    return next((text_of(k.value) for k in node.keywords if k.arg == "message"), "")


def main() -> None:
    """Print the list."""
    for path in sorted(SOURCE.rglob("*.py")):
        if rows := [row for row in messages(path) if row[2]]:
            sys.stdout.write(f"\n## {path.relative_to(SOURCE)}\n\n")
            for line, kind, text in rows:
                sys.stdout.write(f"- {line} {kind}: {' '.join(text.split())}\n")


if __name__ == "__main__":
    main()

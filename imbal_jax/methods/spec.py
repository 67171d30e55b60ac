"""Method specs: 'smote(k=3) | mixup(alpha=0.2)' -> words with options."""

import ast
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbal_jax.errors import UserError

LONGEST = 2000  # characters of a spec
FORM = "'name', 'name(option=value)' or several joined by ' | '"


class Word(NamedTuple):
    """One method of a spec: its name, its options, the text it came from, and that of each option's value."""

    name: str
    options: dict[str, Any]
    text: str
    texts: dict[str, str]


def written(name: str, texts: Mapping[str, str]) -> str:
    """A word of a spec from the texts of its options' values: 'name(option=text)', or 'name' without any."""
    return f"{name}({', '.join(f'{option}={text}' for option, text in texts.items())})" if texts else name


def parse(spec: str) -> list[Word]:
    """The words of a spec, in order. Option values are numbers, strings (quotes may be left out), True, False or None.

    Raises:
        UserError: the text has another form.
    """
    if len(spec) > LONGEST:
        raise UserError(f"method {spec[:60]!r}... has {len(spec)} characters: at most {LONGEST} are possible")
    if too_nested(spec):
        raise UserError(f"method {_short(spec)} cannot be read; write {FORM}")
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
        return [_word(spec, node) for node in _joined(tree)]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:  # all of what Python's parser raises
        raise UserError(f"method {_short(spec)} cannot be read; write {FORM}") from error


def too_nested(text: str) -> bool:
    """Whether brackets or signs are nested deeper than anyone writes them: Python's parser is recursive, and would fail."""
    depth = deepest = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    return deepest > 20 or re.search(r"(?:[-+~!]\s*){20}|(?:\bnot\b\s*){20}", text) is not None


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")


def _joined(node: ast.expr) -> list[ast.expr]:
    words = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        words.append(node.right)
        node = node.left
    return [node, *reversed(words)]


def _word(spec: str, node: ast.expr) -> Word:
    if isinstance(node, ast.Name):
        return Word(node.id, {}, node.id, {})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        options = {str(k.arg): _value(spec, k.value) for k in node.keywords}
        texts = {str(k.arg): ast.unparse(k.value) for k in node.keywords}
        return Word(node.func.id, options, ast.unparse(node), texts)
    raise UserError(f"method {_short(spec)} cannot be read; write {FORM}")


def _value(spec: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:  # TypeError: a dict or a set of what cannot be hashed
        raise UserError(f"method {_short(spec)}: {_short(ast.unparse(node))} is not a number or a word") from error

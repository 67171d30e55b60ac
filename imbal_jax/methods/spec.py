"""Method specs: 'smote(k=3) | mixup(alpha=0.2)' -> words with options."""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbal_jax.errors import UserError

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
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
    except SyntaxError as error:
        raise UserError(f"method {spec!r} cannot be read; write {FORM}") from error
    return [_word(spec, node) for node in _joined(tree)]


def _joined(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_joined(node.left), *_joined(node.right)]
    return [node]


def _word(spec: str, node: ast.expr) -> Word:
    if isinstance(node, ast.Name):
        return Word(node.id, {}, node.id, {})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        options = {str(k.arg): _value(spec, k.value) for k in node.keywords}
        texts = {str(k.arg): ast.unparse(k.value) for k in node.keywords}
        return Word(node.func.id, options, ast.unparse(node), texts)
    raise UserError(f"method {spec!r} cannot be read; write {FORM}")


def _value(spec: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UserError(f"method {spec!r}: {ast.unparse(node)!r} is not a number or a word") from error

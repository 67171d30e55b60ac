"""The call grammar of methods, induced imbalance and stop rules: 'smote(k=3) | mixup(alpha=0.2)' -> words with options."""

import ast
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbal_jax.errors import UserError

LONGEST = 2000  # characters of a spec
LONGEST_LITERAL = 20_000
FORM = "'name', 'name(option=value)' or several joined by ' | '"


class Word(NamedTuple):
    """One call of a spec.

    Attributes:
        name: may be dotted, 'my_package.my_method': a module outside of the package.
        options: name -> value.
        text: the call as text.
        texts: name of an option -> its value as text.
    """

    name: str
    options: dict[str, Any]
    text: str
    texts: dict[str, str]


def written(name: str, texts: Mapping[str, str]) -> str:
    """A call as text, from the texts of its options' values: 'name(option=text)', or 'name' without options."""
    return f"{name}({', '.join(f'{option}={text}' for option, text in texts.items())})" if texts else name


def parse(text: str, what: str = "method", form: str = FORM) -> list[Word]:
    """The words of a spec, in order. Option values are numbers, strings (quotes may be left out), True, False or None.

    Args:
        text: the spec.
        what: the name of the thing described, for the message.
        form: the grammar, for the message.

    Raises:
        UserError: the text does not follow the grammar.
    """
    problem = UserError(f"{what} {_short(text)} cannot be parsed: write {form}")
    if len(text) > LONGEST:
        raise UserError(f"{what} {text[:60]!r}... must have at most {LONGEST} characters (got {len(text)})")
    if too_nested(text):
        raise problem
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:  # everything that Python's parser raises
        raise problem from error
    words = [_word(node, f"{what} {_short(text)}") for node in _joined(tree)]
    if not all(words):
        raise problem
    return [word for word in words if word]


def literal(text: str) -> Any:
    """The value of a text that is a Python literal, such as a dict.

    Raises:
        ValueError: it is not a literal, or it is too long or too deeply nested.
    """
    if len(text) > LONGEST_LITERAL or too_nested(text):
        raise ValueError("too long, or nested too deeply")
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("not a literal") from error


def too_nested(text: str) -> bool:
    """Whether brackets or signs are nested more than 20 deep: Python's parser is recursive, and would fail."""
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


def _word(node: ast.expr, text: str) -> Word | None:
    """The call that a node of Python's syntax tree is, or None; `text` names the spec in messages."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = _dotted(call.func)
    if name is None or call.args:
        return None
    options = {str(k.arg): _value(k.value, text) for k in call.keywords}
    texts = {str(k.arg): ast.unparse(k.value) for k in call.keywords}
    return Word(name, options, ast.unparse(node), texts)


def _dotted(node: ast.expr) -> str | None:
    """'a.b' of the node of a name or of an attribute of one."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else None


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError) as error:  # TypeError: unhashable items of a dict or a set
        raise UserError(f"{text}: the value {_short(ast.unparse(node))} must be a number or a word") from error

"""docs/architecture.md names files and functions: they are there, and no walk is longer than six files."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
WALKS = [title for title in SECTIONS if title.startswith(("Walk", "Dive"))]


def defined(path: Path) -> set[str]:
    """The names that a module defines at its top level."""
    nodes = ast.parse(path.read_text()).body
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    return names | {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_names_files_and_functions_that_exist(title):
    items = re.split(r"^\d+\. ", SECTIONS[title], flags=re.MULTILINE)[1:]
    files = [re.match(r"`([\w/]+\.py)`", item) for item in items]
    assert all(files) and 1 < len({match[1] for match in files if match}) <= 6
    for item, match in zip(items, files, strict=True):
        path = ROOT / match[1]
        names = re.findall(r"`([A-Za-z_]\w*)`", item.split("\n\n")[0])
        functions = [name for name in names if not (ROOT / "imbal_jax" / "methods" / name).is_dir()]
        assert path.is_file() and set(functions) <= defined(path), (title, item)


def test_every_folder_is_explained():
    folders = {path.parent.name for path in (ROOT / "imbal_jax").glob("*/__init__.py")}
    cells = re.findall(r"^\| (`.*?) \|", SECTIONS["Folders"], re.MULTILINE)
    assert folders == {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}

"""Holds the order of the modules: imports run downwards only. Reads the sources; imports nothing."""

import ast
import pathlib
from collections.abc import Iterable

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imbal_jax"
# From the bottom up. A module may import from lower rows and from its own package, not from its neighbours in a row.
ORDER = [
    {"errors"},
    {"extensions", "fields", "seed_range", "spec"},
    {"artifacts", "ops"},
    {"runtime"},
    {"data"},
    {"config"},
    {"saved_config"},
    {"flags"},
    {"models"},
    {"gan"},
    {"methods"},
    {"train", "adapters"},
    {"evaluate"},
    {"report"},
    {"arms"},
    {"stages"},
    {"export"},
    {"sweep"},
    {"start_message"},
    {"experiment"},
    {"evidence"},
    {"launch"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
LAZY = {
    "tensorflow_datasets",
    "mlxtend",
    "array_record",
    "matplotlib",
    "jinja2",
    "scipy",
    "PIL",
    "ml_collections",
    "tensorboardX",
    "wfdb",
    "pywt",
    "pandas",
}
MODULES = sorted(PACKAGE.rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def dotted(path: pathlib.Path) -> str:
    """imbal_jax/gan/step.py -> imbal_jax.gan.step; a package's __init__.py -> the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(nodes: Iterable[ast.AST], module: str, is_package: bool) -> set[str]:
    """Full names of everything imported in the nodes, relative imports resolved; `from a import b` gives 'a.b'."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def imports_of(path: pathlib.Path) -> set[str]:
    """Everything a file imports, inside functions too."""
    return imported(ast.walk(ast.parse(path.read_text())), dotted(path), path.name == "__init__.py")


def part(name: str) -> str:
    """The part of the library a full name lies in: imbal_jax.gan.step -> gan; '' for imbal_jax itself."""
    return name.split(".")[1] if "." in name else ""


def wrong(module: str, names: set[str]) -> list[str]:
    """The imports that do not run downwards."""
    own = part(module) if module.startswith("imbal_jax") else module
    ours = {name for name in names if name.split(".")[0] == "imbal_jax"}
    if not own:
        return sorted(ours)
    assert own in RANK, f"{module}: new part of the library; give it a place in the order"
    return sorted(name for name in ours if part(name) not in ("", own) and RANK[part(name)] >= RANK[own])


def identity(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=identity)
def test_imports_run_downwards(path):
    upwards = wrong(dotted(path), imports_of(path))
    assert not upwards, f"{identity(path)} imports upwards or sideways: {', '.join(upwards)}"


@pytest.mark.parametrize("path", MODULES, ids=identity)
def test_linen_stays_in_models(path):
    flax = sorted(name for name in imports_of(path) if name.split(".")[0] == "flax")
    assert not flax or part(dotted(path)) == "models", f"{identity(path)} imports {', '.join(flax)}"


@pytest.mark.parametrize("path", MODULES, ids=identity)
def test_heavy_packages_are_imported_where_they_are_used(path):
    if part(dotted(path)) == "adapters":
        return  # for the users of a package that brings these along; nothing else imports it
    top = imported(ast.parse(path.read_text()).body, dotted(path), path.name == "__init__.py")
    heavy = sorted(name for name in top if name.split(".")[0] in LAZY)
    assert not heavy, f"{identity(path)}: move the import of {', '.join(heavy)} into the function that needs it"


@pytest.mark.parametrize("path", CONFIGS, ids=identity)
def test_configs_stand_alone(path):
    """But for the base, which takes all fields from the package's declarations."""
    ours = {name for name in imports_of(path) if name.split(".")[0] in ("imbal_jax", "jax")}
    assert ours <= ({"imbal_jax.config.defaults"} if path.name == "base.py" else set())


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=identity)
def test_only_the_peers_import_the_peers(path):
    foreign = {name.split(".")[0] for name in imports_of(path)} & {"keras", "tensorflow", "torch"}
    assert not foreign or path.parent.name == "peers"


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("imbal_jax.data.mnist", "from imbal_jax.data import idx\nfrom imbal_jax.errors import UserError", []),
        ("imbal_jax.data.mnist", "from imbal_jax.gan import step", ["imbal_jax.gan.step"]),
        ("imbal_jax.data.mnist", "def f():\n    import imbal_jax.gan.step", ["imbal_jax.gan.step"]),
        ("imbal_jax.data.mnist", "from ..gan.step import g", ["imbal_jax.gan.step.g"]),
        ("imbal_jax.data.mnist", "from . import idx", []),
        ("imbal_jax.data.mnist", "from imbal_jax import experiment", ["imbal_jax.experiment"]),
        ("imbal_jax.artifacts.checkpoint", "from imbal_jax.runtime import lanes", ["imbal_jax.runtime.lanes"]),
        ("imbal_jax", "from imbal_jax import errors", ["imbal_jax.errors"]),
        ("launch", "from imbal_jax import experiment", []),
    ],
)
def test_the_check_sees_each_kind_of_import(module, source, found):
    assert wrong(module, imported(ast.walk(ast.parse(source)), module, False)) == found

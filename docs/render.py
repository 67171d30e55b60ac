"""Writes every table of docs/results, every figure of README and docs/config.md: python -m docs.render.

A figure of README (or LOG) stands between <!-- figure:NAME --> and <!-- /figure:NAME -->. NAME is a folder of docs/results
(its arms and differences), 'experiments' (the list of configs: docs/experiments.json) or 'speed' (benchmarks/results.jsonl).
"""

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path

from docs import config_page, experiments, folders, speed, tables

MARKS = re.compile(r"(<!-- figure:([\w-]+) -->\n).*?(<!-- /figure:\2 -->)", re.DOTALL)
SPECIAL: dict[str, Callable[[], str]] = {"experiments": experiments.table, "speed": speed.table}


def rendered() -> dict[Path, str]:
    """What the files should hold, by path.

    Raises:
        UserError: a folder lacks a file, or one is damaged.
    """
    pages = {folders.RESULTS / name / "table.md": tables.page(folders.read(name)) for name in folders.names()}
    documents = (folders.ROOT / "README.md", folders.ROOT / "docs" / "LOG.md")
    pages[folders.ROOT / "docs" / "config.md"] = config_page.page()
    return {**pages, **{path: filled(path.read_text()) for path in documents}}


def filled(text: str) -> str:
    """A document with its figures made anew."""
    return MARKS.sub(lambda match: f"{match[1]}{_figure(match[2])}\n{match[3]}", text)


@functools.cache
def _figure(name: str) -> str:
    make = SPECIAL.get(name, lambda: tables.region(folders.read(name)))
    return make().rstrip("\n")


def main() -> int:
    """Write what has changed."""
    for path, text in rendered().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(folders.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

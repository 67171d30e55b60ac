"""docs/config.md, the reference of all config fields, from their declarations in imbal_jax/config.py and imbal_jax/data."""

import textwrap

from imbal_jax import data
from imbal_jax.config import PARTS
from imbal_jax.fields import Field, bounds_of, choices_of

TITLES = {
    "experiment": "The experiment",
    "data": "Data, whatever the data set",
    "cut": "Induced imbalance",
    "gan": "The GAN",
    "classifier": "The classifier",
    "quality": "How generated rows are measured",
    "runtime": "How it is computed",
}
HEAD = """# Configuration reference

Rendered by `make results` from the declarations in `imbal_jax/config.py` and `imbal_jax/data`; do not edit.

Every field can be set on the command line, as `--config.gan.epochs=10`. `launch.py --help_config=gan.epochs` prints one,
`--help_config=gan` a part, `--help_config` all of them. The defaults below are those of `configs/base.py`; the files in
`configs/` set what is particular to them.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_section(TITLES[name], fields) for name, fields in PARTS.items()]
    parts += [_section(f"Data set `{name}`", data.fields(name)) for name in data.names() if data.fields(name)]
    return "\n".join([HEAD, *parts])


def _section(title: str, fields: tuple[Field, ...]) -> str:
    return "\n".join([f"## {title}\n", *map(_entry, fields), ""])


def _entry(field: Field) -> str:
    if known := choices_of(field):
        allowed = f" One of {', '.join(f'`{choice!r}`' for choice in known)}."
    else:
        allowed = f" {bounds[0].upper()}{bounds[1:]}." if (bounds := bounds_of(field)) else ""
    text = f"- `{field.name}` = `{field.default!r}`: {field.doc}{allowed}"
    return textwrap.fill(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)

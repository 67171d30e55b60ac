"""Command-line flags with errors that help: unknown fields with the nearest names, files that are not there."""

import re
import sys
from pathlib import Path

from absl import flags

from imbal_jax.errors import nearest


def parse(argv: list[str]) -> list[str]:
    """Parse `argv` for `absl.app.run`; a mistake prints one line and exits with 2."""
    try:
        rest = flags.FLAGS(argv)
        if flags.FLAGS["config"].value is None:
            raise ValueError("no experiment: give --config=configs/NAME.py")
        if len(rest) > 1:
            raise ValueError(f"{rest[1]!r} is not understood: flags are --config=FILE, --config.FIELD=VALUE and --workdir=DIR")
        return rest
    except Exception as error:
        print(f"error: {_explain(argv, error)}", file=sys.stderr)
        sys.exit(2)


def _explain(argv: list[str], error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    asked = next((a.split("=", 1)[1] for a in argv if re.match(r"--?config=", a)), None)
    if asked is None:
        return text if text.startswith("no experiment") else f"no experiment: give --config=configs/NAME.py ({text})"
    path = Path(asked.split(":")[0])
    if not path.is_file():
        there = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        return f"there is no config file {str(path)!r}{nearest(str(path), there)}"
    fields = [m.group(1) for a in argv if (m := re.match(r"--?config\.([\w.]+)", a))]
    for field in fields:
        if known := _missing_in(asked, field):
            return f"unknown config field {field!r}{nearest(field, known)}"
    return text


def _missing_in(asked: str, field: str) -> list[str]:
    """All field names of the config when `field` is not one of them."""
    from ml_collections import config_flags

    holder = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=holder)
    try:
        holder(["", f"--config={asked}"])
    except Exception:
        return []
    names = _fields(holder["config"].value.to_dict())
    return [] if field in names else names


def _fields(tree: dict, prefix: str = "") -> list[str]:
    names = []
    for name, value in tree.items():
        names.append(prefix + name)
        if isinstance(value, dict):
            names += _fields(value, f"{prefix}{name}.")
    return names

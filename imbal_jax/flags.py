"""Command-line flags with errors that help: unknown fields with the nearest names, files that are not there."""

import ast
import re
import sys
from pathlib import Path
from typing import Any

from absl import flags

from imbal_jax import saved_config, seed_range
from imbal_jax.config import help_text
from imbal_jax.errors import UserError, nearest

USE = (
    "flags are --config=FILE, --config.FIELD=VALUE, --workdir=DIR, --compilation_cache=DIR, --distributed (with --coordinator, "
    "--processes, --process), --continue=DIR, --collect=DIR (with --into, --replace), --report=DIR[,DIR ...], --sample=DIR "
    "(with --class, --count, --epoch, --seed, --latent_seed, --format, --out), --summary, --list_methods and "
    "--help_config[=FIELD]"
)
flags.disclaim_key_flags()  # --help shows them as those of the program that calls `define`
KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a tuple of quoted words in brackets"}

TEXTS = {
    "workdir": "Where results go; runs/<config name>-<time> by default. The same command goes on where it stopped.",
    "compilation_cache": "Where compiled programs are kept; $IMBAL_CACHE_DIR or ~/.cache/imbal_jax by default.",
    "report": "Write a workdir's report anew, or join several (--report=DIR,DIR) into one in --workdir; trains nothing.",
    "sample": "Draw rows from a finished run's generator: its workdir, or a folder with generator checkpoints in it.",
    "continue": "Train what a folder of docs/results lacks: its config and rows, in --workdir; runs/NAME by default.",
    "collect": "Write a workdir's rows and curves to the folder of docs/results that it continues; trains nothing.",
    "help_config": "Print the documentation of a config field, of a part such as 'gan', or, with nothing, of all, and stop.",
    "into": "With --collect: the folder, where the workdir continues none.",
    "out": "With --sample: where the files go; WORKDIR/samples by default.",
    "coordinator": "HOST:PORT of process 0; not needed on TPU VMs and under SLURM, nor are the next two.",
}
NUMBERS = {  # the default, the least, the help
    "processes": (None, 1, "How many processes there are."),
    "process": (None, 0, "Which of them this is, from 0."),
    "count": (64, 1, "With --sample: rows of each class."),
    "epoch": (None, 0, "With --sample: of the checkpoint; by default what config.gan.select chose, or the newest."),
    "seed": (None, 0, "With --sample: whose generator draws; the first of the checkpoint's by default."),
    "latent_seed": (0, 0, "With --sample: random seed of the latent vectors."),
}
SAMPLING = ("class", "count", "epoch", "seed", "latent_seed", "format", "out")  # mean nothing without --sample
SWITCHES = {
    "summary": "Print the experiment's networks, layer by layer with shapes and parameters, and stop.",
    "list_methods": "Print every balancing method with its options and its paper, and stop.",
    "replace": "With --collect: the workdir's arms take the place of the folder's, which were measured wrongly.",
    "distributed": "One of several processes of one experiment: start the same command on every host.",
}


def define(values: flags.FlagValues = flags.FLAGS, argv: list[str] | None = None) -> None:
    """Define the flags of launch.py; `argv` is searched for overrides of config fields (`sys.argv` by default)."""
    from ml_collections import config_flags

    file_help = "The experiment: a file in configs/, with :VARIANT if it has any."
    folder = _asked(sys.argv if argv is None else argv, "continue")
    if folder and not _wrong_fields(folder, argv):
        config_flags.DEFINE_config_dict("config", saved_config.read(Path(folder)), file_help, flag_values=values, sys_argv=argv)
    else:  # of a folder that cannot be read, `parse` says what is wrong
        config_flags.DEFINE_config_file("config", None, file_help, flag_values=values, sys_argv=argv)
    for name, shown in TEXTS.items():
        flags.DEFINE_string(name, None, shown, flag_values=values)
    for name, shown in SWITCHES.items():
        flags.DEFINE_boolean(name, False, shown, flag_values=values)
    for name, (default, least, shown) in NUMBERS.items():
        flags.DEFINE_integer(name, default, shown, lower_bound=least, upper_bound=2**32 - 1, flag_values=values)
    classes = "With --sample: names of classes, with commas between or one flag each; default: all that can be drawn."
    flags.DEFINE_multi_string("class", [], classes, flag_values=values)
    forms = "With --sample: png (the default for images) or npz."
    flags.DEFINE_enum("format", None, ["png", "npz"], forms, flag_values=values)


def _wrong_fields(folder: str, argv: list[str] | None) -> bool:
    """Whether a folder has no config that can be read, or fields are overridden that it does not have."""
    try:
        known = _names(saved_config.read(Path(folder)).to_dict())
    except UserError:
        return True
    return any(field not in known for field, _ in _overrides(sys.argv if argv is None else argv))


def parse(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parse `argv` for `absl.app.run`; a mistake prints one line and exits with 2."""
    argv = ["--help_config=" if bare else word for word, bare in zip(argv, _without_value(argv, "help_config"), strict=True)]
    try:
        plain, asked_seeds = _without_seeds(_with_baselines(argv))
        rest = values(plain)
        if values["report"].present and not values["report"].value:
            raise ValueError("--report needs a folder: a run's workdir, or several after one another")
        _check_sampling(argv, values, rest)
        _check_collecting(values)
        if values["help_config"].present:
            help_text(values["help_config"].value or "")
        elif not any(values[name].present for name in ("sample", "collect", "report")) and not values["list_methods"].value:
            _check(argv, values, rest)
            _set_seeds(values["config"].value, asked_seeds)
        return rest
    except Exception as error:
        problem = error  # explained outside of this block: in it, Python would make it the context of what follows
    print(f"error: {_explain(argv, problem)}", file=sys.stderr)
    sys.exit(2)


def _without_value(argv: list[str], flag: str) -> list[bool]:
    """For each word whether it is that flag, and what follows is another flag or nothing."""
    following = [*argv[1:], "--"]
    return [word == f"--{flag}" and after.startswith("--") for word, after in zip(argv, following, strict=True)]


def _check_sampling(argv: list[str], values: flags.FlagValues, rest: list[str]) -> None:
    """Raise ValueError for flags that mean nothing without --sample, or beside it."""
    if not values["sample"].present:
        if given := [name for name in SAMPLING if values[name].present]:
            raise ValueError(f"--{given[0]} needs --sample=DIR")
        return
    if not values["sample"].value:
        raise ValueError("--sample needs a folder: a run's workdir, or one in it with generator checkpoints")
    others = [name for name in ("config", "report", "workdir", "list_methods", "distributed") if values[name].present]
    if others or _overrides(argv):
        first = others[0] if others else "config"
        why = "--out says where the files go" if first == "workdir" else "the run's own config is read"
        raise ValueError(f"--{first} has no place beside --sample: {why}")
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r} is not understood: {USE}")


def _check_collecting(values: flags.FlagValues) -> None:
    """Raise ValueError for --into without --collect, and for --continue or --collect beside what they exclude."""
    if values["into"].present and not values["collect"].present:
        raise ValueError("--into needs --collect=WORKDIR")
    if values["replace"].value and not values["collect"].present:
        raise ValueError("--replace needs --collect=WORKDIR")
    for name in ("continue", "collect"):
        if values[name].present and not values[name].value:
            raise ValueError(f"--{name} needs a folder")
    if values["collect"].present and (values["config"].present or values["continue"].present):
        raise ValueError("--collect has no place beside --config and --continue: the run's own config is read")
    if folder := values["continue"].value:
        saved_config.read(Path(str(folder)))


def _check(argv: list[str], values: flags.FlagValues, rest: list[str]) -> None:
    """Raise ValueError for what absl and ml_collections let pass."""
    from ml_collections import ConfigDict

    asked, kept = _asked(argv), values["continue"].value
    if asked and not isinstance(values["config"].value, ConfigDict):
        raise ValueError("the config file could not be used")
    if not asked and not kept:
        raise ValueError("no experiment: give --config=configs/NAME.py")
    if any(isinstance(_default(str(asked or kept), field), ConfigDict) for field, _ in _overrides(argv)):
        raise ValueError("a group of fields cannot be set at once")
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r} is not understood: {USE}")
    given = [name for name in ("coordinator", "processes", "process") if values[name].value is not None]
    if given and not values["distributed"].value:
        raise ValueError(f"--{given[0]} needs --distributed")
    if given and len(given) < 3:
        raise ValueError("--coordinator, --processes and --process go together: give all three, or none of them")


def _explain(argv: list[str], error: Exception) -> str:
    """One line about a mistake in `argv`."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    asked, kept = _asked(argv), _asked(argv, "continue")
    if asked is not None and kept is not None:
        return "--config has no place beside --continue: the folder's own config is read"
    if isinstance(error, UserError) or re.match(r"--(into|replace|collect|continue)\b", text):
        return text
    if _asked(argv, "sample") is not None or re.match(r"--\w+ needs (--sample|a folder)", text):
        return text
    if kept and not asked:
        return _explain_fields(argv, error, text, kept)
    if not asked:
        return text if text.startswith("no experiment") else f"no experiment: give --config=configs/NAME.py ({text})"
    path = Path(asked.split(":")[0])
    if not _is_file(path):
        folders = {path.parent if len(str(path)) < 1000 else Path("configs"), Path("configs")}
        there = sorted({str(p) for folder in folders for p in folder.glob("*.py")})
        return f"there is no config file {str(path)!r:.200}{nearest(str(path), there) or _listed(there)}"
    return _explain_fields(argv, error, text, asked)


def _explain_fields(argv: list[str], error: Exception, text: str, asked: str) -> str:
    """The same of a mistake in the fields that are overridden; `asked` is a config file, or a folder with a config."""
    try:
        known = _names(_load(asked).to_dict())
    except Exception as reason:  # a config file is a program: anything may be wrong with it
        return f"config file {asked}: {_root(reason)}"
    for field, value in _overrides(argv):
        if field not in known:
            return f"unknown config field {field!r}{nearest(field, known)}"
        if any(name.startswith(f"{field}.") for name in known):
            return f"--config.{field}={value}: {field!r} is a group of fields; use --config.{field}.FIELD=VALUE"
        if isinstance(error, flags.IllegalFlagValueError) and f"--config.{field}={value}:" in text:
            default = _default(asked, field)
            if field == "seeds":
                return f"--config.seeds={value}: it must be a whole number, as 8 is, or a range, as 8:16 for the seeds 8 to 15"
            return f"--config.{field}={value}: it must be {KINDS.get(type(default), 'text')}, as {default!r} is"
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _asked(argv: list[str], flag: str = "config") -> str | None:
    """The value of --config, or of another flag."""
    for i, word in enumerate(argv):
        if found := re.fullmatch(rf"--?{flag}(?:=(.*))?", word, re.DOTALL):
            return found[1] if found[1] is not None else next(iter(argv[i + 1 :]), None)
    return None


def _overrides(argv: list[str]) -> list[tuple[str, str]]:
    """Fields of the config that are overridden, with the text given (after '=')."""
    found = (re.fullmatch(r"--?config\.([\w.]+)(?:=(.*))?", word, re.DOTALL) for word in argv)
    return [(match[1], match[2] or "") for match in found if match]


def _given(argv: list[str], field: str) -> list[tuple[int, int, str]]:
    """Where a field of the config is overridden: the first word, the one after the last, and the text given."""
    found = []
    for i, word in enumerate(argv):
        if match := re.fullmatch(rf"--?config\.{field}(?:=(.*))?", word, re.DOTALL):
            if match[1] is not None:
                found.append((i, i + 1, match[1]))
            elif i + 1 < len(argv):
                found.append((i, i + 2, argv[i + 1]))
    return found


def _with_baselines(argv: list[str]) -> list[str]:
    """The command line with all that is said of config.baselines as one Python tuple.

    Raises:
        ValueError: an empty method between semicolons, or methods with commas between them.
    """
    given = _given(argv, "baselines")
    if not given:
        return argv
    specs = [spec for _, _, text in given for spec in _specs(text)]
    first, end, _ = given[0]
    others = {i for start, stop, _ in given[1:] for i in range(start, stop)}
    rest = [word for i, word in enumerate(argv) if i >= end and i not in others]
    return [*argv[:first], f"--config.baselines={tuple(specs)!r}", *rest]


def _specs(text: str) -> list[Any]:
    """'none; over | affine' -> the two methods; a Python tuple -> what is in it."""
    try:
        value = ast.literal_eval(text.strip())
        return list(value) if isinstance(value, (tuple, list)) else [value if isinstance(value, str) else text]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all of what Python's parser raises
        parts = [part.strip() for part in text.split(";")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # one semicolon too many at the end does no harm
    wrong = f"--config.baselines={text:.200}"
    if not all(parts):
        raise ValueError(f"{wrong}: a method is missing; write them with ';' between, as 'none; over; over | affine'")
    for part in parts:
        if "," in re.sub(r"\([^()]*\)", "", part) and not part.startswith("("):
            raise ValueError(f"{wrong}: methods are separated by ';', not ','; write them as 'none; over; over | affine'")
    return list(parts)


def _without_seeds(argv: list[str]) -> tuple[list[str], str | None]:
    """The command line without a range of seeds, which is no number as the field's default is, and that range."""
    given = _given(argv, "seeds")
    if not given or ":" not in given[-1][2]:
        return argv, None
    left_out = {i for start, stop, _ in given for i in range(start, stop)}
    return [word for i, word in enumerate(argv) if i not in left_out], given[-1][2]


def _set_seeds(config: Any, asked: str | None) -> None:
    """Put a range of seeds into the config; seeds from 0 on as their number, whatever the config had before.

    Raises:
        UserError: no such seeds.
    """
    if asked is None and not isinstance(config.get("seeds"), str):
        return
    with config.ignore_type():
        config.seeds = seed_range.written(seed_range.of(config.seeds if asked is None else asked))


def _load(asked: str) -> Any:
    """The config of FILE[:VARIANT], or of a folder, without overrides; raises what the file raises."""
    from ml_collections import ConfigDict, config_flags

    if Path(asked).is_dir():
        return saved_config.read(Path(asked))
    holder = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=holder, sys_argv=[])
    holder(["", f"--config={asked}"])
    config = holder["config"].value
    if isinstance(config, ConfigDict):
        return config
    getattr(config, "to_dict", None)  # a file that could not be read shows itself when it is used
    raise ValueError("get_config() returns no ConfigDict")


def _default(asked: str, field: str) -> Any:
    value = _load(asked)
    for name in field.split("."):
        value = value[name]
    return value


def _root(error: BaseException) -> str:
    """The reason behind an error that was caught and raised again."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _listed(files: list[str]) -> str:
    return f"; there are: {', '.join(files)}" if files else ""


def _names(tree: dict, prefix: str = "") -> list[str]:
    """All fields of a nested dict, groups included, as 'gan.epochs'."""
    names = []
    for name, value in tree.items():
        names.append(prefix + name)
        if isinstance(value, dict):
            names += _names(value, f"{prefix}{name}.")
    return names

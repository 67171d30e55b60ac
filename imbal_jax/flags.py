"""Command-line flags; mistakes in them become one line with suggestions, such as the nearest names of a field."""

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
    "workdir": "The folder of the results; runs/<config name>-<time> by default. The same command resumes where it stopped.",
    "compilation_cache": "The folder of compiled programs; $IMBAL_CACHE_DIR or ~/.cache/imbal_jax by default.",
    "report": "Write a workdir's report again, or join several (--report=DIR,DIR) into one in --workdir; nothing is trained.",
    "sample": "Draw rows from a run's generator: give its workdir, or a folder with generator checkpoints in it.",
    "continue": "Train the missing arms and seeds of a folder of docs/results, in --workdir; runs/NAME by default.",
    "collect": "Add a workdir's rows and curves to the folder of docs/results that it continues; nothing is trained.",
    "help_config": "Print the documentation of a config field, of a part such as 'gan', or without a value of all fields.",
    "into": "With --collect: the folder to add to, if the workdir continues none.",
    "out": "With --sample: the output folder; WORKDIR/samples by default.",
    "coordinator": "HOST:PORT of process 0; on TPU VMs and under SLURM, neither this nor --processes and --process is needed.",
}
NUMBERS = {  # the default, the minimum, the help
    "processes": (None, 1, "Number of processes."),
    "process": (None, 0, "Number of this process, from 0."),
    "count": (64, 1, "With --sample: rows of each class."),
    "epoch": (
        None,
        0,
        "With --sample: epoch of the checkpoint; by default the one that config.gan.select chose, or the newest.",
    ),
    "seed": (None, 0, "With --sample: seed of the generator; the first of the checkpoint's by default."),
    "latent_seed": (0, 0, "With --sample: random seed of the latent vectors."),
}
SAMPLING = ("class", "count", "epoch", "seed", "latent_seed", "format", "out")  # need --sample
SWITCHES = {
    "summary": "Print the experiment's networks, layer by layer with shapes and parameters; nothing is trained.",
    "list_methods": "Print every balancing method with its options and its paper; nothing is trained.",
    "replace": "With --collect: the workdir's arms replace the folder's arms of the same names.",
    "distributed": "Run as one of several processes of the experiment: start the same command on every host.",
}


def define(values: flags.FlagValues = flags.FLAGS, argv: list[str] | None = None) -> None:
    """Define the flags of launch.py; overrides of config fields are read from `argv` (`sys.argv` by default)."""
    from ml_collections import config_flags

    file_help = "The experiment: a file in configs/, with :VARIANT if it has any."
    folder = _asked(sys.argv if argv is None else argv, "continue")
    if folder and not _wrong_fields(folder, argv):
        config_flags.DEFINE_config_dict("config", saved_config.read(Path(folder)), file_help, flag_values=values, sys_argv=argv)
    else:  # for a folder that cannot be read, `parse` reports the error
        config_flags.DEFINE_config_file("config", None, file_help, flag_values=values, sys_argv=argv)
    for name, shown in TEXTS.items():
        flags.DEFINE_string(name, None, shown, flag_values=values)
    for name, shown in SWITCHES.items():
        flags.DEFINE_boolean(name, False, shown, flag_values=values)
    for name, (default, least, shown) in NUMBERS.items():
        flags.DEFINE_integer(name, default, shown, lower_bound=least, upper_bound=2**32 - 1, flag_values=values)
    classes = "With --sample: names of classes, separated by commas or one per flag; default: all that can be drawn."
    flags.DEFINE_multi_string("class", [], classes, flag_values=values)
    forms = "With --sample: png (the default for images) or npz."
    flags.DEFINE_enum("format", None, ["png", "npz"], forms, flag_values=values)


def _wrong_fields(folder: str, argv: list[str] | None) -> bool:
    """Whether a folder's config cannot be read, or lacks a field that is overridden."""
    try:
        fields = _names(saved_config.read(Path(folder)).to_dict())
    except UserError:
        return True
    return any(field not in fields for field, _ in _overrides(sys.argv if argv is None else argv))


def parse(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parse `argv` for `absl.app.run`; on a mistake, print one line and exit with status 2."""
    argv = ["--help_config=" if bare else word for word, bare in zip(argv, _without_value(argv, "help_config"), strict=True)]
    try:
        plain, asked_seeds = _without_seeds(_with_baselines(argv))
        rest = values(plain)
        if values["report"].present and not values["report"].value:
            raise ValueError("--report needs a folder: a run's workdir, or several separated by commas")
        _check_sampling(argv, values, rest)
        _check_collecting(values)
        if values["help_config"].present:
            config_help(values)
        elif not any(values[name].present for name in ("sample", "collect", "report")) and not values["list_methods"].value:
            _check(argv, values, rest)
            _set_seeds(values["config"].value, asked_seeds)
        return rest
    except Exception as error:
        problem = error  # explained after this block, in which Python would chain later errors to this one
    print(f"error: {_explain(argv, problem)}", file=sys.stderr)
    sys.exit(2)


def config_help(values: flags.FlagValues) -> str:
    """What --help_config asks for, with the fields of the data set where a config is given.

    Raises:
        UserError: the field does not exist.
    """
    config = values["config"].value
    return help_text(values["help_config"].value or "", config.data.name if config else "")


def _without_value(argv: list[str], flag: str) -> list[bool]:
    """For each word, whether it is that flag and is followed by another flag or by nothing."""
    following = [*argv[1:], "--"]
    return [word == f"--{flag}" and after.startswith("--") for word, after in zip(argv, following, strict=True)]


def _check_sampling(argv: list[str], values: flags.FlagValues, rest: list[str]) -> None:
    """Raise ValueError for flags that need --sample, or that exclude it."""
    if not values["sample"].present:
        if given := [name for name in SAMPLING if values[name].present]:
            raise ValueError(f"--{given[0]} needs --sample=DIR")
        return
    if not values["sample"].value:
        raise ValueError("--sample needs a folder: a run's workdir, or a folder in it with generator checkpoints")
    excluded = [name for name in ("config", "report", "workdir", "list_methods", "distributed") if values[name].present]
    if excluded or _overrides(argv):
        first = excluded[0] if excluded else "config"
        why = "give the output folder as --out" if first == "workdir" else "the run's own config is used"
        raise ValueError(f"--{first} cannot be combined with --sample: {why}")
    if len(rest) > 1:
        raise ValueError(f"unknown argument {rest[1]!r}: {USE}")


def _check_collecting(values: flags.FlagValues) -> None:
    """Raise ValueError for --into without --collect, and for flags that --continue and --collect exclude."""
    if values["into"].present and not values["collect"].present:
        raise ValueError("--into needs --collect=WORKDIR")
    if values["replace"].value and not values["collect"].present:
        raise ValueError("--replace needs --collect=WORKDIR")
    for name in ("continue", "collect"):
        if values[name].present and not values[name].value:
            raise ValueError(f"--{name} needs a folder")
    if values["collect"].present and (values["config"].present or values["continue"].present):
        raise ValueError("--collect cannot be combined with --config or --continue: the run's own config is used")
    if folder := values["continue"].value:
        saved_config.read(Path(str(folder)))


def _check(argv: list[str], values: flags.FlagValues, rest: list[str]) -> None:
    """Raise ValueError for mistakes that absl and ml_collections accept."""
    from ml_collections import ConfigDict

    config_file, folder = _asked(argv), values["continue"].value
    if config_file and not isinstance(values["config"].value, ConfigDict):
        raise ValueError("the config file does not return a ConfigDict")
    if not config_file and not folder:
        raise ValueError("no experiment: give --config=configs/NAME.py")
    if any(isinstance(_default(str(config_file or folder), field), ConfigDict) for field, _ in _overrides(argv)):
        raise ValueError("a group of fields cannot be set as a whole")
    if len(rest) > 1:
        raise ValueError(f"unknown argument {rest[1]!r}: {USE}")
    given = [name for name in ("coordinator", "processes", "process") if values[name].value is not None]
    if given and not values["distributed"].value:
        raise ValueError(f"--{given[0]} needs --distributed")
    if given and len(given) < 3:
        raise ValueError("--coordinator, --processes and --process need each other: give all three, or none")


def _explain(argv: list[str], error: Exception) -> str:
    """One line about a mistake in `argv`."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    config_file, folder = _asked(argv), _asked(argv, "continue")
    if config_file is not None and folder is not None:
        return "--config cannot be combined with --continue: the folder's own config is used"
    if isinstance(error, UserError) or re.match(r"--(into|replace|collect|continue)\b", text):
        return text
    if _asked(argv, "sample") is not None or re.match(r"--\w+ needs (--sample|a folder)", text):
        return text
    if folder and not config_file:
        return _explain_fields(argv, error, text, folder)
    if not config_file:
        return text if text.startswith("no experiment") else f"no experiment: give --config=configs/NAME.py ({text})"
    path = Path(config_file.split(":")[0])
    if not saved_config.is_file(path):
        folders = {path.parent if len(str(path)) < 1000 else Path("configs"), Path("configs")}
        files = sorted({str(p) for parent in folders for p in parent.glob("*.py")})
        return f"config file {str(path)!r:.200} does not exist{nearest(str(path), files) or _listed(files)}"
    return _explain_fields(argv, error, text, config_file)


def _explain_fields(argv: list[str], error: Exception, text: str, source: str) -> str:
    """As `_explain`, for overridden fields; `source` is a config file, or a folder with a config."""
    try:
        fields = _names(_load(source).to_dict())
    except Exception as reason:  # a config file is a program and may raise anything
        return f"config file {source}: {_root(reason)}"
    for field, value in _overrides(argv):
        if field not in fields:
            return f"unknown config field {field!r}{nearest(field, fields)}"
        if any(name.startswith(f"{field}.") for name in fields):
            return f"--config.{field}={value}: {field!r} is a group of fields; use --config.{field}.FIELD=VALUE"
        if isinstance(error, flags.IllegalFlagValueError) and f"--config.{field}={value}:" in text:
            default = _default(source, field)
            if field == "seeds":
                return (
                    f"config.seeds must be a whole number such as 8, or a range such as 8:16, the seeds 8 to 15 (got {value})"
                )
            return f"config.{field} must be {KINDS.get(type(default), 'a text')}, such as {default!r} (got {value})"
    return text


def _asked(argv: list[str], flag: str = "config") -> str | None:
    """The value of --config, or of another flag."""
    for i, word in enumerate(argv):
        if found := re.fullmatch(rf"--?{flag}(?:=(.*))?", word, re.DOTALL):
            return found[1] if found[1] is not None else next(iter(argv[i + 1 :]), None)
    return None


def _overrides(argv: list[str]) -> list[tuple[str, str]]:
    """Fields of the config that are overridden, with the text after '='."""
    found = (re.fullmatch(r"--?config\.([\w.]+)(?:=(.*))?", word, re.DOTALL) for word in argv)
    return [(match[1], match[2] or "") for match in found if match]


def _given(argv: list[str], field: str) -> list[tuple[int, int, str]]:
    """Where a field of the config is overridden: the index of its first word, that after its last, the value's text."""
    spans = []
    for i, word in enumerate(argv):
        if match := re.fullmatch(rf"--?config\.{field}(?:=(.*))?", word, re.DOTALL):
            if match[1] is not None:
                spans.append((i, i + 1, match[1]))
            elif i + 1 < len(argv):
                spans.append((i, i + 2, argv[i + 1]))
    return spans


def _with_baselines(argv: list[str]) -> list[str]:
    """The command line with all overrides of config.baselines joined into one Python tuple.

    Raises:
        ValueError: an empty method between semicolons, or methods separated by commas.
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
    """The methods of 'none; over | affine', or of a Python tuple."""
    try:
        value = ast.literal_eval(text.strip())
        return list(value) if isinstance(value, (tuple, list)) else [value if isinstance(value, str) else text]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all of what Python's parser raises
        parts = [part.strip() for part in text.split(";")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # a semicolon at the end is allowed
    wrong = f"--config.baselines={text:.200}"
    if not all(parts):
        raise ValueError(f"{wrong}: a method is missing; separate methods by ';', as in 'none; over; over | affine'")
    for part in parts:
        if "," in re.sub(r"\([^()]*\)", "", part) and not part.startswith("("):
            raise ValueError(f"{wrong}: separate methods by ';', not ',', as in 'none; over; over | affine'")
    return list(parts)


def _without_seeds(argv: list[str]) -> tuple[list[str], str | None]:
    """The command line without config.seeds where it is a range, and that range; ml_collections would refuse the text."""
    given = _given(argv, "seeds")
    if not given or ":" not in given[-1][2]:
        return argv, None
    dropped = {i for start, stop, _ in given for i in range(start, stop)}
    return [word for i, word in enumerate(argv) if i not in dropped], given[-1][2]


def _set_seeds(config: Any, text: str | None) -> None:
    """Set config.seeds: a range that does not begin at 0 as text, otherwise the number of seeds.

    Raises:
        UserError: a malformed or empty range.
    """
    if text is None and not isinstance(config.get("seeds"), str):
        return
    with config.ignore_type():
        config.seeds = seed_range.written(seed_range.of(config.seeds if text is None else text))


def _load(source: str) -> Any:
    """The config of FILE[:VARIANT], or of a folder, without overrides; errors of the file are passed on."""
    from ml_collections import ConfigDict, config_flags

    if Path(source).is_dir():
        return saved_config.read(Path(source))
    holder = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=holder, sys_argv=[])
    holder(["", f"--config={source}"])
    config = holder["config"].value
    if isinstance(config, ConfigDict):
        return config
    getattr(config, "to_dict", None)  # raises the error of a file that could not be read
    raise ValueError("get_config() must return a ConfigDict")


def _default(source: str, field: str) -> Any:
    value = _load(source)
    for name in field.split("."):
        value = value[name]
    return value


def _root(error: BaseException) -> str:
    """The message of the first error in a chain."""
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

"""report.html: one self-contained page.

The page makes no network requests (its Content-Security-Policy forbids them), follows the reader's light or dark setting, and
fits small screens. The templates escape all text from the run.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from imbal_jax.artifacts import json_files
from imbal_jax.report import arm_table, charts, group_tables, sections
from imbal_jax.report.headline import header
from imbal_jax.report.markup import folded_json, render
from imbal_jax.report.plots import MOST_GROUPS
from imbal_jax.report.run import Run

STRIP = (
    "Samples of the first seed's generator from the same latents, one row per checkpoint. Rows of equal images: mode collapse."
)


def write(run: Run, matrices: int) -> Path:
    """Write `report.html` into the run's folder, which has its plots.

    Args:
        run: with its results.
        matrices: the largest number of confusion matrices drawn.

    Returns:
        The path of the page, which is replaced atomically.
    """
    many_arms = len(run.results["methods"]) > MOST_GROUPS
    recalls = "Mean over seeds; the best arm first." if many_arms else "Recall per class and arm."
    curves = " The baseline and the best other arms." if many_arms else ""
    parts = [
        header(run),
        sections.trouble(run),
        arm_table.compared(run),
        group_tables.by_group(run),
        charts.forest(run),
        charts.seeds(run),
        charts.cost(run),
        sections.figure(run, "Recall", "recalls", f"{recalls} Minority classes are printed in orange."),
        sections.figure(run, "Precision and recall", "pr_curves", sections.curves_note(run), wide=True),
        sections.by_frequency(run),
        sections.seen(run),
        sections.samples(run),
        sections.figure(run, "Generator over training", "film_strip", STRIP),
        sections.generator(run),
        sections.figure(run, "Confusion", "confusion", sections.confusion_note(run, matrices), wide=True),
        sections.figure(run, "Class counts", "class_counts", "Training rows per class of each arm."),
        sections.figure(run, "Training", "losses", f"Losses and the discriminator's accuracy per epoch.{curves}", wide=True),
        sections.sources(run),
        sections.left_out(run),
        sections.measured(run),
        sections.all_metrics(run),
        sections.every_seed(run),
        folded_json("Configuration", run.config),
        folded_json("Environment", run.environment),
    ]
    page = run.folder / "report.html"
    with json_files.whole(page) as file:
        file.write(_document(run.name, parts).encode(errors="backslashreplace"))
    return page


def _document(title: str, parts: Sequence[Markup]) -> str:
    files = resources.files("imbal_jax.report")
    style, script = (Markup(files.joinpath(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return render("page.html", title=title, style=style, script=script, parts=parts)

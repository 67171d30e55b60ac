"""report.html: one self-contained page.

The page asks nothing of any server (its own policy forbids it), follows the reader's light or dark setting, and is read
on a phone too. All text from the run is escaped.
"""

from importlib import resources
from pathlib import Path

from imbal_jax.artifacts import json_files
from imbal_jax.report import arm_table, charts, group_tables, sections
from imbal_jax.report.headline import header
from imbal_jax.report.markup import as_json, folded, text
from imbal_jax.report.plots import MOST_GROUPS
from imbal_jax.report.run import Run

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
STRIP = (
    "What the first seed's generator made of the same latents, a row for each checkpoint. Rows that stay alike have collapsed."
)


def write(run: Run, matrices: int) -> Path:
    """Write `report.html` into the run's folder, where its plots are already.

    Args:
        run: with its results.
        matrices: how many confusion matrices were drawn at most.

    Returns:
        The path of the page; it is replaced as a whole, never left half written.
    """
    many = len(run.results["methods"]) > MOST_GROUPS
    recalls = "Mean over seeds; the best arm first." if many else "What each arm finds of each class."
    curves = " The baseline and the best other arms." if many else ""
    parts = [
        header(run),
        sections.trouble(run),
        arm_table.compared(run),
        group_tables.by_group(run),
        charts.forest(run),
        charts.seeds(run),
        charts.cost(run),
        sections.figure(run, "Recall", "recalls", f"{recalls} The minority is printed in orange."),
        sections.figure(run, "Precision and recall", "pr_curves", sections.curves_note(run), wide=True),
        sections.by_frequency(run),
        sections.seen(run),
        sections.samples(run),
        sections.figure(run, "The generator's way", "film_strip", STRIP),
        sections.generator(run),
        sections.figure(run, "Confusion", "confusion", sections.confusion_note(run, matrices), wide=True),
        sections.figure(run, "Class counts", "class_counts", "What each arm trains on."),
        sections.figure(run, "Training", "losses", f"Losses and the discriminator's accuracy by epoch.{curves}", wide=True),
        sections.sources(run),
        sections.left_out(run),
        sections.measured(run),
        folded("All metrics", sections.all_metrics(run)),
        folded("Every seed", sections.every_seed(run)),
        folded("Configuration", as_json(run.config)),
        folded("Environment", as_json(run.environment)),
    ]
    page = run.folder / "report.html"
    with json_files.whole(page) as file:
        file.write(_document(run.name, "\n".join(filter(None, parts))).encode(errors="backslashreplace"))
    return page


def _document(title: str, body: str) -> str:
    files = resources.files("imbal_jax.report")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>
{script}</script>
</body>
</html>
"""

"""README's table of speed, from the newest line of each comparison in benchmarks/results.jsonl."""

import statistics

from docs import folders

# The benchmark and what a reader calls it; others stand in benchmarks/RESULTS.md.
SHOWN = {
    "classifier_step": "classifier's step",
    "cgan_step": "conditional GAN's step",
    "efficientnet_step": "EfficientNet-B0's step, 48x48x3",
    "ecg_gan_step": "a D and a G step of four heartbeat GANs",
    "dcgan_step": "DCGAN at 128x128, two D steps and a G step",
    "smote-mnist": "SMOTE, digits with three classes of 100",
    "affine-28": "affine, 256 images of 28x28",
    "sweep_scaling": "several seeds in one run, per seed",
}
PEERS = {
    "keras": "Keras on TensorFlow",
    "torch": "PyTorch",
    "imblearn": "imbalanced-learn",
    "scipy": "SciPy",
    "single": "one seed alone",
}


def table() -> str:
    """Ours / peer, with when and on what it was measured."""
    newest: dict[tuple, dict] = {}
    for line in folders.lines(folders.ROOT / "benchmarks" / "results.jsonl"):
        if line["name"] in SHOWN and line["peer"] in PEERS:
            newest[list(SHOWN).index(line["name"]), list(PEERS).index(line["peer"]), line["lanes"]] = line
    rows = ["| | seeds in one run | against | ours / theirs | processes a side | measured |", "|---|---|---|---|---|---|"]
    for key in sorted(newest):
        line = newest[key]
        cells = (SHOWN[line["name"]], str(line["lanes"]), PEERS[line["peer"]], _ratio(line), str(len(line["ours"])))
        rows.append(f"| {' | '.join(cells)} | {line['when'][:10]} |")
    machines = sorted({line["machine"] for line in newest.values()})
    return "\n".join([*rows, "", f"Below 1 ours is faster; medians over processes. Machines: {'; '.join(machines)}."])


def _ratio(line: dict) -> str:
    ours, theirs = (statistics.median(each["ms"] for each in line[side]) for side in ("ours", "theirs"))
    return f"{ours / theirs:.2f}" if ours > 0.1 * theirs else f"1/{theirs / ours:.0f}"

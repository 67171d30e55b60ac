"""Command line of the benchmarks.

    python -m benchmarks NAME --json     one comparison, as one JSON line
    python -m benchmarks NAME --keep     and into the table benchmarks/RESULTS.md
    python -m benchmarks                 all of them, and the table

The peers are not needed by the library itself: `pip install -r requirements-bench.txt`.
"""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence

from benchmarks import adapters_cold, harness, kept, results, sweep_vs_keras
from benchmarks.kept import Comparison

NAMES = {  # steps (or calls) timed in one process, unless --steps says otherwise
    "classifier_step": 40,
    "cgan_step": 10,
    "ecg_gan_step": 5,
    "dcgan_step": 5,
    "s4_step": 200,
    "efficientnet_step": 10,
    "mixup_step": 200,
    "mixup_step-keras": 200,
    "affine_epoch_overhead": 40,
    "method_step-mixup": 40,
    "method_step-affine": 40,
    "method_step-losses": 40,
    "batch_statistics-efficientnet": 20,
    "batch_statistics-resnet32": 20,
    "smote-mnist": 10,
    "smote-beats": 5,
    "smote-vectors": 5,
    **dict.fromkeys((f"adapters_cold-{case}" for case in (*adapters_cold.SAMPLERS, "grid")), 3),  # processes
    "affine-28": 250,
    "affine-64": 250,
    "sweep_scaling": 40,
    "sweep_vs_keras": 2,  # epochs
}
LANES = {"classifier_step": (1, 4), "cgan_step": (1, 4), "smote-mnist": (1, 16)}  # without NAME; else one lane
SWEEP_LANES = {"cpu": (2, 4, 8)}  # of sweep_scaling, which is held against one lane
SWEEP_LANES_ELSEWHERE = (2, 4, 8, 16, 32, 64, 128)
WHOLE = {"sweep_vs_keras": 4}  # whole processes, in which a peer trains as many seeds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code (2: wrong arguments, or a peer is not installed)."""
    args = parse(argv)
    lacking = sorted({package for peer in args.peers for package in harness.missing(peer)})
    if lacking:
        print(f"not installed: {', '.join(lacking)}; run: pip install -r requirements-bench.txt", file=sys.stderr)
        return 2
    try:
        return everything(args) if args.name is None else single(args)
    except harness.BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `peers` is the list that it stands for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", choices=sorted(NAMES), help="without it: all, and RESULTS.md is written")
    parser.add_argument(
        "--peer", choices=sorted(harness.PEER_NAMES), help="default: the first that NAME has; without NAME: all"
    )
    parser.add_argument("--lanes", type=_positive, help="seeds at once (default: hangs on NAME)")
    parser.add_argument("--repeats", type=_positive, default=3, help="processes per side (default: 3)")
    parser.add_argument("--steps", type=_positive, help=f"steps (or epochs) timed in a process (default: {NAMES})")
    parser.add_argument("--batch", type=_positive, help="examples in a batch (default: hangs on NAME)")
    parser.add_argument("--keep", action="store_true", help="add NAME's figures to results.jsonl and write RESULTS.md anew")
    parser.add_argument("--json", action="store_true", help="print one JSON line for each comparison")
    args = parser.parse_args(argv)
    having = peers_of(args.name) if args.name else list(harness.FORMS)
    if args.peer and args.peer not in having:
        parser.error(f"{args.name} has no peer {args.peer}; it has {', '.join(having)}")
    args.peers = [args.peer] if args.peer else having[:1] if args.name else having
    return args


def peers_of(name: str) -> list[str]:
    """The peers that a benchmark is held against."""
    return [peer for peer, forms in harness.FORMS.items() if name in forms]


def single(args: argparse.Namespace) -> int:
    """One comparison."""
    measure(args.name, args, args.keep)
    return 0


def everything(args: argparse.Namespace) -> int:
    """All comparisons, each into the table when it is done, so that nothing measured is lost."""
    for name in (name for name in NAMES if set(peers_of(name)) & set(args.peers)):
        if name in WHOLE and (lacks := sweep_vs_keras.lacking_data()):
            print(lacks, file=sys.stderr)
            continue
        measure(name, args, keep=True)
    return 0


def measure(name: str, args: argparse.Namespace, keep: bool) -> None:
    """Makes a benchmark's comparisons, says them, and keeps them where asked to."""
    start, load = datetime.datetime.now(datetime.UTC), os.getloadavg()[0]
    found = compare(name, args)
    for comparison in found:
        print(json.dumps(results.line(comparison)) if args.json else results.sentence(comparison), flush=True)
    if keep:
        batch = args.batch or harness.batch_of(name)
        folder = harness.ROOT / "benchmarks"
        lines = [kept.Kept(each, results.conditions(each.peer, batch, start, load)) for each in found]
        kept.add(folder / "results.jsonl", lines)
        (folder / "RESULTS.md").write_text(results.table(kept.newest(folder / "results.jsonl", list(NAMES))))
        print(f"written: {folder / 'RESULTS.md'}", file=sys.stderr)


def compare(name: str, args: argparse.Namespace) -> list[Comparison]:
    """Times ours with every number of lanes and every peer in turn, and pairs them up."""
    peers = [peer for peer in args.peers if peer in peers_of(name)]
    apart = [peer for peer in peers if peer not in harness.TOGETHER]
    found = against_processes(name, apart, args) if apart else []
    return found + [
        against_ourselves(name, peer, lanes, args) for peer in peers if peer not in apart for lanes in lanes_of(name, args)
    ]


def against_processes(name: str, peers: Sequence[str], args: argparse.Namespace) -> list[Comparison]:
    """Ours and the peers, each in processes of its own.

    A peer's step has no lanes: its users train one seed after the other, so its time per lane is its time per step.
    """
    jobs, forms = {}, {}
    lane_counts = lanes_of(name, args)
    for lanes in lane_counts:
        jobs[f"ours x {lanes}"] = job_of(name, "ours", "auto", lanes, args)
    for peer in peers:
        job = job_of(name, peer, "", lane_counts[0] if name in WHOLE else 1, args)
        form, forms[peer] = harness.fastest_form(job, harness.FORMS[peer][name])
        jobs[peer] = job._replace(form=form)
    measured = {label: [each for (each,) in answers] for label, answers in harness.alternate(jobs, args.repeats).items()}
    return [
        Comparison(name, lanes, peer, jobs[peer].form, forms[peer], measured[f"ours x {lanes}"], measured[peer])
        for peer in peers
        for lanes in lane_counts
    ]


def against_ourselves(name: str, peer: str, lanes: int, args: argparse.Namespace) -> Comparison:
    """Ours and our own step without what is measured, both in the same processes."""
    (form,) = harness.FORMS[peer][name]
    job = job_of(name, peer, form, lanes, args)
    ours, theirs = zip(*harness.alternate({peer: job}, args.repeats)[peer], strict=True)
    return Comparison(name, lanes, peer, form, {}, list(ours), list(theirs))


def job_of(name: str, side: str, form: str, lanes: int, args: argparse.Namespace) -> harness.Job:
    """What one process measures."""
    return harness.Job(name, side, form, lanes, args.steps or NAMES[name], args.batch or harness.batch_of(name))


def lanes_of(name: str, args: argparse.Namespace) -> tuple[int, ...]:
    """The numbers of lanes that a benchmark is run with."""
    if args.lanes:
        return (args.lanes,)
    if name == "sweep_scaling":
        return SWEEP_LANES.get(harness.backend(), SWEEP_LANES_ELSEWHERE)
    if name in WHOLE:
        return (WHOLE[name],)
    return LANES.get(name, (1,)) if args.name is None else (1,)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())

"""Runs the unfinished runs of campaign/runs.py, one after the other, at low priority: make campaign.

    python -m campaign            continues with the first unfinished run
    python -m campaign --list     lists the finished and unfinished runs
    python -m campaign --update   first moves the pinned code to the current commit
    python -m campaign --minutes=30   gives each unfinished run at most 30 minutes, in turn, so that all of them advance
    python -m campaign --only=NAME    only this run
    touch campaign/PAUSE          stops the run at its next checkpoint; to continue, remove the file and start again

The code is a git worktree of one commit (runs/campaign/code), so that edits of the checkout do not affect the runs. Each run
has its own workdir in runs/campaign/ and resumes where it stopped. After each run, and at a pause, its finished rows are
collected into docs/results/NAME; `make results` then renders the tables.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from campaign.runs import RUNS, Run

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "runs" / "campaign"
PAUSE = ROOT / "campaign" / "PAUSE"
SECONDS = 5.0  # between two checks for PAUSE
TURN_OVER = -1000  # not the exit status of a process: the run was stopped because its time was over
Start = Callable[[Run, Path], int]  # trains the missing rows of a run in a workdir; the exit status, 143: paused, or TURN_OVER
Collect = Callable[[Run, Path], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; returns 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m campaign")
    parser.add_argument("--list", action="store_true", help="list the finished and unfinished runs")
    parser.add_argument("--update", action="store_true", help="move the pinned code to the current commit")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop each run after N minutes, and continue with the next")
    parser.add_argument("--only", choices=[run.name for run in RUNS], help="only this run")
    options = parser.parse_args(argv)
    if options.list:
        print("\n".join(f"{'finished' if finished(run, PLACE) else 'open':>9}  {run.name}: {run.why}" for run in RUNS))
        return 0
    code = pinned(PLACE / "code", update=options.update)
    runs = [run for run in RUNS if options.only in (None, run.name)]
    failed = go_on(runs, PLACE, partial(train, code, options.minutes), partial(collect, code))
    for name in failed:
        print(f"failed: {name}, see {PLACE / name / 'log.txt'}")
    return 1 if failed else 0


def go_on(
    runs: Sequence[Run], workdirs: Path, start: Start, collect: Collect, paused: Callable[[], bool] = PAUSE.exists
) -> list[str]:
    """Run the unfinished runs in order; after a failure the others follow.

    Args:
        runs: all of them.
        workdirs: the folder of their workdirs.
        start, collect: see `Start` and `Collect`.
        paused: whether to stop, checked before each run.

    Returns:
        the names of those that failed.
    """
    failed: list[str] = []
    for run in runs:
        if finished(run, workdirs):
            continue
        if paused():
            print(f"paused before {run.name}: remove {PAUSE} and start again to continue")
            return failed
        workdir = workdirs / run.name
        workdir.mkdir(parents=True, exist_ok=True)
        status = start(run, workdir)
        if (workdir / "rows.jsonl").exists():
            collect(run, workdir)
        if status == 0:
            _done(workdir).write_text(json.dumps(run.arguments) + "\n")
        elif status == TURN_OVER:
            print(f"{run.name}: its time is over; it resumes at its next turn", flush=True)
        elif status == 143:
            print(f"paused in {run.name}: it resumes from its last checkpoint")
            return failed
        else:
            failed.append(run.name)
    return failed


def finished(run: Run, place: Path) -> bool:
    """Whether a run was finished with its current arguments."""
    path = _done(place / run.name)
    return path.exists() and json.loads(path.read_text()) == list(run.arguments)


def _done(workdir: Path) -> Path:
    return workdir / "finished.json"


def pinned(code: Path, update: bool) -> Path:
    """The worktree of the pinned code; made from the current commit, or moved to it if `update`."""
    if not code.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(code), "HEAD")
    elif update:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        subprocess.run(["git", "-C", str(code), "checkout", "--detach", commit.stdout.strip()], check=True)
    return code


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)


def train(code: Path, minutes: float | None, run: Run, workdir: Path) -> int:
    """Train the missing rows with the pinned code; a pause, or the end of its time, stops the run at its next checkpoint."""
    folder = ROOT / "docs" / "results" / run.name
    data = os.environ.get("IMBAL_DATA_DIR", "")
    arguments = [argument.replace("{data}", data) for argument in run.arguments]
    fresh = not (workdir / "rows.jsonl").exists() or (workdir / "continues.json").exists()
    if fresh and (folder / "rows.jsonl").exists():  # rows of another machine, or of an earlier version
        begin = "import sys, pathlib; from imbal_jax import evidence; evidence.begin(*map(pathlib.Path, sys.argv[1:]))"
        if status := subprocess.run([sys.executable, "-c", begin, str(folder), str(workdir)], cwd=code).returncode:
            return status
    command = ["nice", "-n", "19", sys.executable, "launch.py", *arguments, f"--workdir={workdir}"]
    print(f"{run.name}: {' '.join(arguments)}", flush=True)
    with open(workdir / "log.txt", "a") as log:
        process = subprocess.Popen(command, cwd=code, stdout=log, stderr=log, start_new_session=True)
        _behind_all_else(process.pid)
        end = time.monotonic() + (minutes or float("inf")) * 60
        try:
            while process.poll() is None:
                if PAUSE.exists() or time.monotonic() > end:
                    process.terminate()
                    status = process.wait()
                    return TURN_OVER if status == 143 and not PAUSE.exists() else status
                time.sleep(SECONDS)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return process.returncode


def _behind_all_else(process: int) -> None:
    """Give a process's session the lowest priority.

    Linux first divides the CPU among sessions ("autogroup"), and a nice value counts only within its session. With a nice
    value alone, a background run would get the same share as each terminal.
    """
    with contextlib.suppress(OSError):  # another kernel, or no permission
        Path(f"/proc/{process}/autogroup").write_text("19")


def collect(code: Path, run: Run, workdir: Path) -> None:
    """Write a run's finished rows into docs/results, with the pinned code."""
    into = ROOT / "docs" / "results" / run.name
    subprocess.run([sys.executable, "launch.py", f"--collect={workdir}", f"--into={into}"], cwd=code, check=False)


if __name__ == "__main__":
    sys.exit(main())

"""The classifier's train step with a balancing method in it, against the same step without: what the method costs."""

from benchmarks import harness

SPECS = {"mixup": "mixup(alpha=0.2)", "affine": "affine", "losses": "class_balanced | focal"}


def build(job: harness.Job) -> harness.Steps:
    """Our steps with the methods of the case, or without any where the peer 'plain' is asked for."""
    from benchmarks import chunks

    spec = "none" if job.side == "plain" else SPECS[job.name.split("-")[1]]
    return chunks.classifier(job.lanes, job.batch, "auto", spec)


if __name__ == "__main__":
    harness.work(build)

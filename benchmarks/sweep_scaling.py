"""The classifier's train step of many seeds at once against that of one seed alone: what a further seed costs."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """Our steps; the peer 'single' is a job of one lane."""
    from benchmarks import chunks

    return chunks.classifier(job.lanes, job.batch, job.form)


if __name__ == "__main__":
    harness.work(build)

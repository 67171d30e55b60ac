"""One train step of the classifier (two 3x3 convolutions, 9216 -> 128 -> 10), ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side != "ours":
        return harness.peer_steps(job, "classifier")
    from benchmarks import chunks

    return chunks.classifier(job.lanes, job.batch, job.form)


if __name__ == "__main__":
    harness.work(build)

"""One train step of the small Fashion-MNIST classifier (two 5x5 convolutions), ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side != "ours":
        return harness.peer_steps(job, "classifier", "s4")
    from benchmarks import chunks

    return chunks.classifier(job.lanes, job.batch, job.form, net=chunks.S4)


if __name__ == "__main__":
    harness.work(build)

"""One train step of EfficientNet-B0 on images of 48x48x3, 7 classes, ours against Keras's own."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side != "ours":
        return harness.peer_steps(job, "b0", "efficientnet")
    from benchmarks import chunks

    return chunks.classifier(job.lanes, job.batch, job.form, net=chunks.EFFICIENTNET_B0)


if __name__ == "__main__":
    harness.work(build)

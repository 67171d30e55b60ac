"""The Fashion-MNIST classifier's train step with mixup, against the same without and against Keras's, mixed in tf.data."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """Our steps with mixup, or without where the peer 'plain' is asked for, or Keras's."""
    if job.side == "keras":
        return harness.peer_steps(job, "mixup", "s4")
    from benchmarks import chunks

    spec = "none" if job.side == "plain" else "mixup(alpha=0.2)"
    return chunks.classifier(job.lanes, job.batch, "auto", spec, chunks.S4)


if __name__ == "__main__":
    harness.work(build)

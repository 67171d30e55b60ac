"""One train step (discriminator twice, then generator) of the retinopathy DCGAN at 128x128, ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side != "ours":
        return harness.peer_steps(job, "dcgan", "s2")
    from benchmarks import chunks

    return chunks.dcgan(job.lanes, job.batch, job.form)


if __name__ == "__main__":
    harness.work(build)

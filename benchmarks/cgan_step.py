"""One train step (discriminator, then generator) of the conditional GAN, ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side != "ours":
        return harness.peer_steps(job, "cgan")
    from benchmarks import chunks

    return chunks.cgan(job.lanes, job.batch, job.form)


if __name__ == "__main__":
    harness.work(build)

"""One train step (discriminator, then generator) of each of four classes' heartbeat GANs, ours as lanes against Keras.

A step's time is that of all four: ours trains them side by side, Keras one after the other. With `--lanes` seeds at once
there are four lanes a seed. The peer 'single' is our own step with the four one after the other.
"""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side."""
    if job.side not in ("ours", "single"):
        return harness.peer_steps(job, "gans", "s1")
    from benchmarks import chunks

    return chunks.heartbeat_gans(job.lanes, job.batch, job.form, together=job.side == "ours")


if __name__ == "__main__":
    harness.work(build)

"""One train step (discriminator, then generator) of the conditional GAN, batch 128: ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side; each side's framework is imported only in the process that times it."""
    if job.side == "keras":
        from benchmarks.peers import keras_s0

        return keras_s0.cgan(job.form, job.batch)
    if job.side == "torch":
        from benchmarks.peers import torch_s0

        return torch_s0.cgan(job.form, job.batch)
    raise NotImplementedError


if __name__ == "__main__":
    harness.work(build)

"""One train step (discriminator, then generator) of the conditional GAN, ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side; each side's framework is imported only in the process that times it."""
    if job.side == "keras":
        from benchmarks.peers import keras_s0

        return keras_s0.cgan(job.form, job.batch)
    if job.side == "torch":
        from benchmarks.peers import torch_s0

        return torch_s0.cgan(job.form, job.batch)
    return ours(job.lanes, job.batch, job.form)


def ours(lanes: int, batch: int, form: str) -> harness.Steps:
    """Our steps, with the networks and optimisers of the published setting; `form` is config.conv ('auto', 'gemm', 'lax')."""
    from benchmarks import chunks
    from configs.mnist_cgan import get_config
    from imbal_jax.gan import step, train
    from imbal_jax.ops.conv import resolve_form
    from imbal_jax.stages.gan import nets_of

    config = get_config("source")
    nets = nets_of(config, chunks.CLASSES, resolve_form(form, lanes))
    counts = (chunks.EPOCH * batch, *[0] * (chunks.CLASSES - 1))  # read for balanced batches only
    return chunks.steps(
        lanes,
        batch,
        start=lambda key: train.init(key, nets, chunks.SHAPE),
        epoch_of=train.epoch_of(nets, batch, counts, config.gan.batches),
        metrics=step.METRICS,
    )


if __name__ == "__main__":
    harness.work(build)

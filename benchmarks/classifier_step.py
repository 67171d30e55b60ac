"""One train step of the classifier (two 3x3 convolutions, 9216 -> 128 -> 10), ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side; each side's framework is imported only in the process that times it."""
    if job.side == "keras":
        from benchmarks.peers import keras_s0

        return keras_s0.classifier(job.form, job.batch)
    if job.side == "torch":
        from benchmarks.peers import torch_s0

        return torch_s0.classifier(job.form, job.batch)
    return ours(job.lanes, job.batch, job.form)


def ours(lanes: int, batch: int, form: str) -> harness.Steps:
    """Our steps, with the network and the optimiser of the published setting; `form` is config.conv ('auto', 'gemm', 'lax')."""
    from benchmarks import chunks
    from configs.mnist_cgan import get_config
    from imbal_jax.ops.conv import resolve_form
    from imbal_jax.stages.classifier import model_of
    from imbal_jax.train import classifier, optimizer

    config = get_config("source")
    model = model_of(config, chunks.CLASSES, resolve_form(form, lanes))
    rule = optimizer.make(config.classifier.optimizer, config.classifier.learning_rate, steps=chunks.EPOCH)
    return chunks.steps(
        lanes,
        batch,
        start=lambda key: classifier.init(key, model, rule, chunks.SHAPE),
        epoch_of=classifier.epoch_of(model, rule, batch, chunks.COUNTS, chunks.EPOCH),
        metrics=classifier.METRICS,
    )


if __name__ == "__main__":
    harness.work(build)

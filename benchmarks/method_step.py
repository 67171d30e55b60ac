"""The classifier's train step with a balancing method in it, against the same step without: what the method costs."""

from benchmarks import harness

SPECS = {"mixup": "mixup(alpha=0.2)", "affine": "affine", "losses": "class_balanced | focal"}


def build(job: harness.Job) -> harness.Steps:
    """Our steps with the methods of the case, or without any where the peer 'plain' is asked for."""
    from benchmarks import chunks
    from configs.mnist_cgan import get_config
    from imbal_jax import methods
    from imbal_jax.ops.conv import resolve_form
    from imbal_jax.stages.classifier import model_of
    from imbal_jax.train import classifier, optimizer

    config = get_config("source")
    names = tuple(str(k) for k in range(chunks.CLASSES))
    counts = (chunks.EPOCH * job.batch // chunks.CLASSES,) * chunks.CLASSES
    task = methods.Task(counts, 1.0, names, chunks.SHAPE, ())
    spec = "none" if job.side == "plain" else SPECS[job.name.split("-")[1]]
    recipe = methods.recipe_of(spec, task, counts)
    model = model_of(config, chunks.CLASSES, resolve_form("auto", job.lanes))
    rule = optimizer.make(config.classifier.optimizer, config.classifier.learning_rate, steps=chunks.EPOCH)
    return chunks.steps(
        job.lanes,
        job.batch,
        start=lambda key: classifier.init(key, model, rule, chunks.SHAPE),
        epoch_of=classifier.epoch_of(model, rule, job.batch, counts, chunks.EPOCH, recipe),
        metrics=classifier.METRICS,
    )


if __name__ == "__main__":
    harness.work(build)

"""One train step of the classifier (two 3x3 convolutions, 9216 -> 128 -> 10), batch 128: ours against Keras and PyTorch."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """The steps of one side; each side's framework is imported only in the process that times it."""
    if job.side == "keras":
        from benchmarks.peers import keras_s0

        return keras_s0.classifier(job.form, job.batch)
    if job.side == "torch":
        from benchmarks.peers import torch_s0

        return torch_s0.classifier(job.form, job.batch)
    raise NotImplementedError


if __name__ == "__main__":
    harness.work(build)

"""The small EfficientNet's train step on 48x48x1 with random affine transforms of every image, against the same without."""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """Our steps with the transforms, or without where the peer 'plain' is asked for."""
    from benchmarks import chunks

    spec = "none" if job.side == "plain" else "affine"
    return chunks.classifier(job.lanes, job.batch, "auto", spec, chunks.EFFICIENTNET_SMALL)


if __name__ == "__main__":
    harness.work(build)

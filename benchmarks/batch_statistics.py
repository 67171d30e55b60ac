"""A batch whose moments batch normalisation is evaluated with, found after the training, against a step of the training.

A training of E epochs of N rows passes min(N, 10,000) rows through the network once more when it has ended, and min(N, 1,024)
after each epoch that is judged. At a ratio r that is r min(1, 10,000 / N) / E of the training, and r min(1, 1,024 / N) of it.
"""

from benchmarks import harness


def build(job: harness.Job) -> harness.Steps:
    """Batches of the case's network, or steps of its training where the peer 'plain' is asked for."""
    from benchmarks import chunks

    net = {"efficientnet": chunks.EFFICIENTNET_SMALL, "resnet32": chunks.RESNET32}[job.name.split("-")[1]]
    if job.side == "plain":
        return chunks.classifier(job.lanes, job.batch, "auto", "none", net)
    return chunks.statistics(job.lanes, job.batch, "auto", net)


if __name__ == "__main__":
    harness.work(build)

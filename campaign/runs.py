"""The long runs whose results the project needs, the most valuable first."""

from typing import NamedTuple


class Run(NamedTuple):
    """One experiment of the campaign.

    Attributes:
        name: of its folder in docs/results; an existing folder is continued.
        arguments: of launch.py, without --workdir. '{data}' is replaced by $IMBAL_DATA_DIR.
        why: the question that its results answer.
    """

    name: str
    arguments: tuple[str, ...]
    why: str


OWN = "--config.classifier.epochs_of=own"  # the length of the training in the sources
FRESH = "--config.seed=1"  # seeds that no earlier choice has used
FACES = "rotation=30, shear=20, zoom='0.8,0.8', translation=0, fill=nearest"

RUNS = (
    Run("seed_sweep", ("--config=configs/seed_sweep.py",), "how much a result depends on its seed; minutes"),
    Run(
        "mnist_experiment_2",
        ("--config=configs/mnist_cgan.py:oversampled", "--config.seeds=3", OWN),
        "the source's second experiment at the published length",
    ),
    Run(
        "methods_mnist_10_seeds",
        ("--config=configs/methods_mnist.py", "--config.seeds=10", "--config.classifier.steps=1000", FRESH),
        "every method at equal steps, with enough seeds for a verdict",
    ),
    Run(
        "methods_mnist_5000_steps",
        (
            "--config=configs/methods_mnist.py",
            "--config.baselines=('none', 'under', 'over', 'mixup')",
            "--config.method=cutmix",
            "--config.seeds=10",
            "--config.classifier.steps=5000",
            FRESH,
        ),
        "the methods that need long trainings",
    ),
    Run(
        "gan_tricks_small_10_seeds",
        ("--config=configs/gan_tricks.py:small", "--config.seeds=10", FRESH),
        "the advice on DCGANs, with enough seeds for a verdict",
    ),
    Run(
        "gan_tricks_small_later_10_seeds",
        ("--config=configs/gan_tricks.py:small_later", "--config.seeds=10", FRESH),
        "later advice, above all DiffAugment",
    ),
    Run(
        "fer2013_b0",
        (
            "--config=configs/fer2013_affine.py:b0",
            "--config.baselines=('none',)",
            f"--config.method=affine_over({FACES})",
            OWN,
        ),
        "the source's pair at the published length",
    ),
    Run(
        "fer2013_small_10_seeds",
        ("--config=configs/fer2013_affine.py", "--config.seeds=10"),
        "all arms at equal steps on a network small enough for two cores",
    ),
    Run(
        "retinopathy64",
        (
            "--config=configs/retinopathy_dcgan.py",
            "--config.data.dir={data}/retinopathy64",  # a folder with the photographs at 64x64 as retinopathy.zip in it
            "--config.data.size=64",
            "--config.seeds=10",
            "--config.gan.epochs=320",
            "--config.gan.steps_per_epoch=10",
        ),
        "grades of enough patients; the DCGAN with the source's number of steps",
    ),
    Run("fashion_mixup", ("--config=configs/fashion_mixup.py", "--config.seeds=100", OWN), "80 more pairs"),
    Run("fashion_longtail", ("--config=configs/fashion_mixup.py:longtail", "--config.seeds=10"), "mixup on a long tail"),
    Run(
        "compare_mnist_12_seeds",
        ("--config=configs/compare_mnist.py", "--config.seeds=12", FRESH),
        "the sweep of the first example",
    ),
    Run(
        "mnist_better",
        ("--config=configs/mnist_cgan.py:better", "--config.seeds=3", "--config.gan.epochs=4", "--config.classifier.epochs=10"),
        "the better GAN and its filters",
    ),
)

"""The long runs that the project's figures wait for, in order of value."""

from typing import NamedTuple


class Run(NamedTuple):
    """One experiment of the campaign.

    Attributes:
        name: of its folder in docs/results; one that is there is continued.
        arguments: of launch.py, but for --workdir. '{data}' stands for $IMBAL_DATA_DIR.
        why: what its figures decide.
    """

    name: str
    arguments: tuple[str, ...]
    why: str


OWN = "--config.classifier.epochs_of=own"  # the length that the sources mean
FRESH = "--config.seed=1"  # seeds on which nothing was ever looked at
FACES = "rotation=30, shear=20, zoom='0.8,0.8', translation=0, fill=nearest"

RUNS = (
    Run("seed_sweep", ("--config=configs/seed_sweep.py",), "how much a figure owes to its seed; minutes"),
    Run(
        "mnist_experiment_2",
        ("--config=configs/mnist_cgan.py:oversampled", "--config.seeds=3", OWN),
        "the source's second experiment at its own length",
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
        "the DCGAN's advice, with enough seeds for a verdict",
    ),
    Run(
        "gan_tricks_small_later_10_seeds",
        ("--config=configs/gan_tricks.py:small_later", "--config.seeds=10", FRESH),
        "later advice: DiffAugment first of all",
    ),
    Run(
        "fer2013_b0",
        (
            "--config=configs/fer2013_affine.py:b0",
            "--config.baselines=('none',)",
            f"--config.method=affine_over({FACES})",
            OWN,
        ),
        "the source's pair at its own length",
    ),
    Run(
        "fer2013_small_10_seeds",
        ("--config=configs/fer2013_affine.py", "--config.seeds=10"),
        "all arms at equal steps on a network that two cores can train",
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
        "grades on enough patients; the DCGAN for the source's number of steps",
    ),
    Run("fashion_mixup", ("--config=configs/fashion_mixup.py", "--config.seeds=100", OWN), "80 more pairs"),
    Run("fashion_longtail", ("--config=configs/fashion_mixup.py:longtail", "--config.seeds=10"), "mixup on a long tail"),
    Run("compare_mnist_12_seeds", ("--config=configs/compare_mnist.py", "--config.seeds=12", FRESH), "a reader's first sweep"),
    Run(
        "mnist_better",
        ("--config=configs/mnist_cgan.py:better", "--config.seeds=3", "--config.gan.epochs=4", "--config.classifier.epochs=10"),
        "the better GAN and its filters",
    ),
)

"""The published advice for training a DCGAN, tested one item at a time by the quality of the generator, on grade 4.

    python launch.py --config=configs/gan_tricks.py              as in the source: 128 pixels, 320 epochs; for a GPU
    python launch.py --config=configs/gan_tricks.py:small        32 pixels, a generator a quarter as wide: for two cores
    python launch.py --config=configs/gan_tricks.py:later        later advice instead of the source's, each item switched on
    python launch.py --config=configs/gan_tricks.py:small_later  the same in the size of `:small`
    python launch.py --config=configs/gan_tricks.py --config.metric=gan_frechet

One arm is the source's setting. The others differ from it in one switch (`config.gan.tricks`) and are compared with it on the
same seeds: coverage, Frechet distance and the other metrics of the generator, in the features of a classifier of all five
grades, and the number of failed seeds. Batch normalisation is off in the source's setting, so its arm switches it on. The last
item of advice, to watch for signs of failure, changes no training: warnings about them are given for every arm.

Later advice: DiffAugment, spectral normalisation, the hinge loss, R1 and a moving average, each alone, and all together.

The classifier is trained for one epoch only; for its results see `retinopathy_dcgan.py`.
"""

from ml_collections import ConfigDict

from configs import retinopathy_dcgan

VARIANTS = ("full", "small", "later", "small_later")
TRICKS = ("strided", "no_hidden", "batch_norm", "leaky", "centred", "two_rates", "d_twice")
LATER = {
    "gan.augment": "brightness, contrast, translation, cutout",
    "gan.tricks.spectral": 1,
    "gan.loss": "hinge",
    "gan.r1": 10.0,
    "gan.ema": 0.99,  # over about the last 100 steps; 18 images make 320 steps in all
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of gan_tricks; known: {', '.join(VARIANTS)}")
    config = retinopathy_dcgan.get_config()
    config.name = "gan_tricks" if variant == "full" else f"gan_tricks_{variant}"
    config.seeds = 5
    config.baselines = ()
    config.method = config.baseline = "gan_synth(to=100)"
    config.metric = "gan_coverage"
    config.margin = 0.02
    switched = [{f"gan.tricks.{name}": 1 - config.gan.tricks[name]} for name in TRICKS]
    later = [{name: value} for name, value in LATER.items()]
    config.grid = str([{}, *([*later, LATER] if variant.endswith("later") else switched)])
    config.classifier.model = "s4_cnn"
    config.classifier.epochs = 1
    config.quality.samples = 200
    config.gan.select = "last"  # the advice is about the end of the training
    if variant.startswith("small"):
        config.data.size = 32
        config.gan.g_width = 0.25
        config.gan.grid_every = 40
    return config

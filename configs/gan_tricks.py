"""Which of the advice for training a DCGAN holds: each piece switched in turn, its generator judged, on grade 4.

    python launch.py --config=configs/gan_tricks.py              as the source has it: 128 pixels, 320 epochs; for a GPU
    python launch.py --config=configs/gan_tricks.py:small        32 pixels, a generator a quarter as wide: for two cores
    python launch.py --config=configs/gan_tricks.py:later        what came after the source's list instead, each switched on
    python launch.py --config=configs/gan_tricks.py:small_later  the same in small
    python launch.py --config=configs/gan_tricks.py --config.metric=gan_frechet

One arm is the source's setting, the others differ from it in one switch (`config.gan.tricks`) and are compared with it on the
same seeds: coverage, Frechet distance and the other figures of the generator, in the features of a classifier of all five
grades, and how many lanes failed. Batch normalisation is off in the source's setting, so there the other arm has it on. The
last piece of advice, to watch for failure, changes no training: its signs are told for every arm.

Later advice: DiffAugment, spectral normalisation, the hinge loss, R1 and a moving average, each alone and then all together.

The classifier that the arms go on to is trained for an epoch only; `retinopathy_dcgan.py` is about that.
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
    "gan.ema": 0.99,  # of the last 100 steps or so, for 18 images make 320 in all
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
    config.gan.select = "last"  # the end of a training is what the advice is about
    if variant.startswith("small"):
        config.data.size = 32
        config.gan.g_width = 0.25
        config.gan.grid_every = 40
    return config

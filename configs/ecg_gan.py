"""MIT-BIH heartbeats: one 1-D GAN for each rare class, trained together, against cheaper methods; tested on other patients.

    python launch.py --config=configs/ecg_gan.py               inter-patient: de Chazal's DS1 for training, DS2 for the test
    python launch.py --config=configs/ecg_gan.py:intra         the source's split by beat, with the same patients on both sides
    python launch.py --config=configs/ecg_gan.py:better        one conditional GAN: hinge loss, spectral norm, moving average
    python launch.py --config=configs/ecg_gan.py:amounts       the source's GAN and SMOTE at 0.1, 0.5 and 1 of full balance
    python launch.py --config=configs/ecg_gan.py:rr            a classifier that also gets the RR intervals; no GAN

Five seeds allow no verdict on so many arms: at least --config.seeds=9 are needed (`:better`, `:amounts`, `:rr`: 8). On two
cores: --config.gan.epochs=150 --config.gan.grid_every=15. To join two reports: launch.py --report=DIR,DIR.

Published by the source: GAN beats made its classifier much worse than SMOTE beats (by beat, no figures). Published between
patients on DS2 (accuracy, mean sensitivity, j-kappa): de Chazal .862 .832 .612, Mar .899 .802 .649, Zhang .883 .868 .663, an
ensemble of SVMs .945 .703 .773.

The same as in the source: wavelet db5 at level 9, the two finest levels zeroed and a soft threshold; windows from R-99 to
R+201, each beat scaled to [-1, 1]; AAMI's classes; a GAN for each of S, V, F, Q on training beats alone, with its networks,
Adam (beta1 .5; 1e-3 and 2e-4), real labels .9, batch 128, 1,000 epochs, a checkpoint every 100.
Different, or not published: training and test have different patients (`:intra` is the source's split by beat); the checkpoint
is chosen by the Frechet distance to held-out beats, not by eye, and is the last one for a class with fewer than ten of them
(Q); to=0.1 of N, the classifier and its training are our choice; batch normalisation has Keras's constants.

Needs the 48 records (100.dat, 100.hea, 100.atr, ...) in DIR/mitdb, where DIR is config.data.dir; otherwise they are
downloaded.
"""

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("inter", "intra", "better", "amounts", "rr")
TRANSFORMS = "jitter | amplitude | time_warp"
AMOUNT = "to=0.1"  # each rare class up to a tenth of N
PUBLISHED = {
    "de Chazal 2004": {"accuracy": 0.862, "mean_sensitivity": 0.832, "j_kappa": 0.612},
    "Mar 2011": {"accuracy": 0.899, "mean_sensitivity": 0.802, "j_kappa": 0.649},
    "Zhang 2014": {"accuracy": 0.883, "mean_sensitivity": 0.868, "j_kappa": 0.663},
    "ensemble of SVMs 2019": {"accuracy": 0.945, "mean_sensitivity": 0.703, "j_kappa": 0.773},
}


def get_config(variant: str = "inter") -> ConfigDict:
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of ecg_gan; known: {', '.join(VARIANTS)}")
    config = base.get_config("mitbih")
    config.name = f"ecg_gan_{variant}"
    config.seeds = 5
    config.metric = "j_kappa"
    config.margin = 0.01
    config.data.protocol = "intra" if variant == "intra" else "inter"
    config.data.rr = variant == "rr"
    config.data.validation = 0.15  # whole records of DS1
    config.expected = ConfigDict({} if variant == "intra" else PUBLISHED)
    _arms(config, variant)
    _classifier(config, variant)
    _gan(config)
    if variant == "better":
        _better(config)
    return config


def _arms(config: ConfigDict, variant: str) -> None:
    plain = ("none", "class_weights", "logit_adjust", f"over({AMOUNT})", f"smote({AMOUNT})", f"borderline_smote({AMOUNT})")
    filters = tuple(f"gan_synth({AMOUNT}, filter={name})" for name in ("discriminator", "classifier", "random"))
    config.method = f"gan_synth({AMOUNT})"
    config.baselines = (*plain, f"over({AMOUNT}) | {TRANSFORMS}", *filters)
    if variant == "better":
        config.baselines = ("none", *filters)
    elif variant == "amounts":
        each = [f"{name}(to={share})" for share in (0.1, 0.5, 1.0) for name in ("smote", "gan_synth")]
        config.baselines, config.method = ("none", *each[:-1]), each[-1]
    elif variant == "rr":
        config.baselines, config.method = (
            plain,
            f"over({AMOUNT}) | " + " | ".join(f"{word}(tail=4)" for word in TRANSFORMS.split(" | ")),
        )


def _classifier(config: ConfigDict, variant: str) -> None:
    config.classifier.model = "ecg_cnn_rr" if variant == "rr" else "ecg_cnn"
    config.classifier.init = "he_normal"
    config.classifier.epochs = 5


def _gan(config: ConfigDict) -> None:
    """The source's GAN: a pair of networks for each class."""
    config.gan.model = "s1_gan"
    config.gan.classes = "minority"
    config.gan.latent = 112
    config.gan.epochs = 1000
    config.gan.real_target = 0.9
    config.gan.g_learning_rate = 1e-3
    config.gan.d_learning_rate = 2e-4
    config.gan.beta1 = 0.5
    config.gan.separate = True
    config.gan.grid_every = 100
    config.gan.select = "frechet"


def _better(config: ConfigDict) -> None:
    config.gan.model = "ecg_gan"
    config.gan.classes = ""
    config.gan.batches = "balanced"
    config.gan.latent = 128
    config.gan.loss = "hinge"
    config.gan.real_target = 1.0
    config.gan.g_learning_rate = config.gan.d_learning_rate = 2e-4
    config.gan.separate = False
    config.gan.ema = 0.999
    config.gan.epochs = 30
    config.gan.grid_every = 3

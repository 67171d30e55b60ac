"""Diabetic retinopathy: a DCGAN for the rarest grade, against cheaper methods; tested on other patients.

    python launch.py --config=configs/retinopathy_dcgan.py              the GAN generates grade 4
    python launch.py --config=configs/retinopathy_dcgan.py:grades34     one GAN each for grades 3 and 4
    python launch.py --config=configs/retinopathy_dcgan.py --config.gan.classes='2,3,4'

Three seeds allow no verdict: at least --config.seeds=9 are needed.

Published by the source after 320 epochs, about 30 minutes on an 8 GB GPU, with about 600 images of grade 4: its discriminator
classified 35 % of the real and 57 % of the generated images correctly. It states that such images improve a classifier,
without a figure.

The same as in the source: 128 x 128 x 3 in [-1, 1], both networks by their counts of parameters, latent 100, 320 epochs, rates
1e-4 and 1e-3, two discriminator steps for each generator step, dropout of 0.5 in the generator, real and generated images in
separate batches, a checkpoint every 10 epochs.
Different, or not published: batches of 16 (its log counts 10 an epoch of about 600 images); Adam's beta1 (.5) and the
discriminator's dropout (.2) are not published; the state is chosen by the Frechet distance to held-out images, or is the last
one where a grade has fewer than ten; the grade classifier, its training and the split by patient are our choice. The source
advises batch normalisation, which its networks do not have.

Needs trainLabels.csv beside a folder of the photographs in DIR/retinopathy, where DIR is config.data.dir.
"""

from ml_collections import ConfigDict

from configs import base

GRADES = {"grade4": "4", "grades34": "3, 4"}
TRANSFORMS = "affine(rotation=20, shear=5, zoom=0.1, translation=0.05) | flip"


def get_config(variant: str = "grade4") -> ConfigDict:
    """The config of a variant."""
    if variant not in GRADES:
        raise ValueError(f"unknown variant {variant!r} of retinopathy_dcgan; known: {', '.join(GRADES)}")
    config = base.get_config("retinopathy")
    config.name = f"retinopathy_dcgan_{variant}"
    config.seeds = 3
    config.metric = "quadratic_kappa"
    config.margin = 0.01
    config.baselines = (
        "none",
        "over",
        "sampling(kind=sqrt)",
        TRANSFORMS,
        "balanced_mixup",
        "focal",
        "logit_adjust",
        f"over | {TRANSFORMS}",
        f"gan_synth | over | {TRANSFORMS}",  # against the arm before: do generated images of the rare grade improve on copies?
    )
    config.method = "gan_synth"
    config.data.validation = 0.15
    config.classifier.model = "efficientnet_small"
    config.classifier.batch = 32
    _gan(config, GRADES[variant])
    return config


def _gan(config: ConfigDict, grades: str) -> None:
    config.gan.model = "s2_dcgan"
    config.gan.classes = grades
    config.gan.latent = 100
    config.gan.epochs = 320
    config.gan.batch = 16
    config.gan.d_steps = 2
    config.gan.separate = True
    config.gan.g_learning_rate = 1e-4
    config.gan.d_learning_rate = 1e-3
    config.gan.beta1 = 0.5
    config.gan.grid_every = 10
    config.gan.select = "frechet"  # with fewer than ten validation images of a grade, the last state is used
    config.gan.tricks = ConfigDict()  # 1 or 0, see gan/tricks.py
    config.gan.tricks.strided = 1
    config.gan.tricks.no_hidden = 1
    config.gan.tricks.batch_norm = 0  # advised by the source, but by the numbers of parameters its networks have none
    config.gan.tricks.leaky = 1
    config.gan.tricks.centred = 1
    config.gan.tricks.two_rates = 1
    config.gan.tricks.d_twice = 1
    config.gan.tricks.spectral = 0  # not in the source's list

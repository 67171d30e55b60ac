"""Long-tailed CIFAR: the published comparison of losses, samplers and mixes, in the experiment of Cao et al.

    python launch.py --config=configs/cifar_lt.py          CIFAR-10, the rarest class with a hundredth of the images
    python launch.py --config=configs/cifar_lt.py:100      CIFAR-100

Test accuracy on the balanced test set after the last epoch; the report shows the published figures beside the results. Needs
CIFAR in config.data.dir, and a GPU.

The same as in the code of Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss"
(LDAM-DRW):
- int(n_max 100^(-i / (K - 1))) images of class i (Cui et al. 2019).
- Inputs standardised by means .4914 .4822 .4465 and deviations .2023 .1994 .2010, after random crops (4 padded pixels) and
  flips.
- ResNet-32 with shortcuts that have no parameters (option A), He's normal initial weights.
- 200 epochs, batch 128, SGD .1, momentum .9, weight decay 2e-4 on all parameters; five epochs of warm-up; the learning rate is
  multiplied by .01 at epoch 161 and again at epoch 181.
- LDAM: largest margin .5, scale 30, a last layer of normalised features and weights without bias.
- DRW: class-balanced weights with beta .9999 and sum K, from epoch 161 on; the loss is the weighted mean.

Different:
- The first images of each class are kept; theirs are drawn at random once. Both are the same for all seeds.
- The warm-up increases the rate in every step, theirs in every epoch. The last, smaller batch of an epoch is left out.
- Initial weights are truncated at two standard deviations; the last layer's bias is initialised to 0, not at random.
- Running averages use the batch variance with n, PyTorch's with n - 1.
- Their code reports the epoch that is best on the test set. Here it is the last epoch, which gives lower figures.

The other published figures are from other training settings, which these arms do not reproduce:
- Logit adjustment (Menon et al. 2021): 1,241 epochs (1,419 for CIFAR-100), pixels minus .5, crops with 2 padded pixels,
  Nesterov momentum, 20 epochs of warm-up, the rate multiplied by .1 at epochs 604, 926 and 1,128.
- Balanced softmax (Ren et al. 2020): their code uses batches of 512, 13,000 steps of cosine decay, weight decay 5e-4,
  AutoAugment and Cutout.
- cRT and tau-normalisation (Kang et al. 2020; CIFAR is not in their code): their last layer is trained on newly augmented
  images, with weight decay 5e-4; here on features computed once. tau is 1 here; theirs is chosen by validation.
- mixup, alone and with DRW: they draw one lambda per batch, here it is one per example; they compute one weighted mean for
  each of the two classes of a mixed example, here it is one for both. Remix was not compared with its code.
"""

import re

from ml_collections import ConfigDict

from configs import base

PLAIN = "crop(pad=4) | flip"
ARMS = {  # arm -> published accuracy on CIFAR-10 and on CIFAR-100, at imbalance 100
    PLAIN: (0.704, 0.383),
    f"{PLAIN} | sampling(kind=balanced)": (0.725, 0.352),
    f"{PLAIN} | mixup(alpha=1.0)": (0.741, 0.408),
    f"{PLAIN} | remix(alpha=1.0)": (0.734, 0.414),
    f"{PLAIN} | crt": (0.750, 0.403),
    f"{PLAIN} | tau_norm": (0.727, 0.410),
    f"{PLAIN} | posthoc_logit_adjust": (0.773, 0.441),
    f"{PLAIN} | logit_adjust": (0.779, 0.441),
    f"{PLAIN} | balanced_softmax": (0.775, 0.430),
    f"{PLAIN} | ldam | drw(start=0.8, beta=0.9999)": (0.777, 0.425),
    f"{PLAIN} | mixup(alpha=1.0) | drw(start=0.8, beta=0.9999)": (0.821, 0.469),
}


def get_config(classes: str = "10") -> ConfigDict:
    """The config for 10 or 100 classes."""
    if classes not in ("10", "100"):
        raise ValueError(f"unknown variant {classes!r} of cifar_lt; known: 10, 100")
    config = base.get_config("cifar")
    config.name = f"cifar{classes}_lt"
    config.seeds = 5
    config.baseline = PLAIN
    *config.baselines, config.method = tuple(ARMS)
    column = 0 if classes == "10" else 1
    words = {arm: re.sub(r"\(.*?\)", "", arm.removeprefix(PLAIN)).strip(" |") for arm in ARMS}
    config.expected = ConfigDict({
        f"published, {words[arm] or 'cross-entropy'}": ConfigDict({"accuracy": ARMS[arm][column], "arm": arm}) for arm in ARMS
    })  # fmt: skip
    config.metric = "accuracy"
    config.data.classes = int(classes)
    config.cut.profile = "exponential(factor=100)"
    config.classifier.model = "resnet32"
    config.classifier.init = "he_normal"
    config.classifier.mean, config.classifier.std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    config.classifier.epochs = 200
    config.classifier.optimizer = "momentum"
    config.classifier.learning_rate = 0.1
    config.classifier.weight_decay = 2e-4
    config.classifier.warmup = 5.0
    config.classifier.schedule = "step"
    config.classifier.milestones = (0.8, 0.9)
    config.classifier.decay = 0.01
    return config

"""Long-tailed CIFAR: the published comparison of losses, samplers and mixes, exactly as it was made.

    python launch.py --config=configs/cifar_lt.py          CIFAR-10, the rarest class with a hundredth of the images
    python launch.py --config=configs/cifar_lt.py:100      CIFAR-100

ResNet-32, 200 epochs, batch 128, SGD 0.1, momentum 0.9, weight decay 2e-4, five epochs of warm-up, the rate times 0.01 at
epochs 160 and 180; crops of 4 padded pixels and flips; deferred re-weighting from epoch 160 with beta 0.9999 (Cao et al. 2019,
"Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss"; counts of Cui et al. 2019). Test accuracy on the
balanced test set; the published figures stand beside ours in the report. Needs CIFAR in config.data.dir, and a GPU.
"""

import re

from ml_collections import ConfigDict

from configs import mnist_cgan

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
    config = mnist_cgan.get_config("source")
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
    config.data.name = "cifar"
    config.data.classes = int(classes)
    config.data.verify = True  # the files must be those that were published
    config.cut.profile = "exponential(factor=100)"
    config.classifier.model = "resnet32"
    config.classifier.init = "he_normal"
    config.classifier.epochs = 200
    config.classifier.optimizer = "momentum"
    config.classifier.learning_rate = 0.1
    config.classifier.weight_decay = 2e-4
    config.classifier.warmup = 5.0
    config.classifier.schedule = "step"
    config.classifier.milestones = (0.8, 0.9)
    config.classifier.decay = 0.01
    return config

"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28 grey (Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST").

https://github.com/zalandoresearch/fashion-mnist has the four files.
"""

from imbal_jax.data import published_idx, sources
from imbal_jax.data.dataset import Dataset
from imbal_jax.data.published_idx import Content, Published

FULL = Published(
    name="fashion_mnist",
    title="Fashion-MNIST",
    version="3.0.1",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    content=Content(
        (6000,) * 10,
        (1000,) * 10,
        (
            "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        ),
    ),
)


def load(directory: str | None, source: str, per_class: int | None) -> Dataset:
    """Fashion-MNIST from the first source that has it; x is uint8 [N, 28, 28, 1].

    Sources, in the order in which 'auto' tries them: 'tfds', 'raw' and 'download', as in `published_idx.readers`.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR, else no directory.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class; `fraction` shrinks accordingly.

    Raises:
        UserError: unknown source, no such directory, source absent, files damaged or not Fashion-MNIST, per_class below 1.
    """
    return sources.read(FULL.title, published_idx.readers(FULL), directory, source, per_class)

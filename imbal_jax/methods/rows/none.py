"""No balancing (the baseline): the training set as it is."""

from imbal_jax.methods.method import Method, Task


def make(task: Task) -> Method:
    """The baseline that every method is held against."""
    return Method()

"""What the Keras and the PyTorch sweep share: arguments, data, random over-sampling, scores."""

import argparse
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """What is asked for: the .npz file, how many seeds, epochs and rows in a batch, and how the loop is written."""

    data: str
    seeds: int
    epochs: int
    batch: int
    form: str


class Data(NamedTuple):
    """Images uint8 [N, 28, 28, 1] and labels int64 [N]; `wanted` [K]: rows of each class after over-sampling."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    wanted: np.ndarray


def main(train: Callable[[Plan, Data, int, np.ndarray], np.ndarray], device: Callable[[], str]) -> None:
    """Trains both arms for every seed and prints the device and the mean scores as a JSON line.

    Args:
        train: (plan, data, seed, training rows) -> predicted classes of the test set.
        device: what it ran on, in words.
    """
    parser = argparse.ArgumentParser()
    for field, kind in Plan.__annotations__.items():
        parser.add_argument(f"--{field}", type=kind, required=True)
    plan = Plan(**vars(parser.parse_args()))
    with np.load(plan.data) as file:
        data = Data(**file)
    scores: dict[str, list[tuple[float, float]]] = {"none": [], "over": []}
    for seed in range(plan.seeds):
        for arm, rows in _arms(data, seed):
            scores[arm].append(_score(data.test_y, train(plan, data, seed, rows)))
    means = {arm: np.mean(pairs, axis=0).tolist() for arm, pairs in scores.items()}
    print(json.dumps({"device": device(), "scores": means}))


def _arms(data: Data, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """The rows as they are, and with repeats of the smaller classes."""
    draw, rows = np.random.default_rng(seed), [np.arange(len(data.train_y))]
    yield "none", rows[0]
    for label, want in enumerate(data.wanted):
        own = np.flatnonzero(data.train_y == label)
        rows.append(draw.choice(own, max(0, want - len(own))))
    yield "over", np.concatenate(rows)


def _score(y: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Accuracy and balanced accuracy."""
    right = predicted == y
    return float(right.mean()), float(np.mean([right[y == label].mean() for label in np.unique(y)]))

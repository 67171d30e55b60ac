"""Fetching published files with TensorFlow Datasets' download manager, which knows their checksums."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbal_jax.errors import UserError


def online(url: str, seconds: float = 3.0) -> bool:
    """Whether `url` answers within this many seconds, even if a connection hangs.

    Asked before a download, since the download manager tries for minutes before it gives up. The time limit of a
    request does not cover the look-up of the host's name, so the request is made in a thread that may be left behind.
    """
    import requests

    answers: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # the thread may still be running: its result is ignored
            answers.append(requests.head(url, timeout=seconds, allow_redirects=True).ok)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


def fetch(urls: Sequence[str], folder: Path, url_infos: Mapping[str, Any] | None = None) -> None:
    """Download `urls` into the new `folder`, each under the last part of its address; all of them or none.

    Args:
        urls: what to fetch; each must have a checksum registered.
        folder: where to; its parent exists, and it does not yet (one that another process filled meanwhile is left).
        url_infos: sizes and checksums by address (TFDS's `UrlInfo`) in addition to those that TFDS has registered.

    Raises:
        UserError: a download failed or has the wrong checksum.
    """
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as staging:
        manager = tfds.download.DownloadManager(
            download_dir=staging, url_infos=dict(url_infos or {}), force_checksums_validation=True
        )
        complete = Path(staging) / "complete"
        complete.mkdir()
        for url in urls:  # one by one: when one of several fails, the manager would leave the others running
            try:
                os.replace(manager.download(url), complete / url.rsplit("/", 1)[1])
            # The manager passes on errors of three libraries that share no base class.
            except Exception as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise UserError(
                    f"the download of {url} failed: {reason.rstrip(':')}; try again or choose another data.source"
                ) from error
        try:
            os.replace(complete, folder)
        except OSError:
            if not folder.is_dir():
                raise

"""A classifier on disk and on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from tamis.classifier.analysis import Analysis
from tamis.classifier.hub import (
    DownloadOptions,
    UploadOptions,
    check_repository,
    download_model,
    upload_model,
)
from tamis.classifier.storage import StoredClassifier, read_classifier, write_classifier
from tamis.files import as_path


class StoredModel(Analysis):
    """A classifier that is saved to a folder or a repository of the hub, and loaded from it."""

    origin_: Path
    """the folder that it was loaded from; only after `load`"""

    def save(
        self, folder: Path | str, *, card: str | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Write a model folder that transformers loads and scores equally. `card` is the text of
        its README.md, `about` are further facts for `tamis.json`.

        Raises:
            NotFittedError: the classifier is not fitted.
            ConfigError: `folder` is no path.
        """
        self._check_fitted()
        folder = as_path(folder, "folder")
        parts = (self.predictor_, self.rule_, self.classes_, self.recipe_, self.temperature_)
        stored = StoredClassifier(*parts, self.ood_detector_.limit, self.held_out_)
        write_classifier(folder, stored, card=card, about=about)

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> Self:
        """Return a fitted classifier from a run folder, a model folder, or a folder of transformers
        for GPT-2 classification.

        Raises:
            ConfigError: `run` is no path.
            RunError: there is no such folder, or its training is not finished.
            CheckpointError: its files are missing, were changed or do not match.
        """
        stored = read_classifier(run, device=device, threads=threads, dtype=dtype)
        loaded = cls.from_recipe(stored.recipe)._hold(stored)
        loaded.origin_ = Path(run).resolve()
        return loaded

    def save_pretrained(self, save_directory: Path | str) -> None:
        """Write a model folder: `save` by the name that transformers uses."""
        self.save(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        name: Path | str,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
        **options: Unpack[DownloadOptions],
    ) -> Self:
        """Return a fitted classifier from a folder, as `load`, or from a repository of the hub.

        Args:
            name: a folder, or `organization/name` of a GPT-2 classifier; a folder has precedence.
            device: as `load`.
            threads: as `load`.
            dtype: as `load`.
            options: how it is downloaded: `revision`, `token`, `cache_dir`, `force_download`,
                `local_files_only`, as in huggingface_hub.

        Raises:
            ConfigError: `name` is neither a path nor a name, or an option is unknown.
            DownloadError: it cannot be downloaded.
            RunError, CheckpointError: as `load`.
            MissingExtraError: huggingface_hub is not installed.
        """
        folder = as_path(name, "name")
        run = folder if folder.exists() else download_model(str(name), options)
        return cls.load(run, device=device, threads=threads, dtype=dtype)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        examples: Sequence[str] | None = None,
        **options: Unpack[UploadOptions],
    ) -> str:
        """Upload the model with a model card, and return the address of the commit.

        No text of the training data is uploaded.

        Args:
            repo_id: `organization/name`; it is created if it does not exist.
            license: the licence, by the hub's identifiers (`mit`, `cc-by-4.0`).
            examples: texts that the hub's page offers for trying out the model.
            options: how it is uploaded: `private`, `token`, `branch`, `create_pr`,
                `commit_message`, as in huggingface_hub.

        Raises:
            NotFittedError: it is not fitted.
            ConfigError: `repo_id` is no name, or an option is unknown.
            UploadError: the hub refuses it or cannot be reached.
            MissingExtraError: huggingface_hub is not installed.
        """
        self._check_fitted()
        check_repository(repo_id)
        from tamis.classifier.hub_card import hub_card

        card = hub_card(self, repo_id, license=license, examples=examples)
        return upload_model(repo_id, lambda folder: self.save(folder, card=card), options)

"""TextClassifier: fit, predict_proba, predict, save, load - the object that users hold. Follows
scikit-learn's contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.classifier.base import Arguments
from tamis.classifier.inputs import as_texts, targets_of
from tamis.classifier.out_of_distribution import OODMixin
from tamis.classifier.predictor import LongTexts
from tamis.classifier.saved_model import LABEL_TYPES, SavedModel, find_model, load_model, save_model
from tamis.compute import device as devices
from tamis.compute.memory import release_memory
from tamis.config import Recipe
from tamis.data.deduplication import repeat_groups
from tamis.data.folds import FOLDS, fold_ids
from tamis.data.holdout import held_out
from tamis.decision.calibration import softmax
from tamis.decision.fit_rule import Decision, fit_decision_rule
from tamis.decision.out_of_distribution import read_ood_detector
from tamis.decision.prior import keeps_class_weights, log_prior_correction
from tamis.decision.verdict import Verdict
from tamis.errors import CheckpointError, ConfigError, NotFittedError
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.backbones import is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.checkpoints import fingerprint
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.inference.onednn import prepacking_pays
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.scoring import score_windows
from tamis.head.class_weights import effective_class_weights
from tamis.head.linear_head import fold_into
from tamis.head.refit import head_of
from tamis.head.result import TrainingResult
from tamis.progress import Progress
from tamis.text.augmentation import augmented_copies
from tamis.text.tokenizer import prepared_tokenizer
from tamis.training.fit import tune
from tamis.training.resolve import resolve_recipe

_LABEL_TYPES = {"b": "bool", "i": "int", "u": "int", "f": "float"}


class TextClassifier(LongTexts, OODMixin, Arguments):
    """A text classifier on a GPT-2 trunk.

    >>> classifier = TextClassifier(backbone="scratch:tiny").fit(texts, labels)
    >>> classifier.predict(["You have won a prize"])
    array(['spam'], dtype='<U4')

    Learned attributes: `classes_` (sorted labels), `positive_`, `rule_` (threshold and unsure
    band), `temperature_`, `recipe_` (every setting, resolved), `history_`, `notes_` (sentences
    worth showing), `model_`, `tokenizer_`.
    """

    on_epoch: Callable[[int, Scores], None] | None = None
    """Told by `fit`, where a loop trains, an epoch's number (from 1) and its validation figures;
    what it raises ends the training."""
    on_resolved: Callable[[Recipe], None] | None = None
    """Called by `fit` with the resolved recipe before anything long begins."""
    _origin: Path | None = None
    """Where the fp32 weights lie that a model loaded in another type no longer holds."""

    on_notice: Callable[[str], None] | None = None
    """Called by `fit` with a sentence: before training what will play no part in it, and where it
    goes wrong, while it does."""

    def fit(
        self,
        texts: Iterable[str],
        labels: ArrayLike,
        *,
        validation: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
        also: Sequence[str] = (),
        cache: FeatureCache = NO_CACHE,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Tune on labelled texts; two rows a class are enough.

        Args:
            texts: R texts.
            labels: (R,) labels: strings, numbers or booleans.
            validation: row numbers held out for early stopping and threshold where the loop trains;
                by default a stratified share, or none where folds show what a model does on rows
                that it has not seen.
            groups: (R,) rows of one group never stand on both sides of a fold; repeats of a text by
                default.
            also: further texts that will be scored later; a frozen trunk then runs once for all.
            cache: keeps the frozen trunk's states between runs.
            checkpoint: folder for the state of the training, taken up if it holds the same work.
            progress: is told what goes on.

        Raises:
            DataError: texts and labels do not fit, or there are fewer than two classes.
            ConfigError, CheckpointError, DownloadError: a setting or the backbone is wrong.
        """
        texts, _ = as_texts(texts)
        # A fit that fails leaves nothing half of before, half of now.
        for learned in ("model_", "_cast", "_known", "_origin", "_language_model", "ood_detector_"):
            self.__dict__.pop(learned, None)
        self.classes_, targets = targets_of(texts, labels)
        names = [str(label) for label in self.classes_]
        recipe = self.recipe()
        compute = devices.resolve(
            recipe.compute.device, recipe.compute.threads, recipe.compute.dtype
        )
        devices.apply(compute)
        devices.seed_everything(recipe.seed)
        resolved = {
            "compute.device": compute.device,
            "compute.threads": compute.threads,
            "compute.dtype": compute.dtype,
        }
        self.compute_ = compute
        named = [names[t] for t in targets]
        settled = resolve_recipe(
            recipe.changed(resolved | ({} if validation is None else {"decision.cv_folds": 0})),
            texts,
            named,
        )
        self.recipe_, self.tune_reason_, self.positive_ = (
            settled.recipe,
            settled.tune_reason,
            settled.positive,
        )
        if self.on_resolved is not None:
            self.on_resolved(self.recipe_)
        if self.on_notice is not None:
            for note in settled.notes:
                self.on_notice(note)
        groups = repeat_groups(texts) if groups is None else np.asarray(groups)
        rows = np.arange(len(texts))
        exact = self.recipe_.tune == "head" and self.recipe_.train.head_solver == "lbfgs"
        validation = (
            (rows[:0] if exact else held_out(named, groups, self.recipe_))
            if validation is None
            else validation
        )
        fit = rows if exact else np.setdiff1d(rows, validation)
        name, seed = recipe.backbone, recipe.seed
        backbone = (
            scratch_backbone(name, [texts[i] for i in fit], seed=seed)
            if is_scratch(name)
            else load_backbone(name)
        )
        self.tokenizer_ = prepared_tokenizer(self.recipe_, backbone.tokenizer)
        folds = fold_ids(
            targets,
            groups,
            len(names),
            FOLDS if exact else self.recipe_.decision.cv_folds or 0,
            seed,
        )
        parts = (
            rows * 0 if exact and folds is None else folds
        )  # the head has the copies' folds, or none: its own would part them
        normal, place = self.tokenizer_.normalized, self.aggregation.positive
        copies = augmented_copies(
            texts,
            targets,
            fit,
            positive=place,
            settings=recipe.train,
            seed=seed,
            normalize=normal,
            fold_ids=parts,
        )
        every = [*texts, *copies.texts, *also]
        context = backbone.model.config.n_positions
        self.recipe_ = self.with_window(texts, context)
        if (self.recipe_.text.fixed_length or 0) > context:
            raise ConfigError(
                f"text.padding = {self.recipe_.text.padding}: the backbone's context holds "
                f"{context} tokens"
            )
        messages = self.encode(every, context=context)
        tuned = tune(
            backbone,
            self.recipe_,
            messages,
            np.concatenate([targets, targets[copies.of]]),
            names,
            train=rows,
            validation=validation,
            groups=np.concatenate([groups, groups[copies.of]]),
            copies=np.arange(len(texts), len(texts) + len(copies)),
            fold_ids=parts,
            retokenize=self.retokenize([*texts, *copies.texts], context=context),
            concatenate_negatives=self.concatenate_negatives(texts, targets, messages),
            cache=cache,
            checkpoint=checkpoint,
            progress=progress,
            say=self.on_notice,
            on_epoch=self.on_epoch,
        )
        self.fold_ids_ = folds if len(tuned.held_out) == len(texts) else None
        self.recipe_, tuned = (
            self.recipe_.changed(tuned.selected_settings),
            replace(tuned, notes=[*settled.notes, *tuned.notes]),
        )
        trained = effective_class_weights(self.recipe_, targets[fit], targets[copies.of], names)
        self._decide(
            tuned,
            targets,
            names,
            log_prior_correction(np.bincount(targets[fit], minlength=len(names)), trained),
        )
        kept = (
            []
            if tuned.logits is None
            else zip(every, self._shifted(tuned.logits), messages.long, strict=True)
        )
        self._known = {text: logits for text, logits, many in kept if not many}
        return self

    def _decide(
        self,
        tuned: TrainingResult,
        targets: NDArray[np.int64],
        names: list[str],
        corrected: NDArray[np.float64],
    ) -> None:
        """Temperature, prior, threshold and unsure band from the held-out scores; what changes a
        score goes into the weights.
        """
        settings = self.recipe_.decision
        corrected = np.zeros(len(names)) if settings.prior == "trained" else corrected
        decision: Decision = fit_decision_rule(
            tuned.held_out_logits + corrected,
            targets[tuned.held_out],
            names,
            positive=self.positive_,
            settings=settings,
            uncorrected=corrected,
            weighted=keeps_class_weights(self.recipe_, len(names)),
        )
        self.decision_, self.rule_, self.temperature_ = (
            decision,
            decision.rule,
            decision.temperature,
        )
        self.shift_ = corrected / decision.temperature + decision.shift
        self.model_: GPT2Classifier = tuned.model.requires_grad_(False).eval()
        if self.shift_.any():
            head = head_of(self.model_).scaled(1 / decision.temperature)
            fold_into(self.model_, head.weight, head.bias + self.shift_)
        else:
            self.model_.score.weight /= decision.temperature
        if tuned.concatenated_logits is not None and decision.calibration:
            windows, held_out = (
                self._shifted(tuned.concatenated_logits),
                self._shifted(tuned.held_out_logits),
            )
            self.recipe_ = self.with_penalty(windows, held_out, targets[tuned.held_out])
        self.held_out_, self.held_out_probabilities_, self.cross_validated_ = (
            tuned.held_out,
            decision.probabilities,
            tuned.cross_validated,
        )
        self.history_, self.facts_, self.features_ = tuned.history, tuned.facts, tuned.features
        self.extra_notes_ = [
            *tuned.notes,
            *(() if decision.calibration else decision.notes),
        ]  # reports have the others' own
        self.notes_ = [*tuned.notes, *decision.notes]

    def _shifted(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits of the network as it was tuned -> as it is kept."""
        return np.asarray(logits / self.temperature_ + self.shift_)

    def predict_proba(
        self, texts: Iterable[str], *, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """(N, K) probabilities in the order of `classes_`; one text alone gives (K,).

        Texts longer than the context are scored by windows (`tamis.text.windows` has the rule). No
        text's score depends on the others or on their order.

        Raises:
            NotFittedError: called before `fit` or `load`.
            DataError: a text is not a string or not valid Unicode.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        probabilities = softmax(self._logits(listed, progress))
        return probabilities[0] if single else probabilities

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError(
                "this TextClassifier is not fitted yet; call fit(texts, labels) or "
                "TextClassifier.load(folder) first"
            )

    def _logits(self, texts: list[str], progress: Progress | None) -> NDArray[np.float64]:
        return self._scored(texts, progress)[0]

    def _scored(
        self, texts: list[str], progress: Progress | None
    ) -> tuple[NDArray[np.float64], dict[str, int]]:
        """(N, K) logits, and of each text of several windows the number of the one that decided."""
        known: dict[str, NDArray[np.float64]] = getattr(self, "_known", {})
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        deciding: dict[str, int] = {}
        if missing or not texts:
            messages = self.encode(missing)
            found = score_windows(self.scorer(), messages, progress=progress)
            known = known | dict(zip(missing, found.logits, strict=True))
            deciding = {
                text: n
                for text, n, many in zip(
                    missing, found.deciding.tolist(), messages.long, strict=True
                )
                if many
            }
        return np.stack([known[text] for text in texts]) if texts else np.empty(
            (0, len(self.classes_))
        ), deciding

    def scorer(self) -> GPT2Classifier:
        """The model in the type it is to be computed in."""
        if not hasattr(self, "_cast"):
            trunk, self._cast = in_dtype(self.model_.transformer, self.recipe_), self.model_
            if trunk is not self.model_.transformer:
                self._cast = GPT2Classifier(trunk, len(self.classes_))
                self._cast.score = self.model_.score
        return self._cast

    def predict(self, texts: Iterable[str]) -> Any:
        """Labels of texts by the stored threshold (more than two classes: the most probable); one
        text alone gives one label.

        Raises:
            NotFittedError, DataError: as `predict_proba`.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        labels = self.classes_[
            self.rule_.labels(self.predict_proba(listed), [str(c) for c in self.classes_])
        ]
        return labels[0] if single else labels

    def verdicts(
        self, texts: Iterable[str], *, ood: bool = False, progress: Progress | None = None
    ) -> list[Verdict]:
        """Label, verdict (the label or `unsure`) and probabilities of each text, in order; of a
        long text also the window that decided.

        With `ood` each is also told whether its text is like what was learnt, which costs one to
        two verdicts more.

        Raises:
            NotFittedError, DataError: as `predict_proba`.
        """
        self._check_fitted()
        listed, _ = as_texts(texts)
        logits, deciding = self._scored(listed, progress)
        verdicts = self.rule_.verdicts(listed, softmax(logits), [str(c) for c in self.classes_])
        verdicts = [
            replace(v, window=self.window(v.text, deciding[v.text])) if v.text in deciding else v
            for v in verdicts
        ]
        return self.with_ood(verdicts, progress=progress) if ood else verdicts

    def save(
        self, folder: Path | str, *, card: str | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Write a model folder that transformers loads as it is and scores equally.

        Args:
            folder: made, or replaced whole.
            card: text of its README.md.
            about: further facts for `tamis.json`.

        Raises:
            NotFittedError: called before `fit` or `load`.
        """
        self._check_fitted()
        kind = _LABEL_TYPES.get(self.classes_.dtype.kind, "str")
        facts = {
            "temperature": self.temperature_,
            "recipe": self.recipe_.model_dump(),
            **(about or {}),
        }
        if self.ood_detector_ is not None:
            facts["ood"] = self.ood_detector_.to_dict()
        labels = [str(c) for c in self.classes_]
        save_model(
            folder,
            SavedModel(self._exact_model(), self.tokenizer_, labels, self.rule_, kind, facts),
            card=card,
        )

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> TextClassifier:
        """A fitted classifier from a run folder, a model folder, or a folder that transformers
        wrote for GPT-2 classification.

        Raises:
            RunError: there is no such folder, or its training has not ended.
            CheckpointError: its files are missing, altered or do not fit each other.
        """
        compute = devices.resolve(device, threads, dtype)
        devices.apply(compute)
        saved = load_model(run)
        convert = LABEL_TYPES[saved.label_type]
        try:
            recipe = Recipe.model_validate(saved.about.get("recipe", {}))
            classes = np.array([convert(label) for label in saved.labels])
            temperature = float(saved.about.get("temperature", 1.0))
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{run}: tamis.json cannot be used ({' '.join(str(error).split())}); save the "
                "model again"
            ) from error
        self = cls.from_recipe(recipe)
        self.compute_ = compute
        self.recipe_ = recipe.changed(
            {
                "compute.device": compute.device,
                "compute.threads": compute.threads,
                "compute.dtype": compute.dtype,
            }
        )
        self.model_ = saved.model.requires_grad_(False).to(compute.device)
        self.tokenizer_, self.rule_, self.temperature_ = saved.tokenizer, saved.rule, temperature
        self.ood_detector_ = read_ood_detector(saved.about.get("ood"))
        self.positive_, self.classes_ = saved.rule.positive, classes
        self.history_, self.notes_ = [], []
        if compute.dtype != "fp32" or prepacking_pays(self.model_.transformer):
            # The plain matrices would take one to four times the memory of those in use.
            self.model_, self._origin = self.scorer(), Path(run)
        del saved
        release_memory(*find_model(run).glob("*.safetensors"))
        return self

    def _exact_model(self) -> GPT2Classifier:
        """The model in fp32, read again where only a smaller copy was kept, with the head as it is
        now.
        """
        if self._origin is None:
            return self.model_
        exact = load_model(self._origin).model
        exact.transformer.ln_f, exact.score = self.model_.transformer.ln_f, self.model_.score
        return exact

    def fingerprint(self) -> str:
        """Hash of all weights, head included."""
        model = self._exact_model()
        state = {name: t.detach().cpu().float() for name, t in model.state_dict().items()}
        return fingerprint(model.transformer.config, state)

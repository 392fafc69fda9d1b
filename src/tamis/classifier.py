"""TextClassifier: fit, predict_proba, predict, save, load - the object that users hold. Follows scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tamis import device as devices
from tamis.config import Recipe
from tamis.data.splits import hold_out, positive_label
from tamis.decision import Decision, decide
from tamis.errors import CheckpointError, ConfigError, NotFittedError
from tamis.estimator import ClassifierContract
from tamis.gpt2.backbones import EMBEDDED, Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.checkpoints import fingerprint
from tamis.gpt2.model import GPT2Classifier
from tamis.labelled import as_texts, held_out_share, repeats, targets_of
from tamis.model_folder import LABEL_TYPES, SavedModel, load_model, save_model
from tamis.progress import Progress
from tamis.tuning.defaults import chosen_tune, resolve
from tamis.tuning.features import NO_STORE, StateStore
from tamis.tuning.messages import Messages
from tamis.tuning.procedures import Tuned, in_dtype, prepared_tokenizer, tune
from tamis.tuning.scoring import score
from tamis.verdicts import Verdict

_LABEL_TYPES = {"b": "bool", "i": "int", "u": "int", "f": "float"}


class TextClassifier(ClassifierContract):
    """A text classifier on a GPT-2 trunk.

    >>> classifier = TextClassifier(backbone="scratch:tiny").fit(texts, labels)
    >>> classifier.predict(["You have won a prize"])
    array(['spam'], dtype='<U4')

    Learned attributes: `classes_` (sorted labels), `positive_`, `rule_` (threshold and unsure band), `temperature_`, `recipe_` (every
    setting, resolved), `history_`, `notes_` (sentences worth showing), `model_`, `tokenizer_`.
    """

    on_resolved: Callable[[Recipe], None] | None = None
    """Called by `fit` with the resolved recipe before anything long begins."""

    def __init__(
        self,
        backbone: str = "nano",
        tune: str = "auto",
        *,
        positive: str | None = None,
        class_weight: str | dict[str, float] = "none",
        max_blocked: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 42,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> None:
        """Store the arguments; nothing happens before `fit`.

        Args:
            backbone: a name (`nano` is inside the package), or a folder.
            tune: `auto`, `head`, `blocks:K`, `lora:R` or `full`.
            positive: label that recall, precision and the threshold are about; the rarer one by default.
            class_weight: `none`, `balanced` or a weight by label.
            max_blocked: largest share of negatives that may be flagged; without it the threshold has the best F1.
            settings: any other setting of the recipe by name, such as `{"train.epochs": 3}`; they win over the arguments.
            seed: of everything random.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: processor threads; all cores by default.
            dtype: `fp32`, `bf16` or `auto` (the fastest measured here).
        """
        self.backbone = backbone
        self.tune = tune
        self.positive = positive
        self.class_weight = class_weight
        self.max_blocked = max_blocked
        self.settings = settings
        self.seed = seed
        self.device = device
        self.threads = threads
        self.dtype = dtype

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> TextClassifier:
        """A classifier, not fitted, with every setting of a recipe."""
        rest = {f"{s}.{k}": v for s in ("text", "train", "verdict", "data") for k, v in getattr(recipe, s).model_dump().items()}
        compute = recipe.compute
        return cls(
            recipe.backbone,
            recipe.tune,
            seed=recipe.seed,
            settings=rest,
            device=compute.device,
            threads=compute.threads,
            dtype=compute.dtype,
        )

    def recipe(self) -> Recipe:
        """The recipe that the arguments amount to, unresolved.

        Raises:
            ConfigError: an argument or a setting is unknown or out of range.
        """
        arguments = {
            "backbone": str(self.backbone),
            "tune": self.tune,
            "seed": self.seed,
            "data.positive": None if self.positive is None else str(self.positive),
            "train.class_weight": self.class_weight,
            "verdict.max_blocked": self.max_blocked,
            "compute.device": self.device,
            "compute.threads": self.threads,
            "compute.dtype": self.dtype,
        }
        return Recipe().changed(arguments).changed(self.settings or {})

    def fit(
        self,
        texts: Iterable[str],
        labels: ArrayLike,
        *,
        validation: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
        also: Sequence[str] = (),
        store: StateStore = NO_STORE,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Tune on labelled texts; two rows a class are enough.

        Args:
            texts: R texts.
            labels: (R,) labels: strings, numbers or booleans.
            validation: row numbers held out for early stopping and threshold where the loop trains; a stratified share by default.
            groups: (R,) rows of one group never stand on both sides of a fold; repeats of a text by default.
            also: further texts that will be scored later; a frozen trunk then runs once for all.
            store: keeps the frozen trunk's states between runs.
            checkpoint: folder for the state of the training, taken up if it holds the same work.
            progress: is told what goes on.

        Raises:
            DataError: texts and labels do not fit, or there are fewer than two classes.
            ConfigError, CheckpointError, DownloadError: a setting or the backbone is wrong.
        """
        texts, _ = as_texts(texts)
        for learned in ("model_", "_cast", "_known"):  # a fit that fails leaves nothing half of before, half of now
            self.__dict__.pop(learned, None)
        self.classes_, targets = targets_of(texts, labels)
        names = [str(label) for label in self.classes_]
        recipe = self.recipe()
        compute = devices.resolve(recipe.compute.device, recipe.compute.threads, recipe.compute.dtype)
        devices.apply(compute)
        devices.seed_everything(recipe.seed)
        resolved = {"compute.device": compute.device, "compute.threads": compute.threads, "compute.dtype": compute.dtype}
        self.compute_ = compute
        pretrained = not is_scratch(recipe.backbone)
        tune_, self.tune_reason_ = chosen_tune(recipe.tune, pretrained=pretrained, small=recipe.backbone in EMBEDDED)
        self.recipe_ = resolve(recipe.changed(resolved | {"tune": tune_}), pretrained=pretrained, rows=len(texts), classes=len(names))
        if self.on_resolved is not None:
            self.on_resolved(self.recipe_)
        named = [names[t] for t in targets]
        self.positive_ = positive_label(named, self.recipe_.data.positive) if len(names) == 2 else None
        groups = repeats(texts) if groups is None else np.asarray(groups)
        rows = np.arange(len(texts))
        if validation is None:
            exact, budget = self.recipe_.tune == "head" and self.recipe_.train.head == "exact", self.recipe_.verdict.max_blocked is not None
            share = 0.0 if exact else held_out_share(named, self.recipe_.data.validation_share, budget=budget)
            validation = hold_out(named, groups, share, seed=recipe.seed)
        backbone = self._backbone([texts[i] for i in np.setdiff1d(rows, validation)])
        self.tokenizer_ = prepared_tokenizer(self.recipe_, backbone.tokenizer)
        every = [*texts, *also]
        context = backbone.model.config.n_positions
        if (self.recipe_.text.fixed_length or 0) > context:
            raise ConfigError(f"text.padding = {self.recipe_.text.padding}: the backbone's context holds {context} tokens")
        tuned = tune(
            backbone,
            self.recipe_,
            Messages.encode(every, self.tokenizer_, context=context),
            targets,
            names,
            train=rows,
            validation=validation,
            groups=groups,
            store=store,
            checkpoint=checkpoint,
            progress=progress,
        )
        self._decide(tuned, targets, names)
        self._known = {} if tuned.logits is None else dict(zip(every, tuned.logits / self.temperature_, strict=True))
        return self

    def _backbone(self, fit_texts: list[str]) -> Backbone:
        name = self.recipe_.backbone
        return scratch_backbone(name, fit_texts, seed=self.recipe_.seed) if is_scratch(name) else load_backbone(name)

    def _decide(self, tuned: Tuned, targets: NDArray[np.int64], names: list[str]) -> None:
        """Temperature, threshold and unsure band from the held-out scores; the temperature goes into the weights."""
        decision: Decision = decide(
            tuned.held_out_logits,
            targets[tuned.held_out],
            names,
            positive=self.positive_,
            max_blocked=self.recipe_.verdict.max_blocked,
            unsure_share=self.recipe_.verdict.unsure_share,
        )
        with torch.no_grad():
            tuned.model.score.weight /= decision.temperature
        self.model_: GPT2Classifier = tuned.model.requires_grad_(False).eval()
        self.decision_, self.rule_, self.temperature_ = decision, decision.rule, decision.temperature
        self.held_out_, self.held_out_probabilities_ = tuned.held_out, decision.probabilities
        self.history_, self.facts_, self.features_ = tuned.history, tuned.facts, tuned.features
        self.extra_notes_ = tuned.notes if decision.threshold else [*tuned.notes, *decision.notes]
        self.notes_ = [*tuned.notes, *decision.notes]

    def predict_proba(self, texts: Iterable[str], *, progress: Progress | None = None) -> NDArray[np.float64]:
        """(N, K) probabilities in the order of `classes_`; one text alone gives (K,).

        Texts longer than the context are scored by windows. No text's score depends on the others or on their order.

        Raises:
            NotFittedError: called before `fit` or `load`.
            DataError: a text is not a string or not valid Unicode.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        logits = self._logits(listed, progress)
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = np.asarray(shifted / shifted.sum(1, keepdims=True))
        return probabilities[0] if single else probabilities

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("this TextClassifier is not fitted yet; call fit(texts, labels) or TextClassifier.load(folder) first")

    def _logits(self, texts: list[str], progress: Progress | None) -> NDArray[np.float64]:
        known: dict[str, NDArray[np.float64]] = getattr(self, "_known", {})
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing or not texts:
            context = self.model_.transformer.config.n_positions
            scored = score(self.scorer(), Messages.encode(missing, self.tokenizer_, context=context), progress=progress)
            known = known | dict(zip(missing, scored, strict=True))
        return np.stack([known[text] for text in texts]) if texts else np.empty((0, len(self.classes_)))

    def scorer(self) -> GPT2Classifier:
        """The model in the type it is to be computed in."""
        if not hasattr(self, "_cast"):
            trunk = in_dtype(self.model_.transformer, self.recipe_)
            self._cast = self.model_
            if trunk is not self.model_.transformer:
                self._cast = GPT2Classifier(trunk, len(self.classes_))
                self._cast.score = self.model_.score
        return self._cast

    def predict(self, texts: Iterable[str]) -> Any:
        """Labels of texts by the stored threshold (more than two classes: the most probable); one text alone gives one label.

        Raises:
            NotFittedError, DataError: as `predict_proba`.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        labels = self.classes_[self.rule_.labels(self.predict_proba(listed), [str(c) for c in self.classes_])]
        return labels[0] if single else labels

    def verdicts(self, texts: Iterable[str], *, progress: Progress | None = None) -> list[Verdict]:
        """Label, verdict (the label or `unsure`) and probabilities of each text, in order.

        Raises:
            NotFittedError, DataError: as `predict_proba`.
        """
        self._check_fitted()
        listed, _ = as_texts(texts)
        return self.rule_.verdicts(listed, self.predict_proba(listed, progress=progress), [str(c) for c in self.classes_])

    def save(self, folder: Path | str, *, card: str | None = None, about: Mapping[str, Any] | None = None) -> None:
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
        facts = {"temperature": self.temperature_, "recipe": self.recipe_.model_dump(), **(about or {})}
        save_model(folder, SavedModel(self.model_, self.tokenizer_, [str(c) for c in self.classes_], self.rule_, kind, facts), card=card)

    @classmethod
    def load(cls, run: Path | str, *, device: str = "auto", threads: int | None = None, dtype: str = "fp32") -> TextClassifier:
        """A fitted classifier from a run folder, a model folder, or a folder that transformers wrote for GPT-2 classification.

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
            raise CheckpointError(f"{run}: tamis.json cannot be used ({' '.join(str(error).split())}); save the model again") from error
        self = cls.from_recipe(recipe)
        self.compute_ = compute
        self.recipe_ = recipe.changed(
            {"compute.device": compute.device, "compute.threads": compute.threads, "compute.dtype": compute.dtype}
        )
        self.model_ = saved.model.requires_grad_(False).to(compute.device)
        self.tokenizer_, self.rule_ = saved.tokenizer, saved.rule
        self.temperature_ = temperature
        self.positive_ = saved.rule.positive
        self.classes_ = classes
        self.history_, self.notes_ = [], []
        return self

    def fingerprint(self) -> str:
        """Hash of all weights, head included."""
        state = {name: t.detach().cpu().float() for name, t in self.model_.state_dict().items()}
        return fingerprint(self.model_.transformer.config, state)

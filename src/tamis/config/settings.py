"""The sections of the recipe: every setting with description, unit and default.

The help texts, docs/settings.md and the `recipe.toml` of a run are generated from these fields. A
setting that is `None` gets a default that depends on other settings, such as `tune` and the
backbone; the `recipe.toml` of a run contains the resolved value.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from tamis.config.faults import one_of


def parse_percent(value: Any) -> Any:
    """Convert a percentage such as `0.2%` to a number; return any other value unchanged."""
    if not (isinstance(value, str) and value.strip().endswith("%")):
        return value
    try:
        return float(Decimal(value.strip()[:-1].strip()) / 100)  # Decimal makes 0.1 % equal 0.001
    except InvalidOperation:
        return value


def _pairs(value: Any) -> Any:
    """Convert `a=1,b=2` of the command line to a dictionary; return any other value unchanged."""
    if not (isinstance(value, str) and "=" in value):
        return value
    parts = (part.rpartition("=") for part in value.split(","))
    return {name.strip(): number for name, _, number in parts}


Share = Annotated[float, BeforeValidator(parse_percent), Field(ge=0, le=1)]
Prior = Annotated[
    Literal["rows", "trained"] | Annotated[float, Field(gt=0, lt=1)], BeforeValidator(parse_percent)
]
ClassWeight = Annotated[
    Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_pairs)
]
Costs = Annotated[
    dict[Literal["blocked", "missed", "unsure"], Annotated[float, Field(gt=0)]],
    BeforeValidator(_pairs),
]


class Section(BaseModel):
    """A section of the recipe. Unknown settings are rejected; the docstring of a field is its
    description.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Join the lines of each description, which may be wrapped in the source."""
        super().__pydantic_init_subclass__(**options)
        for field in cls.model_fields.values():
            if field.description is not None:
                field.description = " ".join(field.description.split())


class DataSettings(Section):
    """Which rows are read, and how they are split."""

    # TOML may give a column or a label as a number; the command line gives a string.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    split: Literal["leakfree", "tp2", "almeida", "stratified", "none"] = "leakfree"
    """Split into training and test rows: `leakfree` keeps near-duplicates in one part, `stratified`
    keeps class proportions, `tp2` and `almeida` repeat published experiments, `none` trains on all
    rows."""
    text: str | None = None
    """Text column, by name or 1-based number. Detected by default."""
    label: str | None = None
    """Label column, by name or 1-based number. Detected by default."""
    header: bool | None = None
    """Whether the first row of a table names the columns. Detected by default."""
    skip_unlabelled: bool = False
    """Leave out rows without a label, and say how many. By default they are an error."""
    test: str | None = None
    """Separate test file; disables splitting."""
    exclude: str | None = None
    """File with rows to exclude from training: a table written by `tamis data DATA --label-issues
    FILE`, or a .txt file with one row number per line, counted from 0."""
    positive: str | None = None
    """Positive class for metrics, threshold and model selection. Default: the rarer of two
    classes."""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the training rows held out for early stopping and for the threshold."""


class TextSettings(Section):
    """How texts are preprocessed and pooled."""

    add_bos: bool = True
    """Put `<|endoftext|>` before each text."""
    normalize: Literal["none", "nfkc", "robust", "words"] = "none"
    """Text normalization. `nfkc`: Unicode NFKC without invisible characters; `robust`: also undo
    homoglyphs, split words and leetspeak; `words`: only letters, in lower case."""
    window: Annotated[int, Field(ge=8)] | None = None
    """Window length in tokens for texts longer than the context. Default: 95th percentile of the
    lengths of the training texts."""
    window_penalty: Annotated[float, Field(ge=0)] | None = None
    """Penalty for long texts (two classes): a text of n windows gets the highest window score minus
    `window_penalty` * log(n). Default: fitted on held-out rows, or 1 if they are too few."""
    padding: Annotated[str, AfterValidator(one_of("none", "fixed:N"))] = "none"
    """`none`, or `fixed:N`: truncate or pad each text to N tokens. The reference experiment uses
    120."""
    pooling: Literal["auto", "mean", "attention", "last_token", "last_position"] = "auto"
    """How token states become one vector for the head: `mean`, `attention` (trained weighted mean;
    `blocks:K` always trains one), `last_token`, or `last_position` (of the padded text)."""
    layers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of transformer blocks to keep. `auto`: for the `lbfgs` head, chosen by
    cross-validation (with `pooling`, if that is `auto`); if all of an embedded backbone is trained,
    one more than the exact head would take; otherwise all."""

    @property
    def fixed_length(self) -> int | None:
        """N of `padding = "fixed:N"`, in tokens."""
        return None if self.padding == "none" else int(self.padding.removeprefix("fixed:"))


class TrainSettings(Section):
    """Optimization, regularization and augmentation."""

    adapt_passes: Annotated[float, Field(ge=0)] = 0.0
    """Task-adaptive pretraining: number of passes over the training texts before the training."""
    adapt_teacher: str | None = None
    """Folder of a sentence-transformers model whose vectors the backbone also learns during these
    passes. Default: the next-token loss only."""
    class_weight: ClassWeight = "none"
    """Weight of each class in the loss: `none`, `balanced` (N / (K * rows of the class)), or one
    weight per label, such as `spam=5,ham=1`."""
    undersample: bool = False
    """Train on equally many rows of each class, as many as the rarest class has. Rows are drawn
    again for each epoch; once for the `lbfgs` head."""
    augment_positives: Annotated[float, Field(ge=0)] = 0.0
    """Number of perturbed copies of each training row of the positive class (of every class if
    there are more than two). A fraction is a probability."""
    augment_negatives: Annotated[float, Field(ge=0)] = 0.0
    """Number of perturbed copies of each training row of the negative class. A fraction is a
    probability."""
    augment_forms: Annotated[float, Field(ge=0)] = 0.0
    """Number of copies of each training row, of every class, without some of its links, digits,
    punctuation and capitals. A fraction is a probability."""
    augment_weight: Annotated[float, Field(gt=0)] = 0.5
    """Weight of a copy in the loss of the `lbfgs` head; an original row has weight 1. Otherwise, a
    copy has the same weight as a row."""
    head_solver: Literal["lbfgs", "adamw"] = "lbfgs"
    """Optimizer for `tune = "head"`: `lbfgs` fits the head to convergence; `adamw` trains head and
    final LayerNorm in mini-batches, as the reference experiment does."""
    head_init: Literal["linear_probe", "random"] | None = None
    """Initial head if blocks are trained: `linear_probe` (fitted on the features of the unchanged
    backbone) or `random`. Default: depends on `tune`."""
    wise_ft: Literal["auto"] | Share | None = None
    """WiSE-FT: fraction of the initial weights averaged into the result. 0: only the trained
    weights; `auto`: chosen on held-out rows. Default: depends on `tune`."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Number of passes over the training rows. Default: depends on `tune`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of AdamW. Default: depends on `tune`."""
    head_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the head. Default: depends on `tune`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled weight decay of AdamW, applied to matrices only."""
    decay_everything: bool = False
    """Apply weight decay also to LayerNorms, biases and embeddings, as the reference experiment
    does."""
    warmup_ratio: Share = 0.1
    """Fraction of all steps in which the learning rate increases linearly to its peak."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule after the warm-up."""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """Maximum norm of the gradient; 0 disables clipping."""
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Batch size in tokens: random rows are added to a batch until it is full. Default: depends on
    `tune`."""
    batch_rows: Annotated[int, Field(ge=1)] | None = None
    """Batch size in rows; replaces `batch_tokens`."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """Number of tokens in one forward pass. Limits memory; does not change the result."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout probability of activations. Default: depends on `tune`."""
    token_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Probability that a token of a training text is removed, drawn again each time (only
    `tune = "full"`). Default: depends on the backbone."""
    bpe_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """BPE-dropout: probability that a tokenizer merge is skipped, drawn again for each epoch (only
    `tune = "full"`). Default: depends on backbone and rows."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing: fraction of each target distributed over all classes."""
    lm_loss_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of the next-token loss added to the classification loss (only `tune = "full"`).
    Default: depends on the backbone."""
    lm_loss_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of the token positions used for the next-token loss, drawn at random in each step;
    the estimate of the loss is unbiased."""
    patience: Annotated[int, Field(ge=0)] = 3
    """Early stopping: number of epochs without a better validation average precision before
    training stops; 0 disables early stopping."""

    @field_validator("patience", mode="before")
    @classmethod
    def _no_limit(cls, value: Any) -> Any:
        """Convert `none` to 0: TOML has no null, so None would be read back as the default, 3."""
        return 0 if value is None else value


class DecisionSettings(Section):
    """How probabilities become verdicts."""

    max_fpr: Share | None = None
    """Maximum false positive rate (for spam: share of ham blocked). Default: the threshold
    maximizes `scoring`."""
    scoring: Literal["auto", "f1", "f1_macro"] = "auto"
    """Metric by which held-out rows choose threshold and model. `f1`: F1 of the positive class, the
    model by its average precision; `f1_macro`: mean F1 of the classes. `auto`: `f1` if a positive
    class is named or known, `max_fpr` or `costs` is set; else `f1_macro` (more than two classes:
    the model by mean average precision)."""
    costs: Costs | None = None
    """Cost of each mistake, such as `blocked=10,missed=1` (false positive, false negative). The
    threshold minimizes the expected cost. `unsure=0.5` adds the cost of an `unsure` verdict."""
    prior: Prior = "rows"
    """Expected share of the positive class at prediction time: `rows` (as in the training rows), a
    number such as 2%, or `trained` (as in the loss, with class weights). More than two classes:
    class weights always apply."""
    cv_folds: Annotated[int, Field(ge=0, le=20)] | None = None
    """Number of cross-validation folds that choose the threshold if blocks are trained; 0: use
    the validation rows. Default: 5 for few rows, 3 with `max_fpr`, else 0 (`nano` only)."""
    abstain_rate: Share = 0.015
    """Fraction of texts with the verdict `unsure`: those most likely to be wrong. Ignored if
    `costs` contains `unsure`."""

    @field_validator("costs")
    @classmethod
    def _both_costs(cls, value: Costs | None) -> Costs | None:
        """Check that both costs are given: the threshold depends on their ratio."""
        if value is not None and not {"blocked", "missed"} <= set(value):
            raise ValueError(
                "expected the costs of a blocked negative and of a missed positive, such as "
                "blocked=10,missed=1"
            )
        return value


class ComputeSettings(Section):
    """Device, threads and precision."""

    device: str = "auto"
    """Device: `auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Number of CPU threads. Default: all cores available to the process."""
    dtype: Literal["fp32", "bf16", "int8", "auto"] = "fp32"
    """Precision of frozen layers and of training. `auto` measures and takes the fastest."""

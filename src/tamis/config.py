"""The recipe: all settings with description, unit and default; reading and writing TOML.

The help texts, docs/settings.md and the `recipe.toml` of a run are generated from these fields. A
setting that is `None` gets a default that depends on other settings, such as `tune` and the
backbone; the `recipe.toml` of a run contains the resolved value.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from tamis.errors import ConfigError


def parse_percent(value: Any) -> Any:
    """Convert a percentage such as `0.2%` to a number; return any other value unchanged."""
    if not (isinstance(value, str) and value.strip().endswith("%")):
        return value
    try:
        return float(Decimal(value.strip()[:-1].strip()) / 100)  # Decimal makes 0.1 % equal 0.001
    except InvalidOperation:
        return value


def _toml_line(name: str, value: Any) -> str:
    """A setting as TOML; a dictionary becomes an inline table, so that it stays in its section."""
    if isinstance(value, dict):
        items = ", ".join(_toml_line(key, item) for key, item in value.items())
        return f"{name} = {{ {items} }}"
    return tomli_w.dumps({name: value}).rstrip("\n")


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
    padding: Annotated[str, Field(pattern=r"^(none|fixed:[1-9][0-9]*)$")] = "none"
    """`none`, or `fixed:N`: truncate or pad each text to N tokens. The reference experiment uses
    120."""
    pooling: Literal["auto", "mean", "attention", "last_token", "last_position"] = "auto"
    """How token states become one vector for the head: `mean`, `attention` (trained weighted mean;
    `blocks:K` always trains one), `last_token`, or `last_position` (of the padded text)."""
    layers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of transformer blocks to keep. `auto` keeps all; for the `lbfgs` head, it chooses the
    number by cross-validation, and also `pooling` if that is `auto`."""

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


class Recipe(Section):
    """All settings of one experiment."""

    backbone: str = "nano"
    """Backbone: a name (`nano`, `gpt2`, `scratch:small`, ...), a folder in the Hugging Face layout,
    or an OpenAI checkpoint folder."""
    tune: Annotated[str, Field(pattern=r"^(auto|head|full|(blocks|lora):[1-9][0-9]*)$")] = "auto"
    """What is trained: `head`, `blocks:K` (the last K blocks), `lora:R` (adapters of rank R) or
    `full` (everything). `auto` chooses by backbone, number of rows and speed."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of all random generators."""
    data: DataSettings = Field(default_factory=lambda: DataSettings())
    text: TextSettings = Field(default_factory=lambda: TextSettings())
    train: TrainSettings = Field(default_factory=lambda: TrainSettings())
    decision: DecisionSettings = Field(default_factory=lambda: DecisionSettings())
    compute: ComputeSettings = Field(default_factory=lambda: ComputeSettings())

    @property
    def blocks(self) -> int | None:
        """K of `tune = "blocks:K"`."""
        return int(self.tune.removeprefix("blocks:")) if self.tune.startswith("blocks:") else None

    @property
    def rank(self) -> int | None:
        """R of `tune = "lora:R"`."""
        return int(self.tune.removeprefix("lora:")) if self.tune.startswith("lora:") else None

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """Return a copy of the recipe with the given settings, named `section.key` or, if only one
        section has that key, `key`.

        Raises:
            ConfigError: a name is unknown (the message suggests the most similar one), or a value
                is out of range.
        """
        tree = self.model_dump()
        for name, value in settings.items():
            section, key = find_setting(name)
            (tree[section] if section else tree)[key] = value
        return _validated(tree, "settings")

    def to_toml(self) -> str:
        """Format the recipe as TOML with descriptions; settings that are None become comments."""
        lines = ["# Recipe of this run: all settings with their resolved values.", ""]
        for section, name, field in fields():
            if section and f"[{section}]" not in lines:
                lines += ["", f"[{section}]"]
            value = getattr(getattr(self, section) if section else self, name)
            lines.append(f"# {field.description}")
            lines.append(f"# {name} = (none)" if value is None else _toml_line(name, value))
        return "\n".join(lines) + "\n"


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or contains an unknown setting or an invalid
            value.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"recipe {path} does not exist; give a TOML file or one of: {', '.join(recipe_names())}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe {path} cannot be read as TOML: {error}") from error
    return _validated(tree, str(path))


def named_recipe(name: str) -> Recipe:
    """Read an included recipe by name, or a recipe file by path.

    Raises:
        ConfigError: there is no such recipe and no such file.
    """
    shipped = Path(__file__).parent / "recipes" / f"{name}.toml"
    return read_recipe(shipped if shipped.is_file() else name)


def recipe_names() -> list[str]:
    """Names of the included training recipes, without those of pretraining, which have a corpus."""
    files = (Path(__file__).parent / "recipes").glob("*.toml")
    return sorted(file.stem for file in files if "[corpus" not in file.read_text(encoding="utf-8"))


@cache
def fields() -> tuple[tuple[str | None, str, Any], ...]:
    """All settings: section (None: top level), name, pydantic field (description, default)."""
    known = Recipe.model_fields.items()
    top = [(None, name, field) for name, field in known if not _is_section(field)]
    inner = [
        (section, key, field)
        for section, whole in known
        if _is_section(whole)
        for key, field in whole.annotation.model_fields.items()  # type: ignore[union-attr]
    ]
    return (*top, *inner)


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def find_setting(name: str) -> tuple[str | None, str]:
    """Return section (None for top-level settings) and key of a setting.

    Raises:
        ConfigError: there is no setting of this name.
    """
    known = [(section, key) for section, key, _ in fields()]
    full = {f"{section}.{key}" if section else key: (section, key) for section, key in known}
    if name in full:
        return full[name]
    same = [place for place in known if place[1] == name]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(name, [*full, *(key for _, key in known)], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known settings: {', '.join(full)}"
    raise ConfigError(f"unknown setting {name!r}{hint}")


def _validated(tree: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(
                str(part)
                for part in problem["loc"]
                if isinstance(part, str) and not part.startswith(("literal", "dict"))
            )
            if problem["type"] == "extra_forbidden":
                problems.append(_misplaced(name, problem.get("input")))
                continue
            problems.append(f"{name}: {problem['msg'].lower()}, got {problem.get('input')!r}")
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from None


def _misplaced(name: str, value: Any) -> str:
    """Explain why a name is not valid at its place in a recipe file."""
    if isinstance(value, dict):
        sections = [section for section, field in Recipe.model_fields.items() if _is_section(field)]
        return f"unknown section [{name}]; known sections: {', '.join(sections)}"
    try:
        section, key = find_setting(name)
    except ConfigError as unknown:
        return str(unknown)
    place = f"under [{section}]" if section else "at the top of the file"
    return f"{name} is in the wrong section; write {key} {place}"

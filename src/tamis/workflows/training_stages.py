"""The stages of a training: a quick model, then the tuned one in its place.

quick only     --quick: the exact head on frozen features
one stage      the exact head was asked for, or is what `auto` chooses
two stages     the quick model is written and shown, then the tuning, and the better one stays

With a time budget there are always two stages, and what is tuned is chosen after the first.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tamis.classifier.text_classifier import TextClassifier
from tamis.compute import device as devices
from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.training.callbacks import Callbacks, Tracker, settings_by_name
from tamis.training.defaults import is_low_data
from tamis.training.prepare import exact_head
from tamis.training.resolve import ResolvedRecipe, resolve_recipe
from tamis.workflows.budget import BegunTracker, Budget
from tamis.workflows.deadline import Watch, WatchedProgress
from tamis.workflows.environment import Clock
from tamis.workflows.fitted_run import (
    FittedRun,
    TrainingInputs,
    evaluated,
    fitted_classifier,
    with_ood_limit,
)
from tamis.workflows.quick_model import (
    HeldOut,
    compare_held_out,
    figure_line,
    keep_held_out,
    kept_quick,
    quick_recipe,
    shape_of,
)
from tamis.workflows.run_folder import RunFolder
from tamis.workflows.run_progress import RunProgress
from tamis.workflows.time_plan import TimePlan, plan_sentence, plan_time, what
from tamis.workflows.training_options import Extent


class TrainingStages:
    """The stages of one training."""

    def __init__(
        self,
        folder: RunFolder,
        inputs: TrainingInputs,
        asked: Recipe,
        extent: Extent,
        hooks: Callbacks,
        clock: Clock,
    ) -> None:
        """Prepare the stages.

        Args:
            folder: opened.
            inputs: training and test rows.
            asked: the recipe as requested.
            extent: how far to go.
            hooks: progress, notices, trackers, checkpoint folder and cache.
            clock: has the seconds of reading the data.
        """
        self.folder, self.inputs, self.asked, self.extent = folder, inputs, asked, extent
        self.hooks, self.say = hooks, hooks.on_notice
        self.progress = RunProgress(folder.checkpoint, clock)
        self.quick: FittedRun | None = None
        """in memory until the tuning begins: it has a trunk of its own"""
        self.announcement: str | None = None
        """said before the first work that is shown: a wrong setting or a damaged backbone is known
        by then, and its error stands alone"""
        self.facts: dict[str, Any] = {
            "finished": False,
            "kept": "quick",
            "quick": None,
            "comparison": None,
            "budget": None,
        }

    def run(self, begun: float) -> FittedRun:
        """Go through the stages; returns the model that was kept. It is written.

        Args:
            begun: `time.monotonic()` when the command began.
        """
        earlier = self.folder.earlier
        if earlier is not None or self.folder.has_model:
            self.say(
                f"{self.folder.path} contains an unfinished run with the same recipe; resuming it"
            )
        if self.extent.quick:
            return self._single(quick_recipe(self.asked), kept="quick")
        planned = self._resolved(earlier or self.asked)
        if exact_head(planned.recipe) and self.extent.minutes is None:
            return self._single(earlier or self.asked, kept="tuned")
        self._check_blocks(planned.recipe)
        self.progress.resolved(planned, self._reasons())
        plan = None
        if earlier is None:
            plan = self._plan(planned, quick=True)
        else:
            self.say(f"Plan: go on with {what(planned.recipe)}.")
        held_out = self._quick_held_out()
        try:
            tuned: TextClassifier | None
            if plan is None or self.extent.minutes is None:
                tuned = self._tune(earlier or self.asked)
            else:
                budget = Budget(
                    self.extent.minutes, begun, self.asked, planned.recipe, plan.forecast
                )
                tuned = self._within_budget(budget)
            return self._better(held_out, tuned)
        except KeyboardInterrupt:
            self.say(
                f"The quick model in {self.folder.path} is usable. Repeat the same command to go "
                "on to the tuned one."
            )
            raise
        except Exception:
            self.say(f"The quick model in {self.folder.path} is usable.")
            raise

    def _resolved(self, recipe: Recipe) -> ResolvedRecipe:
        """The recipe with device, threads and every setting."""
        asked = recipe.compute
        compute = devices.resolve(asked.device, asked.threads, asked.dtype)
        found = {
            f"compute.{name}": getattr(compute, name) for name in ("device", "threads", "dtype")
        }
        parts = self.inputs.dataset.split
        return resolve_recipe(recipe.changed(found), parts.texts("train"), parts.labels("train"))

    def _check_blocks(self, recipe: Recipe) -> None:
        """Raise ConfigError for more blocks than there are, before a quick model is made."""
        blocks = shape_of(recipe.backbone)[0] + 1
        if (recipe.blocks or 0) > blocks:
            raise ConfigError(
                f"tune = {recipe.tune}: the backbone has only {blocks} blocks (including the "
                "pooling block)"
            )

    def _reasons(self) -> dict[str, str]:
        """Why device, threads and dtype are what they are, by what was asked for."""
        asked = self.asked.compute
        return devices.resolve(asked.device, asked.threads, asked.dtype).reasons

    def _plan(self, planned: ResolvedRecipe, *, quick: bool) -> TimePlan:
        """Forecast the time; it is said when the work begins."""
        minutes = self.extent.minutes
        budget_s = None if minutes is None else 60 * minutes
        plan = plan_time(planned, self.inputs.dataset, budget_s=budget_s)
        self.announcement = plan_sentence(plan, planned.recipe, quick=quick, minutes=minutes)
        return plan

    def _announce(self) -> None:
        """Say what is going to happen, once."""
        if self.announcement is not None:
            self.say(self.announcement)
            self.announcement = None

    def _single(self, recipe: Recipe, *, kept: str) -> FittedRun:
        """Train the exact head as the only model."""
        planned = self._resolved(recipe)
        self.progress.resolved(planned, self._reasons())
        if kept == "quick":
            self.progress.tune_reason = "the quick model: the exact head on frozen features"
        self._plan(planned, quick=False)
        hooks = replace(self.hooks, progress=self._watched())
        if kept == "tuned":
            # A later command without --quick must not take the quick recipe for its own.
            hooks = replace(hooks, on_resolved=self._started)
        self.facts["kept"] = kept
        return self._finished(
            self._evaluated(fitted_classifier(recipe, self.inputs, hooks, self.progress.clock))
        )

    def _quick_held_out(self) -> HeldOut:
        """Make the quick model, write and show it, unless an interrupted run did. Returns its
        held-out scores.
        """
        before = kept_quick(self.folder) if self.folder.has_model else None
        if before is not None:
            held_out, report = before
            self._note_quick(report)
            return held_out
        run = self.quick = self._fit_quick()
        self._note_quick(run.report)
        self.say(f"Quick model after {run.clock.total():.1f} s: {figure_line(run.report)}.")
        run.report["training"] = dict(self.facts)
        notes = run.report["notes"]
        run.report["notes"] = [*notes, "This is the quick model. Its tuning has not ended."]
        labels = self.inputs.dataset.split.labels("train")
        with self.folder.replaced() as beside:
            # The tuning of few rows ends sooner than anyone looks at the plots of the quick model.
            soon = is_low_data(len(labels), len(set(labels)))
            run.write(beside, self.inputs, self.hooks, plots=not soon)
        run.report["notes"] = notes
        keep_held_out(self.folder, run.held_out)
        self.progress.clock.seconds["quick"] = run.clock.total()
        self.progress.save()
        self.say(f"It can be used now: {self.folder.path}. Tuning goes on; Ctrl-C keeps it.")
        return run.held_out

    def _fit_quick(self) -> FittedRun:
        shown = WatchedProgress(self.hooks.progress, before=self._announce)
        hooks = replace(self.hooks, trackers=(), checkpoint=None, progress=shown)
        clock = Clock()
        classifier = fitted_classifier(quick_recipe(self.asked), self.inputs, hooks, clock)
        self._announce()
        return evaluated(classifier, self.inputs, hooks, clock, reasons=self._reasons())

    def _note_quick(self, report: dict[str, Any]) -> None:
        self.facts["quick"] = {name: report[name] for name in ("test", "validation")}

    def _tune(
        self,
        recipe: Recipe,
        *watches: Watch,
        trackers: tuple[Tracker, ...] | None = None,
    ) -> TextClassifier:
        self.quick = None
        hooks = replace(
            self.hooks,
            progress=self._watched(*watches),
            on_resolved=self._started,
            trackers=self.hooks.trackers if trackers is None else trackers,
        )
        return fitted_classifier(recipe, self.inputs, hooks, self.progress.clock)

    def _within_budget(self, budget: Budget) -> TextClassifier | None:
        """Tune what fits into the budget; None: nothing does."""

        def train(recipe: Recipe, deadline: Watch, attempt: int) -> TextClassifier:
            told = tuple(BegunTracker(one) for one in self.hooks.trackers) if attempt else None
            return self._tune(recipe, deadline, trackers=told)

        def note(facts: dict[str, Any]) -> None:
            self.progress.budget = facts
            self.progress.tune_reason = f"chosen for a budget of {budget.minutes:g} minutes"
            self.progress.save()

        return budget.fit(train, self.say, note)

    def _watched(self, *watches: Watch) -> WatchedProgress:
        watches = (*watches, self.progress.watch)
        return WatchedProgress(self.hooks.progress, *watches, before=self._announce)

    def _started(self, resolved: Recipe) -> None:
        """Keep the recipe for a resumed training, and say what takes long."""
        self.folder.keep_recipe(resolved)
        self.progress.save()
        if resolved.decision.cv_folds:
            self.say(
                f"Training up to {resolved.decision.cv_folds} cross-validation models to choose "
                "the threshold. decision.cv_folds=0 uses the validation rows instead: faster, but "
                "less precise."
            )

    def _better(self, held_out: HeldOut, tuned: TextClassifier | None) -> FittedRun:
        """Finish the run with the better model by held-out training rows."""
        if tuned is None:
            run = self.quick or self._fit_quick()
            for tracker in self.hooks.trackers:
                tracker.begin(settings_by_name(run.classifier.recipe_))
            return self._finished(run)
        record = tuned.training_
        scores = record.held_out, record.held_out_probabilities
        labels = self.inputs.dataset.split.labels("train")
        found = compare_held_out(held_out, scores, labels, tuned.recipe_)
        note = None
        if found is not None:
            self.facts["comparison"] = asdict(found)
            reason = self._reason_for_tuned(tuned.recipe_)
            if found.better == "quick" and not reason:
                note = f"The quick model was kept: {found.sentence()}."
                return self._finished(self._fit_quick(), note)
            if found.better == "quick":
                note = (
                    f"The quick model is better: {found.sentence()}. The tuned one was kept, "
                    f"because {reason}; to get the quick one, train with --quick."
                )
        self.facts["kept"] = "tuned"
        return self._finished(self._evaluated(tuned), note)

    def _reason_for_tuned(self, tuned: Recipe) -> str:
        """Return why the tuned model is kept whatever the held-out rows say; empty: they decide."""
        if self.asked.tune != "auto":
            return f"tune = {self.asked.tune} was requested"
        train = tuned.train
        if max(train.augment_positives, train.augment_negatives, train.augment_forms):
            return "it is trained for changed texts, and these rows are unchanged"
        return ""

    def _evaluated(self, classifier: TextClassifier) -> FittedRun:
        """Evaluate a classifier, and say how it was made."""
        self._announce()
        record = classifier.training_
        reason = self.progress.tune_reason or record.tune_reason
        classifier.training_ = replace(record, tune_reason=reason)
        for note in record.notes if record.features is not None else ():
            if reason not in note:  # it follows in a line of its own
                self.say(note)
        self.say(f"tune: {classifier.recipe_.tune} ({reason})")
        clock, reasons = self.progress.clock, self.progress.reasons
        compute = classifier.predictor_.compute
        for name, why in (compute.reasons | reasons).items():
            self.say(f"{name}: {getattr(compute, name)} ({why})")
        return evaluated(classifier, self.inputs, self.hooks, clock, reasons=reasons)

    def _finished(self, run: FittedRun, note: str | None = None) -> FittedRun:
        """Write the run; its checkpoint is dropped when the folder is closed."""
        with_ood_limit(run, self.inputs, self.hooks)
        clock = self.progress.clock
        if run.clock is not clock:  # the quick model, after all
            tuning = clock.seconds.get("train")
            run.report["timing"] |= {"data": clock.seconds["data"]}
            run.report["timing"] |= {} if tuning is None else {"tuning": tuning}
        self.facts |= {"finished": True, "budget": self.progress.budget}
        run.report["training"] = dict(self.facts)
        if self.progress.budget is not None:
            run.report["notes"].append(self.progress.budget["sentence"])
        if note is not None:
            self.say(note)
            run.report["notes"].append(note)
        with self.folder.replaced() as beside:
            run.write(beside, self.inputs, self.hooks)
        return run

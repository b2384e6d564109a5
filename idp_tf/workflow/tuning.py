"""The search for a target model's learning rate (section 3.2), as an Optuna study.

Every system has a study of its own for each seed, ``study.db`` in its artifact: SQLite, whose
transactions a ``kill -9`` cannot halve. A trial is one whole training, which resumes by itself
(``idp_tf.models.training``); the study knows which trials are done and which one was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import optuna
import sqlalchemy
from optuna.samplers import GridSampler
from optuna.trial import Trial, TrialState

from idp_tf.errors import WorkdirError
from idp_tf.workflow.run import Run

if TYPE_CHECKING:
    from idp_tf.models.training import TrainingState

STUDY_FILE: Final = "study.db"
_RATE: Final = "learning_rate"

# Optuna tells of every trial; our own progress lines do that.
optuna.logging.set_verbosity(optuna.logging.WARNING)


class TrialRow(TypedDict):
    """One trial, as it stands in report.json.

    ``value`` is its best validation NDCG@10; ``seconds`` are those of its epochs.
    """

    learning_rate: float
    value: float
    best_epoch: int
    epochs: int
    seconds: float


def search(
    run: Run, folder: Path, grid: Sequence[float], attempt: Callable[[float], TrainingState]
) -> tuple[float, list[TrialRow]]:
    """Trains with every rate of a grid, but for those that an earlier life of the run finished.

    The chief owns the study; other workers train with the rates that it gives them.

    Args:
        run: The run; a trial that it was killed in comes first.
        folder: Where the study lies.
        grid: Learning rates.
        attempt: Trains with one, or goes on with that.

    Returns:
        The rate with the best validation NDCG@10, and all trials, best first (the chief's;
        elsewhere none).

    Raises:
        WorkdirError: if the study cannot be read.
    """
    study = RateStudy(folder / STUDY_FILE, grid)
    while rate := run.agreed(study.next_rate):
        state = attempt(rate)
        if run.is_chief:
            study.note(state)
    best = run.agreed(study.best_rate)
    return best, study.rows() if run.is_chief else []


class RateStudy:
    """A grid of learning rates, and what has come of each.

    Args:
        file: The study's file; made when it is first asked.
        grid: Learning rates; a repeated one counts once.

    Example:
        >>> import tempfile
        >>> from idp_tf.models.training import TrainingState
        >>> file = Path(tempfile.mkdtemp()) / "study.db"
        >>> study = RateStudy(file, [0.1, 0.01])
        >>> rate = study.next_rate()
        >>> study.note(TrainingState(epoch=3, best_epoch=2, best_value=0.25))
        >>> {rate, RateStudy(file, [0.1, 0.01]).next_rate()} == {0.1, 0.01}
        True
    """

    def __init__(self, file: Path, grid: Sequence[float]):
        self._file = file
        self._grid = tuple(dict.fromkeys(grid))
        self._sampler = GridSampler({_RATE: self._grid})
        self._trial: Trial | None = None

    def next_rate(self) -> float:
        """The rate of the trial that was cut off, or of a new one; 0 when none is left."""
        with self._readable():
            if self._sampler.is_exhausted(self._study):
                return 0.0
            cut_off = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            # Optuna has no public way to take up a trial that was cut off.
            self._trial = Trial(self._study, cut_off[0]._trial_id) if cut_off else self._study.ask()
            return float(self._trial.suggest_categorical(_RATE, self._grid))

    def note(self, state: TrainingState) -> None:
        """Ends the trial whose rate ``next_rate`` gave last.

        Args:
            state: What its training has come to.
        """
        assert self._trial is not None
        self._trial.set_user_attr("best_epoch", state.best_epoch)
        self._trial.set_user_attr("epochs", state.epoch)
        seconds = round(sum(state.history.get("seconds", ())), 2)
        self._trial.set_user_attr("seconds", seconds)
        try:
            self._study.tell(self._trial, state.best_value)
        except RuntimeError:
            # After the last of its grid the sampler stops a Study.optimize, and there is none.
            if not self._sampler.is_exhausted(self._study):
                raise

    def best_rate(self) -> float:
        """The rate that validated best, of equal ones the larger."""
        return self.rows()[0]["learning_rate"]

    def rows(self) -> list[TrialRow]:
        """The finished trials, best first."""
        with self._readable():
            trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        rows = [
            TrialRow(
                learning_rate=trial.params[_RATE],
                value=trial.values[0],
                best_epoch=trial.user_attrs["best_epoch"],
                epochs=trial.user_attrs["epochs"],
                seconds=trial.user_attrs["seconds"],
            )
            for trial in trials
        ]
        return sorted(rows, key=lambda row: (row["value"], row[_RATE]), reverse=True)

    @cached_property
    def _study(self) -> optuna.Study:
        # The URL's own quoting: a workdir may have any sign in its name.
        url = sqlalchemy.URL.create("sqlite", database=str(self._file.resolve()))
        return optuna.create_study(
            storage=url.render_as_string(),
            study_name=_RATE,
            sampler=self._sampler,
            direction="maximize",
            load_if_exists=True,
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise WorkdirError(
                f"cannot be read: {str(error).splitlines()[0]}",
                where=self._file,
                remedy="delete that file and run again: trainings that are done are not repeated",
            ) from error

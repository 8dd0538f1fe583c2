"""Where a run's wall-clock time goes."""

from collections.abc import Callable

PHASES = ("train", "input_wait", "checkpoint", "evaluate")


class PhaseClock:
    """Adds up the seconds of each phase; what passes between two laps belongs to the phase that the second one names."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def restart(self, seconds: dict[str, float]) -> None:
        """Goes on from earlier sums, leaving out the time until now."""
        self.seconds |= seconds
        self._last = self._clock()

    def lap(self, phase: str) -> None:
        """Ends a phase."""
        now = self._clock()
        self.seconds[phase] += now - self._last
        self._last = now

"""What a person sees of a run: a live line on a terminal, plain lines otherwise, and TensorBoard scalars."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

CLEAR_LINE = "\r\033[K"
Clock = Callable[[], float]


class Scalars:
    """Writes TensorBoard scalars to one event file in a folder."""

    def __init__(self, folder: Path, clock: Clock = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._file = (folder / f"events.out.tfevents.{int(clock() * 1000)}").open("wb")
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=clock(), file_version="brain.Event:2"))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One value per tag at this step."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(wall_time=self._clock(), step=step, summary=summary))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Progress:
    """Throughput and utilisation over the last interval, shown on `stream`.

    Args:
      max_steps: step at which training gives up, for the time to go; None where `seconds_left` says it.
      samples_per_step: samples in a global batch.
      train_flops_per_step: model FLOPs of one update over all devices.
      peak_flops: peak FLOP/s of all devices together, None where it is not known.
      stream: where the line goes; None shows nothing (all processes but the first).
      seconds_left: time to go of a run that ends by the clock.
    """

    def __init__(self, *, max_steps: int | None, samples_per_step: float, train_flops_per_step: float,
                 peak_flops: float | None, scalars: Scalars | None, stream: TextIO | None = sys.stderr,
                 plain_seconds: float = 10.0, clock: Clock = time.monotonic, seconds_left: Clock | None = None) -> None:
        self._max_steps = max_steps
        self._samples_per_step = samples_per_step
        self._flops_per_step = train_flops_per_step
        self._peak_flops = peak_flops
        self._scalars = scalars
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._plain_seconds = plain_seconds
        self._clock = clock
        self.seconds_left = seconds_left
        self._quality = ""
        self._last_shown = float("-inf")
        self._interval_start: tuple[int, float] | None = None

    def restart(self, step: int) -> None:
        """Starts a new interval: call it when training begins or goes on after an evaluation."""
        self._interval_start = (step, self._clock())

    def update(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Ends an interval at `step`, shows its line; returns the scalars that were written.

        Args:
          step: updates made.
          metrics: of the last step, `loss` among them when it was an update.
        """
        start_step, start_time = self._interval_start or (step, self._clock())
        seconds = max(self._clock() - start_time, 1e-9)
        rate = (step - start_step) / seconds
        values = dict(metrics)
        values["samples_per_second"] = rate * self._samples_per_step
        values["model_tflops_per_second"] = rate * self._flops_per_step / 1e12
        if self._peak_flops:
            values["model_flop_utilisation"] = rate * self._flops_per_step / self._peak_flops
        if self._scalars:
            self._scalars.add(step, {f"train/{key}": value for key, value in values.items()})
        self._show(step, values, rate)
        self.restart(step)
        return values

    def quality(self, step: int, elapsed: str, metrics: Mapping[str, float]) -> None:
        """Shows the result of an evaluation; `elapsed` is `Benchmark.elapsed`."""
        self._quality = "  ".join(f"{name} {value:#.4g}" for name, value in metrics.items())
        if self._scalars:
            self._scalars.add(step, {f"eval/{name}": value for name, value in metrics.items()})
        self.message(f"step {step}  {elapsed}  {self._quality}")

    def message(self, text: str) -> None:
        """A line that stays."""
        if self._stream is not None:
            self.clear()
            self._stream.write(text + "\n")
            self._stream.flush()

    def clear(self) -> None:
        """Takes the live line away, so that something else can be printed in its place."""
        if self._stream is not None and self._live:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()

    def _show(self, step: int, values: Mapping[str, float], rate: float) -> None:
        if self._stream is None:
            return
        if self.seconds_left:
            steps, remaining = f"{step}", f"{_duration(max(0.0, self.seconds_left()))} to go"
        else:
            most = self._max_steps or step
            steps, remaining = f"{step}/{most}", f"at most {_duration((most - step) / rate if rate else 0.0)} to go"
        utilisation = (f"MFU {values['model_flop_utilisation']:.1%}" if "model_flop_utilisation" in values
                       else f"{values['model_tflops_per_second']:.3g} TFLOP/s")
        first = next(iter(values))  # of a step that is no update
        shown = f"loss {values['loss']:.3f}" if "loss" in values else f"{first.replace('_', ' ')} {values[first]:,.0f}"
        line = (f"step {steps}  {shown}  "
                f"{values['samples_per_second']:.4g} samples/s  {utilisation}  "
                f"{self._quality}{'  ' if self._quality else ''}{remaining}")
        if self._live:
            self._stream.write(CLEAR_LINE + line)
            self._stream.flush()
        elif self._clock() - self._last_shown >= self._plain_seconds:
            self._last_shown = self._clock()
            self.message(line)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

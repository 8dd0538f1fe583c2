"""What a person sees of a run, with an injected clock; the TensorBoard file is read back with TensorBoard's own reader."""

import io

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from jax_mlperf.progress import Progress, Scalars

CLEAR = "\r\033[K"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(stream, clock, **values):
    settings = {"max_steps": 100, "samples_per_step": 32, "train_flops_per_step": 5e12, "peak_flops": 1e13, "scalars": None}
    progress = Progress(**{**settings, **values}, stream=stream, clock=clock)
    progress.restart(0)
    return progress


def advance(progress, clock, step, seconds, loss=2.5):
    clock.now += seconds
    return progress.update(step, {"loss": loss})


def test_throughput_and_utilisation_are_those_of_the_last_interval():
    clock = Clock()
    progress = make(io.StringIO(), clock)
    # 10 steps in 20 s: 0.5 steps/s, so 16 samples/s and 2.5 TFLOP/s of 10
    assert advance(progress, clock, 10, 20.0) == pytest.approx({
        "loss": 2.5, "samples_per_second": 16.0, "model_tflops_per_second": 2.5, "model_flop_utilisation": 0.25})
    clock.now += 500.0  # an evaluation, which is no training time
    progress.restart(10)
    assert advance(progress, clock, 20, 10.0)["samples_per_second"] == pytest.approx(32.0)


def test_unknown_peak_shows_tflops_and_no_utilisation():
    clock, stream = Clock(), io.StringIO()
    values = advance(make(stream, clock, peak_flops=None), clock, 10, 20.0)
    assert "model_flop_utilisation" not in values
    assert stream.getvalue() == "step 10/100  loss 2.500  16 samples/s  2.5 TFLOP/s  at most 3:00 to go\n"


def test_a_terminal_gets_one_line_that_is_written_over():
    clock, stream = Clock(), Terminal()
    progress = make(stream, clock, max_steps=10_000)
    advance(progress, clock, 10, 20.0)
    advance(progress, clock, 20, 5.0, loss=1.25)
    assert stream.getvalue() == (
        f"{CLEAR}step 10/10000  loss 2.500  16 samples/s  MFU 25.0%  at most 5:33:00 to go"
        f"{CLEAR}step 20/10000  loss 1.250  64 samples/s  MFU 100.0%  at most 1:23:10 to go")
    progress.quality(20, "epoch 2", {"bleu": 24.567})
    assert stream.getvalue().endswith(f"{CLEAR}step 20  epoch 2  bleu 24.57\n")
    progress.restart(20)
    advance(progress, clock, 30, 20.0)
    assert "MFU 25.0%  bleu 24.57  at most" in stream.getvalue().splitlines()[-1]


def test_plain_lines_come_no_closer_than_the_interval():
    clock, stream = Clock(), io.StringIO()
    progress = make(stream, clock, plain_seconds=10.0)
    for step in range(1, 9):  # at 4, 8, ..., 32 s
        advance(progress, clock, step, 4.0)
    shown = [line.split("/")[0] for line in stream.getvalue().splitlines()]
    assert shown == ["step 1", "step 4", "step 7"]
    assert "\r" not in stream.getvalue()
    progress.quality(8, "epoch 0.5", {"bleu": 1.0})  # never held back
    progress.message("resuming")
    assert stream.getvalue().splitlines()[-2:] == ["step 8  epoch 0.5  bleu 1.000", "resuming"]


def test_other_processes_show_nothing_but_count_alike(capsys):
    clock = Clock()
    progress = make(None, clock)
    assert advance(progress, clock, 10, 20.0)["samples_per_second"] == pytest.approx(16.0)
    progress.quality(10, "epoch 1", {"bleu": 1.0})
    progress.message("resuming")
    assert capsys.readouterr() == ("", "")


def test_the_event_file_holds_what_was_shown(tmp_path):
    clock = Clock()
    scalars = Scalars(tmp_path / "tensorboard", clock=clock)
    progress = make(None, clock, scalars=scalars)
    advance(progress, clock, 10, 20.0)
    advance(progress, clock, 20, 10.0, loss=0.5)
    progress.quality(20, "epoch 2", {"bleu": 12.5})
    scalars.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.name == "events.out.tfevents.1000000"
    events = list(EventFileLoader(str(file)).Load())
    assert [(event.wall_time, event.step) for event in events] == [(1000, 0), (1020, 10), (1030, 20), (1030, 20)]
    assert events[0].file_version == "brain.Event:2"
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    tags = read.Tags()["scalars"]
    assert sorted(tags) == ["eval/bleu", "train/loss", "train/model_flop_utilisation", "train/model_tflops_per_second",
                            "train/samples_per_second"]
    values = {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in tags}
    assert values["train/loss"] == [(10, 2.5), (20, 0.5)]
    assert values["train/samples_per_second"] == [(10, 16.0), (20, 32.0)]
    assert values["train/model_flop_utilisation"] == [(10, 0.25), (20, 0.5)]
    assert values["eval/bleu"] == [(20, 12.5)]


def test_values_are_on_disk_before_the_file_is_closed(tmp_path):
    scalars = Scalars(tmp_path, clock=Clock())
    scalars.add(3, {"train/loss": 1.0})
    (file,) = tmp_path.iterdir()
    assert [event.step for event in EventFileLoader(str(file)).Load()] == [0, 3]
    scalars.close()


def test_the_live_line_makes_room():
    clock, stream = Clock(), Terminal()
    progress = make(stream, clock)
    advance(progress, clock, 1, 1.0)
    progress.clear()
    assert stream.getvalue().endswith(CLEAR)
    plain = io.StringIO()
    make(plain, clock).clear()
    assert plain.getvalue() == ""


def test_a_run_by_the_clock_shows_the_time_that_is_left():
    clock, stream = Clock(), io.StringIO()
    progress = make(stream, clock, max_steps=10, seconds_left=lambda: 75.0)
    progress.restart(15)
    advance(progress, clock, 20, 5.0)
    assert stream.getvalue().startswith("step 20  loss 2.500") and stream.getvalue().endswith("1:15 to go\n")
    assert "most" not in stream.getvalue()

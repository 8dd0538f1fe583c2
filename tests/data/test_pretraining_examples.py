"""Samples against the specification's test point, and against a plain writing of the reference's rules."""

import random
from itertools import chain

import pytest

from jax_mlperf.data.pretraining_examples import ExampleSettings, make_examples, predictions
from jax_mlperf.data.wordpiece import SPECIAL_WORDS, WordPiece, read_vocabulary
from jax_mlperf.errors import UserError

CLOSED = ExampleSettings(512, 76, 0.15, 10, 0.1)


def test_generator_point_of_the_specification(shared_data):
    # Section 9; the reference's own code gave these numbers.
    path = shared_data / "bert_wiki" / "vocab.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    wordpiece = WordPiece(read_vocabulary(path))
    documents = [[wordpiece.encode(f"the quick brown fox number {d} jumps over the lazy dog {s} .") for s in range(6)] for d in range(5)]
    examples = make_examples(documents, ExampleSettings(64, 10, 0.15, 2, 0.1), wordpiece, random.Random(12345))
    assert [len(example.tokens) for example in examples] == [
        64, 55, 64, 64, 64, 64, 42, 42, 29, 55, 64, 64, 64, 64, 64, 64, 29, 64, 42, 64, 55, 64, 64, 64]
    assert sum(example.random_next for example in examples) == 16
    assert sum(len(example.positions) for example in examples) == 210
    assert sum(sum(example.tokens) for example in examples) == 5_099_194
    first = examples[0]
    assert first.positions == [7, 8, 12, 15, 18, 40, 48, 57, 58, 59]
    assert len(first.tokens) - first.first == 27
    assert first.random_next


@pytest.mark.parametrize(("length", "count"), [(5, 1), (10, 2), (64, 10), (128, 19), (254, 38), (503, 75), (507, 76), (512, 76)])
def test_predictions_points_of_the_specification(length, count):
    assert predictions(length, CLOSED) == count


def test_predictions_round_halves_to_even_and_keep_their_limits():
    tenth = ExampleSettings(64, 4, 0.1, 1, 0.1)
    assert [predictions(length, tenth) for length in (5, 15, 25, 35, 45)] == [1, 2, 2, 4, 4]


WORDPIECE = WordPiece([*SPECIAL_WORDS, *(f"w{i}" for i in range(200))])


def _plain_examples(documents, settings, rng):
    """The specification's section 2 with Python's own shuffle and randint; yields (A, B, random next, positions, labels, tokens)."""
    rng.shuffle(documents)
    longest = settings.max_sequence_length - 3
    samples = []
    for _ in range(settings.dupe_factor):
        for index, document in enumerate(documents):
            target = rng.randint(2, longest) if rng.random() < settings.short_seq_prob else longest
            waiting = list(document)
            while waiting:
                chunk = []
                while waiting and sum(map(len, chunk)) < target:
                    chunk.append(waiting.pop(0))
                cut = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
                a, b = list(chain(*chunk[:cut])), list(chain(*chunk[cut:]))
                random_next = len(chunk) == 1 or rng.random() < 0.5
                if random_next:
                    waiting = chunk[cut:] + waiting
                    for _ in range(10):
                        other = rng.randint(0, len(documents) - 1)
                        if other != index:
                            break
                    b = []
                    for sentence in documents[other][rng.randint(0, len(documents[other]) - 1):]:
                        b = b + sentence
                        if len(b) >= target - len(a):
                            break
                while len(a) + len(b) > longest:
                    front = rng.random() < 0.5
                    if len(a) > len(b):
                        a = a[1:] if front else a[:-1]
                    else:
                        b = b[1:] if front else b[:-1]
                samples.append((a, b, random_next, *_plain_masks([2, *a, 3, *b, 3], settings, rng)))
    rng.shuffle(samples)
    return samples


def _plain_masks(tokens, settings, rng):
    candidates = [place for place, token in enumerate(tokens) if token not in (2, 3)]
    rng.shuffle(candidates)
    masked, labels = list(tokens), {}
    for place in candidates[:min(settings.max_predictions, max(1, round(len(tokens) * settings.masked_lm_prob)))]:
        labels[place] = tokens[place]
        if rng.random() < 0.8:
            masked[place] = 4
        elif rng.random() >= 0.5:
            masked[place] = rng.randint(0, WORDPIECE.vocab_size - 1)
    return sorted(labels), [labels[place] for place in sorted(labels)], masked


def _documents(count, sentences, seed):
    rng = random.Random(seed)
    return [[[rng.randrange(5, 205) for _ in range(rng.randint(1, 30))] for _ in range(rng.randint(1, sentences))] for _ in range(count)]


@pytest.mark.parametrize(("settings", "documents"), [
    (ExampleSettings(64, 9, 0.15, 3, 0.5), _documents(12, 20, 0)),
    (ExampleSettings(5, 1, 0.15, 2, 0.9), _documents(3, 4, 1)),
    (ExampleSettings(150, 70, 0.4, 1, 0.0), _documents(1, 40, 2)),  # the random segment is from the same document
])
def test_all_rules_and_all_draws_as_written_plainly(settings, documents):
    made, plain = random.Random(7), random.Random(7)
    examples = make_examples(documents, settings, WORDPIECE, made)
    expected = _plain_examples([list(document) for document in documents], settings, plain)
    assert len(expected) >= 3
    assert [(example.tokens, example.first, example.random_next, example.positions, example.labels) for example in examples] == [
        (masked, len(a) + 2, random_next, positions, labels) for a, b, random_next, positions, labels, masked in expected]
    assert made.random() == plain.random()  # as many numbers drawn


def test_empty_sentences_and_documents_leave_no_trace():
    documents = _documents(4, 6, 3)
    settings = ExampleSettings(40, 5, 0.15, 1, 0.1)
    with_empty = [[], *[[[], *document, []] for document in documents], [[]]]
    assert make_examples(with_empty, settings, WORDPIECE, random.Random(1)) == make_examples(documents, settings, WORDPIECE, random.Random(1))
    assert make_examples([[]], settings, WORDPIECE, random.Random(1)) == []


@pytest.mark.parametrize(("values", "message"), [
    ((4, 1, 0.15, 1, 0.1), "data.max_sequence_length is 4: it must be at least 5"),
    ((32, 0, 0.15, 1, 0.1), "data.max_predictions is 0: it must be at least 1"),
    ((32, 5, 0.15, 0, 0.1), "data.dupe_factor is 0: it must be at least 1"),
    ((32, 5, 1.5, 1, 0.1), "data.masked_lm_prob is 1.5: it is a probability"),
    ((32, 5, 0.15, 1, -0.1), "data.short_seq_prob is -0.1: it is a probability"),
])
def test_settings_out_of_range(values, message):
    with pytest.raises(UserError, match=message):
        ExampleSettings(*values)

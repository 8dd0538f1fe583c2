"""The vocabulary builder against a plain one of dictionaries and against Multi30k's known sizes."""

from collections import Counter, defaultdict

import pytest

from jax_mlperf.data.encoding import read_lines
from jax_mlperf.data.subtokenizer import RESERVED, Subtokenizer, escape, split
from jax_mlperf.data.vocabulary import ROUNDS, VocabularyBuilder, build_vocabulary, count_tokens
from jax_mlperf.errors import UserError

TEXT = (
    "the cat sat on the mat_ , the hat of the cats ; 12 of 112 \\ hats and that\n" * 3
    + "ünder the wunder under"
)


def plain_build(token_counts, alphabet, min_count):
    """The reference's algorithm, word by word, over strings and dictionaries."""
    entries = [*RESERVED, *sorted(alphabet)]
    for _ in range(ROUNDS):
        known, longest = set(entries), max(map(len, entries))
        counts = defaultdict(int)
        for token, count in token_counts.items():
            token = escape(token, alphabet)
            start = 0
            while start < len(token):
                for end in range(start + 1, len(token) + 1):
                    counts[token[start:end]] += count
                start = next(
                    e for e in range(min(len(token), start + longest), start, -1) if token[start:e] in known
                )
        candidates = []
        for length in range(max(map(len, counts)), 0, -1):
            for entry in [e for e in counts if len(e) == length]:
                if counts[entry] >= min_count and entry not in alphabet and entry not in RESERVED:
                    candidates.append((counts[entry], entry))
                    for end in range(1, length):
                        counts[entry[:end]] -= counts[entry]
        candidates += [(counts.get(c, 0), c) for c in alphabet]
        entries = [*RESERVED, *(entry for _, entry in sorted(candidates, reverse=True))]
    return entries


@pytest.mark.parametrize("min_count", [1, 2, 3, 5, 20])
def test_equals_the_plain_algorithm(min_count):
    counts = Counter(split(TEXT))
    builder = VocabularyBuilder(counts)
    assert builder.build(min_count) == plain_build(counts, builder.alphabet, min_count)


@pytest.fixture(scope="module")
def multi30k_counts(shared_data):
    return count_tokens([shared_data / "multi30k" / "train.en", shared_data / "multi30k" / "train.de"])


@pytest.mark.slow
def test_multi30k_vocabularies(multi30k_counts, shared_data):
    assert (len(multi30k_counts), multi30k_counts.total()) == (28_138, 746_364)
    builder = VocabularyBuilder(multi30k_counts)
    assert len(builder.alphabet) == 105
    sizes = {target: builder.search(target, int(0.01 * target)) for target in (1024, 2048, 4096, 8192)}
    assert [len(entries) for entries in sizes.values()] == [1_033, 2_054, 4_121, 8_079]
    subtokenizer = Subtokenizer(sizes[8192])
    for language, total, longest in (("en", 443_908, 48), ("de", 458_184, 55)):
        ids, lengths = subtokenizer.encode_lines(read_lines(shared_data / "multi30k" / f"train.{language}"))
        assert (len(ids), lengths.max()) == (total, longest)


def test_counting_thins_a_large_file(tmp_path):
    (tmp_path / "text").write_text("".join(f"word{i}\n" for i in range(1000)))  # 7,890 bytes
    counts = count_tokens([tmp_path / "text"], characters_per_file=1_000)  # skips 3 lines, takes the fourth
    assert list(counts)[:2] == ["word3", "word7"]
    assert sum(len(token) for token in counts) <= 1_000 + 10
    assert len(count_tokens([tmp_path / "text"])) == 1000


def test_mistakes():
    with pytest.raises(UserError, match="is below the"):
        build_vocabulary(Counter(split(TEXT)), target_size=20)
    with pytest.raises(UserError, match="no text"):
        VocabularyBuilder({})

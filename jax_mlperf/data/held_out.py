"""Which articles of each file are held out for evaluation."""

import random
from collections.abc import Sequence
from typing import TypeVar

from jax_mlperf.errors import UserError

Article = TypeVar("Article")

_SEED, _SEED_STEP = 12_345, 13  # file i draws from random.Random(12345 + 13 i)


def held_out_places(file: int, files: int, articles: int, held_out: int) -> list[int]:
    """Places of the articles that one of several files holds out, ascending.

    The split of the MLPerf Training reference (`bert/cleanup_scripts/seperate_test_set.py`), whose published text was split so:
    each file gives its share of all articles to hold out, drawn without repeats.

    Args:
      file: from 0, of the sorted paths.
      files: all of them.
      articles: of this file; the reference's are its text cut at blank lines, empty ones included.
      held_out: of all files together; the reference's 10,000.

    Raises:
      UserError: the file has fewer articles than its share.
    """
    count = (file + 1) * held_out // files - file * held_out // files
    if count > articles:
        raise UserError(f"file {file + 1} of {files} holds {articles} articles, {count} of which are to be held out: "
                        f"lower data.eval_articles ({held_out}), or bring more text")
    draw = random.Random(_SEED + _SEED_STEP * file).random
    places: set[int] = set()
    while len(places) < count:
        places.add(int(draw() * articles))
    return sorted(places)


def split(articles: Sequence[Article], places: Sequence[int]) -> tuple[list[Article], list[Article]]:
    """The articles that are left for training, and those of the held-out places, both in their order."""
    out = set(places)
    return [article for place, article in enumerate(articles) if place not in out], [articles[place] for place in places]

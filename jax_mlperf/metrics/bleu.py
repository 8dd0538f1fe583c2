"""Uncased corpus BLEU of MLPerf translation, from ten integers that may be summed over hosts."""

import math
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU

_ORDERS = 4


def bleu_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Counts of sacreBLEU with mteval-v14 international tokenisation on lowercased text.

    White space at the end of a sentence is stripped. Tokens differ from those of the reference's
    compute_bleu.py (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`) only beside
    numerals that are no decimal digits: the full stop of "½." stays attached.

    Args:
      hypotheses, references: as many raw, detokenised sentences; none at all is allowed (a host without
        sentences).

    Returns:
      int64 [10]: matched n-grams of order 1 to 4, candidate n-grams of order 1 to 4, tokens of the
      hypotheses, tokens of the references. Sum these over hosts before `bleu_score`: a mean of scores would
      be wrong.

    Raises:
      ValueError: the numbers of hypotheses and references differ.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    if not hypotheses:
        return np.zeros(2 * _ORDERS + 2, np.int64)
    # force: no warning about text that looks tokenised already
    metric = BLEU(lowercase=True, tokenize="intl", force=True)
    counts = metric.corpus_score(list(hypotheses), [list(references)])
    return np.array([*counts.counts, *counts.totals, counts.sys_len, counts.ref_len], np.int64)


def bleu_score(statistics: np.ndarray) -> float:
    """BLEU-4 in 0 to 100 (Papineni et al. 2002, smoothed as mteval does) of the sum of `bleu_statistics`.

    The k-th order without a match counts as 1 / 2**k matches. As in the reference's compute_bleu.py, and
    unlike sacreBLEU, which scores 0, an order without candidates is left out of the mean's sum, and a corpus
    without any match is smoothed too. Both happen in corpora of a few words only.
    """
    matches, candidates = statistics[:_ORDERS], statistics[_ORDERS : 2 * _ORDERS]
    hypothesis_length, reference_length = int(statistics[-2]), int(statistics[-1])
    if hypothesis_length == 0:
        return 0.0
    log_precision, smooth = 0.0, 1.0
    for matched, total in zip(matches.tolist(), candidates.tolist(), strict=True):
        if total == 0:
            continue
        if matched == 0:
            smooth *= 2.0
        log_precision += math.log((matched or 1.0 / smooth) / total)
    brevity = min(0.0, 1.0 - reference_length / hypothesis_length)
    return 100.0 * math.exp(log_precision / _ORDERS + brevity)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """`bleu_score` of `bleu_statistics`: the benchmark's quality metric (target 25.0) in 0 to 100."""
    return bleu_score(bleu_statistics(hypotheses, references))

"""Which result folders make one LP2BM score, SciNet's number for a machine from its ResNet-50 and BERT results."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from jax_mlperf.mlperf.scoring.score import Score
from jax_mlperf.mlperf.scoring.score_notes import target_text
from jax_mlperf.mlperf.scoring.scoring_rules import RULES


@dataclasses.dataclass(frozen=True)
class Lp2bm:
    """One score.

    Attributes:
      score: 7.19 / ResNet minutes + 9.05 / BERT minutes, of the olympic means before RCP scaling, as LP2BM defines them.
      resnet, bert: the two results.
      provisional: one of the two is, or is not of the closed division.
    """

    score: float
    resnet: Score
    bert: Score
    provisional: bool


def lp2bm(resnet_minutes: float, bert_minutes: float) -> float:
    """SciNet's LP2BM score, higher is better: 7.19 / ResNet-50 minutes + 9.05 / BERT minutes, both olympic means."""
    return 7.19 / resnet_minutes + 9.05 / bert_minutes


def lp2bm_scores(scores: Sequence[Score]) -> tuple[list[Lp2bm], list[str]]:
    """The LP2BM scores among some results, and what stands in the way of others, in sentences.

    One valid result of each benchmark makes a score, wherever they come from. Of more, those of the same platform and
    organization belong together, if there is one of each. Nothing is said where only one of the benchmarks is there.
    """
    both = [score for score in scores if score.benchmark in ("resnet", "bert")]
    if len({score.benchmark for score in both}) < 2:
        return [], []
    notes = [f"LP2BM leaves out {score.name}: {reason}." for score in both if (reason := _unfit(score))]
    fit = [score for score in both if not _unfit(score)]
    systems: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in fit:
        systems[(score.platform.casefold(), score.organization.casefold())].append(score)
    groups = [fit] if _is_pair(fit) else list(systems.values())
    pairs = [_pair(group) for group in groups if _is_pair(group)]
    notes += [f"LP2BM asks for a passed RCP test, and {score.name} failed it."
              for pair in pairs for score in (pair.resnet, pair.bert) if score.rcp and score.rcp.passed is False]
    if not pairs and len({score.benchmark for score in fit}) == 2:
        notes.append("LP2BM: it is not clear which resnet and bert results belong together; give one folder of each.")
    return pairs, notes


def _unfit(score: Score) -> str:
    """Why a result is not one that LP2BM takes; "" where it is."""
    if score.olympic_minutes is None:
        return "it has no score"
    if score.olympic_minutes <= 0:
        return "its score is 0 minutes"
    wanted = RULES[score.benchmark].targets
    if any(score.targets.get(name, 0.0) < target for name, target in wanted.items()):
        return f"its target is {target_text(score.targets) or 'unknown'}, and LP2BM asks for {target_text(wanted)}"
    return ""


def _is_pair(scores: Sequence[Score]) -> bool:
    return sorted(score.benchmark for score in scores) == ["bert", "resnet"]


def _pair(scores: Sequence[Score]) -> Lp2bm:
    bert, resnet = sorted(scores, key=lambda score: score.benchmark)
    assert resnet.olympic_minutes and bert.olympic_minutes
    return Lp2bm(lp2bm(resnet.olympic_minutes, bert.olympic_minutes), resnet, bert,
                 any(score.provisional or score.division != "closed" for score in scores))

"""LP2BM: the formula on its published examples, and which results make a pair."""

import itertools
from typing import Any

import pytest
from logged_runs import logged_set

from jax_mlperf.mlperf.scoring.lp2bm import lp2bm, lp2bm_scores
from jax_mlperf.mlperf.scoring.score import Score, score


@pytest.mark.parametrize("resnet, bert, expected", [(7.19, 9.05, 2.0), (10, 10, 1.624), (12, 24.5, 0.968554)])
def test_lp2bm_examples(resnet: float, bert: float, expected: float) -> None:
    assert lp2bm(resnet, bert) == pytest.approx(expected, abs=5e-7)


def _result(benchmark: str, minutes: float = 10.0, **facts: Any) -> Score:
    platform = facts.get("submission_platform", "1xH200")
    return score(logged_set([minutes] * (5 if benchmark == "resnet" else 10), benchmark, name=f"{platform}/{benchmark}",
                            epoch=36 if benchmark == "resnet" else 2_600_000, **facts))


def test_lp2bm_of_the_example_runs() -> None:
    scores = [score(logged_set([10, 11, 12, 13, 20])), score(logged_set([*range(20, 29), 40], "bert", epoch=2_600_000))]
    (pair,), notes = lp2bm_scores(scores)
    assert (pair.score, pair.provisional, notes) == (pytest.approx(0.968554, abs=5e-7), False, [])


def test_one_of_each_makes_a_pair_wherever_it_ran() -> None:
    (pair,), notes = lp2bm_scores([_result("bert", submission_platform="a"), _result("resnet", submission_platform="b")])
    assert (pair.resnet.benchmark, pair.bert.benchmark, pair.score, notes) == ("resnet", "bert", pytest.approx(1.624), [])


def test_several_sets_pair_by_platform_and_organization() -> None:
    scores = [_result(benchmark, minutes, submission_platform=platform)
              for (platform, minutes), benchmark in itertools.product([("1xH200", 10.0), ("1xh200 nvl", 20.0)], ["resnet", "bert"])]
    pairs, notes = lp2bm_scores(scores)
    assert [(pair.score, pair.resnet.platform) for pair in pairs] == [(pytest.approx(1.624), "1xH200"), (pytest.approx(0.812), "1xh200 nvl")]
    assert notes == []


def test_ambiguous_sets_ask_for_one_folder_of_each() -> None:
    pairs, notes = lp2bm_scores([_result("resnet"), _result("resnet", 11.0), _result("bert")])
    assert (pairs, notes) == ([], ["LP2BM: it is not clear which resnet and bert results belong together; give one folder of each."])


def test_results_that_lp2bm_does_not_take_are_named() -> None:
    easy = {"targets": {"": 0.3}, "higher_is_better": True, "strict": False}
    open_set = score(logged_set([1.0] * 5, name="tiny/resnet", submission_division="open", quality_target=easy))
    single = score(logged_set([10.0], "bert", name="one/bert"))
    pairs, notes = lp2bm_scores([open_set, single])
    assert (pairs, notes) == ([], ["LP2BM leaves out tiny/resnet: its target is 0.3, and LP2BM asks for 0.759.",
                                   "LP2BM leaves out one/bert: it has no score."])
    assert lp2bm_scores([open_set, open_set]) == ([], [])


def test_lp2bm_tells_of_a_failed_rcp_test() -> None:
    fast = score(logged_set([10.0] * 5, epoch=20, name="fast/resnet"))
    pairs, notes = lp2bm_scores([fast, _result("bert")])
    assert (len(pairs), notes) == (1, ["LP2BM asks for a passed RCP test, and fast/resnet failed it."])


def test_lp2bm_of_a_provisional_or_open_result_is_provisional() -> None:
    missing = score(logged_set([10.0] * 4))
    assert lp2bm_scores([missing, _result("bert")])[0][0].provisional
    assert lp2bm_scores([_result("resnet"), _result("bert", submission_division="open")])[0][0].provisional
    assert not lp2bm_scores([_result("resnet"), _result("bert")])[0][0].provisional

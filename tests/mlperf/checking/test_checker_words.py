"""The checker's messages that the logs of the other tests do not bring about."""

import pytest

from jax_mlperf.mlperf.checking.checker_lines import parse
from jax_mlperf.mlperf.checking.checker_rule_words import broken_rule, short_rule, target_missed
from jax_mlperf.mlperf.checking.checker_words import Message, in_words


def line(number, key, value, metadata="{}"):
    return parse(number, f':::MLLOG {{"time_ms": 1, "key": "{key}", "value": {value}, "metadata": {metadata}}}', "4.0.0")


LINES = [line(3, "opt_name", '"a"'), line(5, "opt_name", '"b"')]


@pytest.mark.parametrize(("key", "message", "words"), [
    (None, "Something new\nin two lines", "Something new\nin two lines"),
    ("seed", "Something new", "seed: Something new"),
    ("opt_name", f"Failed executing code POST code triggered by line :\n{LINES[0].full_string}",
     'opt_name cannot be used by the rules: {"time_ms": 1, "key": "opt_name", "value": "a", "metadata": {}} (line 3)'),
    ("a", "Required AT_LEAST(2) occurrence of 'a' but found 1", "a stands there 1 times (needed at least 2 times)"),
    ("a", "Required AT_LEAST(2) occurrence of 'a' but found 0", "a is missing (needed at least 2 times)"),
    (None, "Required AT_LEAST_ONE occurrence of 'b' or 'a'", "a and b are missing (one of them is needed)"),
    ("opt_name", "Required EXACTLY_ONE occurrence of 'opt_name' but found 2 with different values: [b, a]",
     "opt_name stands there 2 times with different values: 'a', 'b'"),
    (None, "failed test: s['x'] == 1\ncurrent context[s]={\n  \"x\": 2,\n  \"y\": 3\n}",
     "a rule on the whole log does not hold: x == 1 (x is 2)"),
    (None, "Failed executing CHECK code:\ns['x'] == 1\ncurrent context[s]={}", "a rule on the whole log does not hold: x == 1"),
    (None, "The checker could not finish open.yaml: KeyError: 1", "The checker could not finish open.yaml: KeyError: 1"),
])
def test_families_of_messages(key, message, words):
    assert in_words([Message(key, message)], LINES, {}) == [words]


def test_messages_that_say_the_same_of_several_lines_become_one():
    text = "Failed executing CHECK code:\nv['value'] > 1\ntriggered by line:\n{}\ncurrent context[s]={{}}"
    messages = [Message("opt_name", text.format(entry.full_string)) for entry in LINES]
    assert in_words(messages, LINES, {"opt_name": 7}) == ["opt_name is 'a', to which its rule cannot be applied: value > 1 (line 3 and 8 more)"]


@pytest.mark.parametrize(("test", "value", "metadata", "words"), [
    (" v['value'] == 2 ", 3, {}, "k is 3, must be 2"), ("v['value'] <= 2", 3, {}, "k is 3, must be at most 2"),
    ("v['value'] >= 2", 1, {}, "k is 1, must be at least 2"), ("v['value'] < 2", 3, {}, "k is 3, must be less than 2"),
    ("v['value'] in [1, float('inf')]", 3, {}, "k is 3; the rule is value in [1, float('inf')]"),
    ("len(v['value']) == 2", [1], {}, "k is [1]; the rule is len(value) == 2"),
    ("('epoch_num' in v['metadata']) | ('samples_count' in v['metadata'])", 1, {}, "k has no epoch_num or samples_count in its metadata"),
    ("v['metadata']['epoch_count'] > 0 if 'epoch_count' in v['metadata'] else True", None, {"epoch_count": 0},
     "k breaks the rule epoch_count > 0 where epoch_count is 0"),
    ("v['value'] * 1152 == s['global_batch_size'] * 8e-5", 1, {},
     "k is 1; the rule is value * 1152 == global_batch_size * 8e-5 where global_batch_size is 4"),
    ("( s['init_stopped'] == True )", None, {}, "k stands before init_stop"),
    ("ll.timestamp - s['first_init_start'] < (20*60*1e3)", None, {}, "init_stop is not within 20 minutes of init_start"),
])
def test_rules(test, value, metadata, words):
    assert broken_rule("k", test, {"value": value, "metadata": metadata}, {"global_batch_size": 4}, 5.0) == words


@pytest.mark.parametrize(("test", "values", "words"), [
    ("v['value'] <= 0.058 and v['value'] > 0.0", ["0.07", "0.06"], "no evaluation reached 0.058 (best 0.06, epoch 2)"),
    ("(v['value'] >= 0.712 if s['global_batch_size'] < 8192 else v['value'] >= 0.706) and v['value'] < 1.0", ["0.5", "0.7"],
     "no line holds the rule (value >= 0.712 if global_batch_size < 8192 else value >= 0.706) and value < 1.0 (values from 0.5 to 0.7)"),
    (" v['value'] >= 0.908", ["NaN", "true"], "no line holds the rule value >= 0.908"),
    ("v['value'] < 1.0", ["70.5", "1.0"], "no evaluation holds the rule value < 1.0 (best 1.0, epoch 2); it wants fractions, not per cent"),
])
def test_targets(test, values, words):
    lines = [line(number, "eval_accuracy", value, f'{{"epoch_num": {number}}}') for number, value in enumerate(values, 1)]
    assert target_missed("eval_accuracy", test, lines) == f"eval_accuracy: {words}"


def test_long_rules_are_cut():
    assert len(short_rule("v['value'] in [" + "1, " * 1000 + "]")) < 170

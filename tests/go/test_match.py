"""A game in progress: its record, its result, and that mistakes leave it as it was."""

import pytest
from plain_player import PlainPlayer

from jax_mlperf.go.match import Match
from jax_mlperf.go.sgf import Game, Move, read, write


def test_a_record_is_read_back():
    match = Match(PlainPlayer(script=(12, 25)))
    assert match.generate(1) == (12, 0.25)
    match.play(Move(-1, 25))
    assert match.record("it") == Game(5, 0.5, (Move(1, 12, "value +0.250 for black"), Move(-1, 25)), "", "it", "")
    match.generate(1)
    assert match.over and match.record("it").result == match.score() == "B+24.5"
    assert read(write(match.record("it")), "x.sgf") == match.record("it")


def test_resigning_ends_until_the_next_move():
    match = Match(PlainPlayer(script=(None, None)))
    assert match.generate(1).action is None and match.moves == []
    assert match.record("it") == Game(5, 0.5, (), "W+R", "it", "")
    match.play(Move(1, 0))
    assert match.record("it").result == ""
    match.generate(-1)
    assert (match.record("it").result, match.record("it").white) == ("B+R", "it")
    match.undo()
    assert match.record("it") == Game(5, 0.5, ())


def test_the_player_passes_when_the_game_is_over():
    match = Match(PlainPlayer(script=(3,)))
    match.replay([Move(1, 25), Move(-1, 25)])
    assert match.choose(1) == (25, 0.0)
    match.undo()
    assert match.choose(1) == (3, 0.25)


def test_komi_of_the_score():
    match = Match(PlainPlayer(komi=0.5))
    match.play(Move(1, 12))
    scores = []
    for match.komi in (0.5, 25.0, 30.0):
        scores.append(match.score())
    match.clear()
    assert [*scores, match.score(), match.komi] == ["B+24.5", "0", "W+5", "W+30", 30.0]


def test_illegal_moves_change_nothing():
    match = Match(PlainPlayer())
    match.play(Move(1, 12))
    with pytest.raises(ValueError, match="white C3, is illegal"):
        match.play(Move(-1, 12))
    with pytest.raises(ValueError, match="its move 2, black A5, is illegal"):
        match.replay([Move(1, 0), Move(1, 0)])
    assert match.moves == [Move(1, 12)] and match.score() == "B+24.5"

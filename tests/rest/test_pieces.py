"""Long sound is cut where nobody speaks."""

import numpy as np
import pytest

from pipeline.types import LISTENING_RATE, Pcm16
from server.rest.pieces import LONGEST_S, Piece, pieces
from tests.speech import silence


def tone(seconds: float, level: int = 8000) -> Pcm16:
    samples = np.arange(round(seconds * LISTENING_RATE))
    return (level * np.sin(samples * 0.2)).astype(np.int16)


def cut(sound: Pcm16, shortest_s: float = 1.0) -> list[Piece]:
    blocks = np.array_split(sound, max(1, len(sound) // 1024))
    made = list(pieces(blocks, shortest_s))
    assert np.array_equal(np.concatenate([piece.samples for piece in made]), sound)
    assert [piece.start for piece in made] == [0, *np.cumsum([len(piece.samples) for piece in made])[:-1]]
    return made


def test_pauses_end_pieces_and_sound_is_found_in_them() -> None:
    first, second = cut(np.concatenate([silence(0.4), tone(2), silence(0.9), tone(1.5), silence(0.3)]))
    assert (first.voiced_from / LISTENING_RATE, first.voiced_to / LISTENING_RATE) == pytest.approx((0.4, 2.4), abs=0.03)
    assert 2.4 < second.start / LISTENING_RATE < 3.3
    times = second.voiced_from / LISTENING_RATE, second.voiced_to / LISTENING_RATE
    assert times == pytest.approx((3.3, 4.8), abs=0.03)


def test_a_breath_is_no_pause() -> None:
    assert len(cut(np.concatenate([tone(2), silence(0.3), tone(2)]))) == 1


def test_a_piece_goes_on_until_it_is_long_enough() -> None:
    sound = np.concatenate([part for _ in range(10) for part in (tone(3), silence(0.7))])
    first, second = cut(sound, shortest_s=20)
    assert 20 < len(first.samples) / LISTENING_RATE <= LONGEST_S
    assert len(second.samples)


def test_where_there_is_no_pause_the_quietest_place_is_cut() -> None:
    first, second = cut(np.concatenate([tone(22), silence(0.25), tone(12)]))
    assert 22 <= len(first.samples) / LISTENING_RATE <= 22.25
    assert len(second.samples) > LISTENING_RATE


@pytest.mark.parametrize("sound", [np.zeros(100 * LISTENING_RATE, np.int16), tone(100)])
def test_no_piece_is_longer_than_the_longest(sound: Pcm16) -> None:
    assert all(len(piece.samples) <= LONGEST_S * LISTENING_RATE for piece in cut(sound))


def test_a_few_samples_are_a_piece() -> None:
    (piece,) = cut(np.ones(7, np.int16))
    assert (piece.voiced_from, piece.voiced_to) == (0, 7)

"""A round of the campaign that `make chaos` runs for as long as asked."""

from tests.e2e.faults.campaign import Tally, rounds


def test_random_faults_lose_and_double_no_byte(app):
    tally = rounds(app, seed=3, is_over=lambda tally: tally.histories >= 3)
    assert tally.is_clean, tally.text()
    assert tally.histories == 3
    assert sum(tally.faults.values()) > 5
    assert tally.bytes_read > 0


def test_what_is_lost_and_doubled_is_counted():
    tally = Tally()
    tally.count(b"1\n22\n333\n", [{"id": 1, "times": 1}, {"id": 22, "times": 3}])
    assert (tally.bytes_read, tally.bytes_lost, tally.bytes_doubled) == (9, 4, 6)
    assert not tally.is_clean

"""A short campaign: random histories, the same ones each time, and every promise holds in all of them."""

from tests.simulator import campaign


def test_whatever_happens_in_whatever_order_every_job_ends_exact_or_named_and_can_be_taken_up():
    done = campaign.run(seed=1, most_histories=15, shrinks=False)
    assert done.violation is None, done.violation
    assert done.figures["histories"] >= 15
    assert done.figures["bytes lost"] == done.figures["bytes doubled"] == 0

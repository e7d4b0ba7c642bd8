"""Test the limit on wrong keys."""

import pytest

from api.access.sign_ins import MAX_FAILURES, MAX_REMEMBERED, WINDOW_SECONDS, SignInLimiter
from shared.access.key_text import make_key
from shared.errors import TooManySignIns


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_eleventh_wrong_key_is_refused_until_the_window_ends() -> None:
    clock = Clock()
    limiter = SignInLimiter(clock)
    guessed, own = make_key().text, make_key().text
    for _ in range(MAX_FAILURES):
        limiter.check("10.0.0.1", guessed)
        limiter.add_failure("10.0.0.1", guessed)

    with pytest.raises(TooManySignIns, match="in 300 s"):
        limiter.check("10.0.0.1", guessed)
    limiter.check("10.0.0.1", own)
    limiter.check("10.0.0.2", guessed)
    clock.now += WINDOW_SECONDS
    limiter.check("10.0.0.1", guessed)


def test_a_flood_is_forgotten_in_bounds() -> None:
    limiter = SignInLimiter(Clock())
    for number in range(MAX_REMEMBERED + 10):
        limiter.add_failure(f"address {number}", "nonsense")

    limiter.check("address 5", "nonsense")
    limiter.check("another one", make_key().text)

"""Test that pictures are rendered in turn, and each only once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.charts.cache import PictureCache
from shared.errors import Overloaded


def test_a_picture_that_many_request_is_rendered_once() -> None:
    cache, rendered, may_end = PictureCache(), [], threading.Event()

    def render() -> bytes:
        rendered.append(1)
        may_end.wait()
        return b"picture"

    with ThreadPoolExecutor(8) as threads:
        requests = [threads.submit(cache.get_or_render, "digest", render) for _ in range(8)]
        may_end.set()

        assert [request.result() for request in requests] == [b"picture"] * 8
    assert len(rendered) == 1


def test_only_some_requests_wait_and_only_for_some_time() -> None:
    cache, has_begun, may_end = PictureCache(max_waiting=1, wait_seconds=0.2), threading.Event(), threading.Event()

    def render_slowly() -> bytes:
        has_begun.set()
        may_end.wait()
        return b"slow"

    with ThreadPoolExecutor(3) as threads:
        slow = threads.submit(cache.get_or_render, "slow", render_slowly)
        has_begun.wait()
        others = [threads.submit(cache.get_or_render, f"other {index}", bytes) for index in range(2)]
        reasons = sorted(str(other.exception()) for other in others)
        may_end.set()

        assert slow.result() == b"slow"
    assert [type(other.exception()) for other in others] == [Overloaded, Overloaded]
    assert "The picture waited 0.2 s" in reasons[0]
    assert "Too many pictures wait" in reasons[1]
    assert cache.get_or_render("next", lambda: b"next") == b"next"
    with pytest.raises(ZeroDivisionError):
        cache.get_or_render("failing", lambda: bytes(1 // 0))
    assert cache.get_or_render("after", lambda: b"after") == b"after"

from hypothesis import given
from hypothesis import strategies as st

from sculptor.server.mom.endings import Endings

SMALL = st.text("ab", max_size=12)


@given(pieces=st.lists(SMALL, max_size=8), stops=st.lists(st.text("ab", min_size=1, max_size=4)))
def test_a_stop_is_found_wherever_pieces_are_cut(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    # A stop is found as soon as it is whole: the one that ends first, and of those the longest.
    ends = [whole.find(stop) + len(stop) for stop in stops if stop in whole]
    endings = Endings(stops)
    shown = [endings.feed(piece) for piece in pieces]
    if not ends:
        assert not endings.found
        assert "".join(shown) + endings.flush() == whole
        return
    assert endings.found
    joined = "".join(shown)
    assert whole.startswith(joined)
    assert any(whole.startswith(stop, len(joined)) for stop in stops)
    assert endings.flush() == ""


@given(st.text("abc", max_size=20), st.lists(st.text("ab", min_size=1, max_size=3), min_size=1))
def test_no_stop_is_ever_shown(text: str, stops: list[str]) -> None:
    endings = Endings(stops)
    shown = ""
    for char in text:
        shown += endings.feed(char)
        assert not any(stop in shown for stop in stops)


def test_what_can_be_no_stop_is_not_held_back() -> None:
    endings = Endings(["END", ""])
    assert [endings.feed(piece) for piece in ("abc", "E", "N", "x")] == ["abc", "", "", "ENx"]
    assert endings.feed("...EN") == "..."
    assert endings.feed("D more") == ""
    assert endings.found
    assert endings.feed("after") == ""

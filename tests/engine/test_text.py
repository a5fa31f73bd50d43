"""Incremental text: code points split over tokens, stop strings split over anything."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from structgen.engine.text import TextStream


def feed(data: bytes, cuts: list[int], stop: tuple[str, ...] = ()) -> tuple[TextStream, list[str]]:
    stream = TextStream(stop)
    pieces = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        pieces.append(stream.push(data[start:end]))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    return stream, pieces


@given(st.text(max_size=20), st.lists(st.integers(0, 60)))
def test_pieces_add_up_however_bytes_are_cut(text, cuts):
    stream, pieces = feed(text.encode(), cuts)
    assert "".join(pieces) == stream.text == text


@given(
    st.text("abc", max_size=20),
    st.lists(st.integers(0, 20)),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_are_found_however_text_is_cut(text, cuts, stop):
    stream, pieces = feed(text.encode(), cuts, tuple(stop))
    found = [text.find(s) for s in stop if s in text]
    assert "".join(pieces) == stream.text
    assert stream.stopped == bool(found)
    # Pieces of several characters may complete two stop strings at once; the first place counts.
    # Cut finer, the one that completes first ends the text, which may begin later.
    if not found:
        assert stream.text == text
    else:
        assert text.startswith(stream.text)
        assert any(text[len(stream.text) :].startswith(s) for s in stop)
        assert not any(s in stream.text for s in stop)


def test_half_a_code_point_waits_and_is_replaced_at_the_end():
    stream = TextStream()
    assert stream.push("é".encode()[:1]) == ""
    assert stream.push("é".encode()[1:]) == "é"
    assert stream.push("€".encode()[:2]) == ""
    assert stream.finish() == "\ufffd"


def test_a_tail_that_may_begin_a_stop_string_is_held():
    stream = TextStream(["END"])
    assert stream.push(b"an E") == "an "
    assert stream.push(b"N") == ""
    assert stream.push(b"x") == "ENx"
    assert stream.push(b"EN") == ""
    assert stream.finish() == "EN"
    assert not stream.stopped

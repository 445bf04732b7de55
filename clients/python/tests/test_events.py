"""Event streams, however they are cut."""

from __future__ import annotations

from orchestra import events

STREAM = (
    ": a comment\n\n"
    'event: log\nid: 1-9\ndata: {"attempt":1,"time":5,"stream":"stdout","text":"gr\u00fc\\r\\n"}\n\n'
    'event: log\nid: 1-19\ndata: {"attempt":1,"time":6,"stream":"stderr","base64":"/wA="}\n\n'
    'event: log\nid: 1-29\ndata: {"attempt":1,"time":6,"gap":77}\n\n'
    'event: news\nid: 1-29\ndata: {}\n\n'
).encode()


def test_any_cut_gives_the_same() -> None:
    for size in (1, 2, 3, 7, len(STREAM)):
        chunks = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
        read = [events.read(*event) for event in events.parse(events.lines(chunks))]
        first, second, gap, unknown = read
        assert first is not None and second is not None and gap is not None
        assert (first.data, first.text, first.after) == ("gr\u00fc\r\n".encode(), "gr\u00fc\r\n", "1-9")
        assert (second.data, second.stream) == (b"\xff\0", "stderr")
        assert (gap.gap, gap.stream, unknown) == (77, None, None)

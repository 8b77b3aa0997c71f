"""The link by itself: what goes into one message, and what comes out of one."""

from ninelives.run import wire
from ninelives_server.worker import link


def test_frames_that_are_ready_share_messages_in_order() -> None:
    """A message holds at most 1 MB, unless one frame is larger by itself."""
    frames = [bytes([n]) * size for n, size in enumerate([400_000, 400_000, 400_000, 2_000_000, 10, 10])]

    messages = link._messages(frames)

    assert [len(message) for message in messages] == [800_000, 400_000, 2_000_000, 20]
    assert b"".join(messages) == b"".join(frames)


def test_nothing_to_send_is_no_message() -> None:
    """A wake-up without frames costs nothing."""
    assert link._messages([]) == []


def test_a_message_is_split_into_its_frames_as_they_are() -> None:
    """What is passed on to a session is what the server sent, byte for byte."""
    frames = [wire.encode({"t": "ack", "i": n}, b"x" * n) for n in range(3)]

    assert list(link._split(b"".join(frames))) == frames


def test_a_message_that_ends_inside_a_frame_is_left_for_the_parser_to_refuse() -> None:
    """The rest of a broken message is one frame that does not parse."""
    whole = wire.encode({"t": "ack", "i": 1})

    parts = list(link._split(whole + whole[:5]))

    assert parts == [whole, whole[:5]]

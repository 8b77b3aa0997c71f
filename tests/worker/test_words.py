"""`worker.words`: what uv says, safe to show, told as it comes and never lost at the end."""

from ninelives_server.worker.words import KEPT, Progress, Words


def _said(*lines: str, hidden: tuple[str, ...] = ()) -> Words:
    words = Words()
    words.begin(*hidden)
    for line in lines:
        words.add(line)
    return words


def test_credentials_places_and_control_characters_are_taken_out():
    """
    The words go to everybody who may see the project, and to terminals.
    """
    words = _said(
        "Downloading https://reader:hush@example.org/x.whl",
        "environment at: /data/environments/abc/bin",
        "\x1b[31mred\x00",
        hidden=("/data/environments/abc/",),
    )

    assert words.text == "Downloading https://***@example.org/x.whl\nenvironment at: bin\n[31mred\n"


def test_only_the_newest_is_kept():
    """
    What a package's build prints has no end by itself.
    """
    words = _said(*("x" * 99 for _ in range(1000)), "the last")

    assert len(words.text) == KEPT
    assert words.text.endswith("\nthe last\n")


def test_an_error_begins_where_uv_names_the_trouble():
    """
    How far it came is in the log, not in the error.
    """
    assert _said("Resolved 2 packages in 5ms", "error: no such", "  cause: none").point() == (
        "error: no such\n  cause: none"
    )
    assert _said("something else").point() == "something else"


async def test_whoever_comes_late_is_told_what_was_said_before():
    """
    Two sessions that wait for the same see the same; the end is told even if it comes at once.
    """
    words, first, second = Words(), [], []

    with words.told(first.append):
        words.add("one")
        with words.told(second.append):
            words.add("two")

    assert (first[-1], second) == ("one\ntwo\n", ["one\n", "one\ntwo\n"])
    assert not words.is_heard


def test_a_new_attempt_forgets_the_last_one():
    """
    Its words would be taken for this one's.
    """
    words = _said("error: gone wrong")

    words.begin()
    words.add("well")

    assert words.text == "well\n"


def test_of_the_resolvers_log_only_its_progress_passes():
    """
    A hundred lines of how it went about it would hide the one that says what it waits for.
    """
    heard = []
    progress = Progress(heard.append)

    for line in (
        "DEBUG Solving with target Python version: >=3.11",
        "DEBUG Sending fresh GET request for: http://127.0.0.1:1/upper/",
        "DEBUG Searching for a compatible version of upper (*)",
        "DEBUG Adding transitive dependency for upper==1.0: lower>=1",
        "  Caused by: something that is no trouble",
        "DEBUG Transient request failure for `http://127.0.0.1:1/lower/`, retrying",
        "  Caused by: Connection refused",
        "DEBUG No cache entry for: http://127.0.0.1:1/lower/",
        "error: No solution found",
        "  cause: there is no lower",
    ):
        progress.add(line)

    assert heard == [
        "Sending fresh GET request for: http://127.0.0.1:1/upper/",
        "Searching for a compatible version of upper (*)",
        "Transient request failure for `http://127.0.0.1:1/lower/`, retrying",
        "  Caused by: Connection refused",
        "error: No solution found",
        "  cause: there is no lower",
    ]

"""
Bundles: read without trusting them, and the same files give the same build.
"""

import gzip
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import tar_of

from ninelives_server.errors import Invalid, TooLarge
from ninelives_server.projects import bundles


def a_member(kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644, **values) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname, info.mode = kind, target, mode
    for name, value in values.items():
        setattr(info, name, value)
    return info


def test_files_are_read_and_clutter_is_left_out():
    """
    Dotfiles, dot directories and caches are no part of a build.
    """
    found = bundles.read(
        tar_of(
            {
                "./main.py": "1",
                "pkg/mod.py": "2",
                "data/x.bin": b"\x00\xff",
                ".env": "SECRET=1",
                ".git/config": "x",
                "pkg/__pycache__/mod.pyc": "x",
                "pkg/.hidden": "x",
                "empty/": a_member(tarfile.DIRTYPE),
            }
        )
    )

    assert {path: file.data for path, file in found.files.items()} == {
        "data/x.bin": b"\x00\xff",
        "main.py": b"1",
        "pkg/mod.py": b"2",
    }
    assert found.size_bytes == 4


def test_the_same_files_are_the_same_build():
    """
    Order, times, owners and clutter do not count.
    """
    late = a_member(mtime=2_000_000_000, uid=501, uname="ada", mode=0o600)
    first = bundles.read(tar_of({"a.py": "", "b.py": "x"}))
    second = bundles.read(tar_of({"b.py": "x", ".DS_Store": "y", "a.py": late}))

    assert first.sha256 == second.sha256
    assert bundles.pack(first) == bundles.pack(second)


@pytest.mark.parametrize(
    "other",
    [
        {"a.py": "x", "c.py": "y"},
        {"a.py": "y", "b.py": "x"},
        {"a.py": "x"},
        {"a.py": "xb.py", "b.py": "y"},
        {"a.py": a_member(mode=0o755), "b.py": "y"},
        {"d/a.py": "x", "b.py": "y"},
    ],
    ids=range(6),
)
def test_other_files_are_another_build(other):
    """
    A name, a byte or an executable bit makes the difference.
    """
    assert bundles.read(tar_of({"a.py": "x", "b.py": "y"})).sha256 != bundles.read(tar_of(other)).sha256


NAMES = st.text(st.sampled_from("ab/é.x "), min_size=1, max_size=8).filter(
    lambda n: all(p not in {"", "..", "."} and not p.startswith(".") for p in n.split("/"))
)


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=5))
def test_what_is_packed_is_read_again(files):
    """
    Workers get what was deployed.
    """
    try:
        first = bundles.read(tar_of(files))
    except Invalid as error:
        assert "both as a file and as a directory" in str(error)
        return

    again = bundles.read(bundles.pack(first))

    assert again == first
    assert {path: file.data for path, file in again.files.items()} == files


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"/etc/passwd": "x"}, "'/etc/passwd', which is outside of the project"),
        ({"../x.py": "x"}, "'../x.py', which is outside"),
        ({"a/../../x.py": "x"}, "outside"),
        ({"a/../x.py": "x"}, "outside"),
        ({".git/../../x": "x"}, "outside"),
        ({"a\nb.py": "x"}, r"'a\\nb.py', which is not usable everywhere"),
        ({"a\\b.py": "x"}, "not usable everywhere"),
        ({"l": a_member(tarfile.SYMTYPE, "/etc/passwd")}, "the link 'l', which points outside"),
        ({"l": a_member(tarfile.SYMTYPE, "../x")}, "the link 'l', which points outside"),
        ({"a/l": a_member(tarfile.SYMTYPE, "../../x")}, "the link 'a/l', which points outside"),
        ({"l": a_member(tarfile.LNKTYPE, "../x")}, "points outside"),
        ({"l": a_member(tarfile.SYMTYPE, "x")}, "the link 'l' to 'x', which is no file in it"),
        ({"l": a_member(tarfile.SYMTYPE, "l")}, "which is no file in it"),
        (
            {"l": a_member(tarfile.SYMTYPE, "m"), "m": a_member(tarfile.SYMTYPE, "l")},
            "which is no file in it",
        ),
        ({"l": a_member(tarfile.SYMTYPE, ".env"), ".env": "x"}, "which is no file in it"),
        ({"d": a_member(tarfile.CHRTYPE)}, "'d', which is a device or a pipe"),
        ({"d": a_member(tarfile.BLKTYPE)}, "a device or a pipe"),
        ({"d": a_member(tarfile.FIFOTYPE)}, "a device or a pipe"),
        ({"a": "x", "a/b": "y"}, "'a' both as a file and as a directory"),
        ({"a": "x", "./a": "y"}, "'a' twice"),
    ],
    ids=range(20),
)
def test_what_has_no_place_in_a_project_is_refused_by_name(members, message: str):
    """
    A bundle comes from the network: no path, link or device of it reaches a disk.
    """
    with pytest.raises(Invalid, match=message):
        bundles.read(tar_of(members))


def test_links_inside_the_bundle_become_copies():
    """
    Symbolic and hard links, also through another link.
    """
    found = bundles.read(
        tar_of(
            {
                "pkg/real.py": "x",
                "a.py": a_member(tarfile.SYMTYPE, "pkg/real.py"),
                "pkg/b.py": a_member(tarfile.SYMTYPE, "../a.py"),
                "c.py": a_member(tarfile.LNKTYPE, "pkg/real.py"),
            }
        )
    )

    assert {path: file.data for path, file in found.files.items()} == dict.fromkeys(
        ["a.py", "c.py", "pkg/b.py", "pkg/real.py"], b"x"
    )


@pytest.mark.parametrize(
    "packed",
    [b"", b"no gzip", gzip.compress(b"no tar" * 1000), tar_of({"a": "x"})[:-20], tar_of({"a": "x"})[:40]],
    ids=range(5),
)
def test_what_is_no_bundle_says_what_to_send(packed: bytes):
    """
    A truncated upload is not half a build.
    """
    with pytest.raises(Invalid, match="send the project's directory as a gzipped tar"):
        bundles.read(packed)


@given(st.binary(max_size=2000))
def test_garbage_is_refused_or_read(garbage: bytes):
    """
    No bytes make the reader fall over.
    """
    try:
        bundles.read(gzip.compress(garbage))
    except (Invalid, TooLarge):
        pass


def test_an_empty_directory_is_a_bundle():
    """
    What is missing in it is for others to say.
    """
    assert bundles.read(tar_of({})).files == {}


def test_more_than_64_mb_are_refused():
    """
    Whether in one file or in many, and however small they are packed.
    """
    half = b"\x00" * (33 * 1024 * 1024)

    with pytest.raises(TooLarge, match="64 MB"):
        bundles.read(tar_of({"a": half, "b": half}))


def test_a_bomb_is_not_unpacked():
    """
    200 MB of zeros are refused after 80 MB of them.
    """
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as zipped:
        for _ in range(200):
            zipped.write(bytes(1024 * 1024))

    bomb = raw.getvalue()
    del raw

    tracemalloc.start()
    with pytest.raises(TooLarge, match="64 MB"):
        bundles.read(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 170 * 1024 * 1024  # 80 MB, and a copy of it


def test_copies_by_links_count_too(monkeypatch: pytest.MonkeyPatch):
    """
    Many links to one large file are as large as many files.
    """
    monkeypatch.setattr(bundles, "LARGEST", 1000)
    members = {"big": b"x" * 400} | {f"l{n}": a_member(tarfile.SYMTYPE, "big") for n in range(3)}

    with pytest.raises(TooLarge):
        bundles.read(tar_of(members))


def test_more_than_5000_files_are_refused():
    """
    Somebody has packed node_modules.
    """
    with pytest.raises(TooLarge, match="5000 files"):
        bundles.read(tar_of({f"f{n}": "" for n in range(5001)}))

"""Static files and what they promise."""

import hashlib
import re

from site_world import Site

from ninelives_server.web import addresses


async def test_every_file_that_a_page_names_is_there(site: Site):
    """
    And may be kept for a year, because its address changes with its content.
    """
    html = await site.text("/")
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', html)

    answers = [await site.get(path) for path in named]

    assert len(named) >= 5
    assert [answer.status_code for answer in answers] == [200] * len(named)
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)


def test_vendored_files_are_as_they_were_taken():
    """
    Nobody changes a vendored file in place: its checksum stands beside it, its licence too.
    """
    vendor = addresses.STATIC / "vendor"
    sums = dict(
        reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    files = {f.name: f for f in vendor.iterdir() if f.name.endswith(".js")}

    assert set(files) == set(sums)
    for name, file in files.items():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == sums[name]
        assert name in (vendor / "LICENSES.txt").read_text(encoding="utf-8")


def test_our_own_script_needs_no_more_than_the_policy_allows():
    """
    No evaluation of text and no markup from text.
    """
    script = (addresses.STATIC / "ninelives.js").read_text(encoding="utf-8")

    for word in ("eval(", "new Function", "innerHTML", "insertAdjacentHTML", "document.write"):
        assert word not in script


async def test_nothing_but_files_of_the_folder_is_served(site: Site):
    """
    No path leads out of it.
    """
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/vendor"):
        assert (await site.get(path)).status_code in {404, 405}

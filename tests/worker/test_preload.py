"""Which imports sessions may share; each case in an interpreter of its own, as zygotes are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ninelives

_PROGRAM = """
import json, os, sys
sys.path[:0] = sys.argv[1:3]
from ninelives.run import preload
done = preload.preload(preload.wanted(sys.argv[3]))
print(json.dumps({"left": done.left, "missed": done.missed, "loaded": sorted(m for m in sys.modules if m.startswith("lib_"))}))
"""


def _preload(tmp_path: Path, modules: dict[str, str], main: str, build: dict[str, str] | None = None) -> dict:
    library, project = tmp_path / "library", tmp_path / "build"
    for directory, files in ((library, modules), (project, {"main.py": main, **(build or {})})):
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
    source = str(Path(ninelives.__file__).parents[1])
    command = [sys.executable, "-S", "-s", "-P", "-B", "-c", _PROGRAM, source, str(library), str(project)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={"PATH": "/bin", "LANG": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_build_imports_is_found(tmp_path: Path) -> None:
    """Absolute imports anywhere in its files, late ones too; not its own modules, and nothing of a broken file."""
    modules = {f"lib_{name}.py": "" for name in "abcd"}
    main = "import lib_a, helper\nfrom lib_b import x\ndef f():\n    import lib_c\n    from . import y"
    build = {
        "helper.py": "",
        "broken.py": "import lib_d\n(",
        "lib_e/__init__.py": "",
        "sub/deep.py": "import lib_e",
    }

    found = _preload(tmp_path, modules, main, build)

    assert found["loaded"] == ["lib_a", "lib_b", "lib_c"]
    assert found["left"] == {}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; X = os.environ.get('HOME')", "reads HOME"),
        ("import os; X = dict(os.environ)", "reads all variables"),
        ("import os; os.environ['X'] = '1'", "sets X"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "leaves a thread",
        ),
        ("X = open(__file__)", "leaves a file or socket open"),
        ("import socket; X = socket.socket()", "leaves a file or socket open"),
        ("import subprocess; subprocess.run(['/bin/true'])", "subprocess.Popen"),
        ("open(__file__ + '.txt', 'w').close()", "writes"),
        ("raise ValueError", "fails with ValueError"),
        ("import sys; sys.exit(3)", "fails with SystemExit"),
        ("import os; os._exit(3)", "does not come back from its import"),
    ],
)
def test_an_import_that_sessions_cannot_share_is_left_to_them(tmp_path: Path, code: str, why: str) -> None:
    """One such module does not keep others from being shared, unless they import it themselves."""
    modules = {"lib_a.py": "", "lib_bad.py": code, "lib_user.py": "import lib_bad", "lib_z.py": ""}

    found = _preload(tmp_path, modules, "import lib_a\nimport lib_bad\nimport lib_user\nimport lib_z")

    assert found["loaded"] == ["lib_a", "lib_z"]
    assert set(found["left"]) == {"lib_bad", "lib_user"}
    assert found["left"]["lib_bad"].startswith(why)


def test_variables_that_an_import_looked_for_are_told(tmp_path: Path) -> None:
    """A session that has such a variable must not share the import; what the zygote has itself is no matter."""
    modules = {"lib_a.py": "import os\nX = os.environ.get('LIB_A_MODE')\nY = os.getenv('PATH')"}

    found = _preload(tmp_path, modules, "import lib_a")

    assert found["loaded"] == ["lib_a"]
    assert found["missed"] == ["LIB_A_MODE"]


def test_a_tls_context_of_an_import_looks_for_the_variables_that_name_authorities(tmp_path: Path) -> None:
    """OpenSSL reads them itself; a session that names authorities of its own would not be asked for them."""
    modules = {
        "lib_a.py": "import ssl\nX = ssl.create_default_context()",
        "lib_b.py": "import ssl\nX = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
    }

    assert _preload(tmp_path / "b", modules, "import lib_b")["missed"] == []
    found = _preload(tmp_path / "a", modules, "import lib_a")

    assert found["loaded"] == ["lib_a"]
    assert {"SSL_CERT_DIR", "SSL_CERT_FILE"} <= set(found["missed"])


def test_generators_that_modules_keep_are_seeded_anew(tmp_path: Path) -> None:
    """Two forks of one zygote must not draw the same numbers."""
    program = (
        "import os, sys\n"
        "sys.path[:0] = sys.argv[1:3]\n"
        "from ninelives.run import preload\n"
        "preload.preload(['lib_dice'])\n"
        "import lib_dice\n"
        "print(preload.in_child(lambda: (preload.reseed(), lib_dice.DICE.random())[1]))\n"
        "print(preload.in_child(lambda: (preload.reseed(), lib_dice.DICE.random())[1]))\n"
        "print(preload.in_child(lambda: lib_dice.DICE.random()))\n"
        "print(preload.in_child(lambda: lib_dice.DICE.random()))\n"
    )
    (tmp_path / "lib_dice.py").write_text("import random\nDICE = random.Random()")
    source = str(Path(ninelives.__file__).parents[1])

    done = subprocess.run(
        [sys.executable, "-c", program, source, str(tmp_path)], capture_output=True, text=True
    )

    numbers = done.stdout.split()
    assert len(set(numbers[:2])) == 2
    assert numbers[2] == numbers[3]  # without it they are the same: this test can fail


def test_a_build_that_has_a_module_of_the_same_name_gets_its_own(tmp_path: Path) -> None:
    """Zygotes are shared by builds; a shared package never takes the place of a build's own module."""
    program = (
        "import sys, types\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ninelives.run import preload\n"
        "for name in ('helper', 'helper.part', 'other', 'json'):\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    module.__file__ = f'{sys.prefix}/lib/{name}.py' if name != 'json' else '/usr/lib/json.py'\n"
        "preload.give_way(sys.argv[2])\n"
        "print(sorted({'helper', 'helper.part', 'other', 'json'} & set(sys.modules)))\n"
    )
    for name in ("helper.py", "json.py"):
        (tmp_path / name).write_text("")
    source = str(Path(ninelives.__file__).parents[1])

    done = subprocess.run(
        [sys.executable, "-c", program, source, str(tmp_path)], capture_output=True, text=True
    )

    assert done.stdout.strip() == "['json', 'other']"

"""What becomes of a call, for callables of every kind."""

import asyncio
import base64
import contextlib
import csv
import datetime as dt
import functools
import hashlib
import io
import itertools
import json
import logging
import os
import pathlib
import queue
import random
import re
import secrets
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.parse
import urllib.request
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from unittest.mock import MagicMock

import pytest
import requests

import ninelives
from ninelives.run import calltable, kinds
from ninelives.run.calltable import Kind
from ninelives.run.classify import Classifier, display_name


@pytest.fixture
def classifier(tmp_path):
    """Knows one module of a project: `mine`."""
    made = Classifier(str(tmp_path))
    made.modules.add("mine")
    return made


@pytest.fixture
def mine(tmp_path):
    """A module of the project."""
    source = """
import collections, dataclasses, functools, contextlib, threading
import ninelives

def function(): ...
class Class:
    def method(self): ...
    def __call__(self): ...
@dataclasses.dataclass
class Data:
    x: int = 1
class Error(Exception): ...
Pair = collections.namedtuple("Pair", "a b")
class Child(threading.Thread): ...
@functools.lru_cache
def cached(): ...
@contextlib.contextmanager
def managed():
    yield
@ninelives.step
def step(): ...
"""
    path = tmp_path / "mine.py"
    path.write_text(source)
    module = types.ModuleType("mine")
    module.__file__ = str(path)
    sys.modules["mine"] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    yield module
    del sys.modules["mine"]


def test_the_projects_own_code_is_direct(classifier, mine):
    """Functions, classes, methods, instances, generated methods, decorated functions, exceptions."""
    instance, own = mine.Class(), eval("lambda: 1", vars(mine))
    callables = [
        mine.function, mine.Class, instance.method, instance, mine.Data, mine.Data().__eq__, mine.Error, own,
        mine.Error("x").add_note, mine.Pair, mine.cached, mine.managed, functools.partial(mine.function),
        mine.step, mine.Child, mine.Child().start,
    ]  # fmt: skip

    assert [fn for fn in callables if classifier.decide(fn).kind is not Kind.DIRECT] == []


DIRECT = [
    len, str.upper, "x".upper, [].append, {}.get, dict.fromkeys, re.compile, re.compile("x").match, json.dumps,
    base64.b64decode, hashlib.sha256, hashlib.sha256().update, struct.pack, urllib.parse.quote, Decimal,
    Decimal(1).quantize, dt.datetime, dt.datetime(2026, 1, 1).isoformat, dt.datetime.fromisoformat,
    dt.timedelta(1).total_seconds, os.path.join, os.getenv, os.environ.get, pathlib.Path, pathlib.Path("x").with_name,
    threading.Lock, threading.Lock().acquire, queue.Queue, queue.Queue().put, io.StringIO, io.StringIO().write,
    MagicMock, asyncio.run, asyncio.gather, asyncio.Queue, logging.info, logging.getLogger("x").warning, ValueError, sys.exit,
    ThreadPoolExecutor, ThreadPoolExecutor(1).shutdown, uuid.UUID, types.SimpleNamespace, copy := __import__("copy").copy,
    requests.models.Response().json, requests.structures.CaseInsensitiveDict, contextlib.suppress, time.mktime,
    ninelives.AttrDict, ninelives.sleep, ninelives.start, object().__eq__, (1).__add__, Counter().most_common, deque().append, OrderedDict().items,
]  # fmt: skip
STEPS = [
    (open, "open"), (os.stat, "os.stat"), (os.path.exists, "os.path.exists"), (requests.get, "requests.get"),
    (requests.Session, "requests.Session"), (requests.Session().get, "requests.Session.get"),
    (subprocess.run, "subprocess.run"), (shutil.copy, "shutil.copy"), (sqlite3.connect, "sqlite3.connect"),
    (urllib.request.urlopen, "urllib.request.urlopen"), (socket.create_connection, "socket.create_connection"),
    (pathlib.Path("x").read_text, "pathlib.PosixPath.read_text"), (pathlib.Path("x").exists, "pathlib.PosixPath.exists"),
    (tempfile.mkdtemp, "tempfile.mkdtemp"), (functools.partial(requests.get, "x"), "requests.get"),
    (input, "input"), (hashlib.file_digest, "hashlib.file_digest"),
]  # fmt: skip
OTHERS = [
    (list, Kind.INSPECT), (sorted, Kind.INSPECT), (map, Kind.INSPECT), (itertools.chain, Kind.INSPECT),
    (csv.reader, Kind.INSPECT), (json.load, Kind.INSPECT), (functools.reduce, Kind.INSPECT), (", ".join, Kind.INSPECT),
    (defaultdict, Kind.INSPECT), (threading.Thread, Kind.RUNS), (ThreadPoolExecutor(1).submit, Kind.RUNS),
    (asyncio.to_thread, Kind.RUNS), (time.time, Kind.CLOCK), (time.monotonic, Kind.CLOCK),
    (dt.datetime.now, Kind.CLOCK), (dt.date.today, Kind.CLOCK), (random.random, Kind.CHANCE),
    (random.choice, Kind.CHANCE), (random.Random, Kind.CHANCE), (random.Random(1).choice, Kind.CHANCE),
    (uuid.uuid4, Kind.CHANCE), (secrets.token_hex, Kind.CHANCE), (os.urandom, Kind.CHANCE), (time.sleep, Kind.SLEEP),
    (asyncio.sleep, Kind.ASYNC_SLEEP),
]  # fmt: skip


def test_what_computes_or_belongs_to_this_process_is_direct(classifier):
    """Nothing of it reaches the world."""
    assert [fn for fn in DIRECT if classifier.decide(fn).kind is not Kind.DIRECT] == []


def test_the_rest_is_a_step_under_its_usual_name(classifier):
    """`requests.get`, not `requests.api.get`."""
    found = [classifier.decide(fn)[:2] for fn, _ in STEPS]

    assert found == [(Kind.STEP, name) for _, name in STEPS]


def test_some_are_of_their_own_kind(classifier):
    """Clocks, chance, sleeps, and what computes on what it is given."""
    assert [classifier.decide(fn).kind for fn, _ in OTHERS] == [kind for _, kind in OTHERS]


def test_a_coroutine_function_is_known_as_one(classifier):
    """Awaiting what it returns is the step."""
    namespace = {}
    exec("async def fetch(): ...", {"__name__": "vendor"}, namespace)

    assert classifier.decide(namespace["fetch"]).is_async


def test_marks_of_autokitteh_count(classifier, mine):
    """`@activity` and its like set attributes on the function itself."""

    def of_theirs(): ...

    of_theirs.__module__ = "vendor"
    mine.function.__ak_activity__ = True
    of_theirs.__ak_activity__ = False

    assert classifier.decide(mine.function).kind is Kind.STEP
    assert classifier.decide(of_theirs).kind is Kind.DIRECT
    mine.cached.__ak_inhibit_activities__ = True
    assert classifier.decide(mine.cached).is_inhibited


def test_what_is_registered_is_direct_from_then_on(classifier):
    """Functions, methods, and whole classes with what they define."""
    session = requests.Session()
    assert classifier.decide(requests.get).kind is Kind.STEP
    assert classifier.decide(session.get).kind is Kind.STEP

    classifier.never_a_step([requests.get, requests.Session])

    assert classifier.decide(requests.get).kind is Kind.DIRECT
    assert classifier.decide(session.get).kind is Kind.DIRECT
    assert classifier.decide(requests.Session).kind is Kind.DIRECT
    assert classifier.decide(requests.post).kind is Kind.STEP


def test_a_method_that_a_class_of_the_project_inherits_is_of_its_library(classifier, mine):
    """But making the object is the project's own: `super().__init__` is direct."""
    vars(mine)["requests"] = requests
    exec("class Client(requests.Session):\n    pass", vars(mine))
    client = mine.Client()

    assert classifier.decide(client.get)[:2] == (Kind.STEP, "mine.Client.get")
    assert classifier.decide(super(mine.Client, client).__init__).kind is Kind.DIRECT


def test_the_longest_name_in_the_table_counts():
    """A method before its class, a class before its module, a module before its package."""
    assert kinds.kind_of("pathlib", "Path.exists") is Kind.STEP
    assert kinds.kind_of("pathlib", "PurePath.parts") is Kind.DIRECT
    assert kinds.kind_of("xml.etree.ElementTree", "Element") is Kind.DIRECT
    assert kinds.kind_of("_struct", "pack") is Kind.DIRECT
    assert kinds.kind_of("a.b.c", "D.e", {"a.b": Kind.DIRECT}) is Kind.DIRECT
    assert kinds.kind_of("a.b.c", "D.e") is Kind.STEP


def test_handles_are_known_by_their_class():
    """Clients and connections of the listed libraries, and classes derived from them."""
    assert calltable.is_handle(sqlite3.Connection)
    assert calltable.is_handle(type("Mine", (requests.Session,), {}))
    assert not calltable.is_handle(sqlite3.Cursor)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (requests.get, "requests.get"),
        ("x".join, "str.join"),
        (len, "len"),
        (dict, "dict"),
        (json.dumps, "json.dumps"),
    ],
    ids=["function", "method", "builtin", "class", "stdlib"],
)
def test_names_are_those_that_people_know(fn, name):
    """As they write them."""
    assert display_name(fn) == name

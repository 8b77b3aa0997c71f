"""Errors with causes, notes, groups, fields; `finally`, `else`, re-raising, `SystemExit` in a step."""

import json
import sys

import ninelives


class Refused(Exception):
    def __init__(self, *, code, detail):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@ninelives.step
def fail(kind):
    if kind == "chained":
        try:
            json.loads("{")
        except ValueError as error:
            raise Refused(code=7, detail=["a"]) from error
    if kind == "noted":
        error = ValueError("noted")
        error.add_note("look here")
        raise error
    if kind == "group":
        raise ExceptionGroup("many", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])
    if kind == "exit":
        sys.exit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    return kind


def main(event):
    try:
        fail("chained")
    except Refused as error:
        print(error.code, error.detail, type(error.__cause__).__name__, error.__cause__.pos)
    try:
        fail("noted")
    except ValueError as error:
        print(error, error.__notes__)
    try:
        fail("group")
    except* ValueError as group:
        print([str(e) for e in group.exceptions])
    except* KeyError as group:
        print(group.exceptions[0].message, group.exceptions[0].exceptions)
    try:
        fail("exit")
    except SystemExit as error:
        print("exit", error.code)
    try:
        fail("interrupt")
    except KeyboardInterrupt:
        print("interrupted")
    try:
        try:
            fail("noted")
        finally:
            print("finally")
    except ValueError:
        pass
    else:
        print("never")
    fail("chained")

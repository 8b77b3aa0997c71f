"""The rules that `project lint` and each deploy check, by the names under which they are documented."""

from collections.abc import Mapping

from ninelives_server.projects.problems import Severity

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

#: Severity and meaning of each rule; docs/reference/lint.md lists them.
RULES: Mapping[str, tuple[Severity, str]] = {
    "bundle": (_ERROR, "the directory can be sent: its size, its file names, its links"),
    "manifest-missing": (_ERROR, "there is a `ninelives.yaml` or an `autokitteh.yaml`"),
    "manifest-unreadable": (_ERROR, "the manifest is UTF-8 text and YAML, and not larger than 1 MB"),
    "manifest-ignored": (_WARNING, "there is only one manifest"),
    "unknown-key": (_ERROR, "each key is known"),
    "manifest-value": (
        _ERROR,
        "each value has the form that its key asks for; what is required is there",
    ),
    "ignored-key": (_WARNING, "no key is given where it has no effect"),
    "missing-version": (_ERROR, "an `autokitteh.yaml` says `version: v1` or `version: v2`"),
    "missing-project-name": (_ERROR, "the project has a name"),
    "malformed-name": (_ERROR, "names have the characters that they may have"),
    "duplicate-name": (_ERROR, "names of variables, connections and triggers are given once"),
    "unknown-integration": (_ERROR, "the integration of each connection is known"),
    "unknown-connection": (_ERROR, "the connection that a trigger listens to is there"),
    "undeclared-connection": (_WARNING, "connections that the code names are there"),
    "empty-variable": (_WARNING, "variables have a value"),
    "no-triggers": (_WARNING, "the project has a trigger"),
    "trigger-type": (_ERROR, "a trigger is exactly one of connection, webhook and schedule"),
    "bad-schedule": (_ERROR, "a schedule has a form that cron knows, and a time zone that there is"),
    "six-field-schedule": (
        _WARNING,
        "a schedule has not 6 fields, which crons read differently",
    ),
    "no-more-times": (_WARNING, "a schedule has a time that is still to come"),
    "event-type": (_WARNING, "the event type of a webhook is a method in small letters, as events have it"),
    "bad-filter": (_ERROR, "filters compile and yield a bool"),
    "bad-call": (_ERROR, "`call` has the form `file.py:function`"),
    "file-not-found": (_ERROR, "the file that `call` names is there"),
    "handler-not-found": (_ERROR, "the file has the function or class at its top level"),
    "syntax-error": (
        _ERROR,
        "files with handlers, and all that are not in a folder, are Python; in others it is a warning",
    ),
    "webhook-unreachable": (_WARNING, "the address of a webhook can be reached from outside"),
    "project-size": (_WARNING, "the project has at most 1 MB"),
    "bad-requirement": (_ERROR, "each line of `requirements.txt` names a package"),
    "included-requirement": (_WARNING, "`requirements.txt` names no package that is there anyway"),
}

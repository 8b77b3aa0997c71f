"""What a filter may say, and what people are told where it says something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters

FILTERS = Filters()

CHANGE = {
    "ChangeEventHeader": {
        "changeType": "UPDATE",
        "entityName": "Lead",
        "recordIds": ["00Q000000000001AAA"],
        "changedFields": ["Status", "Name.LastName"],
        "commitTimestamp": 1_700_000_000_000,
        "commitNumber": 11_693_500_000_000,
    },
    "Status": "Open",
    "AnnualRevenue": 1_250_000.5,
    "NumberOfEmployees": 20,
    "Email": None,
    "Name": {"FirstName": "Ada", "LastName": "Byron"},
    "IsUnreadByOwner": True,
}
WEBHOOK = {
    "method": "POST",
    "url": {"path": "/webhooks/x/orders/7", "query": {"a": "1, 2"}, "path_suffix": "orders/7"},
    "headers": {"Content-Type": "application/json", "X-Kind": "order"},
    "body": {"json": {"items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 5}], "total": 12.5}, "text": "…"},
}


@pytest.mark.parametrize(
    "expression",
    [
        'data.ChangeEventHeader.changeType == "UPDATE"',
        'data.ChangeEventHeader.changeType in ["CREATE", "UPDATE"]',
        '"Status" in data.ChangeEventHeader.changedFields',
        'data.ChangeEventHeader.changedFields.exists(f, f.startsWith("Name."))',
        'data.ChangeEventHeader.recordIds.all(id, id.startsWith("00Q"))',
        "size(data.ChangeEventHeader.recordIds) == 1",
        'has(data.Status) && data.Status == "Open"',
        "!has(data.Missing)",
        "data.Email == null",
        "data.AnnualRevenue > 1000000",
        "data.NumberOfEmployees >= 20 && data.NumberOfEmployees < 20.5",
        "data.NumberOfEmployees == 20.0",
        'data.Name.LastName.lowerAscii() == "byron"',
        'data["Name"]["FirstName"].matches("^A.a$")',
        "data.IsUnreadByOwner",
        'event_type == "lead"',
        'timestamp(data.ChangeEventHeader.commitTimestamp / 1000) > timestamp("2023-01-01T00:00:00Z")',
        "data.ChangeEventHeader.commitNumber > 4294967296",
        # strings
        '"a,b,c".split(",").size() == 3',
        '"%s-%d".format(["x", 7]) == "x-7"',
        '" x ".trim().replace("x", "y") == "y"',
        '"hello".charAt(1) + "hello".substring(3) == "elo"',
        '["a", "b"].join("-") == "a-b"',
        # math
        "math.greatest(1, data.NumberOfEmployees, 3) == 20",
        "math.least([3.0, 1.5]) == 1.5 && math.abs(-3) == 3 && math.ceil(1.2) == 2.0",
        # encoders
        'base64.encode(b"hello") == "aGVsbG8="',
        'string(base64.decode("aGVsbG8=")) == "hello"',
        # bindings
        "cel.bind(n, data.NumberOfEmployees, n * n == 400)",
        # sets
        'sets.contains(data.ChangeEventHeader.changedFields, ["Status"])',
        'sets.intersects(data.ChangeEventHeader.changedFields, ["Status", "Email"])',
        "sets.equivalent([1, 2], [2, 1])",
        # lists
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 1].distinct() == [1]",
        "[1, [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2]",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [1, 2].reverse() == [2, 1]",
        # optional values
        'data.?Missing.orValue("none") == "none" && data.?Status.orValue("none") == data.Status',
        "!data.?Missing.?Deeper.hasValue() && data.?Name.?LastName.hasValue()",
        'data[?"Missing"] == optional.none() && data[?"Status"] == optional.of(data.Status)',
        "data.ChangeEventHeader.recordIds[?7].or(data.?Status).value() == data.Status",
        'optional.ofNonZeroValue("").optMap(x, x + "!").orValue("empty") == "empty"',
        '{?"a": data.?Missing} == {} && [?data.?Missing, ?data.?Status] == [data.Status]',
        "data.ChangeEventHeader.changedFields.first().hasValue() && ![].last().hasValue()",
    ],
)
def test_an_expression_of_the_language_and_its_extensions_is_evaluated(expression):
    """
    Existing projects rely on strings, math, encoders, bindings, sets and lists; optional values are ours.
    """
    assert FILTERS.check(expression) is None
    assert FILTERS.matches(expression, CHANGE, "lead") is True
    assert FILTERS.matches(f"!({expression})", CHANGE, "lead") is False


@pytest.mark.parametrize(
    "expression",
    [
        'data.method == "POST" && data.url.path_suffix.startsWith("orders/")',
        'data.headers["X-Kind"] == "order"',
        "data.body.json.items.filter(i, i.n > 3).map(i, i.sku) == ['b']",
        "data.body.json.items.exists_one(i, i.sku == 'a') && data.body.json.total == 12.5",
        'data.url.query.a.contains("2")',
    ],
)
def test_a_filter_reads_a_webhook_s_request(expression):
    """
    A webhook's trigger decides by method, path, headers and body.
    """
    assert FILTERS.matches(expression, WEBHOOK, "post")


@pytest.mark.parametrize("expression", ["", "  ", "\n"])
def test_no_filter_matches_everything(expression):
    """
    An empty filter is true.
    """
    assert FILTERS.check(expression) is None
    assert FILTERS.matches(expression, {}, "")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 +", "1:4: Syntax error"),
        ("dat.x == 1", "1:4: undeclared reference to 'dat.x'"),
        ("data.x == 1 && evnt_type == 'a'", "1:16: undeclared reference to 'evnt_type'"),
        ("event_type", "the filter yields string"),
        ("1 + 1", "the filter yields int"),
        ("data.?Status", "the filter yields optional_type<dyn>; end it with .hasValue() or .orValue(…)"),
        ("optional.of(true)", "the filter yields optional_type<bool>; end it with .hasValue()"),
        ("[data.?x].unwrapOpt() == []", "undeclared reference to 'unwrapOpt'"),
        ("'a' == 1", "found no matching overload"),
        ("event_type.nope()", "undeclared reference to 'nope'"),
        ("x" * 20_000, "20000 characters"),
        ("(" * 500 + "true" + ")" * 500, "recursion limit"),
    ],
)
def test_a_wrong_expression_is_named_with_its_place(expression, message):
    """
    Whoever writes a filter is told what is wrong and where, before it is ever used.
    """
    found = FILTERS.check(expression)

    assert found is not None
    assert message in found
    assert "<input>" not in found
    assert "INVALID_ARGUMENT" not in found
    with pytest.raises(Invalid):
        FILTERS.matches(expression, {}, "")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("data.Missing == 1", "the event has no 'Missing'; write `has(…) &&` before its use"),
        ("data.Status", "it yields string for this event, not a bool"),
        ("data.NumberOfEmployees / 0 == 1", "divide by zero"),
        ("data.ChangeEventHeader.recordIds[7] == ''", "index=7 size=1"),
        ("data.Status.matches('(')", "invalid regular expression"),
        ("data.Status > 5", "not of the types that this needs: string > int64"),
        ("size(data.Nothing) > 5", "not of the types that this needs: size(null)"),
        (
            "data.Nothing.x == 5",
            "a field is read of a value that has no fields, such as null or a text; test it",
        ),
        ("has(data.Status.x)", "a field is read of a value that has no fields"),
        (
            "data.Nothing['x'] == 5",
            "`[…]` is applied to a value that is neither list nor map: 'null'; test it",
        ),
        ("'x' in data.Nothing", "what stands behind `in` is neither list nor map"),
        ("data.Nothing.exists(x, x == 1)", "need a list or a map"),
        ("data.Status ? true : false", "what stands before `?` is no bool"),
        ("data.?Missing.value() == 1", "the value is missing: optional.none() has none; use .orValue(…)"),
        ("data.?Status.?x.hasValue()", "not of the types that this needs"),
        ("lists.range(9000).all(a, lists.range(9000).all(b, true))", "Iteration budget exceeded"),
    ],
)
def test_a_filter_that_fails_for_an_event_says_how(expression, message):
    """
    A failing filter must be shown to its author, so it has to say what happened.
    """
    assert FILTERS.check(expression) is None

    with pytest.raises(Invalid, match="filter failed") as caught:
        FILTERS.matches(expression, {**CHANGE, "Nothing": None}, "lead")

    assert message in str(caught.value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70, 10**400, -(10**400)])
def test_integers_beyond_64_bits_do_not_break_the_filter(number):
    """
    JSON knows no limit; such a number somewhere in the data must not fail filters that do not even read it.
    """
    data = {"other": 1, "deep": [{"big": number}]}

    assert FILTERS.matches("data.other == 1", data, "")
    assert FILTERS.matches("data.deep[0].big > 0.0", data, "") is (number > 0)


def test_an_error_on_one_side_of_or_does_not_matter():
    """
    CEL's `||` is true where one side is true, whatever the other one does.
    """
    assert FILTERS.matches("data.missing == 1 || true", {}, "")


# A NUL in a key, and half a surrogate pair anywhere, are cut off or refused by the CEL library.
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_text, _json, max_size=5), st.text())
def test_any_json_can_be_filtered(data, event_type):
    """
    No data may make a filter fail that does not look at it.
    """
    assert FILTERS.matches("event_type == event_type && size(data) >= 0", data, event_type)


@given(st.dictionaries(_text, st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans(), min_size=1))
def test_values_come_through_unchanged(data):
    """
    What the filter reads is what the event holds.
    """
    key = next(iter(data))
    value = data[key]
    expected = {bool: "bool", int: "int", str: "string"}[type(value)]

    assert FILTERS.matches(
        f"type(data[event_type]) == {expected} && data[event_type] == data[event_type]", data, key
    )

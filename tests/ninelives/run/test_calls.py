"""What rewritten code remembers of the functions that it calls."""


def test_a_function_that_was_called_by_itself_is_still_a_step_as_a_method_of_a_live_value(harness, program):
    """It computes when it is given a plain value; on a live one it may do anything."""
    made = program(
        """
        from collections import Counter
        import ninelives

        @ninelives.live
        def counted():
            return Counter("aab")

        def main(event):
            found = [Counter.most_common(Counter("zz"), 1) for _ in range(2)]
            letters = counted()
            return [*found, letters.most_common(1), letters.most_common(2)]
        """
    )

    outcome = harness.run(made)

    assert outcome.result == [[["z", 2]], [["z", 2]], [["a", 2]], [["a", 2], ["b", 1]]]
    assert outcome.journal.steps() == ["main.counted", *["collections.Counter.most_common"] * 2]


def test_a_function_that_is_made_inside_another_goes_with_its_last_name(harness, program):
    """To remember it would keep alive what it holds."""
    made = program(
        """
        import weakref

        def main(event):
            def make(number):
                return lambda: number
            found = []
            for number in range(3):
                function = make(number)
                found.append((function(), function()))
                last = weakref.ref(function)
                del function
                found.append(last() is None)
            return found
        """
    )

    assert harness.run(made).result == [[0, 0], True, [1, 1], True, [2, 2], True]


def test_what_nobody_can_hash_may_be_a_method(harness, program):
    """Only functions are looked for among those that are remembered."""
    made = program(
        """
        import types

        class Doubles:
            def __eq__(self, other):
                return True

            def __call__(self, number):
                return 2 * number

        def main(event):
            doubled = types.MethodType(Doubles(), 21)
            class Holder: pass
            holder = Holder()
            holder.doubled = doubled
            return [doubled(), holder.doubled()]
        """
    )

    assert harness.run(made).result == [42, 42]

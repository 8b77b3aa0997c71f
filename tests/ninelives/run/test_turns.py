"""Who runs next: ready lanes in order, then freed locks, then the answer with the lowest seq."""

import threading

from ninelives.run.turns import Entry, Lane, State, Turns


def make():
    idle = []
    turns = Turns(lambda: idle.append(True))
    return turns, turns.first_lane(), idle


def out(turns, lane, **options):
    """Have a lane wait for an entry without blocking this thread."""
    entry = Entry(lane, **options)
    turns.leave(lane, entry)
    return entry


def holds(lane):
    """Tell whether a lane was granted the turn, and take the grant."""
    return lane.state is State.RUNNING and lane.gate.acquire(blocking=False)


def test_answers_are_handed_out_by_seq_when_every_lane_waits():
    """The order in which they arrived does not count, and nobody is interrupted."""
    turns, main, _ = make()
    other = Lane()
    turns.add_lane(other)
    first = out(turns, main)
    assert holds(other)
    turns.arrived(first, 9)
    assert main.state is State.OUT
    second = Entry(other)
    turns.expect(second, 5)

    turns.leave(other, second)

    assert holds(other)
    assert main.state is State.OUT
    out(turns, other)
    assert holds(main)


def test_lanes_that_are_ready_come_before_answers():
    """In the order in which they became ready."""
    turns, main, _ = make()
    one, two = Lane(), Lane()
    turns.add_lane(one)
    turns.add_lane(two)

    turns.arrived(entry := Entry(main), 1, was_executing=False)
    turns.leave(main, entry)

    assert holds(one)
    turns.end_lane(one)
    assert holds(two)
    turns.end_lane(two)
    assert holds(main)


def test_a_lane_that_waits_for_a_lock_runs_once_the_lock_is_free():
    """Before any answer is handed out, so that a replay decides the same."""
    turns, main, _ = make()
    other, free = Lane(), []
    turns.add_lane(other)
    thread = threading.Thread(target=lambda: turns.poll(main, lambda: bool(free)))
    thread.start()
    other.gate.acquire()
    turns.expect(Entry(other), 1)
    free.append(True)

    entry = Entry(other)
    turns.expect(entry, 2)
    turns.leave(other, entry)
    thread.join(10)

    assert not thread.is_alive()
    assert main.state is State.RUNNING


def test_a_time_out_ends_the_wait_for_a_lock():
    """It is an answer like any other."""
    turns, main, _ = make()
    timeout = Entry(main)
    turns.expect(timeout, 3)

    assert turns.poll(main, lambda: False, timeout) is timeout


def test_a_stop_ends_a_wait_but_no_step():
    """It is handed out in its place, once the lane can take it."""
    turns, main, _ = make()
    stop = Entry(main, is_stop=True)
    turns.arrived(stop, 1, was_executing=False)
    step = out(turns, main)
    assert main.state is State.OUT
    turns.arrived(step, 2)
    assert holds(main)

    assert turns.wait_for(main, Entry(main, can_be_stopped=True)) is stop


def test_nobody_is_idle_while_a_step_is_under_way():
    """A session is parked only when all its strands wait."""
    turns, main, idle = make()
    step = out(turns, main)
    assert (turns.is_idle, idle) == (False, [])
    turns.arrived(step, 1)
    assert holds(main)

    thread = threading.Thread(target=lambda: turns.wait_for(main, entry))
    entry = Entry(main)
    thread.start()
    while not idle:
        pass

    assert turns.is_idle
    turns.arrived(entry, 2, was_executing=False)
    thread.join(10)
    assert not thread.is_alive()


def test_an_answer_that_nobody_waits_for_is_passed_over():
    """A cancelled task waits no more."""
    turns, main, _ = make()
    gone, wanted = Entry(main), Entry(main)
    turns.expect(gone, 1)
    gone.is_over = True

    assert turns.wait_for(main, wanted, 2) is wanted


def test_a_loop_that_has_seen_its_news_before_it_sleeps_is_still_told_that_it_has_the_turn():
    """
    A thread has a callback run by the loop, the loop takes it and goes to sleep, and only then the thread says
    that the loop is ready: the turn that it is given must wake it, or nobody runs any more.
    """
    turns, main, _ = make()
    woken = []
    turns.loop_begins(main, lambda: woken.append(True))
    turns.begin()  # a step is under way
    assert not turns.idle(main)

    turns.make_ready(main)

    assert woken == [True]
    turns.resume(main)
    assert main.state is State.RUNNING

from . import circular_b

NAME = "a"


def b_name():
    return circular_b.NAME

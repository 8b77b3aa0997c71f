from app import circular_a

NAME = "b"


def a_name():
    return circular_a.NAME

from .core.values import VERSION
from . import circular_a, circular_b

__all__ = ["VERSION"]


def __getattr__(name):
    if name == "lazy_thing":
        return "made lazily"
    raise AttributeError(name)

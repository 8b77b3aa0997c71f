from ..core import public
from .. import VERSION


def run(url):
    return "x", VERSION, public(url)

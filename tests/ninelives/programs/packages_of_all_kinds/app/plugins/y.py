from ..core import public
from .. import VERSION


def run(url):
    return "y", VERSION, public(url)

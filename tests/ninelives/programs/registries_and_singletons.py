"""What modules and classes keep: registries, singletons, caches, descriptors, and steps that these hide."""

import abc
import functools
import operator
from collections import UserDict
from typing import Generic, Protocol, TypeVar, runtime_checkable

import requests

T = TypeVar("T")
REGISTRY = {}


def handler(*names, **opts):
    def deco(f):
        @functools.wraps(f)
        def wrapper(*a, **k):
            wrapper.calls += 1
            return f(*a, **k)

        wrapper.calls = 0
        wrapper.opts = opts
        for n in names:
            REGISTRY[n] = wrapper
        return wrapper

    return deco


class Memo:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f, self.cache, self.hits = f, {}, 0

    def __call__(self, *args):
        if args in self.cache:
            self.hits += 1
        else:
            self.cache[args] = self.f(*args)
        return self.cache[args]

    def __get__(self, obj, cls=None):
        return functools.partial(self, obj) if obj is not None else self


class Singleton(type):
    _made = {}

    def __call__(cls, *a, **k):
        if cls not in Singleton._made:
            Singleton._made[cls] = super().__call__(*a, **k)
        return Singleton._made[cls]


class Api(metaclass=Singleton):
    def __init__(self, url):
        self.url = url
        self._s = None

    @property
    def http(self):
        if self._s is None:
            self._s = requests.Session()
            self._s.headers.update({"A": "b"})
        return self._s

    @functools.cached_property
    def me(self):
        return self.http.post(f"{self.url}/me", json={"name": "ada"}).json()

    @functools.lru_cache(maxsize=None)
    def page(self, n):
        return self.http.get(f"{self.url}/orders", params={"page": n}).json()["items"]

    def __getattr__(self, name):
        if name.startswith("post_"):
            return lambda **kw: self.http.post(f"{self.url}/{name[5:]}", json=kw).json()
        raise AttributeError(name)

    def __hash__(self):
        return hash(self.url)

    def __eq__(self, o):
        return self.url == o.url


@Memo
def lookup(n):
    return Api(None).post_lookup(n=n)["n"]


class Typed:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, obj, cls=None):
        return self if obj is None else getattr(obj, self.name, None)

    def __set__(self, obj, v):
        if not isinstance(v, int):
            raise TypeError(f"{self.name[1:]} must be int")
        setattr(obj, self.name, v)


class Plugin(abc.ABC, Generic[T]):
    kinds = []
    n = Typed()

    def __init_subclass__(cls, *, kind=None, **kw):
        super().__init_subclass__(**kw)
        Plugin.kinds.append(kind)
        cls.kind = kind

    @abc.abstractmethod
    def run(self, x: T): ...

    @classmethod
    def all(cls):
        return [c() for c in cls.__subclasses__()]

    @staticmethod
    def log(*a):
        print("log", *a)


class Mixin:
    def run(self, x):
        self.log("mixin", type(self).__name__)
        return super().run(x)


class Base(Plugin[int], kind="base"):
    def run(self, x):
        self.n = x
        return Api(None).post_base(x=x)["x"] + (self.n or 0)


class Mixed(Mixin, Base, kind="mixed"):
    def __enter__(self):
        self.log("enter")
        self.http = Api(None).http
        return self

    def __exit__(self, t, v, tb):
        self.log("exit", t and t.__name__)
        return t is ZeroDivisionError

    def __iter__(self):
        for item in Api(None).page(1):
            yield item["id"]

    def __len__(self):
        return len(Api(None).page(2))

    def __bool__(self):
        return True

    def __contains__(self, x):
        return x in list(self)

    def __getitem__(self, i):
        return list(self)[i]

    def __add__(self, other):
        return Api(None).post_add(a=1, b=other)["b"]

    __radd__ = __add__


@runtime_checkable
class Runs(Protocol):
    def run(self, x): ...


class Conf(UserDict):
    def __missing__(self, k):
        self.data[k] = v = Api(None).post_conf(k=k)["k"].upper()
        return v


@handler("a", "b", retries=2)
def handle_ab(x, *, url):
    return Api(url).me["name"], x


@handler("c")
def handle_c(x, **_):
    return lookup(x), lookup(x), lookup.hits


def main(event):
    url = event.data.url
    api = Api(url)
    print(Api("other") is api, [REGISTRY[k](i, url=url) for i, k in enumerate("abca")])
    print(handle_ab.calls, handle_ab.opts, handle_c.__name__, lookup.__wrapped__.__name__)
    print(api.page(1) is api.page(1), Api.page.cache_info())
    print(Plugin.kinds, [type(p).__name__ for p in Plugin.all()], isinstance(Base(), Runs))
    with Mixed() as m:
        print(m.run(4), list(m), len(m), 2 in m, m[-1], m + 3, 4 + m, bool(m))
        1 / 0
    try:
        m.n = "x"
    except TypeError as e:
        print(e)
    c = Conf(a=1)
    print(
        c["a"],
        c["zed"],
        c["zed"],
        dict(c),
        operator.attrgetter("kind")(m),
        operator.methodcaller("run", 5)(Base()),
    )
    try:
        Plugin()
    except TypeError as e:
        print("abstract", "abstract" in str(e))
    try:
        api.nothing
    except AttributeError as e:
        print("attr", e)
    return sum(map(Base().run, [1, 2]), start=0)

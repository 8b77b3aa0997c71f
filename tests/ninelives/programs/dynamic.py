"""Classes and functions made at run time: metaclasses, descriptors, `exec`, `getattr`, operators, slots."""

import types

import ninelives


@ninelives.step
def tick(value):
    return value


class Field:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner):
        return self if instance is None else tick(getattr(instance, self.name, 0))

    def __set__(self, instance, value):
        setattr(instance, self.name, tick(value))


class Meta(type):
    registry = []

    def __new__(mcls, name, bases, space, **options):
        made = super().__new__(mcls, name, bases, space)
        mcls.registry.append((name, tuple(options)))
        return made

    def __call__(cls, *args, **kwargs):
        tick("made")
        return super().__call__(*args, **kwargs)


class Base(metaclass=Meta, kind="base"):
    size = Field()

    def __init_subclass__(cls, **options):
        cls.label = options.get("label", "none")

    def __getattr__(self, name):
        return tick(name) if name.startswith("dyn") else object.__getattribute__(self, name)


class Child(Base, label="child"):
    __slots__ = ("only",)

    def __init__(self, n):
        super().__init__()
        self.size = n
        self.only = tick(n + 1)

    def __add__(self, other):
        return Child(tick(self.size + other.size))

    def __iadd__(self, n):
        self.size = self.size + n
        return self

    def __format__(self, spec):
        return f"<{tick(spec)}>"


def main(event):
    child = Child(2) + Child(3)
    child += 4
    made = type("Made", (Child,), {"extra": lambda self: tick(self.size)}, label="made")
    space = {"tick": tick}
    exec("def double(n):\n    return tick(n) * 2\n", space)
    module = types.SimpleNamespace(run=lambda n: space["double"](n))
    method = types.MethodType(lambda self, n: tick(n) + self.size, child)
    try:
        child.missing
    except AttributeError as error:
        print(error)
    return [
        child.size, child.only, child.dynamic, Child.label, made(1).extra(), made.label, module.run(4), method(1),
        f"{child:x>3}", Meta.registry, (lambda *a, **k: [tick(a), tick(k)])(*[1, 2], **{"k": 3}),
    ]

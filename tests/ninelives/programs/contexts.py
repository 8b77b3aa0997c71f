"""Context managers of all kinds: stacks, suppress, redirected output, decimal contexts, asynchronous ones."""

import asyncio
import contextlib
import contextvars
import decimal
import io

import ninelives

who = contextvars.ContextVar("who", default="nobody")


@ninelives.step
def tell(value):
    return f"{value} for {who.get()}"


@contextlib.asynccontextmanager
async def opened(name):
    print("open", name, tell(1))
    try:
        yield name
    finally:
        print("close", name)


class Closing:
    def __init__(self, log):
        self.log = log

    def close(self):
        self.log.append(tell("closed"))


async def work(name):
    who.set(name)
    await asyncio.sleep(0.001)
    return tell("task")


async def run():
    async with opened("a") as a, contextlib.AsyncExitStack() as stack:
        b = await stack.enter_async_context(opened("b"))
        found = await asyncio.gather(work("ann"), work("bob"))
        return [a, b, found, who.get()]


def main(event):
    log = []
    with contextlib.ExitStack() as stack:
        stack.callback(log.append, "callback")
        stack.callback(lambda: log.append(tell("lambda")))
        stack.enter_context(contextlib.closing(Closing(log)))
        stack.push(lambda *error: error[0] is KeyError)
        raise KeyError("swallowed")
    token = who.set("ann")
    log.append(tell("main"))
    who.reset(token)
    context = contextvars.copy_context()
    context.run(who.set, "copy")
    log.append(context.run(tell, "inside"))
    with contextlib.suppress(ZeroDivisionError):
        log.append(1 / 0)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print("hidden", tell("x"))
    with decimal.localcontext() as local:
        local.prec = 3
        third = str(decimal.Decimal(1) / 3)
    return [log, out.getvalue(), third, asyncio.run(run())]

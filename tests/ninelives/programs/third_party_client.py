"""A client of a library: attributes, methods, objects that know their client, context managers."""

import shoplib

import ninelives


@ninelives.live
def connect(url):
    return shoplib.connect(url)


def main(event):
    with connect(event.data.url) as shop:
        shop.timeout = 5
        invoice = shop.invoice("ann", amount=3)
        print(invoice.id, invoice.status)
        invoice.pay()
        print(invoice.status, shop.timeout)
        copies = [invoice, shop.invoice("bob", amount=4)]
        for copy in copies:
            copy.refresh()
        with shop.batch() as batch:
            batch.add("x")
            batch.add("y")
        done = batch.count
        try:
            shop.missing()
        except shoplib.ShopError as error:
            print(type(error).__name__, error, error.status)
        events = shop.events
        events.append("mine")
    return [done, [copy.status for copy in copies], shop.closed, events]

"""Libraries that only compute: models, YAML, templates, XML, dates."""

import datetime as dt
import xml.etree.ElementTree as ET
from decimal import Decimal

import jinja2
import yaml
from dateutil.relativedelta import relativedelta
from lxml import etree
from pydantic import BaseModel, Field, ValidationError

import requests


class Item(BaseModel):
    id: int
    amount: Decimal = Field(gt=0)


class Page(BaseModel):
    items: list[Item]
    next: int | None


def main(event):
    page = Page.model_validate(requests.get(event.data.url + "/orders?page=1", timeout=10).json())
    try:
        Item(id="x", amount=-1)
    except ValidationError as error:
        print(error.error_count())
    text = jinja2.Template("{% for i in items %}{{ i.id }}={{ i.amount }};{% endfor %}").render(items=page.items)
    config = yaml.safe_load("a: [1, 2]\nb: {c: d}")
    root = ET.fromstring("<a><b n='1'/><b n='2'/></a>")
    tree = etree.fromstring(b"<a><b>x</b></a>")
    due = dt.date(2026, 1, 31) + relativedelta(months=1)
    answer = requests.post(event.data.url + "/invoices", data=page.model_dump_json(), timeout=10)
    return [text, config, [b.get("n") for b in root.iter("b")], tree.xpath("//b/text()"), str(due), answer.json()["next"]]

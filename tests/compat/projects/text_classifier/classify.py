import json

from autokitteh.openai import openai_client
from openai import BadRequestError

chatgpt = openai_client("chatgpt_conn")
LABELS = ["sales", "support"]


def on_mail(event):
    texts = event.data.body.json["texts"]
    return [label_of(text) for text in texts]


def label_of(text):
    try:
        resp = chatgpt.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": f"Answer with one of {json.dumps(LABELS)}."},
                {"role": "user", "content": text},
            ],
        )
    except BadRequestError as error:
        print(f"refused: {error.status_code}")
        return None
    label = resp.choices[0].message.content
    print(f"{text} -> {label} ({resp.usage.total_tokens} tokens)")
    return label

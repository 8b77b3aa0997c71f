"""An HTTP client as a context, with a base address, headers, a streamed answer, an error of status."""

import httpx2


def main(event):
    with httpx2.Client(base_url=event.data.url, headers={"X-Key": "k"}, timeout=10) as client:
        pages = []
        page = 1
        while page:
            answer = client.get("/orders", params={"page": page})
            answer.raise_for_status()
            pages.append(answer.json())
            page = pages[-1]["next"]
        made = client.post("/invoices", json={"pages": len(pages)})
        print(made.status_code, made.headers["content-type"], made.is_success)
        try:
            client.get("/fail/500").raise_for_status()
        except httpx2.HTTPStatusError as error:
            print(error.response.status_code, error.request.url.path)
        print(client.is_closed)
    return [sum(item["amount"] for page in pages for item in page["items"]), client.is_closed]

"""The peer for webhooks: an endpoint that answers 202 and does nothing, on the same uvicorn.

`python peer_fastapi.py PORT` serves until it is told to stop.
"""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/hook", status_code=202)
async def hook() -> dict[str, str]:
    return {"event_id": "none"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)

"""How calls of the Pub/Sub API are refused: gRPC status, text, and the trailers `error-code` and `rpc-id`."""

from typing import NoReturn

import grpc

from ninelives_server.testing.fake_salesforce.events.streams import Ending

_PREFIX = "sfdc.platform.eventbus.grpc."


class Refused(Exception):
    """The call ends in this way."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.details)
        self.ending = ending


def refused(status: str, code: str, details: str) -> Refused:
    """Return a refusal with a code such as `topic.not.found`."""
    return Refused(Ending(status=status, details=details, error_code=_PREFIX + code))


def auth_error() -> Refused:
    """Return the refusal of a token that is not good, or not of this org."""
    details = "An authentication exception occurred. Provide valid authentication via metadata headers."
    return refused("UNAUTHENTICATED", "service.auth.error", details)


def abort(context: grpc.ServicerContext, ending: Ending, rpc_id: str) -> NoReturn:
    """End the call; this does not return."""
    trailers = [("rpc-id", rpc_id)]
    if ending.error_code:
        trailers.append(("error-code", ending.error_code))
    context.set_trailing_metadata(tuple(trailers))
    context.abort(grpc.StatusCode[ending.status], f"{ending.details} rpcId: {rpc_id}")
    raise AssertionError("abort raises")

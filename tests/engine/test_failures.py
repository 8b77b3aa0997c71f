"""`engine.failures`: errors cross into Temporal as the names of their classes."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultPayloadConverter
from temporalio.exceptions import ApplicationError

from ninelives_server.engine.failures import CONVERTER, NamesOnly


def crossed(error: BaseException) -> Failure:
    failure = Failure()
    NamesOnly().to_failure(error, DefaultPayloadConverter(), failure)
    return failure


def raised() -> Exception:
    try:
        try:
            raise KeyError("the token 00Dxx")
        except KeyError as cause:
            raise RuntimeError("the password is hunter2") from cause
    except RuntimeError as error:
        return error


def test_only_the_name_of_the_class_crosses():
    """
    Neither message nor traceback, of the error and of its causes.
    """
    failure = crossed(raised())

    text = failure.SerializeToString()
    assert failure.message == "RuntimeError"
    assert failure.cause.message == "KeyError"
    for word in (b"hunter2", b"00Dxx", b"test_failures"):
        assert word not in text


def test_the_details_of_an_error_stay_here():
    """
    An application error may carry values; its type and whether to try again are all that is needed.
    """
    failure = crossed(ApplicationError("secret", "a value", type="WorkerLost", non_retryable=True))

    assert failure.message == "WorkerLost"
    assert failure.application_failure_info.type == "WorkerLost"
    assert failure.application_failure_info.non_retryable
    assert b"secret" not in failure.SerializeToString()
    assert b"a value" not in failure.SerializeToString()


def test_the_engine_converts_with_it():
    """
    A converter that nobody uses would keep no secret.
    """
    assert isinstance(CONVERTER.failure_converter, NamesOnly)

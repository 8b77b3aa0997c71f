"""How our errors cross into Temporal: as the name of their class, nothing else.

Messages, tracebacks and causes may hold what users work with; Temporal's history never does.
"""

from typing import ClassVar

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, DefaultFailureConverter, FailureConverter, PayloadConverter


class NamesOnly(FailureConverter):
    """Writes class names; reads whatever there is."""

    _plain: ClassVar[DefaultFailureConverter] = DefaultFailureConverter()

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Write an error, and its causes, without their words."""
        self._plain.to_failure(exception, payload_converter, failure)
        _blank(failure)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Read an error."""
        return self._plain.from_failure(failure, payload_converter)


def _blank(failure: Failure) -> None:
    info = failure.WhichOneof("failure_info")
    name = failure.application_failure_info.type if info == "application_failure_info" else ""
    failure.message = name or info or "Failure"
    failure.stack_trace = ""
    failure.ClearField("encoded_attributes")
    if info == "application_failure_info":
        failure.application_failure_info.ClearField("details")
    if failure.HasField("cause"):
        _blank(failure.cause)


CONVERTER = DataConverter(failure_converter_class=NamesOnly)

"""A `Reading` of a fake org, with tokens that the org gives out without a browser."""

from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.streams import ApiToken, Reading
from ninelives_server.providers.salesforce.environment import HOSTS
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LOCAL = frozenset({"localhost", "127.0.0.1"})


class DeskTokens:
    """Hands out the org's tokens; told that one is refused, makes another."""

    def __init__(self, org: FakeSalesforce) -> None:
        self.org = org
        self.refused: list[str] = []
        self._issued: dict[str, str] = {}

    async def __call__(self, refused: str | None) -> ApiToken:
        if refused is not None:
            self.refused.append(refused)
        if not self._issued or refused == self._issued["access_token"]:
            self._issued = self.org.control.issue_token()
        return ApiToken(
            token=self._issued["access_token"],
            instance_url=self._issued["instance_url"],
            org_id=self._issued["org_id"],
        )

    @property
    def current(self) -> str:
        return self._issued["access_token"]


def reading_of(org: FakeSalesforce, tokens: DeskTokens | None = None, **changes) -> Reading:
    values = {
        "settings": {"pubsub_endpoint": org.details.pubsub_endpoint},
        "account_key": "key",
        "token": tokens or DeskTokens(org),
        "http": Outbound(ca_file=org.ca_file, insecure_hosts=LOCAL),
        "rule": HOSTS,
        "insecure_hosts": LOCAL,
        "ca_file": org.ca_file,
    }
    return Reading(**{**values, **changes})

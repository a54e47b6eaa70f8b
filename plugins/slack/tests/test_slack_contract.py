"""What every plugin has promised, held against the Slack plugin."""

from glycanbridge_slack import Slack

from glycanbridge import DestinationError
from glycanbridge.testing import Answer, HttpPeer, contract_suite

PATH = "/services/T0NEEDLE/B0NEEDLE/zXcVbNmNeedleOfTheWebhook"

TestContract = contract_suite(
    Slack,
    lambda peer: {"webhook_url": peer.url + PATH, "connect_timeout_s": 5, "read_timeout_s": 1},
    peer=lambda: HttpPeer(Answer(200, "ok")),
    secrets=["T0NEEDLE", "B0NEEDLE", "zXcVbNmNeedleOfTheWebhook"],
    # what is not one of Slack's words was not said by Slack: the way there is wrong, and no message is to blame
    statuses={400: DestinationError, 422: DestinationError},
    harmless=lambda request: request.json == {"text": ""},
)

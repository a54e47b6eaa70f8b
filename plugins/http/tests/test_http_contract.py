"""What every plugin has promised, held against the HTTP plugin."""

from glycanbridge_http import Http

from glycanbridge.testing import HttpPeer, contract_suite

KEY = "whsec_bmVlZGxlbmVlZGxlbmVlZGxlbmVlZGxl"
SECRETS = ["NeedleOfTheUrl", "NeedleOfTheHeader", "NeedleOfTheToken", KEY]
TEMPLATE = '{"a": "{{ event.data.kit_code }}", "b": {{ event.data }}, "c": "{{ delivery.id }}"}'


def settings(**more):
    """A destination with a secret in its address and its headers, and little patience."""
    headers = {"X-Key": "NeedleOfTheHeader"}
    patience = {"connect_timeout_s": 5, "read_timeout_s": 1}
    return lambda peer: {"url": f"{peer.url}/hooks/NeedleOfTheUrl", "headers": headers, **patience, **more}


def repeat_key(request):
    """By what a far side knows a repeat."""
    return request.headers["idempotency-key"], request.body


TestContract = contract_suite(
    Http,
    settings(auth={"bearer": "NeedleOfTheToken"}, receipt="/id"),
    peer=HttpPeer,
    secrets=SECRETS,
    repeat_key=repeat_key,
)
TestContractWithATemplate = contract_suite(
    Http,
    settings(auth={"hmac": [KEY]}, personal="full", body=TEMPLATE),
    peer=HttpPeer,
    secrets=SECRETS,
    events=["kit-received", "report-ready"],
    repeat_key=repeat_key,
)

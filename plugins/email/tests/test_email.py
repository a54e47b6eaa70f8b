"""What stands in a mail: what is told of a patient and what is not, in whose words, and to whom."""

from __future__ import annotations

import pytest

from glycanbridge import EVENT_TYPES


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_event_arrives_as_one_mail_of_text_and_html_over_tls_with_a_login(mailbox, secure, deliver, event_type):
    """The thing itself, with a real mail server."""
    receipt = deliver(secure(mailbox), event_type)
    (mail,) = mailbox.mails
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mailbox.taken[0][0] == ["staff@clinic.example"]
    assert receipt == f"{mail['Message-ID']} 250 2.0.0"
    assert mailbox.logins == 1

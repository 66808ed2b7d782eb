"""Posts are signed as Standard Webhooks does."""

from proxy.alerts import signing
from proxy.hooks import key_of


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the standard's own libraries: secret, id, time and body give this signature."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert key is not None
    found = signing.headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    } == found

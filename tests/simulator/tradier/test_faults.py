"""Tradier's own faults."""

import json

from proxy.simulator.tradier.faults import REFUSALS, catalogue


def test_every_refusal_is_in_the_catalogue_and_says_so() -> None:
    """A fault that answers by itself leaves everything as it was."""
    listed = catalogue().catalogue()

    assert REFUSALS.keys() <= listed.keys()
    assert {True} == {listed[name].endswith("(refused)") for name in REFUSALS}


def test_faults_of_tokens_carry_codes_of_the_key_management() -> None:
    """By which a client tells them from others, whatever the status."""
    codes = {
        name: json.loads(REFUSALS[name].body)["fault"]["detail"]["errorcode"]
        for name in ("api-401-invalid", "api-401-expired", "api-500-expired", "api-401-apiproduct")
    }

    assert {True} == {code.startswith("keymanagement.service.") for code in codes.values()}
    assert codes["api-401-expired"] == codes["api-500-expired"]

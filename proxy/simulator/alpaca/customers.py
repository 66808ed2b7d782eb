"""The customers of a broker partner: who they are, and their trading accounts."""

from collections.abc import Mapping

from proxy.simulator.alpaca import moments
from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.answers import missing, unprocessable
from proxy.simulator.alpaca.updates import Updates

Record = dict[str, object]

_FIRST_NUMBER = 551_000_001
_SECTIONS = ("contact", "identity", "disclosures", "trusted_contact")


class Customers:
    """All customers, by the id of their account."""

    def __init__(self, now: float) -> None:
        self.updates = Updates()  # of all their orders
        self.accounts: dict[str, Account] = {}
        self._profiles: dict[str, Record] = {}
        for name in ("Ada", "Grace"):
            self.create(_person(name), now)

    @property
    def first(self) -> Account:
        return next(iter(self.accounts.values()))

    def account_of(self, captures: Mapping[str, str]) -> Account:
        """The account that a path is about, the first customer's if it names none. Refused with 404."""
        account_id = captures.get("account_id")
        if account_id is None:
            return self.first
        account = self.accounts.get(account_id.lower())
        if account is None:
            raise missing("account")
        return account

    def create(self, request: Mapping[str, object], now: float) -> Record:
        """`POST /v1/accounts`. Refused with 422 without contact and identity."""
        if not all(isinstance(request.get(name), dict) for name in _SECTIONS[:2]):
            raise unprocessable("contact and identity are required")
        account = Account(str(_FIRST_NUMBER + len(self.accounts)), now, self.updates)
        self.accounts[account.id] = account
        self._profiles[account.id] = {
            "id": account.id,
            "account_number": account.number,
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": "USD",
            "created_at": moments.written(now),
            "last_equity": account.record()["equity"],
            "account_type": "trading",
            "kyc_results": {"summary": "pass"},
            "agreements": request.get("agreements") or [],
            **{name: request[name] for name in _SECTIONS if request.get(name)},
        }
        return self._profiles[account.id]

    def listed(self, query: str = "") -> list[Record]:
        """`GET /v1/accounts`: those that have every word of `query` in number, e-mail address or name."""
        return [profile for profile in self._profiles.values() if all(part in str(profile) for part in query.split())]

    def profile(self, account: Account) -> Record:
        return self._profiles[account.id]

    def change(self, account: Account, request: Mapping[str, object]) -> Record:
        """`PATCH /v1/accounts/{account_id}`: members of each section."""
        profile = self._profiles[account.id]
        for name, value in request.items():
            section = profile.get(name)
            if name not in _SECTIONS or not isinstance(value, dict) or not isinstance(section, dict):
                raise unprocessable(f"{name[:40]} cannot be changed")
            profile[name] = {**section, **value}
        return profile

    def close(self, account: Account) -> None:
        self._profiles[account.id]["status"] = "ACCOUNT_CLOSED"


def _person(name: str) -> Record:
    contact = {
        "email_address": f"{name.lower()}@example.com",
        "phone_number": "555-666-7788",
        "street_address": ["20 N San Mateo Dr"],
        "city": "San Mateo",
        "state": "CA",
        "postal_code": "94401",
        "country": "USA",
    }
    identity = {
        "given_name": name,
        "family_name": "Simulated",
        "date_of_birth": "1990-01-01",
        "tax_id_type": "USA_SSN",
        "country_of_citizenship": "USA",
        "country_of_birth": "USA",
        "country_of_tax_residence": "USA",
        "funding_source": ["employment_income"],
    }
    disclosures = {
        "is_control_person": False,
        "is_affiliated_exchange_or_finra": False,
        "is_politically_exposed": False,
        "immediate_family_exposed": False,
    }
    agreement = {
        "agreement": "customer_agreement",
        "signed_at": "2026-01-02T18:09:33Z",
        "ip_address": "185.13.21.99",
        "revision": "19.2022.02",
    }
    return {"contact": contact, "identity": identity, "disclosures": disclosures, "agreements": [agreement]}

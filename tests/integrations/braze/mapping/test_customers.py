"""A customer's attributes in the shapes that Braze documents, and a word on whatever had to be left out or cut."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations.braze.composing import compose
from integrations.braze.composing.records import Records
from integrations.braze.mapping import customers, places
from integrations.braze.models import BrazeProfile, BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event

TODAY = date(2026, 3, 1)
LARGE = 2**64
Sync = Callable[[], None]


def profile(**fields: Any) -> customers.Attributes:
    return customers.profile(Customer(external_id="Ada-1", **fields), TODAY)


def tags(**given: Any) -> customers.Attributes:
    return customers.tags(Customer(external_id="Ada-1", tags=given))


def is_left_out(attributes: customers.Attributes, name: str) -> bool:
    """Neither the value nor a null is sent, and a sentence says so."""
    return name not in attributes.values and name in attributes.left_out and "left out" in attributes.adjustments[name]


# --- the profile ----------------------------------------------------------------------------------------


def test_it_maps_a_profile_to_brazes_standard_fields() -> None:
    mapped = profile(
        email="ada@example.com", phone="+573001112233", first_name="Ada", last_name="Lovelace", gender="FEMALE",
        birth_date=date(1985, 12, 10), country="CO", city="Bogotá", language="es", time_zone="America/Bogota",
        tier="Gold", points=Decimal("120.5000"),
    )  # fmt: skip
    assert mapped.values == {
        "email": "ada@example.com",
        "phone": "+573001112233",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "gender": "F",
        "dob": "1985-12-10",
        "country": "CO",
        "home_city": "Bogotá",
        "language": "es",
        "time_zone": "America/Bogota",
        "loyalty_tier": "Gold",
        "loyalty_points": 120.5,
    }
    assert (mapped.left_out, mapped.adjustments) == (set(), {})


@pytest.mark.parametrize(("masivo", "braze"), [("MALE", "M"), ("FEMALE", "F"), ("OTHER", "O"), ("", None)])
def test_it_says_gender_in_brazes_letters(masivo: str, braze: str | None) -> None:
    assert profile(gender=masivo).values["gender"] == braze


def test_it_leaves_out_a_gender_that_it_does_not_know() -> None:
    assert is_left_out(profile(gender="X"), "gender")


def test_it_has_null_and_no_empty_text_for_what_a_customer_lacks() -> None:
    mapped = profile(first_name="  ")
    assert mapped.values.pop("loyalty_points") == 0
    assert set(mapped.values.values()) == {None}
    assert mapped.adjustments == {}


def test_it_tells_nothing_personal_of_an_anonymous_customer() -> None:
    known = {"email": "not-even-good", "phone": "1", "first_name": "Guest" * 100, "last_name": "7"}
    mapped = profile(is_anonymous=True, city="Cali", **known)
    assert {mapped.values[name] for name in known} == {None}
    assert mapped.values["home_city"] == "Cali"
    assert mapped.adjustments == {}


def test_it_sends_points_as_a_number() -> None:
    whole = profile(points=Decimal("7.0000")).values["loyalty_points"]
    assert (whole, type(whole)) == (7, int)
    assert profile(points=Decimal("0.0001")).values["loyalty_points"] == 0.0001


@pytest.mark.parametrize(
    "address", ["ada@example.com", "a.b+c@sub.example.co", "O'Neil_x@example.museum", "a@xn--bcher-kva.example"]
)
def test_it_sends_a_good_address_as_it_is(address: str) -> None:
    assert profile(email=f" {address} ").values["email"] == address


@pytest.mark.parametrize(
    "address",
    ["ada", "ada@", "@example.com", "ada@example", "a b@example.com", "a..b@example.com", ".a@example.com",
     "a@-example.com", "a@exa_mple.com", "a@example..com", '"a b"@example.com', "a@[127.0.0.1]",
     "ada@example.com,b@c.de", "josé@example.com", "a@example.c", "x" * 65 + "@example.com", "a@" + "x" * 250 + ".com",
     "a\n@example.com"],
)  # fmt: skip
def test_it_leaves_out_an_address_that_braze_might_refuse_and_sends_the_rest(address: str) -> None:
    mapped = profile(email=address, first_name="Ada")
    assert is_left_out(mapped, "email")
    assert mapped.values["first_name"] == "Ada"


@pytest.mark.parametrize(
    ("phone", "country", "e164"),
    [
        ("+57 300 111-2233", "", "+573001112233"),
        ("300 111 2233", "Colombia", "+573001112233"),
        ("(020) 7946 0958", "GB", "+442079460958"),
        ("0057 300 111 2233", "", "+573001112233"),
        ("+1 (202) 555-0143", "CO", "+12025550143"),
        ("2025550143", "USA", "+12025550143"),
    ],
)
def test_it_sends_phones_in_e164_with_the_country_as_a_hint(phone: str, country: str, e164: str) -> None:
    assert profile(phone=phone, country=country).values["phone"] == e164


@pytest.mark.parametrize(("phone", "country"), [("300 111 2233", ""), ("call me", "CO"), ("12", "CO"), ("+999123", "")])
def test_it_leaves_out_what_is_no_phone_number(phone: str, country: str) -> None:
    assert is_left_out(profile(phone=phone, country=country), "phone")


@pytest.mark.parametrize(
    ("text", "code"),
    [("CO", "CO"), ("col", "CO"), ("Colombia", "CO"), ("USA", "US"), ("United States", "US"), ("uk", "GB"),
     ("the Netherlands", "NL"), ("Bolivia", "BO"), ("South Korea", "KR"), ("Russia", "RU"), ("Türkiye", "TR"),
     ("Turkey", "TR"), ("Côte d'Ivoire", "CI"), ("Viet Nam", "VN"), ("Vietnam", "VN"), ("Curacao", "CW"),
     ("U.S.A.", "US"), ("Trinidad & Tobago", "TT"), ("Atlantis", None), ("XX", None), ("EU", None)],
)  # fmt: skip
def test_it_reads_countries_by_code_and_english_name(text: str, code: str | None) -> None:
    assert places.country(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [("en", "en"), ("EN", "en"), ("en-US", "en"), ("pt_BR", "pt"), ("zh-Hant-TW", "zh"), ("eng", "en"), ("ger", "de"),
     ("English", "en"), ("spanish", "es"), ("iw", "he"), ("Klingon", None), ("xx", None), ("sh", None)],
)  # fmt: skip
def test_it_reads_languages_by_code_locale_and_english_name(text: str, code: str | None) -> None:
    assert places.language(text) == code


@pytest.mark.parametrize(
    ("text", "name"),
    [("America/Bogota", "America/Bogota"), ("america/bogota", "America/Bogota"), ("UTC", "UTC"),
     ("Mars/Olympus", None), ("GMT+5 or so", None), ("America", None), ("localtime", None)],
)  # fmt: skip
def test_it_reads_time_zones_by_their_iana_names(text: str, name: str | None) -> None:
    assert places.time_zone(text) == name


@pytest.mark.parametrize("field", ["country", "language", "time_zone"])
def test_it_leaves_out_a_place_that_braze_would_drop(field: str) -> None:
    mapped = profile(**{field: "Atlantis"})
    assert is_left_out(mapped, field)
    assert "“Atlantis”" in mapped.adjustments[field]


@pytest.mark.parametrize(
    ("born", "is_sent"),
    [
        (TODAY, True),
        (date(1900, 1, 1), True),
        (TODAY + timedelta(days=1), False),
        (date(1899, 12, 31), False),
        (date(1, 1, 1), False),
    ],
)
def test_it_sends_only_dates_on_which_somebody_alive_was_born(born: date, is_sent: bool) -> None:
    mapped = profile(birth_date=born)
    assert mapped.values.get("dob") == (born.isoformat() if is_sent else None)
    assert is_left_out(mapped, "dob") is not is_sent if not is_sent else "dob" not in mapped.left_out


def test_it_cuts_long_names_and_says_so() -> None:
    mapped = profile(first_name="x" * 256, city="é" * 300, last_name="y" * 255)
    assert (mapped.values["first_name"], mapped.values["home_city"]) == ("x" * 255, "é" * 255)
    assert mapped.values["last_name"] == "y" * 255
    assert set(mapped.adjustments) == {"first_name", "home_city"}
    assert "256" in mapped.adjustments["first_name"]


def test_it_takes_out_characters_that_json_cannot_carry() -> None:
    mapped = profile(first_name="A\x00da", city="\ud800Cali")
    assert (mapped.values["first_name"], mapped.values["home_city"]) == ("Ada", "?Cali")
    assert set(mapped.adjustments) == {"first_name", "home_city"}


# --- tags -----------------------------------------------------------------------------------------------


def test_it_prefixes_tags_and_keeps_their_types() -> None:
    mapped = tags(**{"vip": True, "visits": 3, "Nick Name": "", "ratio": 0.5, "zero": "0"})
    assert mapped.values == {
        "tag_vip": True, "tag_visits": 3, "tag_Nick Name": "", "tag_ratio": 0.5, "tag_zero": "0"
    }  # fmt: skip
    assert type(mapped.values["tag_vip"]) is bool
    assert mapped.adjustments == {}


@pytest.mark.parametrize("key", ["email", "external_id", "masivo_Club", "$x", "_update_existing_only"])
def test_a_tag_overwrites_neither_a_standard_field_nor_an_audience(key: str) -> None:
    assert list(tags(**{key: 1}).values) == [f"tag_{key}"]


def test_of_two_tags_of_one_name_the_one_that_needs_no_change_goes_whatever_their_order() -> None:
    long = "k" * 300
    for pairs in ([("vip ", 1), ("vip", 2)], [("vip", 2), ("vip ", 1)]):
        mapped = tags(**dict(pairs))
        assert mapped.values == {"tag_vip": 2}
        assert is_left_out(mapped, "tag_vip ")
    mapped = tags(**{long: 1, long + "x": 2})
    assert mapped.values == {f"tag_{'k' * 251}": 1}
    assert len(mapped.adjustments) == 2


def test_it_leaves_out_a_tag_without_a_name() -> None:
    assert is_left_out(tags(**{"  ": 1}), "tag_  ")


def test_it_leaves_out_values_that_are_no_scalars() -> None:
    mapped = tags(a=float("nan"), b=[1], c={"d": 1}, e=2)
    assert mapped.values == {"tag_e": 2}
    assert mapped.left_out == {"tag_a", "tag_b", "tag_c"}


def test_it_sends_a_number_beyond_64_bits_as_text() -> None:
    mapped = tags(serial=LARGE)
    assert mapped.values == {"tag_serial": str(LARGE)}
    assert "64 bits" in mapped.adjustments["tag_serial"]


@pytest.mark.parametrize(
    ("text", "sent", "is_noted"),
    [
        ("2021-12-01", "2021-12-01", False),
        ("12/1/2021", "2021-12-01", True),
        ("12-1-2021", "2021-12-01", True),
        ("Mon 03 02 10:00:00.Z 2026", "2026-03-02T10:00:00Z", True),
        ("13/13/2021", "13/13/2021", False),
        ("2021-99-01 lot 7", "2021-99-01 lot 7", True),
        ("Mostly harmless", "Mostly harmless", False),
    ],
)
def test_it_says_what_braze_makes_of_a_text_that_looks_like_a_time(text: str, sent: str, is_noted: bool) -> None:
    mapped = tags(since=text)
    assert mapped.values == {"tag_since": sent}
    assert bool(mapped.adjustments) is is_noted


def test_it_names_an_audience_as_it_is_called() -> None:
    assert customers.audience_attribute("Big Spenders") == "masivo_Big Spenders"
    assert customers.audience_attribute("Big Spenders ") == "masivo_Big Spenders"


# --- on the way -----------------------------------------------------------------------------------------


@pytest.fixture
def ada(account: Account, braze: Any) -> Customer:
    return Customer.objects.create(account=account, external_id="Ada-1", first_name="Ada", email="ada@example.com")


def test_what_is_left_out_stays_as_braze_has_it_and_the_entry_says_so(
    ada: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    sync()
    ada.email, ada.first_name = "ada at example", "Augusta"
    ada.save()
    sync()
    held = sandbox.profile("Ada-1")["standard_attributes"]
    assert (held["email"], held["first_name"]) == ("ada@example.com", "Augusta")
    assert BrazeProfile.objects.get().attributes["email"] == "ada@example.com"
    entry = OutboxEntry.objects.latest("pk")
    assert entry.status == "delivered"
    assert [sentence for sentence in entry.adjustments if "ada at example" in sentence]
    assert sandbox.summary()["rejected"] == 0


def test_an_edit_of_nothing_but_a_bad_value_is_skipped_with_the_reason(ada: Customer, sync: Sync) -> None:
    sync()
    ada.email = "ada at example"
    ada.save()
    sync()
    entry = OutboxEntry.objects.latest("pk")
    assert entry.status == "skipped"
    assert "ada at example" in entry.error


def test_a_tag_whose_new_value_cannot_be_sent_is_not_nulled() -> None:
    """Such a value gets past loyalty's own checks by none of its ways, so it is not saved here."""
    customer = Customer(external_id="Ada-1", tags={"vip": float("nan"), "visits": 2})
    mirrored = BrazeProfile(external_id="Ada-1", attributes={"tag_vip": 1, "tag_gone": 1}, is_known=True)
    known = Records({"Ada-1": customer}, {}, {}, {}, {}, {"Ada-1": mirrored})
    entry = OutboxEntry(pk=1, kind="customer_updated", customer_external_id="Ada-1")
    (sent,) = compose.bundle("Ada-1", [entry], BrazeSettings(sync_customer_tags=True), known).attributes
    assert sent.body == {
        "external_id": "Ada-1", "tag_visits": 2, "tag_gone": None, "_update_existing_only": True
    }  # fmt: skip
    assert "“tag_vip”" in sent.adjustments[0]


def test_a_tag_that_wins_back_its_name_keeps_it(ada: Customer, sync: Sync, sandbox: SandboxServer) -> None:
    ada.tags = {"vip": 1, "vip ": 2}
    ada.save()
    sync()
    assert sandbox.profile("Ada-1")["custom_attributes"]["tag_vip"] == 1
    del ada.tags["vip "]
    ada.save()
    sync()
    assert sandbox.profile("Ada-1")["custom_attributes"]["tag_vip"] == 1


def test_a_customer_who_becomes_anonymous_is_forgotten(ada: Customer, sync: Sync, sandbox: SandboxServer) -> None:
    sync()
    ada.is_anonymous = True
    ada.save()
    sync()
    assert not {"email", "first_name"} & set(sandbox.profile("Ada-1")["standard_attributes"])


def test_a_customer_whose_id_is_too_long_is_rejected_here_with_the_reason(
    account: Account, braze: Any, sync: Sync, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    fits = Customer.objects.create(account=account, external_id="é" * 493 + "x")
    long = Customer.objects.create(account=account, external_id="é" * 494)
    for customer in (fits, long):
        Event.objects.create(account=account, customer=customer, type="LOGIN")
        Audience.objects.create(account=account, name=f"Club {customer.pk}").customers.add(customer)
    sync()
    ends = set(OutboxEntry.objects.values_list("customer_external_id", "status"))
    assert ends == {(fits.external_id, "delivered"), (long.external_id, "rejected")}
    rejected = OutboxEntry.objects.filter(status="rejected")
    assert all("988 bytes" in entry.error and entry.settled_at for entry in rejected)
    assert sandbox.summary()["rejected"] == 0
    assert Delivery.objects.count() == 1
    assert sum("sync failed" in record.getMessage() for record in caplog.records) == 3


def test_the_length_of_an_adjustment_is_bounded() -> None:
    mapped = tags(**{f"t{n}": "x" * 300 for n in range(1000)})
    assert len(mapped.adjustments) == 1000
    assert all(len(sentence) < 200 for sentence in mapped.adjustments.values())


def test_a_birth_date_to_come_is_not_sent(ada: Customer, sync: Sync, sandbox: SandboxServer) -> None:
    ada.birth_date = datetime.now(UTC).date() + timedelta(days=400)
    ada.save()
    sync()
    assert "dob" not in sandbox.profile("Ada-1")["standard_attributes"]

"""The attributes object of a customer: what Braze should hold of them now, however many changes led to it."""

from datetime import datetime
from typing import Any

import orjson

from integrations.braze import mirror
from integrations.braze.composing import rules
from integrations.braze.composing.records import AUDIENCE_KINDS, WHOLE_KINDS, Records, mentioned
from integrations.braze.mapping import customers
from integrations.braze.mapping.customers import AUDIENCE_PREFIX, TAG_PREFIX, Attributes
from integrations.braze.mapping.objects import BrazeObject, Bundle, Entry
from integrations.braze.mapping.rows import Mirrored
from integrations.braze.mapping.text import summed_up
from integrations.braze.models import BrazeSettings
from integrations.outbox.models import Kind


def add(entries: list[Entry], settings: BrazeSettings, records: Records, result: Bundle, now: datetime) -> None:
    profile = records.profiles.get(result.customer)
    desired, removed = _desired(entries, settings, records, result.customer, now)
    attributes = mirror.delta(profile, desired.values, removed)
    adjustments = _adjustments(desired, attributes) if desired.adjustments else ()
    if not attributes and not _creates_user(entries, settings, profile):
        reason = f"nothing to send: {'; '.join(adjustments)}" if adjustments else rules.NOTHING_CHANGED
        result.skip((entry.pk for entry in entries), reason)
        return
    creates = settings.create_customers and result.customer in records.customers
    body = {"external_id": result.customer, **attributes}
    if not creates:
        body["_update_existing_only"] = True
    ids = tuple([entry.pk for entry in entries])
    result.attributes.append(BrazeObject(result.customer, orjson.dumps(body), ids, creates, adjustments))


def _creates_user(entries: list[Entry], settings: BrazeSettings, profile: Mirrored | None) -> bool:
    """Whether an object without attributes is of use."""
    is_new = any(entry.kind == Kind.CUSTOMER_CREATED for entry in entries) and settings.create_customers
    return is_new and not (profile and profile.is_known)


def _adjustments(desired: Attributes, sent: dict[str, Any]) -> tuple[str, ...]:
    """Sentences about what is sent now, and about what cannot be sent."""
    told = {*sent, *desired.left_out}
    return summed_up([sentence for name, sentence in desired.adjustments.items() if name in told])


def _desired(
    entries: list[Entry], settings: BrazeSettings, records: Records, external_id: str, now: datetime
) -> tuple[Attributes, set[str]]:
    """What Braze should hold, and the names that must be nulled even if the mirror knows nothing of them."""
    desired, removed = Attributes(), set[str]()
    customer, held = records.customers.get(external_id), _held_names(records, external_id)
    kinds = {entry.kind for entry in entries}
    told = [entry.data for entry in entries if entry.data]
    of_customer = kinds - AUDIENCE_KINDS
    if customer and any(rules.sends_profile(kind, settings) for kind in of_customer):
        desired = customers.profile(customer, now.date())
    if customer and of_customer and settings.sync_customer_tags:
        desired |= customers.tags(customer)
        gone = {customers.tag_attribute(key) for data in told for key in data.get("removed_tags", ())}
        # Nearly all that is held is wanted still: the rest is quickly looked through.
        gone |= {name for name in held.difference(desired.values) if name.startswith(TAG_PREFIX)}
        removed = gone.difference(desired.values, desired.left_out)
    # Braze may hold attributes of an earlier customer with this id, which no entry names; and an entry of leaving an
    # audience that was renamed meanwhile may have another name than the one that Braze was sent last.
    is_whole = any(data.get("resync") for data in told) or (bool(held) and bool(kinds & WHOLE_KINDS))
    if settings.sync_audiences and (is_whole or kinds & AUDIENCE_KINDS):
        members = {customers.audience_attribute(name) for name in records.audiences.get(external_id, ())}
        audiences = [entry for entry in entries if entry.kind in AUDIENCE_KINDS]
        named = {customers.audience_attribute(name) for entry in audiences for name in mentioned(entry)}
        named |= {name for name in held if is_whole and name.startswith(AUDIENCE_PREFIX)}
        desired.values |= dict.fromkeys(members, True)
        removed |= named - members
    return desired, removed


def _held_names(records: Records, external_id: str) -> set[str]:
    profile = records.profiles.get(external_id)
    return {*profile.attributes, *profile.uncertain} if profile else set()

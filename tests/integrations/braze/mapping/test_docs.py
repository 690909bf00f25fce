"""docs/mapping.md tells what the code does, and Braze takes all that it shows."""

import orjson
import requests

from integrations.braze.sandbox import SandboxServer
from tests.integrations.braze.mapping import golden


def test_the_page_is_up_to_date() -> None:
    stale = "docs/mapping.md is stale: python -m tests.integrations.braze.mapping.golden"
    assert golden.DOCUMENT.read_text() == golden.document(), stale


def test_braze_takes_every_object_of_the_table(sandbox: SandboxServer) -> None:
    attributes = [{"external_id": "Ada-1", **values} for _, values, _ in golden.customer_objects()]
    events = [body for _, body, _ in golden.event_objects()]
    purchases = [body for _, bodies, _ in golden.order_objects() for body in bodies]
    assert len(attributes) == len(golden.CUSTOMERS) and len(events) == len(golden.EVENTS)
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{sandbox.url}/users/track",
            data=orjson.dumps({"attributes": attributes, "events": events, "purchases": purchases}),
            headers={"Authorization": "Bearer k", "Content-Type": "application/json"},
            timeout=10,
        )
    assert (answer.status_code, answer.json().get("errors")) == (201, None)
    assert sandbox.summary()["dropped"] == {}
    assert sandbox.summary()["revenue"] == {"JPY": "1000.00", "USD": "531.84"}

"""The admin as an operator uses it: pages and forms over HTTP."""

from html.parser import HTMLParser
from typing import Any

import requests


class Admin:
    """A logged-in session. Forms are read from the page, changed and sent back, as a browser does."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.submit("/admin/login/?next=/admin/", username=user, password=password)

    def submit(self, path: str, **changes: Any) -> str:
        """Open the form at `path`, change the named fields, save; the page that follows.

        Text for text fields, True and False for checkboxes.
        """
        form = self._form(path)
        for name, value in changes.items():
            form.pop(name, None)
            if value is not False:
                form[name] = "on" if value is True else value
        url = self.base_url + path
        answer = self.session.post(url, data=form, headers={"Referer": url}, timeout=30)
        assert answer.status_code == 200 and "errornote" not in answer.text, _errors(answer.text)
        return answer.text

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.base_url + path, timeout=30)

    def _form(self, path: str) -> dict[str, str]:
        page = self.get(path)
        assert page.status_code == 200, f"{path}: {page.status_code}"
        reader = _FormReader()
        reader.feed(page.text)
        return reader.fields


class _FormReader(HTMLParser):
    """The values a browser would send of the page's forms that are sent by POST, log-out excepted."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._in_form = False
        self._select = ""
        self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._in_form = given.get("method") == "post" and "logout" not in given.get("id", "")
        elif self._in_form:
            self._field(tag, given, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data.removeprefix("\r\n")

    def _field(self, tag: str, given: dict[str, str], raw: dict[str, str | None]) -> None:
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in ("submit", "file", "button"):
            is_choice = given.get("type") in ("checkbox", "radio")
            if not is_choice or "checked" in raw:
                self.fields[name] = given.get("value", "on" if is_choice else "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in raw:
            self.fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._textarea = name
            self.fields[name] = ""


def _errors(page: str) -> str:
    """The lines of a refused form that say why."""
    return "\n".join(line.strip() for line in page.splitlines() if "error" in line)[:2000]

"""Lists that may be very long: read once, and no further than anybody pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core import paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from masivo_braze.console.scoping import ScopedAdmin

if TYPE_CHECKING:  # generic for the type checker alone
    Paginator = paginator.Paginator[Any]
else:
    Paginator = paginator.Paginator


class CappedPaginator(Paginator):
    """Reads the keys of the first `most` rows only, so that a list of millions costs no more.

    To find later rows, people filter or search: paging to an offset of millions would read millions of rows.
    """

    most = 2_000
    template_name = "console/pagination.html"

    @cached_property
    def _read(self) -> list[Any]:
        return list(self._rows.values_list("pk", flat=True)[: self.most + 1])

    @property
    def keys(self) -> list[Any]:
        return self._read[: self.most]

    @cached_property
    def count(self) -> int:
        return len(self.keys)

    @property
    def is_cut(self) -> bool:
        return len(self._read) > self.most

    def page(self, number: int | str) -> Any:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        return paginator.Page(self.among(start, start + self.per_page), number, self)

    def among(self, start: int, end: int) -> QuerySet[Any]:
        """The rows from position `start` up to `end`, looked up by their keys."""
        return self._rows.filter(pk__in=self.keys[start:end])

    @property
    def _rows(self) -> QuerySet[Any]:
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows


class AtLeast(int):
    """A count that was not taken to its end. Wherever a page shows it, it says so: `2,000+`."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class CappedChangeList(ChangeList):
    """Avoids Django's second query for a list that fits on one page, and its count of an unfiltered list.

    An action on all rows is about all that match, and not only about those that can be paged to. So the count of a list
    that is cut must not look like their number.
    """

    @property
    def is_newest_first(self) -> bool:
        """Whether the list has its own order, descending: by that our lists are sorted by times or ids."""
        first = str((self.model_admin.ordering or [""])[0])
        return first.startswith("-") and ORDER_VAR not in self.params

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if isinstance(self.paginator, CappedPaginator) and self.paginator.is_cut:
            self.result_count = AtLeast(self.result_count)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count
        if not self.multi_page and isinstance(self.paginator, CappedPaginator):
            self.result_list = self.paginator.among(0, self.list_per_page)


def time_column(field: str) -> Callable[[Any], Any]:
    """For `list_display`: the times of `field`, with a title that names their time zone; sorted by the field."""

    @admin.display(description=f"{field.replace('_', ' ')} (UTC)", ordering=field)
    def column(record: Model) -> datetime | None:
        time: datetime | None = getattr(record, field)
        return time

    column.__name__ = field  # the name of the column in the page's markup
    return column


class LongListAdmin(ScopedAdmin):
    """For models that may have millions of rows."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    ordering = ["-pk"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedChangeList

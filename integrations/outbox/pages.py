"""Pages of long lists: counted no further than anybody leafs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core import paginator

if TYPE_CHECKING:  # generic for the type checker alone
    Paginator = paginator.Paginator[Any]
else:
    Paginator = paginator.Paginator


class CappedPaginator(Paginator):
    """Counts at most `most` rows, so that a list of millions costs what its first pages do.

    What lies further is found by a filter or a search, not by leafing: an offset of millions reads millions.
    """

    most = 5_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return int(rows.order_by()[: self.most].count()) if hasattr(rows, "order_by") else len(rows)

    @property
    def is_cut(self) -> bool:
        return self.count >= self.most

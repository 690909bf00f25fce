"""People and groups, on the theme's forms. Which accounts a person is a member of is set on the accounts' pages."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from masivo_braze.console.crafted import CarefulAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, CarefulAdmin):  # type: ignore[type-arg]  # generic for the type checker alone
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_active", "is_superuser", "in_groups", "of_accounts"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups", "loyalty_accounts")

    @admin.display(description="groups")
    def in_groups(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "–"

    @admin.display(description="accounts")
    def of_accounts(self, user: User) -> str:
        if user.is_superuser:
            return "all"
        return ", ".join(account.name for account in user.loyalty_accounts.all()) or "–"


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, CarefulAdmin):
    pass

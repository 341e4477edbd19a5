"""Staff and members, and the roles that say what staff may do."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from adminops.admin.filters import ChoiceFilter
from adminops.admin.landing import LandingAdmin

# Importing Django's own classes, to build on them, has registered them.
admin.site.unregister([User, Group])


class FlagFilter(ChoiceFilter):
    """Yes or no, as a column of users has it."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.parameter_name: self.value() == "1"}) if self.value() else queryset


class StaffFilter(FlagFilter):
    """Who may come into the back office."""

    title = _("staff")
    parameter_name = "is_staff__exact"


class SuperuserFilter(FlagFilter):
    """Who may do everything."""

    title = _("superuser")
    parameter_name = "is_superuser__exact"


class ActiveFilter(FlagFilter):
    """Whose account is open."""

    title = _("active")
    parameter_name = "is_active__exact"


class RoleFilter(ChoiceFilter):
    """Who has a role."""

    title = _("role")
    parameter_name = "groups__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return list(Group.objects.order_by("name").values_list("pk", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(groups=self.value()) if self.value() else queryset


@admin.register(User)
class BackOfficeUserAdmin(UserAdmin, LandingAdmin):
    """Django's own page for users, in Unfold's forms."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_filter = (StaffFilter, SuperuserFilter, ActiveFilter, RoleFilter)
    list_filter_submit = True
    show_full_result_count = False
    list_fullwidth = True


@admin.register(Group)
class BackOfficeGroupAdmin(GroupAdmin, LandingAdmin):
    """Roles: the permissions of a group."""

    list_fullwidth = True

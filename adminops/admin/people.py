"""Staff and members, and the roles that say what staff may do."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from adminops.admin.landing import LandingAdmin

# Importing Django's own classes, to build on them, has registered them.
admin.site.unregister([User, Group])


@admin.register(User)
class BackOfficeUserAdmin(UserAdmin, LandingAdmin):
    """Django's own page for users, in Unfold's forms."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    show_full_result_count = False
    list_fullwidth = True


@admin.register(Group)
class BackOfficeGroupAdmin(GroupAdmin, LandingAdmin):
    """Roles: the permissions of a group."""

    list_fullwidth = True

"""Addresses: the admin for staff, a page for members, one door for Stripe, one for products that ask about access.

And three for machines that watch this one.
"""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from adminops import api, probes
from adminops.members import pages
from adminops.members.login import MemberLogin

urlpatterns = [
    path("", pages.home, name="members"),
    path("login/", MemberLogin.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("<int:organization_id>/pay/", pages.pay, name="members_pay"),
    path("<int:organization_id>/card/", pages.update_card, name="members_card"),
    path("api/access/", api.access, name="access_api"),
    path("admin/", admin.site.urls),
    path("webhooks/", include("webhooks.urls")),
    path("healthz", probes.health),
    path("readyz", probes.readiness),
    path("metrics", probes.metrics),
]

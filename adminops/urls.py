"""Addresses: the admin for staff, one door for Stripe."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]

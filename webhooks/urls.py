"""The address Stripe knows."""

from django.urls import path

from webhooks.views import receive

app_name = "webhooks"

urlpatterns = [path("stripe/", receive, name="stripe")]

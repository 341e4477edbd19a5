"""A day that a person names, as the moment at which something happens by itself."""

from __future__ import annotations

import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy

MOST_YEARS = 10


class DayField(forms.DateField):
    """An optional day; cleaned, the unix seconds at which it begins here, or None. It may have passed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False,
            error_messages={"invalid": gettext_lazy("That is no day. Write it as 2026-12-31.")},
            widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
            **options,
        )

    def clean(self, value: Any) -> Any:
        """Raises ValidationError for what is no day, or too far away to be meant."""
        day = super().clean(value)
        if day is None:
            return None
        if not 2000 <= day.year <= timezone.localdate().year + MOST_YEARS:
            raise ValidationError(gettext_lazy("That is too far away. Choose a day of the next ten years."))
        midnight = datetime.datetime.combine(day, datetime.time(), timezone.get_current_timezone())
        return int(midnight.timestamp())

"""`.env.example` tells the truth about the settings."""

import re

from django.conf import settings


def test_every_variable_the_settings_read_is_in_the_example_and_no_other() -> None:
    read = re.findall(
        r"\benv\.\w+\(\s*\"([A-Z_]+)\"", (settings.BASE_DIR / "adminops" / "settings.py").read_text()
    )
    shown = re.findall(r"^#?([A-Z_]+)=", (settings.BASE_DIR / ".env.example").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(set(read))

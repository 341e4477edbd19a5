"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adminops.settings")

application = get_wsgi_application()

# Only now are there settings and models. A server that forks later takes it along.
from billing.telemetry import flush_regularly  # noqa: E402

flush_regularly()
